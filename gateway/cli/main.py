"""`syncmaster`: the commands, and what each one takes. What they do is in the files beside this one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.audit_commands import audit
from gateway.cli.auth_commands import auth
from gateway.cli.holds_commands import add_hold_commands
from gateway.cli.keys_commands import keys
from gateway.cli.options import BaseDir, Config, Output
from gateway.cli.quarantine_commands import quarantine

app = typer.Typer(
    name="syncmaster",
    help="Keeps every component of a Kubernetes artifact platform in step.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(audit)
app.add_typer(auth)
app.add_typer(keys)
app.add_typer(quarantine)
add_hold_commands(app)


@app.command()
def up(
    config: Config = None,
    index: Annotated[str | None, typer.Option(help="A Helm repository's index.yaml, path or URL, sent oldest first.")] = None,
    once: Annotated[
        bool, typer.Option(help="Publish, wait until everything is in sync, compare, print one JSON line, stop.")
    ] = False,
    timeout_s: Annotated[float, typer.Option(help="With --once: give up after this long.")] = 600.0,
) -> None:
    """Start everything on this machine: NATS, Kafka, bridge, worker, gateway, example components; and let events flow."""
    from gateway.local.up import Options, up_command

    raise typer.Exit(up_command(Options(config=config, index=index, once=once, timeout_s=timeout_s)))


@app.command()
def bridge(config: Config = None, base_dir: BaseDir = None) -> None:
    """Bring events from NATS JetStream into the log."""
    from gateway.cli.serve import bridge_command

    bridge_command(config, base_dir)


@app.command()
def worker(config: Config = None, base_dir: BaseDir = None) -> None:
    """Judge events, keep the state, bring components in step."""
    from gateway.cli.serve import worker_command

    worker_command(config, base_dir)


@app.command()
def gateway(config: Config = None, base_dir: BaseDir = None) -> None:
    """Answer over HTTP from a read replica; take events and manual triggers."""
    from gateway.cli.serve import gateway_command

    gateway_command(config, base_dir)


@app.command()
def check(
    file: Annotated[Path | None, typer.Argument(help="The configuration; default as for the other commands.")] = None,
    output: Output = "text",
    base_dir: BaseDir = None,
) -> None:
    """Tell every problem of a configuration with file:line and the mend; exit 1 when one is an error."""
    from gateway.cli.check import check_command

    raise typer.Exit(check_command(file, output, base_dir))


@app.command()
def config(
    file: Annotated[Path | None, typer.Argument(help="The configuration; default as for the other commands.")] = None,
    base_dir: BaseDir = None,
) -> None:
    """Print the effective configuration, without secrets."""
    from gateway.cli.config import config_command

    raise typer.Exit(config_command(file, base_dir))


@app.command("nats-config")
def nats_config(
    file: Annotated[Path | None, typer.Argument(help="The configuration; default as for the other commands.")] = None,
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to write, with mode 0600; default: stdout.")
    ] = None,
    env: Annotated[bool, typer.Option(help="Write $SM_NATS_<USER> instead of passwords: for a file that is committed.")] = False,
    listen: Annotated[str, typer.Option(help="host:port of the server.")] = "127.0.0.1:4222",
    monitor_port: Annotated[int | None, typer.Option(help="Serve monitoring there too; it is not authenticated.")] = None,
    store_dir: Annotated[Path, typer.Option(help="Where JetStream keeps its streams.")] = Path("/data"),
    base_dir: BaseDir = None,
) -> None:
    """Write the nats-server's configuration: who may connect, and publish what; that an acknowledgement means on disk."""
    from gateway.cli.nats_config import nats_config_command

    code = nats_config_command(
        file, base_dir, output=output, env=env, listen=listen, monitor_port=monitor_port, store_dir=store_dir
    )
    raise typer.Exit(code)


@app.command()
def publish(
    principal: Annotated[str, typer.Argument(help="As whom: a principal of the configuration.")],
    file: Annotated[
        Path, typer.Argument(help="CloudEvents, structured: one JSON object, an array, or one per line; - reads stdin.")
    ],
    config: Config = None,
    base_dir: BaseDir = None,
) -> None:
    """Publish CloudEvents over NATS, and say of each where it stands in its stream."""
    from gateway.cli.publish import publish_command

    raise typer.Exit(publish_command(principal, file, config, base_dir))


@app.command("import-helm-index")
def import_helm_index(
    index: Annotated[str, typer.Argument(help="index.yaml of a Helm repository, path or URL.")],
    principal: Annotated[str, typer.Option(help="As whom the charts are announced.")] = "c24-chart-generator",
    config: Config = None,
    base_dir: BaseDir = None,
) -> None:
    """Announce every chart version of a Helm repository, oldest first."""
    from gateway.cli.publish import import_command

    raise typer.Exit(import_command(index, principal, config, base_dir))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def faust(context: typer.Context, config: Config = None, base_dir: BaseDir = None) -> None:
    """Run Faust's own commands (agents, tables, model, worker, …) on this configuration's app."""
    from gateway.cli.faust import faust_command

    faust_command(context.args, config, base_dir)


def main() -> None:
    app()


if __name__ == "__main__":
    main()
