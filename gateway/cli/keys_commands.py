"""`syncmaster keys`: make, list, rotate and revoke API keys, over the gateway's HTTP API. A key is printed once, alone on stdout."""

from __future__ import annotations

import re
import sys
from typing import Annotated, Any
from urllib.parse import quote

import typer

from gateway.cli.api import gateway_api, problems_told, show, show_one
from gateway.cli.options import Config, KeyFile, Output, OutputFormat, Url

keys = typer.Typer(
    name="keys", help="API keys of the gateway: who has which, new ones, the end of old ones.", no_args_is_help=True
)

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_COLUMNS = ("id", "principal", "state", "scopes", "expires", "origin", "description")

Id = Annotated[str, typer.Argument(help="The key's id, as `syncmaster keys list` shows it: the middle of sm_<id>_<secret>.")]


def _seconds(text: str) -> int:
    found = re.fullmatch(r"(\d{1,9})([smhd])", text)
    if found is None:
        raise typer.BadParameter(f"{text!r} is no duration; write 90d, 12h, 30m or 60s")
    return int(found[1]) * _UNITS_S[found[2]]


#: Typer parses defaults too, so that the help shows them as they are written.
Expires = Annotated[int, typer.Option("--expires", parser=_seconds, metavar="90d", help="How long the new key is good.")]


@keys.command("list")
def list_keys(
    *,
    principal: Annotated[str | None, typer.Option(help="Only those of this principal.")] = None,
    state: Annotated[str | None, typer.Option(help="Only `good`, `expired` or `revoked` ones.")] = None,
    url: Url = None,
    key_file: KeyFile = None,
    config: Config = None,
    output: Output = "text",
) -> None:
    """Show who has keys, until when, and for what. What opens a door is not shown."""
    with problems_told():
        found = gateway_api(url, key_file, config).items("/v1/keys", {"principal": principal, "state": state})
        show(found, _COLUMNS, output)


@keys.command()
def create(
    principal: Annotated[str, typer.Argument(help="Whose key: a principal of the configuration.")],
    *,
    scope: Annotated[
        list[str] | None, typer.Option(help="A verb that the key is for; repeat it. Without, all that the principal may.")
    ] = None,
    expires: Expires = "90d",  # type: ignore[assignment]
    description: Annotated[str, typer.Option(help="What it is for.")] = "",
    url: Url = None,
    key_file: KeyFile = None,
    config: Config = None,
    output: Output = "text",
) -> None:
    """Make a key. It is shown now and never again: stdout has the key, stderr the rest."""
    asked = {"principal": principal, "scopes": scope or [], "expires_in_s": expires, "description": description}
    with problems_told():
        _show_new(gateway_api(url, key_file, config).call("POST", "/v1/keys", json=asked), output)


@keys.command()
def rotate(
    id: Id,  # noqa: A002 -- the name in the help
    *,
    overlap: Annotated[
        int, typer.Option("--overlap", parser=_seconds, metavar="24h", help="How long the old key stays good beside the new one.")
    ] = "24h",  # type: ignore[assignment]
    expires: Expires = "90d",  # type: ignore[assignment]
    url: Url = None,
    key_file: KeyFile = None,
    config: Config = None,
    output: Output = "text",
) -> None:
    """Make a second key like this one. Both are good during the overlap, so that nobody has to stop."""
    asked = {"overlap_s": overlap, "expires_in_s": expires}
    with problems_told():
        _show_new(gateway_api(url, key_file, config).call("POST", f"/v1/keys/{quote(id, safe='')}/rotate", json=asked), output)


@keys.command()
def revoke(
    id: Id,  # noqa: A002 -- the name in the help
    *,
    reason: Annotated[str, typer.Option(help="For the audit trail.")] = "",
    url: Url = None,
    key_file: KeyFile = None,
    config: Config = None,
    output: Output = "text",
) -> None:
    """Make a key good for nothing, on every gateway within a second. Sessions that it opened end with it."""
    with problems_told():
        path = f"/v1/keys/{quote(id, safe='')}/revoke"
        show_one(gateway_api(url, key_file, config).call("POST", path, json={"reason": reason}), output)


def _show_new(made: dict[str, Any], output: OutputFormat) -> None:
    if output == "json":
        show_one(made, output)
        return
    print(made["key"])
    scopes = ", ".join(made["scopes"]) or "all that the principal may"
    told = f"key {made['id']} of {made['principal']}, good until {made['expires']}, for {scopes}; it is not shown again"
    print(told + (f"; it replaces {made['replaces']}" if made["replaces"] else ""), file=sys.stderr)
