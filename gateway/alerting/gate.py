"""Which alerts are sent: each once within the repeat interval, and so many a minute. Pure, but for what it remembers.

Of what is above the limit nothing is lost without a word: an alert of its own says how many there were, and of which rules.
"""

from __future__ import annotations

from collections import Counter, OrderedDict

import msgspec
from msgspec.structs import replace

from streams.alerts import SUPPRESSED, Alert, Severity

_REMEMBERED_MAX = 10_000
_WINDOW_S = 60.0
_RULES_NAMED_MAX = 5


class _Sent(msgspec.Struct):
    at_ms: int
    alike: int = 0


class Gate:
    def __init__(self, *, repeat_interval_s: float, per_minute_max: int) -> None:
        self._repeat_ms = repeat_interval_s * 1000
        self._per_minute_max = per_minute_max
        self._sent: OrderedDict[tuple[str, ...], _Sent] = OrderedDict()
        self._window_ends_s = 0.0
        self._in_window: Counter[Severity] = Counter()
        self._suppressed: Counter[str] = Counter()
        self._gravest: Severity = "warning"

    def admit(self, alert: Alert, now_s: float) -> Alert | None:
        """The alert as it is to be sent, or None. Alike are those of one rule, artifact and component, by the times of the alerts."""
        before = self._sent.get(alert.about)
        if before is not None and abs(alert.at_ms - before.at_ms) < self._repeat_ms:
            before.alike += 1
            return None
        if now_s >= self._window_ends_s and not self._suppressed:
            self._begin_window(now_s)
        if self._in_window[alert.severity] >= self._per_minute_max:
            self._suppressed[alert.rule] += 1
            self._gravest = "critical" if alert.severity == "critical" else self._gravest
            return None
        self._in_window[alert.severity] += 1
        self._remember(alert)
        return _and_alike(alert, before.alike) if before is not None and before.alike else alert

    def due(self, now_s: float, now_ms: int) -> Alert | None:
        """The alert about those that were not sent, when their minute is over."""
        if not self._suppressed or now_s < self._window_ends_s:
            return None
        told, suppressed, gravest = self._suppressed.most_common(), self._suppressed.total(), self._gravest
        self._suppressed, self._gravest = Counter(), "warning"
        self._begin_window(now_s)
        named = ", ".join(f"{rule} {count}" for rule, count in told[:_RULES_NAMED_MAX])
        return Alert(
            id=f"{SUPPRESSED}-{now_ms}",
            rule=SUPPRESSED,
            severity=gravest,
            summary=f"{suppressed} more alerts were suppressed within a minute: {named}{', …' if len(told) > _RULES_NAMED_MAX else ''}",
            next_step="`GET /v1/alerts` lists them; raise alerts.per_minute_max if so many are wanted",
            at_ms=now_ms,
        )

    @property
    def owes(self) -> bool:
        """Whether something was suppressed that has not been told of yet."""
        return bool(self._suppressed)

    def _begin_window(self, now_s: float) -> None:
        self._window_ends_s = now_s + _WINDOW_S
        self._in_window.clear()

    def _remember(self, alert: Alert) -> None:
        self._sent[alert.about] = _Sent(alert.at_ms)
        self._sent.move_to_end(alert.about)
        if len(self._sent) > _REMEMBERED_MAX:
            self._sent.popitem(last=False)


def _and_alike(alert: Alert, count: int) -> Alert:
    return replace(alert, summary=f"{alert.summary} ({count} more like it since the last that was sent)")
