"""API keys: made, listed, rotated, revoked. Each change and its audit record are one transaction. Which key is good: `api_keys.py`."""

from __future__ import annotations

import secrets
import time

from msgspec.structs import replace

from gateway import cursors
from gateway.api_keys import Credential, mint
from gateway.caller import Caller
from gateway.context import Context
from gateway.key_models import KeyRequest, KeysPage, KeysQuery, KeyState, KeyView, NewKeyView, RevokeRequest, RotateRequest
from gateway.problems import NotFound, Problem, Unavailable
from gateway.views import rfc3339
from streams.commands import Command, about_principal
from streams.control import KEYS_MAX, ApiKey
from streams.errors import Malformed
from streams.settings import Verb


def list_keys(context: Context, configured: dict[str, Credential], query: KeysQuery) -> KeysPage:
    """By id: those of the configuration and those of the log. None of them shows what opens a door."""
    views = [*map(_configured_view, configured.values()), *(_view(key) for key in context.control.keys.values())]
    after = (cursors.decode(query.cursor) or b"").decode()
    found = sorted((view for view in views if _asked_for(view, query) and view.id > after), key=lambda view: view.id)
    page = found[: query.limit]
    more = cursors.encode(page[-1].id.encode()) if len(found) > len(page) else None
    return KeysPage(items=page, next_cursor=more)


async def create_key(context: Context, caller: Caller, remote: str, request: KeyRequest) -> NewKeyView:
    """A new key for a principal. A key with scopes makes none that may more than itself."""
    if request.principal not in context.settings.principals:
        raise Malformed("principal.unknown", f"no principal {request.principal!r} is in the configuration; declare it first")
    _require_within(caller, request.scopes)
    key, text = _made(caller, request.principal, request.scopes, request.expires_in_s, request.description)
    await _decide(context, [key], _record(caller, remote, "key.created", key, detail=f"for {key.principal}, {_limits(key)}"))
    return _new_view(key, text)


async def rotate_key(context: Context, caller: Caller, remote: str, ident: str, request: RotateRequest) -> NewKeyView:
    """A second key like this one; both are good until the old one expires, soon."""
    old, now_ms = _changeable(context, ident), _now_ms()
    if not old.good(now_ms):
        raise Malformed("key.not_good", "this key is revoked or has expired; create a new one instead")
    _require_within(caller, old.scopes)
    new, text = _made(caller, old.principal, old.scopes, request.expires_in_s, old.description)
    until_ms = now_ms + request.overlap_s * 1000
    ending = replace(old, expires_ms=min(old.expires_ms or until_ms, until_ms))
    detail = f"for {old.principal}, {_limits(new)}, replaces {old.id}, which is good until {rfc3339(ending.expires_ms)}"
    await _decide(context, [new, ending], _record(caller, remote, "key.rotated", new, detail=detail))
    return _new_view(new, text, replaces=old.id)


async def revoke_key(context: Context, caller: Caller, remote: str, ident: str, request: RevokeRequest) -> KeyView:
    """Good for nothing from now on, and neither are its sessions. Revoking twice changes nothing."""
    old = _changeable(context, ident)
    if old.revoked_ms:
        return _view(old)
    revoked = replace(old, revoked_ms=_now_ms())
    command = _record(caller, remote, "key.revoked", revoked, detail=f"of {old.principal}", reason=request.reason)
    if not await _decide(context, [revoked], command):
        raise Unavailable("key.unconfirmed", "the key is revoked in the log, but not every gateway may know it yet; ask again")
    return _view(revoked)


async def _decide(context: Context, entries: list[ApiKey], command: Command) -> bool:
    """Whether this gateway, and with it any other, could read the decision in time."""
    forget = [(ApiKey, ident)] if (ident := context.control.superfluous_key(_now_ms())) else []
    if not forget and len(context.control.keys) >= KEYS_MAX and entries[0].id not in context.control.keys:
        raise Malformed("key.too_many", f"there are {KEYS_MAX} keys, all of them good; revoke some")
    offset = await context.control_log.decide(*entries, commands=[(about_principal(command.principal), command)], forget=forget)
    return await context.control.wait_applied(offset, context.settings.gateway.read_wait_s_max)


def _changeable(context: Context, ident: str) -> ApiKey:
    if ident.startswith("config-"):
        raise Malformed("key.configured", "this key is in the configuration; change it there, and restart the gateways")
    key = context.control.keys.get(ident)
    if key is None:
        if not context.control.ready:
            raise Unavailable("keys.restoring", "this gateway is just starting and does not know the keys yet")
        raise NotFound("key.unknown", "there is no key of this id; GET /v1/keys lists those that there are")
    return key


def _require_within(caller: Caller, scopes: tuple[Verb, ...]) -> None:
    if caller.scopes and (not scopes or not set(scopes) <= set(caller.scopes)):
        detail = f"the key that you gave is for {', '.join(caller.scopes)} only, and makes none that may more; name such scopes"
        raise Problem(403, "auth.scope", detail, verbs=list(caller.scopes))


def _made(caller: Caller, principal: str, scopes: tuple[Verb, ...], expires_in_s: int, description: str) -> tuple[ApiKey, str]:
    now_ms = _now_ms()
    ident, hashed, text = mint()
    key = ApiKey(
        id=ident,
        principal=principal,
        hash=hashed,
        scopes=tuple(dict.fromkeys(scopes)),
        created_ms=now_ms,
        created_by=caller.name,
        expires_ms=now_ms + expires_in_s * 1000,
        description=description,
    )
    return key, text


def _record(caller: Caller, remote: str, code: str, key: ApiKey, *, detail: str, reason: str = "") -> Command:
    ident = f"{time.time_ns() // 1_000_000:013d}-{secrets.token_hex(5)}"
    told = {"remote": remote, "subject": key.id, "code": code, "detail": detail, "reason": reason}
    return Command(ident, "record", caller.name, _now_ms(), **told)


def _limits(key: ApiKey) -> str:
    return f"{', '.join(key.scopes) or 'all verbs'}, until {rfc3339(key.expires_ms)}"


def _asked_for(view: KeyView, query: KeysQuery) -> bool:
    return query.principal in ("", view.principal) and query.state in (None, view.state)


def _state(key: ApiKey) -> KeyState:
    return "revoked" if key.revoked_ms else "expired" if key.expired(_now_ms()) else "good"


def _view(key: ApiKey) -> KeyView:
    return KeyView(
        id=key.id,
        principal=key.principal,
        state=_state(key),
        scopes=list(key.scopes),
        origin="log",
        created=rfc3339(key.created_ms),
        created_by=key.created_by,
        expires=rfc3339(key.expires_ms),
        revoked=rfc3339(key.revoked_ms),
        description=key.description,
    )


def _new_view(key: ApiKey, text: str, *, replaces: str = "") -> NewKeyView:
    return NewKeyView(**_view(key).model_dump(), key=text, replaces=replaces)


def _configured_view(credential: Credential) -> KeyView:
    return _view(ApiKey(credential.id, credential.principal, "")).model_copy(update={"origin": "configuration"})


def _now_ms() -> int:
    return int(time.time() * 1000)
