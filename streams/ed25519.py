"""Ed25519 keys as people keep them: PEM, or 32 bytes in hex or base64. Signing and verifying is PyNaCl's.

A key's id is derived from its public half, so nobody has to give names, and none can be given to another key.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from streams.errors import ConfigError

#: RFC 8410: what stands in a DER file before the 32 bytes.
_PKCS8 = bytes.fromhex("302e020100300506032b657004220420")
_SPKI = bytes.fromhex("302a300506032b6570032100")
_PEM = re.compile(r"-----BEGIN ([A-Z ]+)-----(.+?)-----END \1-----", re.DOTALL)
_KEY_BYTES = 32


def signing_key(text: str) -> SigningKey:
    """Of a PEM private key (PKCS #8), or a seed. Raises ConfigError, which never holds the text."""
    return SigningKey(_key_bytes(text, _PKCS8, "PRIVATE KEY", "`openssl genpkey -algorithm ed25519`"))


def verify_key(text: str) -> VerifyKey:
    """Of a PEM public key, or its 32 bytes. Raises ConfigError."""
    return VerifyKey(_key_bytes(text, _SPKI, "PUBLIC KEY", "`syncmaster audit key`, which prints it"))


def key_id(key: VerifyKey) -> str:
    """16 hex: the beginning of the SHA-256 of the public key."""
    return hashlib.sha256(bytes(key)).hexdigest()[:16]


def public_text(key: VerifyKey) -> str:
    """As the configuration takes it."""
    return base64.b64encode(bytes(key)).decode()


def is_signed(key: VerifyKey, message: bytes, signature_hex: str) -> bool:
    try:
        key.verify(message, bytes.fromhex(signature_hex))
    except (BadSignatureError, ValueError):
        return False
    return True


def _key_bytes(text: str, der_prefix: bytes, label: str, made_by: str) -> bytes:
    pem = _PEM.search(text)
    if pem is not None:
        der = _base64(pem[2])
        key = der.removeprefix(der_prefix) if pem[1] == label and der.startswith(der_prefix) else b""
    else:
        text = text.strip()
        key = bytes.fromhex(text) if re.fullmatch(r"[0-9a-fA-F]{64}", text) else _base64(text)
    if len(key) != _KEY_BYTES:
        raise ConfigError(
            f"this is no Ed25519 {label.lower()}: give PEM, or its 32 bytes in base64 or hex; make one with {made_by}"
        )
    return key


def _base64(text: str) -> bytes:
    """Of either alphabet, with or without padding; empty where it is neither."""
    packed = "".join(text.split()).rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""
