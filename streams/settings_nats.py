"""`nats` in `syncmaster.yaml`: where the server is, how SyncMaster's own users log in, how long streams keep what. Connecting: `nats_door.py`.

Principals log in as `principals.<name>` says: `settings_access.py`. What the server must know of all of them is written by
`syncmaster nats-config`.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from streams.settings_base import Model, SecretRef, wrong

_NKEY_USER_PREFIX = 20 << 3


def _nkey(text: str) -> str:
    """`U…`, 56 characters: prefix, 32 bytes, CRC-16/XMODEM little endian, as base32."""
    try:
        raw = base64.b32decode(text)
    except binascii.Error:
        raw = b""
    if len(raw) != 35 or raw[0] != _NKEY_USER_PREFIX or binascii.crc_hqx(raw[:-2], 0) != int.from_bytes(raw[-2:], "little"):
        raise ValueError("is no public nkey of a user (`U…`, 56 characters); `nk -gen user -pubout` makes one")
    return text


#: The public half; the seed (`SU…`) stays with its owner.
NKey = Annotated[str, AfterValidator(_nkey)]


def _beside_the_configuration(path: Path, info: ValidationInfo) -> Path:
    base = (info.context or {}).get("secrets_base")
    return path if base is None else Path(base) / path


#: Relative ones are where relative secrets are.
File = Annotated[Path, AfterValidator(_beside_the_configuration)]


class Certificate(Model):
    """Places of a certificate and its private key, PEM."""

    cert: File
    key: File


class Tls(Model):
    """TLS to the server, from the first byte on: what is not encrypted is not spoken with. The server needs `handshake_first`."""

    #: Whom SyncMaster's own users believe, and by whom clients' certificates are signed.
    ca: File
    #: What the server shows; for `syncmaster nats-config`.
    server: Certificate | None = None
    #: What SyncMaster's own users show. Where certificates tell who somebody is, each has its user's name as a DNS name.
    bridge: Certificate | None = None
    gateway: Certificate | None = None
    worker: Certificate | None = None


class Nats(Model):
    url: str = "nats://127.0.0.1:4222"
    #: SyncMaster's own users; the bridge's needs the JetStream API, the gateway's may publish for others. Each logs in with its
    #: password, with the seed of its nkey, or with its certificate under `tls`.
    bridge_user: str = "syncmaster-bridge"
    bridge_password: SecretRef | None = None
    bridge_seed: SecretRef | None = None
    gateway_user: str = "syncmaster-gateway"
    gateway_password: SecretRef | None = None
    gateway_seed: SecretRef | None = None
    worker_user: str = "syncmaster-worker"
    worker_password: SecretRef | None = None
    worker_seed: SecretRef | None = None
    tls: Tls | None = None
    stream_replicas: int = Field(1, ge=1, le=5)
    #: The server's monitoring endpoint, `http://host:8222`: tells whether JetStream acknowledges after a sync to disk.
    monitor_url: str | None = Field(None, pattern=r"^https?://")
    #: Bound of each principal's stream; above 70 % of it the grace window shrinks to nothing.
    stream_bytes_max: int = Field(1 << 30, ge=1 << 20)
    #: How long messages that the log has are kept all the same, in case the log loses its tail.
    grace_window_s: float = Field(600.0, ge=0)
    duplicate_window_s: float = Field(120.0, ge=0.1)

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        for who in ("bridge", "gateway", "worker"):
            if getattr(self, f"{who}_password") and getattr(self, f"{who}_seed"):
                raise wrong((f"{who}_seed",), f"there is a {who}_password too", "keep one of the two")
        return self

    def seed(self, user: str) -> SecretRef | None:
        """Of one of our own users; None for everybody else."""
        own = {self.bridge_user: self.bridge_seed, self.gateway_user: self.gateway_seed, self.worker_user: self.worker_seed}
        return own.get(user)

    def certificate(self, user: str) -> Certificate | None:
        """What one of our own users shows."""
        if self.tls is None:
            return None
        own = {self.bridge_user: self.tls.bridge, self.gateway_user: self.tls.gateway, self.worker_user: self.tls.worker}
        return own.get(user)
