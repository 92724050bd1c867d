"""The commands of `leadterra-receiver`, and how each outcome becomes an exit code."""

import sqlite3
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

from receiver import __version__
from receiver.errors import ReceiverError
from receiver.signals import UNTIL_STOPPED

# Before it, two connections that checkpoint a WAL at the same time can corrupt it.
SAFE_SQLITE = (3, 51, 3)
# Every command, and the module that holds it under that name.
COMMANDS = {
    "backup": "receiver.cli.backup",
    "campaigns": "receiver.cli.campaigns",
    "config": "receiver.cli.config",
    "demo": "receiver.cli.demo",
    "erase": "receiver.cli.erase",
    "export": "receiver.cli.export",
    "health": "receiver.cli.health",
    "keys": "receiver.cli.keys",
    "leads": "receiver.cli.leads",
    "quarantine": "receiver.cli.quarantine",
    "rebuild": "receiver.cli.rebuild",
    "reconcile": "receiver.cli.reconcile",
    "sandbox": "receiver.cli.sandbox",
    "serve": "receiver.cli.serve",
    "verify": "receiver.cli.verify",
    "webhook": "receiver.cli.webhook",
}


class Commands(click.Group):
    """A group whose commands are imported when they are asked for, and end with the documented exit codes."""

    def __init__(self, *arguments: Any, modules: Mapping[str, str] | None = None, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._modules = modules or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, sorted; imports nothing."""
        return sorted({*super().list_commands(ctx), *self._modules})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, or None."""
        if cmd_name in self._modules and cmd_name not in self.commands:
            self.add_command(getattr(import_module(self._modules[cmd_name]), cmd_name))
        return super().get_command(ctx, cmd_name)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; errors that someone can act on become one clear line."""
        try:
            return super().invoke(ctx)
        except ReceiverError as error:
            from receiver.cli.options import end_with  # noqa: PLC0415 # its settings take a quarter of a start

            end_with(error)
        except KeyboardInterrupt:
            if ctx.invoked_subcommand in UNTIL_STOPPED:
                ctx.exit(0)
            raise


def _print_version(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if not value or ctx.resilient_parsing:
        return
    click.echo(f"leadterra-receiver {__version__}")
    click.echo(f"SQLite {sqlite3.sqlite_version}")
    if sqlite3.sqlite_version_info < SAFE_SQLITE:
        click.echo(
            f"Warning: SQLite {sqlite3.sqlite_version} can corrupt a database that another program opens; "
            "use 3.51.3 or later, or let no other program write to it.",
            err=True,
        )
    ctx.exit()


@click.group(cls=Commands, modules=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
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


def main() -> None:
    """Run the command line; exits with the codes that the README lists."""
    cli(prog_name="leadterra-receiver")
