"""`syncmaster hold`, `pause`, `halt`, `release` and `holds`: stop deliveries and let them go, over the gateway's HTTP API."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from gateway.cli.api import gateway_api, problems_told, show, show_one
from gateway.cli.options import Config, KeyFile, Output, OutputFormat, Url

_COLUMNS = ("id", "verb", "artifacts", "component", "since", "by", "reason")

Reason = Annotated[str, typer.Option(help="For whoever finds it, and for the audit trail.")]
Artifacts = Annotated[list[str], typer.Argument(help="Keys such as chart/argo-cd; `*` stands for any run of characters.")]


def add_hold_commands(app: typer.Typer) -> None:
    """They are verbs of their own: whoever needs them is in a hurry."""
    for command in (hold, pause, halt, release, holds):
        app.command()(command)


def hold(
    artifacts: Artifacts,
    *,
    reason: Reason,
    url: Url = None,
    key_file: KeyFile = None,
    config: Config = None,
    output: Output = "text",
) -> None:
    """Hold artifacts: nothing about them is delivered to anybody until the release."""
    _stop({"artifacts": artifacts, "reason": reason}, url, key_file, config, output)


def pause(
    component: Annotated[str, typer.Argument(help="A component of the configuration.")],
    *,
    reason: Reason,
    url: Url = None,
    key_file: KeyFile = None,
    config: Config = None,
    output: Output = "text",
) -> None:
    """Pause a component: nothing is delivered to it until the release."""
    _stop({"component": component, "reason": reason}, url, key_file, config, output)


def halt(
    artifacts: Annotated[list[str] | None, typer.Argument(help="Only these, to the component.")] = None,
    *,
    component: Annotated[str | None, typer.Option(help="Only to this one.")] = None,
    everything: Annotated[bool, typer.Option("--everything", help="Instead of both: nothing is delivered to anybody.")] = False,
    reason: Reason,
    url: Url = None,
    key_file: KeyFile = None,
    config: Config = None,
    output: Output = "text",
) -> None:
    """Halt everything, or these artifacts to that component, until the release."""
    asked = {"artifacts": artifacts or [], "component": component, "everything": everything or None, "reason": reason}
    _stop(asked, url, key_file, config, output)


def release(
    id: Annotated[str, typer.Argument(help="The hold's id, as `syncmaster holds` shows it.")],  # noqa: A002 -- the name in the help
    *,
    reason: Reason,
    url: Url = None,
    key_file: KeyFile = None,
    config: Config = None,
    output: Output = "text",
) -> None:
    """Let go: what waited is delivered by itself."""
    with problems_told():
        path = f"/v1/holds/{quote(id, safe='')}/release"
        show_one(gateway_api(url, key_file, config).call("POST", path, json={"reason": reason}), output)


def holds(
    *,
    artifact: Annotated[str | None, typer.Option(help="Only those that stop this artifact.")] = None,
    component: Annotated[str | None, typer.Option(help="Only those that stop deliveries to this component.")] = None,
    url: Url = None,
    key_file: KeyFile = None,
    config: Config = None,
    output: Output = "text",
) -> None:
    """Show what is not delivered, since when, by whom and why."""
    with problems_told():
        found = gateway_api(url, key_file, config).items("/v1/holds", {"artifact": artifact, "component": component})
        show(found if output == "json" else map(_told, found), _COLUMNS, output)


def _told(view: dict[str, Any]) -> dict[str, Any]:
    """What a person reads: an empty selector is everything, and a policy is somebody too."""
    by = f"policy {view['rule']}" if view["rule"] else view["principal"]
    return view | {"artifacts": view["artifacts"] or "all", "component": view["component"] or "all", "by": by}


def _stop(asked: dict[str, Any], url: str | None, key_file: Path | None, config: Path | None, output: OutputFormat) -> None:
    with problems_told():
        show_one(gateway_api(url, key_file, config).call("POST", "/v1/holds", json=asked), output)
