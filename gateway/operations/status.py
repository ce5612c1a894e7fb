"""How everything is, at one glance: the status page's data, restore progress, liveness. Also fills the gauges before they are read."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from itertools import islice
from typing import get_args

from gateway.context import Context
from gateway.operations.components import component_views
from gateway.operations.holds import hold_view
from gateway.operations.quarantine_summary import observe as observe_quarantine
from gateway.operations.quarantine_summary import summary
from gateway.operations.sync import out_of_step_views
from gateway.views import HoldVerb, LiveView, PartitionView, RestoreView, StatusView
from streams import metrics
from streams.publisher import DoorState

#: Longer than any pause that a working process makes; what stands still for so long does not come back by itself.
STALLED_S = 30.0
_MOST = 20


def get_status(context: Context) -> StatusView:
    components = component_views(context)
    pairs = context.status.most_out_of_step(_MOST)
    return StatusView(
        cluster=context.settings.cluster,
        at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        in_step=context.replica.ready and all(component.in_step for component in components),
        artifacts={kind: count for kind, count in sorted(context.status.kinds.items()) if count},
        outcomes=dict(sorted(context.audit.outcomes().items())),
        components=components,
        most_out_of_step=[view for pair in pairs for view in out_of_step_views(context, pair.artifact, pair.component)],
        holds=list(map(hold_view, islice(context.watch.holds, _MOST))),
        holds_more=max(0, len(context.watch.holds) - _MOST),
        quarantine=summary(context),
        replica=get_restore(context),
    )


def get_restore(context: Context) -> RestoreView:
    progress = sorted(context.replica.progress().items())
    remaining = sum(max(0, p.end - p.applied) for _, p in progress)
    return RestoreView(
        ready=context.replica.ready,
        applied=sum(p.applied for _, p in progress),
        end=sum(p.end for _, p in progress),
        remaining=remaining,
        eta_s=0.0 if context.replica.ready else context.restore_rate.eta_s(remaining),
        partitions=[PartitionView(partition=number, applied=p.applied, end=p.end) for number, p in progress],
    )


def get_live(context: Context) -> LiveView:
    """Whether this process still gets anywhere. What only waits for NATS or the log to come back is alive: a restart helps nobody."""
    now = time.monotonic()
    checks = {
        "event_loop": _since(now - context.beat.at_s),
        "replica": _since(now - context.replica.polled_at_s),
        "publisher": "its connection is closed for good" if context.publisher.state is DoorState.CLOSED else "ok",
    }
    return LiveView(live=all(check == "ok" for check in checks.values()), checks=checks)


def get_ready(context: Context) -> dict[str, str]:
    """What reads need. NATS is not among it: without NATS this gateway still answers every read."""
    restore = get_restore(context)
    eta = "" if restore.eta_s is None else f", about {restore.eta_s:.0f} s to go"
    behind = f"{restore.applied} of {restore.end} changelog records applied{eta}"
    return {
        "replica": "ok" if restore.ready else behind,
        "control": "ok" if context.control.ready else "the control topic is being read",
        "audit": "ok" if context.audit_follower.ready else "the audit index is being filled",
    }


def observe(context: Context) -> None:
    """Set the gauges that are computed when somebody looks."""
    for view in component_views(context):
        metrics.OUT_OF_STEP.labels(view.name, "behind").set(view.behind)
        metrics.OUT_OF_STEP.labels(view.name, "failed").set(view.failed)
        metrics.OLDEST_OUT_OF_STEP.labels(view.name).set(view.oldest_s)
    for verb in get_args(HoldVerb):
        metrics.HOLDS.labels(verb).set(sum(hold.verb == verb for hold in context.watch.holds))
    metrics.CONTROL_AGE.set(context.watch.age_s)
    observe_quarantine(context)
    metrics.REPLICA_LAG.set(get_restore(context).remaining)


def _since(age_s: float) -> str:
    return "ok" if age_s < STALLED_S else f"no progress for {age_s:.0f} s"
