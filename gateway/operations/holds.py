"""Holds: made, listed, released. Each is in [control], and its audit in [commands], by one transaction; from the answer on it is in effect.

The answer is given once this gateway has read the hold back, so everybody can read it; a worker that has not holds no lease a second later
and begins nothing (`agents/hold_watch.py`).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from itertools import islice

from agents.authz import May, Resource
from gateway import cursors
from gateway.caller import Caller
from gateway.context import Context
from gateway.hold_models import HoldRequest, HoldsPage, HoldsQuery, ReleaseRequest
from gateway.problems import NotFound, Unavailable
from gateway.views import HoldView, rfc3339
from streams.commands import Command, CommandVerb
from streams.control import HOLDS_MAX, Hold
from streams.errors import Malformed


def list_holds(context: Context, query: HoldsQuery, may_read: May) -> HoldsPage:
    """By id. Whoever may read some of the artifacts that a hold is about sees it; one that is about no artifact in particular, everybody."""
    _require_known(context)
    after = (cursors.decode(query.cursor) or b"").decode()
    found = (hold for hold in _asked_for(context, query) if hold.id > after and _may_read(may_read, hold))
    page = list(islice(sorted(found, key=lambda hold: hold.id), query.limit + 1))
    more = cursors.encode(page[query.limit - 1].id.encode()) if len(page) > query.limit else None
    return HoldsPage(items=list(map(hold_view, page[: query.limit])), next_cursor=more)


def get_hold(context: Context, ident: str, may_read: May) -> HoldView:
    hold = _known(context, ident)
    if not _may_read(may_read, hold):
        raise _unknown()
    return hold_view(hold)


async def make_hold(context: Context, caller: Caller, remote: str, request: HoldRequest) -> HoldView:
    """In effect when this returns: no attempt begins more than a second later. Raises Unavailable when nobody knows whether it is."""
    if request.component is not None and request.component not in context.settings.components:
        raise Malformed("component.unknown", f"no component {request.component!r} is in the configuration")
    rules = [caller.require(request.verb, resource) for resource in _resources(request.artifacts, request.component or "")]
    if len(context.watch.holds) >= HOLDS_MAX:
        raise Malformed("hold.too_many", f"there are {HOLDS_MAX} holds; release some, or make one with a pattern")
    hold = Hold(
        id=_new_id(),
        verb=request.verb,
        artifacts=tuple(dict.fromkeys(request.artifacts)),
        component=request.component or "",
        principal=caller.name,
        reason=request.reason,
        at_ms=_now_ms(),
    )
    command = _command(hold.verb, hold, caller, remote, request.reason, rules[0])
    await _decide(context, hold, command, released=False)
    return hold_view(hold)


async def release_hold(context: Context, caller: Caller, remote: str, ident: str, request: ReleaseRequest) -> HoldView:
    """Not in effect any more when this returns; what waited is delivered by itself."""
    hold = _known(context, ident)
    rules = [caller.require("release", resource) for resource in _resources(hold.artifacts, hold.component)]
    await _decide(context, hold, _command("release", hold, caller, remote, request.reason, rules[0]), released=True)
    return hold_view(hold)


def may_release(caller: Caller, artifacts: Sequence[str], component: str) -> bool:
    return all(caller.may("release", resource) for resource in _resources(artifacts, component))


def hold_view(hold: Hold) -> HoldView:
    return HoldView(
        id=hold.id,
        verb=hold.verb,
        artifacts=list(hold.artifacts),
        component=hold.component,
        principal=hold.principal,
        rule=hold.rule,
        reason=hold.reason,
        since=rfc3339(hold.at_ms),
    )


def about(hold: Hold) -> str:
    """What it stops, in words."""
    return f"{', '.join(hold.artifacts) or 'all artifacts'} to {hold.component or 'all components'}"


async def _decide(context: Context, hold: Hold, command: Command, *, released: bool) -> None:
    """Its audit is in the chain of its artifact where it is about one; else any partition's will do."""
    one = len(hold.artifacts) == 1 and "*" not in hold.artifacts[0]
    key = hold.artifacts[0] if one else f"hold/{hold.id}"
    entries, forget = ([], [(Hold, hold.id)]) if released else ([hold], [])
    offset = await context.control_log.decide(*entries, commands=[(key, command)], forget=forget)
    if not await context.control.wait_applied(offset, context.settings.gateway.read_wait_s_max):
        detail = "it is in the log, but cannot be read yet, so nobody knows when it is in effect; GET /v1/holds tells"
        raise Unavailable("hold.unconfirmed", detail)


def _command(verb: CommandVerb, hold: Hold, caller: Caller, remote: str, reason: str, rule: str) -> Command:  # noqa: PLR0917
    told = {"remote": remote, "subject": hold.id, "detail": about(hold), "reason": reason, "rule": rule}
    return Command(_new_id(), verb, caller.name, _now_ms(), hold.component, **told)


def _resources(artifacts: Sequence[str], component: str) -> list[Resource]:
    """What somebody must be allowed to stop. A rule's pattern that matches a pattern matches all that this one does."""
    return [Resource(artifact=pattern, component=component) for pattern in artifacts or ("",)]


def _asked_for(context: Context, query: HoldsQuery) -> Iterator[Hold]:
    holds = context.watch.holds
    for hold in holds.of_artifact(query.artifact) if query.artifact else holds:
        if query.verb in (None, hold.verb) and (not query.component or hold.component in ("", query.component)):
            yield hold


def _may_read(may_read: May, hold: Hold) -> bool:
    return not hold.artifacts or any(may_read(resource) for resource in _resources(hold.artifacts, hold.component))


def _known(context: Context, ident: str) -> Hold:
    hold = context.control.holds.get(ident)
    if hold is None:
        _require_known(context)
        raise _unknown()
    return hold


def _unknown() -> NotFound:
    return NotFound("hold.unknown", "there is no hold of this id, or not any more; GET /v1/holds lists those that there are")


def _require_known(context: Context) -> None:
    """A list that is not complete must not look as if it were."""
    if not context.control.ready:
        raise Unavailable("holds.restoring", "this gateway is just starting and does not know the holds yet")


def _new_id() -> str:
    return f"{_now_ms():013d}-{secrets.token_hex(5)}"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
