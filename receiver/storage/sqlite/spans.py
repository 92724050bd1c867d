"""The earliest and the latest event of each campaign, exact even when events move.

Widening a span is free. When its outermost event moves away, finding the next one needs a scan: the writer
only notes that, and a reading connection measures beside it.
"""

import sqlite3
from collections.abc import Iterable

from receiver.storage.sqlite.queries import queries, write_rows

Measured = list[dict[str, int | None]]


def any_wide(conn: sqlite3.Connection) -> bool:
    """Whether some span may be too wide."""
    return bool(conn.execute(queries("spans.sql")["any_wide"]).fetchone()[0])


def measure_spans(conn: sqlite3.Connection) -> Measured:
    """The true spans of all that may be too wide, as of one snapshot of a reading connection."""
    sql = queries("spans.sql")
    conn.execute("BEGIN")
    try:
        wide = conn.execute(sql["wide"]).fetchall()
        found = {row[0]: (row[1], row[2]) for row in conn.execute(sql["measure"])} if wide else {}
    finally:
        conn.execute("ROLLBACK")
    return [
        {
            "id": campaign,
            "removals": removals,
            "held_first": first,
            "held_last": last,
            "first": found.get(campaign, (None, None))[0],
            "last": found.get(campaign, (None, None))[1],
        }
        for campaign, removals, first, last in wide
    ]


def narrow_spans(conn: sqlite3.Connection, measured: Measured) -> None:
    """Take measured spans over, in the caller's transaction; those that lost another event since are left."""
    conn.executemany(queries("ingest.sql")["narrow_span"], measured)


class Spans:
    """What one batch adds to campaigns' spans, and takes from them."""

    def __init__(self, conn: sqlite3.Connection) -> None:
        self._conn = conn
        self._added: dict[int, list[int]] = {}
        self._removed: dict[int, list[int]] = {}

    def add(self, campaign: int, times: Iterable[int]) -> None:
        self._added.setdefault(campaign, []).extend(times)

    def remove(self, campaign: int, times: Iterable[int]) -> None:
        self._removed.setdefault(campaign, []).extend(times)

    def write(self) -> None:
        sql = queries("ingest.sql")
        wide = [campaign for campaign in self._removed if self._outermost_removed(campaign)]
        values = [(campaign, min(times), max(times)) for campaign, times in self._added.items() if times]
        write_rows(self._conn, "widen_campaign", values)
        self._conn.executemany(sql["widen_too_far"], [{"id": campaign} for campaign in wide])

    def _outermost_removed(self, campaign: int) -> bool:
        """Whether an end of the span went away and did not come back, or may have: the span is too wide already."""
        first, last, removals = self._conn.execute(queries("ingest.sql")["load_span"], (campaign,)).fetchone()
        added, removed = self._added.get(campaign, []), self._removed[campaign]
        first_gone = min(removed, default=first) == first and min(added, default=first + 1) > first
        last_gone = max(removed, default=last) == last and max(added, default=last - 1) < last
        return bool(removals or first_gone or last_gone)
