"""Looks at a database's pages: for a moment before it is used, at all others beside the running service."""

import re
import sqlite3
import threading
from collections.abc import Collection
from pathlib import Path

from receiver.storage.faults import DamagedError, Fault, classify
from receiver.storage.sqlite.queries import queries

# The small tables, without which nothing works at all. Whoever waits for the start waits for no more than this.
BUDGET_S = 0.2
# What SQLite says of a page that the system did not give it; it goes on, and what it says after that means little.
_UNREAD = re.compile("unable to get the page|failed to get page")


def check_pages(conn: sqlite3.Connection, path: Path, budget_s: float = BUDGET_S) -> list[str]:
    """Looks at the pages of one table and its indexes after the other (`quick_check`), for `budget_s` seconds.

    The tables that there was no time for. Raises DamagedError for a damaged one.
    """
    over = threading.Event()

    def end() -> None:
        over.set()
        conn.interrupt()

    left = tables(conn)
    timer = threading.Timer(budget_s, end)
    timer.start()
    try:
        while left and not over.is_set():
            check_table(conn, path, left[0])
            left.pop(0)
    except sqlite3.OperationalError as error:
        if classify(error) is not Fault.INTERRUPTED:
            raise
    finally:
        timer.cancel()
        timer.join()  # it must not interrupt what comes next
    return left


def tables(conn: sqlite3.Connection, among: Collection[str] | None = None) -> list[str]:
    """All tables, or those of them that are `among` others; the ones that grow with every event last."""
    names = [str(row[0]) for row in conn.execute(queries("meta.sql")["tables"])]
    return names if among is None else [name for name in names if name in among]


def check_table(conn: sqlite3.Connection, path: Path, table: str) -> None:
    """Looks at every page of a table and its indexes, all as of one moment.

    Raises DamagedError for what is not as it was written, and sqlite3.OperationalError when it could not be read or
    was interrupted, which says nothing of it. A disk that fails for a moment can be taken for damage, though: SQLite
    tells some failures to read like a wrong page.
    """
    finding = _finding(conn, table)
    if _UNREAD.search(finding):
        raise sqlite3.OperationalError(finding)
    if finding != "ok":
        raise DamagedError(path, finding)


def _finding(conn: sqlite3.Connection, table: str) -> str:
    """What is wrong with a table, or `ok`."""
    return str(conn.execute(f'PRAGMA quick_check("{table}")').fetchone()[0])
