"""Records of [alerts]: what somebody should look at, with the artifact, the rule and the next step. Forwarding them: `gateway/alerting/`.

The engine appends them in a turn's transaction, so an alert is there exactly when what it tells is true; whoever stands outside of a turn
(the bridge) uses `AlertLog`. One partition: they are few, and one reader keeps them in order.
"""

from __future__ import annotations

import time
from typing import Literal

import msgspec

from streams.record_batch import Record

Severity = Literal["warning", "critical"]

#: Rules that are no policy of the configuration: what SyncMaster itself has to tell. Policies cannot be called so: names have no dots.
STREAM_STOPPED = "stream.stopped"
STREAM_LOST = "stream.lost"
SUPPRESSED = "alerts.suppressed"


class Alert(msgspec.Struct, frozen=True, omit_defaults=True):
    """`rule` is a policy's name, or one of those above; `id` is the same when the same thing is told again."""

    id: str
    rule: str
    severity: Severity
    summary: str
    next_step: str
    at_ms: int
    artifact: str = ""
    component: str = ""
    principal: str = ""
    labels: dict[str, str] = {}

    @property
    def about(self) -> tuple[str, str, str, str]:
        """Alerts that are alike: within the repeat interval one of them is enough. SyncMaster's own are about a principal's stream."""
        return self.rule, self.artifact, self.component, "" if self.artifact else self.principal


def stream_alert(rule: str, principal: str, told: str) -> Alert:
    """About a principal's stream. `told` is for operators, and ends with the next step."""
    at_ms = int(time.time() * 1000)
    return Alert(
        id=f"{rule}-{principal}-{at_ms}",
        rule=rule,
        severity="critical",
        summary=told,
        next_step=f"see the bridge's log and `nats stream info SM_IN_{principal}`; the summary says what to do",
        at_ms=at_ms,
        principal=principal,
    )


_encode = msgspec.json.Encoder().encode
decode_alert = msgspec.json.Decoder(Alert).decode


def alert_record(alert: Alert) -> Record:
    """For partition 0 of `Topics.alerts`."""
    return alert.rule.encode(), _encode(alert), []
