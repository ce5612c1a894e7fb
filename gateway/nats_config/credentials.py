"""How the server knows each user: by password, by the public half of an nkey, or by what its certificate says.

With `verify_and_map` nats-server takes the user from the certificate and looks at no password: then whoever has a password only could not
log in, and a user without a password must not be written where certificates are not looked at, or it would be an open door.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import nkeys

from gateway.nats_config.notation import EnvRef
from gateway.nats_config.rights import own_users, users
from streams.errors import ConfigError
from streams.settings import SecretRef, Settings

Text = str | EnvRef


@dataclass(frozen=True)
class Credentials:
    """What the configuration does not hold itself: passwords, and the public nkeys of our own users. By user."""

    passwords: Mapping[str, Text] = field(default_factory=dict)
    nkeys: Mapping[str, Text] = field(default_factory=dict)


def revealed(settings: Settings) -> Credentials:
    """The secrets themselves, for a file that only the server reads. Raises ConfigError for one that is not there."""
    return _credentials(settings, lambda _, ref: ref.reveal(), lambda user, ref: _public(user, ref.reveal()))


def from_environment(settings: Settings) -> Credentials:
    """References to the server's environment, for a file that is committed."""
    return _credentials(settings, lambda user, _: EnvRef(variable(user)), lambda user, _: EnvRef(variable(user)))


def variable(user: str) -> str:
    """Where the server finds the password, or the public nkey, of a user."""
    return f"SM_NATS_{user.upper().replace('-', '_')}"


def maps_certificates(settings: Settings) -> bool:
    return any(principal.nats_certificates for principal in settings.principals.values())


def entries(settings: Settings, credentials: Credentials, user: str) -> list[dict[str, Any]]:
    """One `users` entry for each way in which the user may log in. Raises ConfigError where there is none."""
    found = list(_entries(settings, credentials, user))
    if not found:
        raise ConfigError(_MENDS[maps_certificates(settings)].format(user=user))
    return found


_MENDS = {
    False: "the NATS user {user} has no credentials; give it a password or an nkey (`nats_password`, `nats_nkeys`; `nats.…_seed`)",
    True: "certificates are mapped to users, so nats-server looks at no password, and the NATS user {user} has nothing else; "
    "give it an nkey or a certificate (`nats_nkeys`, `nats_certificates`; `nats.…_seed`, `nats.tls.…`)",
}


def _entries(settings: Settings, credentials: Credentials, user: str) -> Iterator[dict[str, Any]]:
    principal, mapped = settings.principals.get(user), maps_certificates(settings)
    if user in credentials.passwords and not mapped:
        yield {"user": user, "password": credentials.passwords[user]}
    if user in credentials.nkeys:
        yield {"nkey": credentials.nkeys[user]}
    if principal is not None:
        yield from ({"nkey": nkey} for nkey in principal.nats_nkeys)
        yield from ({"user": subject} for subject in principal.nats_certificates)
    elif mapped and settings.nats.certificate(user) is not None:
        yield {"user": user}


def require_distinct(settings: Settings) -> None:
    """Two users that the server cannot tell apart would have each other's rights. Raises ConfigError."""
    seen: dict[str, str] = dict.fromkeys(own_users(settings), "SyncMaster itself")
    for name in users(settings).keys() - seen.keys():
        principal = settings.principals[name]
        for identity in {*principal.nats_nkeys, *principal.nats_certificates}:
            if identity in seen:
                raise ConfigError(f"{identity!r} stands for {name} and for {seen[identity]}; give each its own")
            seen[identity] = name


def _credentials(
    settings: Settings, password: Callable[[str, SecretRef], Text], nkey: Callable[[str, SecretRef], Text]
) -> Credentials:
    own = settings.nats
    passwords: dict[str, SecretRef | None] = {name: principal.nats_password for name, principal in settings.principals.items()}
    passwords |= {
        own.bridge_user: own.bridge_password,
        own.gateway_user: own.gateway_password,
        own.worker_user: own.worker_password,
    }
    seeds = {user: own.seed(user) for user in own_users(settings)}
    return Credentials(
        {user: password(user, ref) for user, ref in passwords.items() if ref is not None},
        {user: nkey(user, ref) for user, ref in seeds.items() if ref is not None},
    )


def _public(user: str, seed: str) -> str:
    try:
        public: bytes = nkeys.from_seed(bytearray(seed.encode())).public_key
    except (nkeys.NkeysError, ValueError):
        raise ConfigError(f"the seed of the NATS user {user} is none (`SU…`, 58 characters); `nk -gen user` makes one") from None
    return public.decode()
