"""Records of [alerts]: what somebody should look at, with the artifact, the rule and the next step. Forwarding them: `gateway/alerting/`.

The engine appends them in a turn's transaction, so an alert is there exactly when what it tells is true; whoever stands outside of a turn
(the bridge) uses `AlertLog`. One partition: they are few, and one reader keeps them in order.
"""

from __future__ import annotations

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
    def about(self) -> tuple[str, str, str]:
        """Alerts that are alike: within the repeat interval one of them is enough."""
        return self.rule, self.artifact, self.component


_encode = msgspec.json.Encoder().encode
decode_alert = msgspec.json.Decoder(Alert).decode


def alert_record(alert: Alert) -> Record:
    """For partition 0 of `Topics.alerts`."""
    return alert.rule.encode(), _encode(alert), []
