"""The commands of `leadterra-receiver`, and how each outcome becomes an exit code."""

import sqlite3
from typing import Any

import click

from receiver import __version__
from receiver.cli.config import config
from receiver.cli.demo import demo
from receiver.cli.export import export
from receiver.cli.health import health
from receiver.cli.keys import keys
from receiver.cli.leads import leads
from receiver.cli.options import end_with, say
from receiver.cli.quarantine import quarantine
from receiver.cli.rebuild import rebuild
from receiver.cli.sandbox import sandbox
from receiver.cli.serve import serve
from receiver.cli.verify import verify
from receiver.errors import ReceiverError

# Before it, two connections that checkpoint a WAL at the same time can corrupt it.
SAFE_SQLITE = (3, 51, 3)
# These run until they are stopped, so being stopped is how they end well.
_STOPPED_BY_CTRL_C = {"serve", "demo", "sandbox"}


class Commands(click.Group):
    """A group whose commands end with the documented exit codes."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; errors that someone can act on become one clear line."""
        try:
            return super().invoke(ctx)
        except ReceiverError as error:
            end_with(error)
        except KeyboardInterrupt:
            if ctx.invoked_subcommand in _STOPPED_BY_CTRL_C:
                ctx.exit(0)
            raise


def _print_version(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if not value or ctx.resilient_parsing:
        return
    click.echo(f"leadterra-receiver {__version__}")
    click.echo(f"SQLite {sqlite3.sqlite_version}")
    if sqlite3.sqlite_version_info < SAFE_SQLITE:
        say(
            f"Warning: SQLite {sqlite3.sqlite_version} can corrupt a database that another program opens; "
            "use 3.51.3 or later, or let no other program write to it."
        )
    ctx.exit()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the versions of this program and of SQLite.",
)
def cli() -> None:
    """Take Leadterra's webhooks in durably and serve figures that say how far they can be trusted."""


for command in (serve, demo, quarantine, export, rebuild, verify, keys, config, health, sandbox, leads):
    cli.add_command(command)


def main() -> None:
    """Run the command line; exits with the codes that the README lists."""
    cli(prog_name="leadterra-receiver")
