"""Takes raw bodies away whose time is over, oldest first and few at a time, and gives their space back.

The ledger, its keys and the figures stay, and so does what waits in quarantine. Functions that write do so inside
the caller's transaction. Times are epoch milliseconds.
"""

import sqlite3
from collections import deque
from dataclasses import dataclass, field

from receiver.storage.sqlite.queries import queries

DAY_MS = 86_400_000
# However far the clock has gone on since the last time: one that is set wrong must not take everything at once.
STEP_MS = DAY_MS
# Deleting a row writes its pages once more, as zeros: so many bytes are a few milliseconds.
_CHUNK_BYTES = 262_144
# Rows or pages of a transaction, as many as the machine does in the time that deliveries may wait for it.
_CHUNK_MIN, _CHUNK_MAX = 5, 200
_FAST_S, _SLOW_S = 0.01, 0.02
# Free pages that the next bodies will fill: giving them back would only be work.
_SPARE = 10
_MARK = "retention_at"


@dataclass(slots=True)
class Expiry:
    """What may go: the journal up to a row (0: nothing), rows of quarantine with their bytes.

    `judged_at` is the time by which it was judged; `behind_ms` is by how much that is before the clock's.
    `chunk` is how many rows or pages the next transaction takes at most.
    """

    judged_at: int
    behind_ms: int
    upto: int = 0
    resolved: deque[tuple[int, int]] = field(default_factory=deque)
    chunk: int = 50

    def took(self, seconds: float) -> None:
        """Make chunks smaller or larger after one that took so long."""
        if seconds > _SLOW_S:
            self.chunk = max(_CHUNK_MIN, self.chunk // 2)
        elif seconds < _FAST_S:
            self.chunk = min(_CHUNK_MAX, self.chunk + self.chunk // 4 + 1)


def plan(conn: sqlite3.Connection, now_ms: int, keep_ms: int) -> Expiry:
    """What is older than `keep_ms`; reads all of the old part of the journal.

    Age is judged at most a day later than the last time, without a last time at the newest arrival.
    """
    sql = queries("retention.sql")
    newest: tuple[int, int] | None = conn.execute(sql["newest"]).fetchone()
    mark = conn.execute(queries("meta.sql")["load_fact"], {"name": _MARK}).fetchone()
    limit = mark[0] + STEP_MS if mark is not None else now_ms if newest is None else newest[1]
    judged_at = min(now_ms, limit)
    times = {"horizon": judged_at - keep_ms, "now": now_ms}
    found = Expiry(judged_at, now_ms - judged_at)
    found.resolved.extend(tuple(row) for row in conn.execute(sql["resolved"], {"horizon": times["horizon"]}))
    if newest is not None:
        young = conn.execute(sql["first_young"], times).fetchone()
        old = conn.execute(sql["last_old"], {"horizon": times["horizon"]})
        upto = young[0] - 1 if young is not None else old.fetchone()[0] or 0
        found.upto = min(upto, newest[0] - 1)
    return found


def expire_bodies(conn: sqlite3.Connection, expiry: Expiry) -> int:
    """Take the next few rows of the journal away; how many. 0 when nothing is left to take."""
    sql = queries("retention.sql")
    last, count, size_bytes = 0, 0, 0
    for seq, length in conn.execute(sql["oldest_bodies"], {"upto": expiry.upto, "rows": expiry.chunk}).fetchall():
        size_bytes += length
        if count and size_bytes > _CHUNK_BYTES:
            break
        last, count = seq, count + 1
    if count:
        conn.execute(sql["expire_bodies"], {"upto": last})
    return count


def expire_resolved(conn: sqlite3.Connection, expiry: Expiry) -> int:
    """The same of quarantine: only what is resolved."""
    count, size_bytes = 0, 0
    while (
        expiry.resolved and count < expiry.chunk and (not count or size_bytes + expiry.resolved[0][1] <= _CHUNK_BYTES)
    ):
        row_id, length = expiry.resolved.popleft()
        conn.execute(queries("retention.sql")["expire_resolved"], {"id": row_id})
        count, size_bytes = count + 1, size_bytes + length
    return count


def finish(conn: sqlite3.Connection, expiry: Expiry) -> None:
    """Remember by which time was judged."""
    conn.execute(queries("meta.sql")["set_fact"], {"name": _MARK, "value": expiry.judged_at})


def give_back(conn: sqlite3.Connection, expiry: Expiry) -> int:
    """Give some free pages back to the disk; how many. 0 when only a tenth of the file is free.

    A file that was made before free pages could be given back keeps them, for what comes.
    """
    pages, free = (conn.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count"))
    given = min(free - pages // _SPARE, 1 + expiry.chunk // 4)  # a page costs more than a row
    if given <= 0:
        return 0
    for _ in range(given):
        conn.execute("PRAGMA incremental_vacuum(1)")  # of more it does the first: Python takes one step only
    return int(free - conn.execute("PRAGMA freelist_count").fetchone()[0])
