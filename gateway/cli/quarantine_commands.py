"""`syncmaster quarantine`: what was set aside, one message with its bytes, and what becomes of it, over the gateway's HTTP API."""

from __future__ import annotations

import sys
from itertools import islice
from typing import Annotated, Any
from urllib.parse import quote

import typer

from gateway.cli.api import gateway_api, problems_told, show, show_one
from gateway.cli.options import Config, KeyFile, Output, OutputFormat, Url
from streams.errors import ConfigError

quarantine = typer.Typer(
    name="quarantine",
    help="Messages that could not be used, or that a policy parked: look, release, discard.",
    no_args_is_help=True,
)

_COLUMNS = ("artifact", "id", "kept", "reason", "rule", "principal", "at")

Artifact = Annotated[str | None, typer.Argument(help="The artifact's key, as `list` shows it.")]
Ident = Annotated[str | None, typer.Argument(help="The entry's id, as `list` shows it.")]
Reason = Annotated[str, typer.Option(help="For the audit trail.")]
Artifacts = Annotated[str | None, typer.Option("--artifacts", help="Keys; `*` stands for any run of characters.")]
Rule = Annotated[str | None, typer.Option(help="The policy that parked it; `decode` for what is malformed.")]
Code = Annotated[str | None, typer.Option(help="The reason's code, such as json.invalid.")]
Principal = Annotated[str | None, typer.Option(help="Who sent it.")]
Kept = Annotated[str | None, typer.Option(help="`malformed`, `parked` or `queued`.")]
Since = Annotated[str | None, typer.Option(help="Set aside since then, such as 2026-11-23T17:00:00Z.")]
Until = Annotated[str | None, typer.Option(help="Set aside until then.")]


@quarantine.command("list")
def list_entries(
    *,
    artifacts: Artifacts = None,
    rule: Rule = None,
    code: Code = None,
    principal: Principal = None,
    kept: Kept = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, help="Show at most so many.")] = 1000,
    url: Url = None,
    key_file: KeyFile = None,
    config: Config = None,
    output: Output = "text",
) -> None:
    """List what is in quarantine, by artifact, in the order in which it waits."""
    asked = {
        "artifacts": artifacts,
        "rule": rule,
        "reason": code,
        "principal": principal,
        "kept": kept,
        "since": since,
        "until": until,
    }
    with problems_told():
        found = gateway_api(url, key_file, config).items("/v1/quarantine", asked)
        show(islice(found, limit), _COLUMNS, output)


@quarantine.command("show")
def show_entry(
    artifact: Annotated[str, typer.Argument(help="The artifact's key.")],
    id: Annotated[str, typer.Argument(help="The entry's id.")],  # noqa: A002 -- the name in the help
    *,
    url: Url = None,
    key_file: KeyFile = None,
    config: Config = None,
    output: Output = "text",
) -> None:
    """Show one message: why it is here, where it stands, and the bytes as they came."""
    with problems_told():
        found = gateway_api(url, key_file, config).call("GET", _path(artifact, id))
        if output == "text":
            found = {
                name: value
                for name, value in found.items()
                if name != ("body_text" if found["body_text"] is None else "body_base64")
            }
        show_one(found, output)


@quarantine.command()
def release(
    artifact: Artifact = None,
    id: Ident = None,  # noqa: A002 -- the name in the help
    *,
    reason: Reason,
    artifacts: Artifacts = None,
    rule: Rule = None,
    code: Code = None,
    principal: Principal = None,
    since: Since = None,
    until: Until = None,
    url: Url = None,
    key_file: KeyFile = None,
    config: Config = None,
    output: Output = "text",
) -> None:
    """Judge a message again without the rule that parked it, or all that the options select; what waits behind follows in order."""
    wanted = {"artifacts": artifacts, "rule": rule, "code": code, "principal": principal, "since": since, "until": until}
    with problems_told():
        api = gateway_api(url, key_file, config)
        _tell(api.call("POST", *_asked("release", artifact, id, wanted, reason)), output)


@quarantine.command()
def discard(
    artifact: Artifact = None,
    id: Ident = None,  # noqa: A002 -- the name in the help
    *,
    reason: Reason,
    artifacts: Artifacts = None,
    rule: Rule = None,
    code: Code = None,
    principal: Principal = None,
    kept: Kept = None,
    since: Since = None,
    until: Until = None,
    url: Url = None,
    key_file: KeyFile = None,
    config: Config = None,
    output: Output = "text",
) -> None:
    """Discard a message for good, or all that the options select. The audit keeps the digest of its bytes."""
    wanted = {
        "artifacts": artifacts,
        "rule": rule,
        "code": code,
        "principal": principal,
        "kept": kept,
        "since": since,
        "until": until,
    }
    with problems_told():
        api = gateway_api(url, key_file, config)
        _tell(api.call("POST", *_asked("discard", artifact, id, wanted, reason)), output)


def _asked(verb: str, artifact: str | None, ident: str | None, wanted: dict[str, str | None], reason: str) -> tuple[str, Any]:
    """Path and body: of one entry, or of what is selected. Raises ConfigError for both and for neither."""
    given = {name: value for name, value in wanted.items() if value is not None}
    if artifact is not None and ident is not None and not given:
        return f"{_path(artifact, ident)}/{verb}", {"reason": reason}
    if artifact is None and given:
        return f"/v1/quarantine/{verb}", given | {"reason": reason}
    raise ConfigError(
        "say which: an artifact and the id of an entry, or options that select some; `syncmaster quarantine list` shows them"
    )


def _path(artifact: str, ident: str) -> str:
    return f"/v1/quarantine/{quote(artifact, safe='')}/{quote(ident, safe='')}"


def _tell(operation: dict[str, Any], output: OutputFormat) -> None:
    if output == "json":
        show_one(operation, output)
        return
    print(operation["id"])
    print(f"{operation['verb']} of {operation['entries']} entries ordered: {operation['about']}", file=sys.stderr)
