"""The earliest and the latest event of each campaign, exact even when events move."""

import sqlite3
from collections.abc import Iterable

from receiver.storage.sqlite.queries import queries


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
        stale = [campaign for campaign in self._removed if self._outermost_removed(campaign)]
        values = [
            {"id": campaign, "first": min(times), "last": max(times)}
            for campaign, times in self._added.items()
            if times
        ]
        self._conn.executemany(sql["widen_campaign"], values)
        self._conn.executemany(sql["measure_span"], [{"id": campaign} for campaign in stale])

    def _outermost_removed(self, campaign: int) -> bool:
        """Whether an end of the span went away and did not come back: only then is it worth a scan."""
        first, last = self._conn.execute(queries("ingest.sql")["load_span"], (campaign,)).fetchone()
        added, removed = self._added.get(campaign, []), self._removed[campaign]
        first_gone = min(removed, default=first) == first and min(added, default=first + 1) > first
        last_gone = max(removed, default=last) == last and max(added, default=last - 1) < last
        return bool(first_gone or last_gone)
