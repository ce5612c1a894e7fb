"""Alerts that the engine makes of policies' verdicts, in the transaction of what they tell. What an alert is: `streams/alerts.py`."""

from __future__ import annotations

from agents.fold import Arrival
from agents.policies import Verdict
from agents.turn_state import TurnState
from streams.alerts import Alert, alert_record

_NEXT_STEP = {
    "alert": "the event was judged by the other policies as if this one were not; look at it in the audit by its id",
    "refuse": "mend or remove the policy: it could not be evaluated, and refuses until then",
    "quarantine": "look at the event with `syncmaster quarantine show`, then release or discard it; later ones of its artifact wait",
    "halt": "look at the event in the audit by its id, then `syncmaster release` the hold: deliveries of the artifact wait",
}


#: Of one rule in one turn: a policy that fits every event must not double the log. The audit has every one of them.
ALERTS_PER_RULE_MAX = 50


def tell(state: TurnState, arrival: Arrival, verdict: Verdict) -> None:
    """`id` is made from the event's position in the log, so a repetition tells the same thing again."""
    state.told[verdict.rule] += 1
    if state.told[verdict.rule] > ALERTS_PER_RULE_MAX:
        return
    state.alerts.append(
        alert_record(
            Alert(
                id=f"{verdict.rule}-{arrival.id}",
                rule=verdict.rule,
                severity="critical" if verdict.action == "halt" else "warning",
                summary=f"{verdict.code}: {verdict.detail}",
                next_step=_NEXT_STEP[verdict.action],
                at_ms=state.now_ms,
                artifact=arrival.event.artifact.key,
                principal=arrival.ingress.principal,
                labels={"action": verdict.action, "code": verdict.code, "event_id": arrival.event.id, "audit_id": arrival.id},
            )
        )
    )
