"""`serve`: runs the receiver until it is told to stop."""

import asyncio
from pathlib import Path

import click
import uvloop

from receiver.cli.options import config_option, load_settings, require
from receiver.log import configure_logging
from receiver.server import serve as run_service


@click.command()
@config_option
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=int, help="Port to listen on; 0 takes a free one.")
@click.pass_context
def serve(ctx: click.Context, config_path: Path | None, host: str | None, port: int | None) -> None:
    """Take webhooks in and answer questions, until Ctrl-C or SIGTERM."""
    settings = load_settings(config_path, {"server.host": host, "server.port": port}).settings
    require([*settings.storage_problems(), *settings.serve_problems()])
    configure_logging(settings.log.format, settings.log.level)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        ctx.exit(runner.run(run_service(settings)))
