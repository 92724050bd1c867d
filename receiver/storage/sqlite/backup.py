"""Copies the whole database as of one moment, beside whoever writes to it, and checks the copy."""

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from receiver.errors import CommandError, StorageError
from receiver.storage.faults import Fault, classify
from receiver.storage.sqlite.connection import open_for_reading
from receiver.storage.sqlite.migrate import check_current
from receiver.storage.sqlite.queries import queries
from receiver.storage.sqlite.recount import Progress, StoppedError

# Some hundredths of a second of work between two looks at how far it is, and at whether it should stop.
_INSTRUCTIONS = 50_000
_INCREMENTAL = 2


@dataclass(frozen=True, slots=True)
class Contents:
    """What a copy holds at the least: how many bytes, and the newest row of the journal."""

    size_bytes: int
    last_seq: int


def contents(conn: sqlite3.Connection) -> Contents:
    """What is in the database now; a copy has no free pages."""
    pages, free, page_bytes = (conn.execute(f"PRAGMA {name}").fetchone()[0] for name in _SIZES)
    last_seq = conn.execute(queries("ingest.sql")["last_seq"]).fetchone()[0] or 0
    return Contents((pages - free) * page_bytes, last_seq)


_SIZES = ("page_count", "freelist_count", "page_size")


def copy(conn: sqlite3.Connection, path: Path, progress: Progress) -> None:
    """Write a copy to a file that is not yet there, which only its owner may read. `progress` is in bytes.

    A reading connection is enough. Until the copy is whole the write-ahead log can only grow.
    """
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    progress.total = contents(conn).size_bytes
    if conn.execute("PRAGMA auto_vacuum").fetchone()[0] != _INCREMENTAL:
        # Of the copy: one made from a database of an older version gives free pages back.
        conn.execute("PRAGMA auto_vacuum = INCREMENTAL")

    def look() -> bool:
        progress.done = path.stat().st_size
        return progress.stopped

    try:
        _watched(conn, look, "VACUUM INTO :path", {"path": str(path.absolute())})
    except sqlite3.DatabaseError as error:
        if classify(error) is Fault.INTERRUPTED:
            raise StoppedError("The copy was stopped.") from error
        if classify(error) is Fault.FULL:
            raise CommandError(f"There is no space left in '{path.parent}'; no backup was made.") from error
        raise StorageError(f"The database cannot be copied to '{path.parent}': {error}.") from error


def check(path: Path, least: Contents, progress: Progress) -> None:
    """Raises StorageError unless a copy is sound, of this program, and holds what was there when it began."""
    try:
        with closing(open_for_reading(path)) as conn:
            check_current(conn, str(path))
            found = _watched(conn, lambda: progress.stopped, "PRAGMA integrity_check(1)", {})
            held = contents(conn).last_seq
    except sqlite3.DatabaseError as error:
        if classify(error) is Fault.INTERRUPTED:
            raise StoppedError("The check was stopped.") from error
        raise StorageError(f"The copy cannot be read: {error}; no backup was made.") from error
    if found != "ok":
        raise StorageError(f"The copy is damaged: {' '.join(str(found).split())}; no backup was made.")
    if held < least.last_seq:
        raise StorageError(f"The copy ends at event {held}, not at {least.last_seq}; no backup was made.")


def _watched(conn: sqlite3.Connection, look: object, statement: str, values: dict[str, str]) -> object:
    """The first value of a statement's answer; `look` is called now and then, and stops it when it is true."""
    conn.set_progress_handler(look, _INSTRUCTIONS)  # type: ignore[arg-type] # a bool is a number here
    try:
        row = conn.execute(statement, values).fetchone()
        return None if row is None else row[0]
    finally:
        conn.set_progress_handler(None, 0)
