"""Refused NATS logins, counted and audited like those over HTTP: what nats-server's advisory says, and how much of it is believed.

From where and why is the server's word. Who is the claim of whoever was refused, and may be anything, also a password in the wrong place:
it is told only where it is a name that we know or a public nkey, and never as the principal.
"""

from __future__ import annotations

import re
from collections.abc import Container
from ipaddress import ip_address

import msgspec
import structlog

from gateway.nats_config.rights import own_users
from gateway.refusals import Refusals, Refused
from streams import metrics
from streams.logs import AWAY
from streams.settings import Settings

_log = structlog.get_logger(__name__)
CODE = "auth.nats"
_PUBLIC_NKEY = re.compile(r"U[A-Z2-7]{55}")
_REASON = re.compile(r"[A-Za-z][A-Za-z ]{0,63}")


class _Client(msgspec.Struct, frozen=True):
    host: str
    user: str = ""


class _Advisory(msgspec.Struct, frozen=True, tag_field="type", tag="io.nats.server.advisory.v1.client_disconnect"):
    client: _Client
    reason: str = ""


_decode = msgspec.json.Decoder(_Advisory).decode


class NatsRefusals:
    """`take` never waits and never fails, as `streams.login_advisories` needs it."""

    def __init__(self, settings: Settings, refusals: Refusals) -> None:
        self._users = settings.principals.keys() | own_users(settings).keys()
        self._refusals = refusals

    def take(self, advisory: bytes) -> None:
        refusal = refusal_of(advisory, self._users)
        if refusal is not None:
            self._refusals.refused(refusal)
            return
        metrics.ADVISORIES_DROPPED.inc()
        AWAY.warning(_log, "advisory", "NATS refused a login, and what it says of it is not understood; its own log has more")


def refusal_of(advisory: bytes, users: Container[str]) -> Refused | None:
    """None for what is no such advisory, or does not say from where."""
    try:
        told = _decode(advisory)
        ip_address(told.client.host)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    claimed = f"as {told.client.user}" if _may_be_told(told.client.user, users) else ""
    reason = f"({told.reason})" if _REASON.fullmatch(told.reason) else ""
    return Refused(CODE, told.client.host, route="NATS", detail=" ".join(filter(None, (claimed, reason))))


def _may_be_told(user: str, users: Container[str]) -> bool:
    return user in users or _PUBLIC_NKEY.fullmatch(user) is not None
