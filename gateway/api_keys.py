"""API keys: their form, and which of them opens what. Those of the configuration and those in [control]. Making them: `operations/keys.py`.

A key is `sm_<id>_<secret>`; the id finds it, and of the secret only SHA-256 is known: it has 256 random bits, so a slow hash would protect
nothing more. What is wrong with a key is told only to who holds it. The keys of the configuration may have any form; they are the
way in when there is no other, so they hold without the log too.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Mapping

import msgspec

from gateway.problems import Problem, unavailable
from streams.control import ApiKey
from streams.control_reader import ControlReader
from streams.errors import ConfigError
from streams.settings import Principal, Verb

_FORM = re.compile(r"sm_([a-z0-9]{12})_([A-Za-z0-9_-]{43})")
_ID_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
_CHARS_MIN = 16
#: No key is longer; what is, need not be hashed.
KEY_CHARS_MAX = 512


class LoginRefused(Problem):
    """Nobody is known by this request. `principal` and `key_id` tell the audit whose key it was, as far as that is certain."""

    def __init__(self, code: str, detail: str, *, principal: str = "", key_id: str = "") -> None:
        super().__init__(401, code, detail, headers={"WWW-Authenticate": 'Bearer realm="syncmaster"'})
        self.principal = principal
        self.key_id = key_id


class Credential(msgspec.Struct, frozen=True):
    """A key that is good, without its secret. `scopes`: () is all that the principal may. `expires_ms`: 0 is never."""

    id: str
    principal: str
    digest: bytes
    scopes: tuple[Verb, ...] = ()
    expires_ms: int = 0


class ApiKeys:
    """All keys. Reads the configuration's secrets once, at start: raises ConfigError for one that is not there or can be guessed."""

    def __init__(self, principals: Mapping[str, Principal], control: ControlReader, stale_s_max: float) -> None:
        self._principals = principals
        self._control = control
        self._stale_s_max = stale_s_max
        self.configured: dict[str, Credential] = {}
        for name, principal in principals.items():
            for reference in principal.api_keys:
                credential = _configured(name, reference.reveal())
                self.configured[credential.id] = credential

    def find(self, given: str) -> Credential:
        """The credential of who gives this key. Raises LoginRefused, and Problem 503 while nobody can tell."""
        if len(given) > KEY_CHARS_MAX:
            raise _unknown()
        whole, found = digest(given), None
        for credential in self.configured.values():  # all of them, always: how long it takes tells nothing
            if hmac.compare_digest(whole, credential.digest):
                found = credential
        return found or self._made(given)

    def good(self, ident: str) -> Credential | None:
        """The credential of this id, while it opens anything."""
        if ident in self.configured:
            return self.configured[ident]
        key = self._control.keys.get(ident)
        if key is None or not self._fresh() or not key.good(_now_ms()) or key.principal not in self._principals:
            return None
        return _credential(key)

    def _made(self, given: str) -> Credential:
        form = _FORM.fullmatch(given)
        if form is None:
            raise _unknown()
        if not self._fresh():
            detail = "this gateway has not heard for a while which keys are good; /readyz tells, other gateways may know"
            raise unavailable("auth.keys_stale", detail, 2.0)
        ident, secret = form.groups()
        key = self._control.keys.get(ident)
        if not hmac.compare_digest(digest(secret).hex(), key.hash if key else ""):
            raise _unknown()
        assert key is not None
        self._require_good(key)
        return _credential(key)

    def _require_good(self, key: ApiKey) -> None:
        whose = {"principal": key.principal, "key_id": key.id}
        if key.revoked_ms:
            raise LoginRefused("auth.key_revoked", "this API key was revoked; ask for another", **whose)
        if key.expired(_now_ms()):
            raise LoginRefused("auth.key_expired", "this API key has expired; ask for another, or rotate in time", **whose)
        if key.principal not in self._principals:
            detail = "the principal of this API key is not in the configuration any more"
            raise LoginRefused("auth.principal_unknown", detail, **whose)

    def _fresh(self) -> bool:
        return self._control.is_fresh(self._stale_s_max)


def mint() -> tuple[str, str, str]:
    """A new key: its id, the hash of its secret, and the whole, which nobody will see again."""
    ident = "".join(secrets.choice(_ID_ALPHABET) for _ in range(12))
    secret = secrets.token_urlsafe(32)
    return ident, digest(secret).hex(), f"sm_{ident}_{secret}"


def digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode(errors="surrogateescape")).digest()


def _configured(principal: str, secret: str) -> Credential:
    if len(secret) < _CHARS_MIN:
        raise ConfigError(
            f"an API key of principal {principal!r} has less than {_CHARS_MIN} characters; make one with `openssl rand -hex 32`"
        )
    if len(secret) > KEY_CHARS_MAX:
        raise ConfigError(
            f"an API key of principal {principal!r} has more than {KEY_CHARS_MAX} characters; is it the right file?"
        )
    hashed = digest(secret)
    return Credential(f"config-{hashlib.sha256(b'id' + hashed).hexdigest()[:8]}", principal, hashed)


def _credential(key: ApiKey) -> Credential:
    return Credential(key.id, key.principal, bytes.fromhex(key.hash), key.scopes, key.expires_ms)


def _unknown() -> LoginRefused:
    return LoginRefused("auth.unknown_key", "this API key is not one of ours, or is not any more")


def _now_ms() -> int:
    return int(time.time() * 1000)
