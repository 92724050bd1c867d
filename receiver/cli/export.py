"""`export`: whole lists as CSV or NDJSON, as the API gives them, read beside a server or without one."""

import contextlib
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click

from receiver.cli.database import reading
from receiver.cli.options import config_option, load_settings, say
from receiver.cli.progress import watched
from receiver.errors import CommandError, InvalidParameterError
from receiver.reconcile.service import pins_of
from receiver.settings import clock_of
from receiver.storage.files import part_of, sync_folder
from receiver.storage.sqlite.recount import Progress
from receiver.web import tables
from receiver.web.access import Role
from receiver.web.exports import write_table
from receiver.web.formats import Format
from receiver.web.operation import Call, Table
from receiver.web.params import is_repeatable, parse_values
from receiver.web.times import rfc3339

# One line makes a list exportable.
TABLES = (
    tables.CAMPAIGNS,
    tables.STEPS,
    tables.SERIES,
    tables.BOUNCES,
    tables.REPLIES,
    tables.EVENTS,
    tables.QUARANTINE,
    tables.DRIFT,
    tables.RECONCILIATIONS,
)
_STANDARD_OUTPUT = "-"

Write = Callable[[bytes], object]


@click.group()
def export() -> None:
    """Write a list to a file, whole unless --limit says less; the same options as the API's parameters."""


def _command(table: Table) -> click.Command:
    """`export NAME` with an option for every parameter, whose values the API's own models check."""

    @config_option
    def run(config_path: Path | None, format_: str, output: str, **given: Any) -> None:
        path = {part: given.pop(part) or "" for part in table.path}
        values = {name: value for name, value in given.items() if value not in (None, ())}
        _export(table, path, values, config_path, Format(format_), output)

    command = click.command(table.name, help=f"Write the list of {table.name}.")(run)
    command.params += [*map(_required, table.path), *_options(table), *_OUTPUT]
    return command


_OUTPUT = [
    click.Option(["--format", "format_"], type=click.Choice(["csv", "ndjson"]), default="csv", show_default=True),
    click.Option(["-o", "--output"], default=_STANDARD_OUTPUT, metavar="FILE", help="Written whole or not at all."),
]


def _required(part: str) -> click.Option:
    return click.Option([_flag(part), part], required=True)


def _options(table: Table) -> list[click.Option]:
    fields = {field.alias or name: field for name, field in table.params.model_fields.items() if name != "format"}
    return [
        click.Option([_flag(name), name], help=_allowed(field.json_schema_extra), multiple=is_repeatable(field))
        for name, field in fields.items()
    ]


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _allowed(extra: Any) -> str:
    return str(extra["allowed"])[:1].upper() + str(extra["allowed"])[1:] + "." if extra else ""


for _table in TABLES:
    export.add_command(_command(_table))


def _export(
    table: Table, path: dict[str, str], values: dict[str, Any], config_path: Path | None, format_: Format, output: str
) -> None:
    settings = load_settings(config_path).settings
    _refuse_own_files(output, settings.database_path)
    clock = clock_of(settings)
    now_ms = clock.now_ms()
    try:
        params, shown = parse_values(table.params, values), settings.access.show_recipients
        call = Call(params, None, path, Role.ADMIN, now_ms, clock.speed, pins_of(settings), shown)
        with reading(settings) as conn, _destination(output) as write:
            rows = watched(f"Exporting {table.name}", partial(_write, conn, table, call, format_, write))
    except InvalidParameterError as error:
        raise click.UsageError(str(error)) from error
    say(f"{rows:,} rows of {table.name}, as of {rfc3339(now_ms)}.")


def _refuse_own_files(output: str, database: Path) -> None:
    """The file that appears under its name would take the place of the database."""
    own = {database.with_name(f"{database.name}{suffix}").resolve() for suffix in ("", "-wal", "-shm", ".lock")}
    if output != _STANDARD_OUTPUT and Path(output).resolve() in own:
        raise CommandError(f"'{output}' belongs to the database; name another file.")


def _write(
    conn: sqlite3.Connection,
    table: Table,
    call: Call,
    format_: Format,
    write: Write,
    progress: Progress,
) -> int:
    write_table(conn, table, call, format_, write, progress)
    return progress.done


@contextlib.contextmanager
def _destination(output: str) -> Iterator[Write]:
    """Standard output, or a file that appears under its name when all of it is on disk; a link is followed.

    A device or a pipe is written to as it is: a file in its place would take it from everybody.
    """
    if output == _STANDARD_OUTPUT:
        yield sys.stdout.buffer.write
        sys.stdout.buffer.flush()
        return
    final = Path(output)
    if final.is_dir():
        raise CommandError(f"'{output}' cannot be written: it is a folder.")
    try:
        if final.exists() and not final.is_file():
            with final.open("wb") as file:
                yield file.write
            return
        with _whole(final.resolve()) as write:
            yield write
    except OSError as error:
        raise CommandError(f"'{output}' cannot be written: {error.strerror or error}.") from error


@contextlib.contextmanager
def _whole(final: Path) -> Iterator[Write]:
    """A file that is there with all that is written, or not at all."""
    part = part_of(final)
    try:
        with part.open("xb") as file:
            yield file.write
            file.flush()
            os.fsync(file.fileno())
        part.replace(final)
        sync_folder(final.parent)
    finally:
        part.unlink(missing_ok=True)
