"""`demo`: the whole system on this machine, in one command."""

import asyncio
from pathlib import Path

import click
import uvloop

from receiver.cli.options import NumberRange, config_option, json_option, load_settings
from receiver.demo.run import Options, run
from receiver.demo.stage import Ports
from receiver.log import configure_logging

_PORT = click.IntRange(0, 65535)


@click.command()
@config_option
@json_option
@click.option("--port", type=_PORT, default=0, help="Port of the receiver; a free one unless given.")
@click.option("--sandbox-port", type=_PORT, default=0, help="Port of the sandbox; a free one unless given.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed makes the same leads.")
@click.option("--for", "for_s", type=NumberRange(10, 3600), metavar="SECONDS", help="End by itself after these.")
@click.pass_context
def demo(
    ctx: click.Context,
    config_path: Path | None,
    *,
    as_json: bool,
    port: int,
    sandbox_port: int,
    seed: int,
    for_s: float | None,
) -> None:
    """Show a receiver taking six days of campaigns in a minute, and hold its figures against the truth."""
    settings = load_settings(config_path).settings
    # The demo says in its own lines what the log would; only what breaks is left to it.
    configure_logging(settings.log.format, "error")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        ctx.exit(runner.run(run(Options(seed, for_s, Ports(port, sandbox_port), as_json))))
