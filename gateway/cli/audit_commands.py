"""`syncmaster audit`: ask, export, verify (live, or a file of long ago), print the public key. What is verified: `tables/audit_report.py`."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.options import BaseDir, Config, KeyFile, Output, Url

audit = typer.Typer(name="audit", help="What happened, and whether the record of it is whole.", no_args_is_help=True)
PublicKeys = Annotated[
    list[str] | None,
    typer.Option("--key", help="A public key that is trusted, or a file with one; default: the configuration's."),
]


@audit.command("list")
def list_records(
    *,
    artifact: Annotated[str, typer.Option(help="Its key; `*` matches any run of characters.")] = "",
    principal: Annotated[str, typer.Option(help="Who.")] = "",
    decision: Annotated[str, typer.Option(help="accepted, refused, quarantined, delivered, failed, command, …")] = "",
    rule: Annotated[str, typer.Option(help="The rule that decided.")] = "",
    since: Annotated[str, typer.Option(help="RFC 3339, e.g. 2026-11-23T12:00:00Z.")] = "",
    until: Annotated[str, typer.Option(help="RFC 3339; before this moment.")] = "",
    text: Annotated[str, typer.Option(help="Words of the record, or their beginnings.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    url: Url = None,
    key_file: KeyFile = None,
    config: Config = None,
    output: Output = "text",
) -> None:
    """What happened, newest first, as a gateway's index has it."""
    from gateway.cli.api import gateway_api, problems_told, show

    asked = {"artifact": artifact, "principal": principal, "decision": decision, "rule": rule, "since": since, "until": until}
    query = {name: value for name, value in (asked | {"text": text}).items() if value} | {"limit": str(min(limit, 1000))}
    with problems_told():
        items = islice(gateway_api(url, key_file, config).items("/v1/audit", query), limit)
        show(items, ("at", "decision", "artifact", "principal", "rule", "code"), output)


@audit.command()
def export(
    file: Annotated[Path, typer.Argument(help="Where to; an existing file is replaced once all is written.")],
    config: Config = None,
    base_dir: BaseDir = None,
) -> None:
    """Write the whole audit as JSON lines: each record with its stored bytes, and the signed checkpoints."""
    from gateway.cli.audit import export_command

    raise typer.Exit(export_command(file, config, base_dir))


@audit.command()
def verify(
    file: Annotated[Path | None, typer.Argument(help="An export; without one the log itself is read.")] = None,
    *,
    key: PublicKeys = None,
    checkpoints: Annotated[
        Path | None, typer.Option(help="Checkpoints that were kept elsewhere, JSON lines as in NATS; with an export.")
    ] = None,
    config: Config = None,
    base_dir: BaseDir = None,
    output: Output = "text",
) -> None:
    """Exit 0 and the count if the audit is whole, else 1 and the first record that was altered, dropped, reordered or doubled.

    2 is neither: the log is away, or a file cannot be read.
    """
    from gateway.cli.audit import verify_file_command, verify_live_command

    if file is None:
        raise typer.Exit(verify_live_command(key or [], config, base_dir, output))
    raise typer.Exit(verify_file_command(file, key or [], config, base_dir, output, kept=checkpoints))


@audit.command("key")
def public_key(config: Config = None, base_dir: BaseDir = None) -> None:
    """Print the public half of audit.signing_key: for audit.verify_keys, and for whoever verifies elsewhere."""
    from gateway.cli.audit import key_command

    raise typer.Exit(key_command(config, base_dir))


@audit.command()
def reindex(url: Url = None, key_file: KeyFile = None, config: Config = None) -> None:
    """Have a gateway build its index of the audit anew, from the topic."""
    from gateway.cli.api import gateway_api, problems_told

    with problems_told():
        gateway_api(url, key_file, config).call("POST", "/v1/audit/reindex")
        print("the index is being built anew; /readyz of that gateway says when it is done")
