"""What is doubtful about `audit`: nobody signs, or nobody else could check. Part of `config_lint.py`."""

from __future__ import annotations

from collections.abc import Iterator

from streams.config_problem import Problem, Source
from streams.ed25519 import signing_key
from streams.errors import ConfigError
from streams.settings import Settings


def lint_audit(settings: Settings, source: Source) -> Iterator[Problem]:
    audit = settings.audit
    if audit.signing_key is None:
        told = "audit chains get no signed checkpoints: whoever can write to the log could change the audit and compute its chain anew"
        mend = "make a key with `openssl genpkey -algorithm ed25519` and name its file as audit.signing_key"
        yield source.problem(("audit",), told, mend, level="warning")
    for index, name in enumerate(audit.witnesses):
        path = ("audit", "witnesses", index)
        if name not in settings.principals:
            known = ", ".join(sorted(settings.principals)) or "none"
            yield source.problem(path, f"there is no principal {name!r}", f"declare it, or name one of these: {known}")
        elif not settings.principals[name].speaks_nats:
            yield source.problem(
                path, "has no credentials for NATS, so it cannot read checkpoints", "give it one", level="warning"
            )
    yield from _signing_key(settings, source)


def _signing_key(settings: Settings, source: Source) -> Iterator[Problem]:
    """A file that is not there is told among the secrets."""
    reference = settings.audit.signing_key
    try:
        text = None if reference is None else reference.reveal()
    except ConfigError:
        return
    try:
        if text is not None:
            signing_key(text)
    except ConfigError as exc:
        message, _, mend = str(exc).partition(": ")
        yield source.problem(("audit", "signing_key"), message, mend)
