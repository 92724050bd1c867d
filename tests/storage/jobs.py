"""Work for the process that writes: it is sent by name, so it cannot be written inside a test."""

import os
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from receiver.errors import StorageError, UnavailableError
from receiver.storage.sqlite.connection import open_for_reading
from receiver.storage.sqlite.ledger import Ledger
from receiver.storage.sqlite.soundness import check_table


def modules(_ledger: Ledger, _conn: sqlite3.Connection) -> set[str]:
    """The top-level modules that are imported there."""
    return {name.partition(".")[0] for name in sys.modules}


def resident_kb(_ledger: Ledger, _conn: sqlite3.Connection) -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


def same(_ledger: Ledger, _conn: sqlite3.Connection, value: object) -> object:
    return value


def fail_with_code(_ledger: Ledger, _conn: sqlite3.Connection, code: int) -> None:
    error = sqlite3.OperationalError("as SQLite would say")
    error.sqlite_errorcode = code
    raise error


def fail_really(_ledger: Ledger, conn: sqlite3.Connection, statement: str) -> None:
    conn.execute(statement)


def fail_unavailable(_ledger: Ledger, _conn: sqlite3.Connection) -> None:
    raise UnavailableError("not now", 7)


class AwkwardError(Exception):
    """Cannot be made from what it says."""

    def __init__(self, one: str, *, other: str) -> None:
        super().__init__(f"{one} and {other}")


def fail_awkwardly(_ledger: Ledger, _conn: sqlite3.Connection) -> None:
    raise AwkwardError("one", other="other")


def answer_badly(_ledger: Ledger, _conn: sqlite3.Connection) -> object:
    """What cannot be sent."""
    return lambda: None


class Unreadable:
    """Can be sent and not received."""

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return int, ("no number",)


def answer_unreadably(_ledger: Ledger, _conn: sqlite3.Connection) -> object:
    return Unreadable()


def mark(conn: sqlite3.Connection, name: str) -> None:
    conn.execute("INSERT INTO meta VALUES (?, 1)", (name,))


def mark_and_die(conn: sqlite3.Connection, name: str) -> None:
    mark(conn, name)
    os.kill(os.getpid(), signal.SIGKILL)


def commit_and_die(ledger: Ledger, conn: sqlite3.Connection, name: str) -> None:
    ledger.transact(conn, lambda inside: mark(inside, name))
    os.kill(os.getpid(), signal.SIGKILL)


def look_at(path: str, table: str) -> None:
    """Look at a table's pages, and print what kind of error came of it and what it says."""
    with closing(open_for_reading(Path(path))) as conn:
        try:
            check_table(conn, Path(path), table)
        except (StorageError, sqlite3.Error) as error:
            sys.stdout.write(f"{type(error).__name__} {error}")
