"""`audit` in `syncmaster.yaml`: checkpoints of the audit chains, who signs them, whose signatures count, who may keep copies."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, Field

from streams.ed25519 import verify_key
from streams.errors import ConfigError
from streams.settings_base import Model, Name, SecretRef


def _public(text: str) -> str:
    try:
        verify_key(text)
    except ConfigError as exc:
        raise ValueError(str(exc)) from None
    return text


PublicKey = Annotated[str, AfterValidator(_public)]


class VerifyKey(Model):
    """A public key whose checkpoints count, beside that of `signing_key`: an earlier one, or another installation's."""

    public_key: PublicKey
    #: What claims to have been signed later does not count: when the key was retired.
    until: AwareDatetime | None = None


class Audit(Model):
    #: How often a partition whose chain has grown gets a checkpoint.
    checkpoint_interval_s: float = Field(60.0, ge=0.1)
    #: Ed25519, PEM or a seed of 32 bytes in base64 or hex. Without it the chain holds, but nothing is signed.
    signing_key: SecretRef | None = None
    verify_keys: tuple[VerifyKey, ...] = ()
    #: Principals that may read the checkpoints over NATS, to hold them where SyncMaster's operators cannot change them.
    witnesses: tuple[Name, ...] = ()
