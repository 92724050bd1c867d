"""Rows that say how campaigns stand with Leadterra, for answers and metrics.

Times are epoch milliseconds; counters, counts and figures are JSON as it is stored.
"""

import sqlite3
from collections.abc import Collection, Mapping
from typing import Any

from receiver.storage.sqlite.queries import padded, queries

Row = Mapping[str, Any]


def evaluated(conn: sqlite3.Connection, campaigns: Collection[int] | None = None) -> list[Row]:
    """These campaigns, or all, as far as they have drift, with the ledger as of their last snapshots as it is now."""
    if campaigns is None:
        campaigns = [row[0] for row in conn.execute(queries("standings.sql")["ids"])]
    return _of(conn, "evaluated", campaigns)


def gaps(conn: sqlite3.Connection, campaigns: Collection[int]) -> list[Row]:
    """All gaps of these campaigns, closed ones included."""
    return _of(conn, "gaps", campaigns)


def page(conn: sqlite3.Connection, after: str | None, limit: int) -> list[Row]:
    """Number and id of known campaigns, by id."""
    return _named(conn, queries("standings.sql")["page"], {"after": after, "limit": limit})


def differing(conn: sqlite3.Connection) -> int:
    """How many campaigns differ, settling ones included."""
    return int(conn.execute(queries("standings.sql")["differing"]).fetchone()[0])


def lost(conn: sqlite3.Connection) -> dict[tuple[str, str], int]:
    """How many events are missing at the least, by figure and state of their gaps."""
    found = conn.execute(queries("standings.sql")["lost"])
    return {(figure, state): int(events) for figure, state, events in found}


def _of(conn: sqlite3.Connection, name: str, campaigns: Collection[int]) -> list[Row]:
    sql = queries("standings.sql")
    return [row for chunk in padded(campaigns) for row in _named(conn, sql.with_list(name, len(chunk)), chunk)]


def _named(conn: sqlite3.Connection, text: str, values: Any) -> list[Row]:
    """Rows whose columns go by name, whatever the connection's own rows are."""
    cursor = conn.cursor()
    cursor.row_factory = sqlite3.Row
    return cursor.execute(text, values).fetchall()
