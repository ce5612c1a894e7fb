"""What is valid and still wrong, or doubtful: relations between routes, components, principals, limits and secrets.

Errors keep a process from starting; warnings are told by `syncmaster check`. Looks at secret files' names and modes, never at what
they hold. Shapes and types are `settings.py`'s.
"""

from __future__ import annotations

import itertools
import stat
from collections.abc import Iterator
from pathlib import Path as File
from typing import Any
from urllib.parse import urlsplit

from streams.artifact_identity import KINDS
from streams.config_lint_access import lint_access
from streams.config_lint_alerts import lint_alerts
from streams.config_lint_audit import lint_audit
from streams.config_lint_policies import lint_policies
from streams.config_problem import Problem, Source, sort
from streams.config_yaml import Path
from streams.globs import overlap
from streams.settings import HttpSink, Route, SecretRef, Settings

#: Bytes of a head without its pairs, and of one (artifact, component) pair, with every text as long as the door lets it be, in
#: characters of one byte as in SemVer, purls and URIs. A test compares them with the model.
HEAD_BASE_BYTES = 3328
PAIR_BYTES_MAX = 960

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def lint(settings: Settings, source: Source) -> list[Problem]:
    """Every finding, in the order of the file."""
    checks = (
        _routes,
        _kinds,
        _components,
        lint_access,
        lint_alerts,
        lint_policies,
        lint_audit,
        _head,
        _sizes,
        _times,
        _urls,
        _secrets,
    )
    return sort(problem for check in checks for problem in check(settings, source))


def _routes(settings: Settings, source: Source) -> Iterator[Problem]:
    """One component must not be named by two routes for one artifact: which of the two modes would hold?"""
    for (_, one), (index, other) in itertools.combinations(enumerate(settings.routes), 2):
        shared = sorted(set(one.to) & set(other.to))
        if not shared or not _overlap(one, other):
            continue
        told = f"reaches {', '.join(shared)} for artifacts that route {one.name!r} brings there too"
        path = ("routes", index, "match", "artifacts")
        if (one.mode, one.newest) == (other.mode, other.newest):
            yield source.problem(path, told, "narrow one of the two patterns, or merge the routes", level="warning")
        else:
            yield source.problem(
                path, f"{told}, in another mode", "narrow one of the two patterns, or drop the component from one"
            )


def _overlap(one: Route, other: Route) -> bool:
    pairs = itertools.product(one.match.artifacts, other.match.artifacts)
    return any(overlap(first, second) for first, second in pairs)


def _kinds(settings: Settings, source: Source) -> Iterator[Problem]:
    """A pattern such as `charts/*` is a slip of the pen."""
    for path, pattern in _artifact_patterns(settings):
        if not any(overlap(pattern, f"{kind}/*") for kind in KINDS):
            kinds = ", ".join(f"{kind}/*" for kind in sorted(KINDS))
            yield source.problem(path, "matches no kind of artifact", f"the kinds are {kinds}", level="warning")


def _artifact_patterns(settings: Settings) -> Iterator[tuple[Path, str]]:
    for index, route in enumerate(settings.routes):
        for position, pattern in enumerate(route.match.artifacts):
            yield ("routes", index, "match", "artifacts", position), pattern


def _components(settings: Settings, source: Source) -> Iterator[Problem]:
    routed = _routed(settings)
    for name, component in settings.components.items():
        path = ("components", name)
        if name not in routed:
            yield source.problem(
                path, "no route names this component", "name it in a route's `to`, or remove it", level="warning"
            )
        if component.backoff_s_min > component.backoff_s_max:
            yield source.problem((*path, "backoff_s_min"), "is above backoff_s_max", "lower it, or raise backoff_s_max")


def _routed(settings: Settings) -> set[str]:
    return {name for route in settings.routes for name in route.to}


def _head(settings: Settings, source: Source) -> Iterator[Problem]:
    """A head over its bound would be refused by the log for ever, so the bound must fit the worst case."""
    routed = len(_routed(settings))
    needed = HEAD_BASE_BYTES + routed * PAIR_BYTES_MAX
    if needed > settings.limits.head_bytes_max:
        told = f"{routed} routed components may need {needed} bytes in one artifact's head"
        yield source.problem(("limits", "head_bytes_max"), told, f"raise it to {needed} or more, or route to fewer components")
    if settings.limits.head_bytes_max > settings.limits.stored_record_bytes_max:
        path = ("limits", "head_bytes_max")
        yield source.problem(path, "is above limits.stored_record_bytes_max", "lower it: a head is a stored record")


