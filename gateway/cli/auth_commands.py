"""`syncmaster auth …`: what the configuration allows, told offline by the engine that judges events and calls."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.api import problems_told
from gateway.cli.options import BaseDir, Config, Output, OutputFormat
from streams.settings_access import Verb

auth = typer.Typer(name="auth", help="Who may do what, by the configuration.", no_args_is_help=True)


@auth.callback()
def _group() -> None:
    """Who may do what, by the configuration."""


@auth.command("can-i")
def can_i(
    principal: Annotated[str, typer.Argument(help="A principal of the configuration.")],
    verb: Annotated[Verb, typer.Argument(help="What it would do.")],
    resource: Annotated[str, typer.Argument(help="An artifact's key, e.g. chart/argo-cd; left out: everything.")] = "",
    *,
    event_type: Annotated[str, typer.Option("--type", help="An event's type.")] = "",
    component: Annotated[str, typer.Option(help="A component's name.")] = "",
    environment: Annotated[str, typer.Option(help="Default: the artifact's, else the component's.")] = "",
    config: Config = None,
    base_dir: BaseDir = None,
    output: Output = "text",
) -> None:
    """Say yes or no, and which rule decided; exit 0 for yes, 1 for no."""
    asked = {"type": event_type, "artifact": resource, "component": component, "environment": environment}
    with problems_told():
        answer = _decide(principal, verb, asked, config, base_dir)
    _tell(answer, output)
    if verb == "publish" and not event_type and not answer["allowed"]:
        typer.echo(
            "that was asked about every type of event; `--type dev.cdevents.artifact.published.0.2.0` asks about one", err=True
        )
    raise typer.Exit(0 if answer["allowed"] else 1)


def _decide(
    principal: str, verb: Verb, asked: dict[str, str], config: Path | None, base_dir: Path | None
) -> dict[str, str | bool]:
    import os

    from agents.authz import Authorizer, Resource
    from streams.config_file import load_settings
    from streams.errors import ConfigError

    settings = load_settings(config, os.environ, base_dir=base_dir)
    if principal not in settings.principals:
        known = ", ".join(sorted(settings.principals)) or "none"
        raise ConfigError(f"there is no principal {principal!r}; declared are: {known}")
    decision = Authorizer(settings).decide(principal, verb, Resource(**asked))
    return {"principal": principal, "verb": verb, **asked, "allowed": decision.allowed, "rule": decision.rule}


def _tell(answer: dict[str, str | bool], output: OutputFormat) -> None:
    if output == "json":
        print(json.dumps(answer, indent=2))
    else:
        print(f"yes: {answer['rule']}" if answer["allowed"] else "no: no rule allows it")
