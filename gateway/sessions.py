"""Sessions of the console: a signed cookie that any gateway can check, and that dies with its key. Nothing is stored.

The cookie is `<key id>.<expiry>.<signature>`. What signs is made of a secret that the gateways share and of the key's hash: who can read
[control] knows the hashes, and must not be able to sign; who has a revoked key has no session either.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time

from gateway.api_keys import ApiKeys, Credential
from streams.settings import Nats, SecretRef

SESSION_COOKIE = "sm_session"
SESSION_S = 12 * 3600
_COOKIE_CHARS_MAX = 256


class Sessions:
    def __init__(self, keys: ApiKeys, shared: bytes) -> None:
        self._keys = keys
        self._shared = shared

    def open(self, credential: Credential) -> str:
        """The cookie. It never outlives its key."""
        expires_s = int(time.time()) + SESSION_S
        if credential.expires_ms:
            expires_s = min(expires_s, credential.expires_ms // 1000)
        text = f"{credential.id}.{expires_s}"
        return f"{text}.{self._sign(credential, text)}"

    def find(self, cookie: str) -> Credential | None:
        """Whose session it is; None when it is nobody's, or not any more."""
        text, _, signature = cookie[:_COOKIE_CHARS_MAX].rpartition(".")
        ident, _, expires = text.partition(".")
        if not (expires.isascii() and expires.isdecimal() and len(expires) < 12) or int(expires) < time.time():
            return None
        credential = self._keys.good(ident)
        if credential is None:
            return None
        valid = hmac.compare_digest(self._sign(credential, text).encode(), signature.encode(errors="replace"))
        return credential if valid else None

    def _sign(self, credential: Credential, text: str) -> str:
        own = hmac.new(self._shared, credential.digest, hashlib.sha256).digest()
        return hmac.new(own, b"session\0" + text.encode(errors="surrogateescape"), hashlib.sha256).hexdigest()


def shared_secret(nats: Nats) -> bytes:
    """What only the gateways know: made of their NATS credentials. Without any, sessions hold at this process alone.

    Raises ConfigError for one that cannot be read.
    """
    certificate = nats.certificate(nats.gateway_user)
    own = nats.gateway_password or nats.gateway_seed or (SecretRef(file=certificate.key) if certificate else None)
    return hashlib.sha256(b"sessions\0" + own.reveal().encode()).digest() if own else secrets.token_bytes(32)