def _sizes(settings: Settings, source: Source) -> Iterator[Problem]:
    """A batch that cannot hold one message of the greatest size stands still in front of it."""
    limits, bridge, worker = settings.limits, settings.bridge, settings.worker
    if bridge.pull_bytes_max < limits.nats_payload_bytes_max:
        mend = f"raise it to {limits.nats_payload_bytes_max} or more"
        yield source.problem(("bridge", "pull_bytes_max"), "is below limits.nats_payload_bytes_max", mend)
    if worker.chunk_bytes_max < limits.stored_record_bytes_max:
        mend = f"raise it to {limits.stored_record_bytes_max} or more"
        yield source.problem(("worker", "chunk_bytes_max"), "is below limits.stored_record_bytes_max", mend)
    if settings.nats.stream_bytes_max < bridge.pull_bytes_max:
        yield source.problem(
            ("nats", "stream_bytes_max"), "is below bridge.pull_bytes_max", "raise it, or lower bridge.pull_bytes_max"
        )


def _times(settings: Settings, source: Source) -> Iterator[Problem]:
    if settings.kafka.request_timeout_s < settings.kafka.session_timeout_s:
        mend = "raise it to the session's time-out or more"
        yield source.problem(("kafka", "request_timeout_s"), "is below kafka.session_timeout_s", mend, level="warning")
    if settings.nats.grace_window_s == 0:
        mend = "set some minutes, so that events outlive a log that loses its tail"
        yield source.problem(("nats", "grace_window_s"), "keeps nothing that the log has taken", mend, level="warning")
    if settings.kafka.replication_factor == 1 < settings.nats.stream_replicas:
        told = "the log has one copy of what JetStream keeps several of"
        yield source.problem(("kafka", "replication_factor"), told, "raise it to 3", level="warning")


def _urls(settings: Settings, source: Source) -> Iterator[Problem]:
    for name, component in settings.components.items():
        if isinstance(component.sink, HttpSink):
            url, path = urlsplit(component.sink.url), ("components", name, "sink", "url")
            if url.username is not None:
                yield source.problem(path, "holds credentials", "use `bearer`, which is the place of a secret")
            if url.scheme == "http" and url.hostname not in _LOOPBACK:
                mend = "use https, unless the network between them is trusted"
                yield source.problem(path, "sends updates in plain text to another machine", mend, level="warning")


def _secrets(settings: Settings, source: Source) -> Iterator[Problem]:
    """Warnings, not errors: a file is often checked where its secrets are not. Starting without one fails, and says so."""
    missing: set[File] = set()
    in_order = sorted(secret_refs(settings), key=lambda found: source.document.position(found[0]))
    for path, secret in in_order:
        if secret.file is not None and not secret.file.parent.exists():
            if secret.file.parent not in missing:
                told = f"there is no directory {secret.file.parent}, where this secret is looked for"
                yield source.problem(
                    path, told, "make it with mode 0700 where SyncMaster runs, or name its base", level="warning"
                )
            missing.add(secret.file.parent)
        elif wrong := _unusable(secret, source):
            yield source.problem(path, *wrong, level="warning")


def _unusable(secret: SecretRef, source: Source) -> tuple[str, str] | None:
    """What is wrong with it, and the mend."""
    if secret.file is None:
        unset = secret.env not in source.variables
        return (f"the environment variable {secret.env} is not set", "set it where SyncMaster runs") if unset else None
    try:
        mode = secret.file.stat().st_mode
    except OSError as exc:
        told = f"the secret file {secret.file} cannot be used ({exc.strerror})"
        return told, "create it with mode 0600 where SyncMaster runs"
    return (f"everybody may read {secret.file}", f"chmod 600 {secret.file}") if mode & stat.S_IROTH else None


def secret_refs(node: Any, path: Path = ()) -> Iterator[tuple[Path, SecretRef]]:
    """Every place of a secret below a node of the settings."""
    if isinstance(node, SecretRef):
        yield path, node
    elif isinstance(node, dict):
        for key, value in node.items():
            yield from secret_refs(value, (*path, key))
    elif isinstance(node, tuple):
        for index, value in enumerate(node):
            yield from secret_refs(value, (*path, index))
    elif hasattr(type(node), "model_fields"):
        for field in type(node).model_fields:
            yield from secret_refs(getattr(node, field), (*path, field))
