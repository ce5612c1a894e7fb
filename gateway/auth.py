"""Who is asking: from a request to a principal of the configuration. What that principal may do is asked of `caller.Caller`.

`Keyring.authenticate` is the one place where a request becomes a principal; another kind of credentials (OIDC) belongs there. Which keys
are good: `api_keys.py`; the console's cookie: `sessions.py`. No key is ever logged, echoed or put into a cookie.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from aiohttp import web

from agents.authz import Authorizer
from gateway.api_keys import ApiKeys, Credential, LoginRefused
from gateway.caller import Caller
from gateway.problems import Problem
from gateway.sessions import SESSION_COOKIE, Sessions, shared_secret
from streams.control_reader import ControlReader
from streams.settings import Settings

#: A page of another site cannot send this without our consent (CORS), which is never given.
CSRF_HEADER = "sm-request"


class Keyring:
    """Raises ConfigError for a key of the configuration that cannot be read, or that can be guessed."""

    def __init__(self, settings: Settings, authorizer: Authorizer, control: ControlReader) -> None:
        self.authorizer = authorizer
        self.keys = ApiKeys(settings.principals, control, settings.gateway.keys_stale_s_max)
        self._sessions = Sessions(self.keys, shared_secret(settings.nats))

    def authenticate(self, request: web.Request) -> Caller:
        """The principal of a request. Raises LoginRefused (nobody known) or Problem 403 (a cookie used from elsewhere)."""
        authorizations = request.headers.getall("Authorization", [])
        if authorizations:
            credential = self.keys.find(_bearer(authorizations))
        else:
            credential = self._session(request)
            if request.method not in ("GET", "HEAD"):
                _require_same_origin(request)
        return Caller(credential.principal, self.authorizer, credential.scopes, credential.id)

    def open_session(self, key: str) -> str:
        """The cookie for a holder of this key. Raises LoginRefused."""
        return self._sessions.open(self.keys.find(key.strip()))

    def _session(self, request: web.Request) -> Credential:
        cookie = request.cookies.get(SESSION_COOKIE)
        if not cookie:
            raise LoginRefused("auth.missing", "give an API key: `Authorization: Bearer <key>`")
        credential = self._sessions.find(cookie)
        if credential is None:
            raise LoginRefused("auth.session_ended", "this session is none of ours, or has ended; log in again")
        return credential


def _bearer(authorizations: list[str]) -> str:
    scheme, _, key = authorizations[0].partition(" ")
    if len(authorizations) > 1 or scheme.lower() != "bearer":
        raise LoginRefused("auth.malformed", "give one API key, and nothing else: `Authorization: Bearer <key>`")
    return key.strip()


def require_own_origin(request: web.Request) -> None:
    """A browser tells where a form was sent from; what comes from another site is refused."""
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != request.host:
        raise Problem(403, "auth.cross_site", "this request comes from a page of another site")


def _require_same_origin(request: web.Request) -> None:
    require_own_origin(request)
    if CSRF_HEADER not in request.headers:
        raise Problem(403, "auth.cross_site", f"a write with a session cookie needs the header `{CSRF_HEADER}: 1`")
