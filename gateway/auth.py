"""Who is asking: from a request to a principal of the configuration. What that principal may do is asked of `caller.Caller`.

`Keyring.authenticate` is the one place where a request becomes a principal; another kind of credentials (OIDC) belongs there.
Keys are held as SHA-256 and compared in constant time; no key is ever logged, echoed or put into a cookie. The status page's
session is a cookie signed with the key's hash, so any gateway can check it, and it ends with its key.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

from aiohttp import web

from agents.authz import Authorizer
from gateway.caller import Caller
from gateway.problems import Problem
from streams.errors import ConfigError
from streams.settings import Principal

SESSION_COOKIE = "sm_session"
SESSION_S = 12 * 3600
#: A page of another site cannot send this without our consent (CORS), which is never given.
CSRF_HEADER = "sm-request"
_KEY_CHARS_MIN = 16


class Keyring:
    """The API keys of all principals. Reads every secret once, at start: raises ConfigError for one that is not there."""

    def __init__(self, principals: Mapping[str, Principal], authorizer: Authorizer) -> None:
        self.authorizer = authorizer
        self._keys: list[tuple[bytes, str]] = []
        for name, principal in principals.items():
            for reference in principal.api_keys:
                secret = reference.reveal()
                if len(secret) < _KEY_CHARS_MIN:
                    raise ConfigError(
                        f"an API key of principal {name!r} has less than {_KEY_CHARS_MIN} characters; "
                        "make one with `openssl rand -hex 32`"
                    )
                self._keys.append((_digest(secret), name))

    def authenticate(self, request: web.Request) -> Caller:
        """The principal of a request. Raises Problem 401 (nobody known) or 403 (a cookie used from elsewhere)."""
        authorization = request.headers.get("Authorization")
        if authorization is not None:
            scheme, _, secret = authorization.partition(" ")
            name = self._holder(secret.strip()) if scheme.lower() == "bearer" else None
            if name is None:
                raise _unauthorized("auth.unknown_key", "this API key is not one of ours, or is not any more")
        else:
            name = self._session_holder(request.cookies.get(SESSION_COOKIE, ""))
            if name is None:
                raise _unauthorized("auth.missing", "give an API key: `Authorization: Bearer <key>`")
            if request.method not in ("GET", "HEAD"):
                _require_same_origin(request)
        return Caller(name, self.authorizer)

    def open_session(self, secret: str) -> str | None:
        """The cookie for a holder of this key; None when nobody has it."""
        name = self._holder(secret.strip())
        if name is None:
            return None
        text = f"{name}.{int(time.time()) + SESSION_S}"
        return f"{text}.{_sign(_digest(secret.strip()), text)}"

    def _holder(self, secret: str) -> str | None:
        given, found = _digest(secret), None
        for digest, name in self._keys:  # all of them, always: how long it takes tells nothing
            if hmac.compare_digest(given, digest):
                found = name
        return found

    def _session_holder(self, cookie: str) -> str | None:
        text, _, signature = cookie.rpartition(".")
        name, _, expires = text.partition(".")
        if not (expires.isascii() and expires.isdecimal() and len(expires) < 12) or int(expires) < time.time():
            return None
        own = [digest for digest, holder in self._keys if holder == name]
        valid = [hmac.compare_digest(_sign(digest, text).encode(), signature.encode(errors="replace")) for digest in own]
        return name if any(valid) else None


def require_own_origin(request: web.Request) -> None:
    """A browser tells where a form was sent from; what comes from another site is refused."""
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != request.host:
        raise Problem(403, "auth.cross_site", "this request comes from a page of another site")


def _require_same_origin(request: web.Request) -> None:
    require_own_origin(request)
    if CSRF_HEADER not in request.headers:
        raise Problem(403, "auth.cross_site", f"a write with a session cookie needs the header `{CSRF_HEADER}: 1`")


def _unauthorized(code: str, detail: str) -> Problem:
    return Problem(401, code, detail, headers={"WWW-Authenticate": 'Bearer realm="syncmaster"'})


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode(errors="surrogateescape")).digest()


def _sign(digest: bytes, text: str) -> str:
    return hmac.new(digest, b"session\0" + text.encode(errors="surrogateescape"), hashlib.sha256).hexdigest()
