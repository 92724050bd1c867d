"""`quarantine list|show|retry`: what is kept and not counted."""

import json
import sqlite3
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from receiver.cli.database import Owner, Server, reading, writing
from receiver.cli.options import config_option, json_option, load_settings, say
from receiver.cli.progress import ProgressView
from receiver.errors import CommandError
from receiver.masking import all_masked
from receiver.storage.sqlite import reads
from receiver.web.params import QUARANTINE_REASONS
from receiver.web.times import rfc3339

_COLUMNS = ("id", "reason", "event", "campaign_id", "received_at", "size_bytes", "copies", "detail")
_WHOLE_COLUMNS = ("id", "reason", "received_at", "size_bytes", "copies")  # on a narrow terminal the others fold
_WIDTH_OF_A_PIPE = 4000  # one line per row, for grep and awk
_CHUNK = 500  # rows per transaction
_row_ids = click.IntRange(1, 2**63 - 1)
_reason = click.option("--reason", type=click.Choice(QUARANTINE_REASONS), help="Only rows of this reason.")


@click.group()
def quarantine() -> None:
    """Signed bodies that are kept and not counted."""


@quarantine.command("list")
@config_option
@json_option
@_reason
@click.option("--limit", type=click.IntRange(1, 2000), default=100, show_default=True, help="Rows at most.")
def list_rows(config_path: Path | None, *, as_json: bool, reason: str | None, limit: int) -> None:
    """List what waits, newest first; never the bodies."""
    settings = load_settings(config_path).settings
    with reading(settings) as conn:
        rows = [_readable(dict(row)) for row in reads.quarantine(conn, reason, None, limit)]
        counts = reads.quarantine_counts(conn)
    if not settings.access.show_recipients:
        rows = all_masked(rows)
    if as_json:
        click.echo(json.dumps({"data": rows}, indent=2))
        return
    table = Table(box=None, pad_edge=False)
    for column in _COLUMNS:
        table.add_column(column, no_wrap=column in _WHOLE_COLUMNS, overflow="fold")
    for row in rows:
        table.add_row(*(_shown(row[column]) for column in _COLUMNS))
    width = None if Console().is_terminal else _WIDTH_OF_A_PIPE
    Console(width=width, markup=False, highlight=False, emoji=False).print(table)
    waiting = ", ".join(f"{row['bodies']:,} {row['reason']}" for row in counts) or "nothing"
    say(f"In quarantine: {waiting}.")


@quarantine.command()
@config_option
@json_option
@click.argument("row_id", metavar="ID", type=_row_ids)
def show(config_path: Path | None, *, as_json: bool, row_id: int) -> None:
    """Show one row with its raw body, which may hold addresses of people."""
    with reading(load_settings(config_path).settings) as conn:
        found = reads.quarantined(conn, row_id)
    if found is None:
        raise CommandError(f"There is no row {row_id} in quarantine; `quarantine list` shows what there is.")
    row = _readable(dict(found))
    row["resolved_at"] = rfc3339(row["resolved_at"])
    body: bytes = row.pop("body")
    if as_json:
        click.echo(json.dumps({**row, "body": body.decode("utf-8", "replace")}, indent=2))
        return
    for name, value in row.items():
        say(f"{name}: {_shown(value)}")
    click.echo(_shown(body.decode("utf-8", "replace"), "\n\t") if sys.stdout.isatty() else body)


@quarantine.command()
@config_option
@json_option
@_reason
@click.argument("ids", nargs=-1, type=_row_ids)
def retry(config_path: Path | None, *, as_json: bool, reason: str | None, ids: tuple[int, ...]) -> None:
    """Read rows again, by ID, by --reason, or all; what is understood now is counted."""
    if ids and reason:
        raise click.UsageError("Name IDs or --reason, not both.")
    settings = load_settings(config_path).settings
    wanted = list(dict.fromkeys(ids))
    if not ids:
        with reading(settings) as conn:
            wanted = _open_ids(conn, reason)
    with writing(settings) as owner:
        counts = _retry(owner, wanted)
    if as_json:
        click.echo(json.dumps(counts))
    else:
        click.echo(
            f"{counts['retried']:,} read again: {counts['stored']:,} stored, {counts['duplicate']:,} duplicate, "
            f"{counts['still_quarantined']:,} still quarantined."
        )


def _retry(owner: Owner | Server, wanted: list[int]) -> dict[str, int]:
    """A few hundred rows at a time: each step is answered soon, and can be shown."""
    counts = Counter(retried=0, stored=0, duplicate=0, still_quarantined=0)
    with ProgressView("Reading quarantined bodies again") as view:
        for begin in range(0, len(wanted), _CHUNK):
            ids = wanted[begin : begin + _CHUNK]
            if isinstance(owner, Server):
                answer = _counts_of(owner.call("POST", "/v1/quarantine/retry", {"ids": ids}))
            else:
                answer = owner.ledger.retry(owner.conn, ids, owner.now_ms())
            counts.update(answer)
            view.show(begin + len(ids), len(wanted))
    return dict(counts)


def _counts_of(answer: dict[str, Any]) -> dict[str, int]:
    return {name: answer[name] for name in ("retried", "stored", "duplicate", "still_quarantined")}


def _open_ids(conn: sqlite3.Connection, reason: str | None) -> list[int]:
    """All unresolved rows, of a reason or of any."""
    found: list[int] = []
    while chunk := reads.quarantine_ids(conn, reason, found[-1] if found else 0):
        found.extend(chunk)
    return found


def _readable(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "received_at": rfc3339(row["received_at"])}


def _shown(value: object, kept: str = "") -> str:
    """A value for the terminal: control characters of a hostile body, but those `kept`, must not reach it."""
    text = "-" if value is None else str(value)
    return "".join(char if char.isprintable() or char in kept else "\N{REPLACEMENT CHARACTER}" for char in text)
