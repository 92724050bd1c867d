"""Looks at a database's pages before it is used, for as long as a start may take."""

import sqlite3
import threading
from pathlib import Path

from receiver.errors import StorageError
from receiver.storage.faults import Fault, classify, damaged
from receiver.storage.sqlite.queries import queries

# Some hundred megabytes where the disk is quick. Whoever waits for the start waits for no more than this.
BUDGET_S = 2.0


def check_pages(conn: sqlite3.Connection, path: Path, budget_s: float = BUDGET_S) -> list[str]:
    """Looks at the pages of one table and its indexes after the other (`quick_check`), for `budget_s` seconds.

    The tables that there was no time for. Raises StorageError for a damaged one.
    """
    over = threading.Event()

    def end() -> None:
        over.set()
        conn.interrupt()

    tables = [row[0] for row in conn.execute(queries("meta.sql")["tables"])]
    timer = threading.Timer(budget_s, end)
    timer.start()
    try:
        while tables and not over.is_set():
            finding = _finding(conn, tables[0])
            if finding is None:
                break
            if finding != "ok":
                raise StorageError(damaged(path, finding))
            tables.pop(0)
    finally:
        timer.cancel()
        timer.join()  # it must not interrupt what comes next
    return tables


def _finding(conn: sqlite3.Connection, table: str) -> str | None:
    """What is wrong with a table, or `ok`; None when the look at it was cut short."""
    try:
        return str(conn.execute(f'PRAGMA quick_check("{table}")').fetchone()[0])
    except sqlite3.OperationalError as error:
        if classify(error) is Fault.INTERRUPTED:
            return None
        raise
