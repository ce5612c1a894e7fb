"""Accounts, one per principal, beside the one that holds the streams: the second fence behind permissions.

Permissions alone do not keep principals apart: a server checks where a client publishes, never where it asks the answer to be sent. With
everybody in one account, c4 could publish under its own prefix with `sm.in.c24.x` as reply subject, and the stream of c24 would store the
acknowledgement; a pull of messages stored whole events there. Between accounts the server replaces reply subjects, so they lead back
to the asker or nowhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from gateway.nats_config.rights import Rights, own_users, principal_users
from streams.login_advisories import REFUSED_LOGINS
from streams.settings import Settings

#: The account of SyncMaster's own users, with the streams. A principal's account is called as the principal.
ACCOUNT = "SYNCMASTER"
#: The server's own. It must be the one that the server has by default: to another it does not change without a restart.
SYSTEM = "$SYS"
_AUTH_ERRORS = "$SYS.SERVER.*.CLIENT.AUTH.ERR"
#: The entries of a user, without what it may do.
Logins = Callable[[str], list[dict[str, Any]]]


def accounts(settings: Settings, logins: Logins) -> dict[str, Any]:
    own, principals = own_users(settings), principal_users(settings)
    return {
        ACCOUNT: {
            "jetstream": "enabled",
            "users": [entry for name, rights in own.items() for entry in _users(logins(name), rights)],
            "exports": [
                *(export for name, rights in principals.items() for export in _exports(name, rights)),
                *_streams(principals),
            ],
            "imports": [
                {"service": {"account": name, "subject": subject}}
                for name, rights in principals.items()
                for subject in rights.answer
            ]
            + [{"stream": {"account": SYSTEM, "subject": _AUTH_ERRORS}, "to": REFUSED_LOGINS}],
        },
        # Nobody logs in to it. Of all that the server says there, refused logins are heard, and by us alone.
        SYSTEM: {"exports": [{"stream": _AUTH_ERRORS, "accounts": [ACCOUNT]}]},
        **{name: _account(logins(name), rights) for name, rights in principals.items()},
    }


def _account(logins: list[dict[str, Any]], rights: Rights) -> dict[str, Any]:
    imports: list[dict[str, Any]]
    imports = [{"service": {"account": ACCOUNT, "subject": subject}, "to": _locally(subject)} for subject in rights.publish]
    imports += [{"stream": {"account": ACCOUNT, "subject": subject}} for subject in rights.hear]
    return {
        "users": _users(logins, replace(rights, publish=tuple(map(_locally, rights.publish)))),
        "exports": [{"service": subject, "accounts": [ACCOUNT]} for subject in rights.answer],
        "imports": imports,
        # The server answers `$JS.API` itself, for the account that asks, which has no streams: this leads it to ours. Clients need not
        # know; permissions are checked after it.
        "mappings": {"$JS.API.>": _locally("$JS.API.>")},
    }


def _locally(subject: str) -> str:
    """What an imported subject is called within a principal's account."""
    return subject.replace("$JS.API.", f"{ACCOUNT}.API.")


def _exports(name: str, rights: Rights) -> list[dict[str, Any]]:
    """What the principal publishes is a service of ours. Only a pull of messages has more than one answer."""
    return [
        {"service": subject, "accounts": [name], **({"response_type": "stream"} if ".MSG.NEXT." in subject else {})}
        for subject in rights.publish
    ]


def _streams(principals: dict[str, Rights]) -> list[dict[str, Any]]:
    """What is heard in other accounts, and in which."""
    subjects = dict.fromkeys(subject for rights in principals.values() for subject in rights.hear)
    return [
        {"stream": subject, "accounts": [name for name, rights in principals.items() if subject in rights.hear]}
        for subject in subjects
    ]


def _users(logins: list[dict[str, Any]], rights: Rights) -> list[dict[str, Any]]:
    permissions: dict[str, Any] = {
        "publish": {"allow": list(rights.publish)},
        "subscribe": {"allow": [*rights.subscribe, *rights.answer, *rights.hear]},
    }
    if rights.answer:
        permissions["allow_responses"] = {"max": 1, "expires": f"{rights.answer_within_s:g}s"}
    return [{**login, "permissions": permissions} for login in logins]
