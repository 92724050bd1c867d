"""Fills a database in bulk, as if months of ingest lay behind it and all bodies but the newest had expired.

Every figure in it is true.
"""

import hashlib
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from receiver.events import Message
from receiver.figures import MINUTE_MS, QUARTER_MS, QUARTERS_PER_DAY, REPLIED, REPLIED_HUMAN, REPLY, Booking
from receiver.storage.sqlite.connection import open_for_writing
from receiver.storage.sqlite.migrate import migrate
from receiver.storage.sqlite.queries import queries
from receiver.storage.sqlite.rollups import Rollups, set_contacted
from tests.bench.load import Ids

MESSAGES_PER_DAY = 100_000
BEGIN_MS = 1_735_689_600_000  # 2025-01-01T00:00:00Z
DAY_MS = 86_400_000
BOUNCED_OF = 33  # one message in so many
REPLIED_OF = 100
_CHUNK = 100_000
_CACHE_KIB = 2**21
_REASONS = ("550 5.1.1 unknown", "550 5.7.1 blocked", "552 5.2.2 full", "421 4.7.0 later", "user unknown", "refused")
_MESSAGE = (
    "INSERT INTO messages (key, campaign, step, sent_at, received_after, sent_seq, domain, soft_at, hard_at,"
    " soft_reason, hard_reason) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
# The newest row of the journal never expires: the next delivery gets a number of its own.
_NEWEST = (
    "INSERT INTO journal (seq, received_at, kind, key, campaign, role, copies, body)"
    " SELECT sent_seq, sent_at, 2, key, campaign, 1, 1, CAST('{}' AS BLOB) FROM messages WHERE sent_seq = ?"
)
_REPLY = (
    "INSERT INTO replies (key, campaign, step, at, origin, first_received_at, message, best_campaign, best_lead,"
    " best_class, message_sent_at) VALUES (?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?)"
)
# Sums of the plain sends, which are most: what `Rollups` would write for them.
_PLAIN = "FROM messages WHERE soft_at IS NULL AND hard_at IS NULL"
_ONES = "count(*), count(*), count(*), 0, 0, 0, 0, 0, 0, 0"
_DAY = f"sent_at / {DAY_MS} * {QUARTERS_PER_DAY}"
_SUMS = (
    f"INSERT INTO series SELECT campaign, step, sent_at / {QUARTER_MS}, {_ONES} {_PLAIN} GROUP BY 1, 3, 2",
    f"INSERT INTO series SELECT 0, step, sent_at / {QUARTER_MS}, {_ONES} {_PLAIN} GROUP BY 3, 2",
    f"INSERT INTO days SELECT campaign, step, {_DAY}, {_ONES} {_PLAIN} GROUP BY 1, 3, 2",
    f"INSERT INTO days SELECT 0, step, {_DAY}, {_ONES} {_PLAIN} GROUP BY 3, 2",
    f"INSERT INTO totals SELECT campaign, step, {_ONES}, 0, 0, 0 {_PLAIN} GROUP BY 1, 2",
    f"INSERT INTO totals SELECT campaign, -1, {_ONES}, 0, 0, 0 {_PLAIN} GROUP BY 1",
)
# The spans of campaigns: everything that the ledger knows of them.
_SPANS = """
    WITH ends AS (
        SELECT campaign, min(sent_at) AS first, max(max(sent_at, coalesce(soft_at, hard_at, 0))) AS last
        FROM messages GROUP BY campaign
        UNION ALL
        SELECT campaign, min(at), max(at) FROM replies GROUP BY campaign
    )
    UPDATE campaigns SET first_event_at = spans.first, last_event_at = spans.last
    FROM (SELECT campaign, min(first) AS first, max(last) AS last FROM ends GROUP BY campaign) AS spans
    WHERE id = spans.campaign
"""


def prefill(path: Path, messages: int, campaigns: int = 2000, seed: int = 1, ids: Ids = Ids.ULID) -> None:
    """A new database with so many messages; days as dense as `MESSAGES_PER_DAY`, one campaign with a tenth."""
    with closing(open_for_writing(path)) as conn:
        migrate(conn, str(path), BEGIN_MS)
        # What is lost when this fails is made again. Random keys are slow once the cache is too small for the table.
        for pragma in ("synchronous = OFF", "journal_mode = OFF", f"cache_size = -{_CACHE_KIB}"):
            conn.execute(f"PRAGMA {pragma}")
        conn.execute("BEGIN")
        conn.executemany(
            "INSERT INTO campaigns (id, campaign_id) VALUES (?, ?)",
            [(n, f"camp_{n:05d}") for n in range(1, campaigns + 1)],
        )
        special = list(_fill_messages(conn, messages, campaigns, random.Random(seed), ids))
        conn.execute(_NEWEST, (messages,))
        for statement in (*_SUMS, _SPANS):
            conn.execute(statement)
        # All, up to the last reply, is older than what is kept by the minute.
        minutes_since = (sent_at(messages) + 4 * DAY_MS) // MINUTE_MS
        conn.execute(queries("meta.sql")["set_fact"], {"name": "minutes_since", "value": minutes_since})
        _book(conn, special, minutes_since)
        set_contacted(conn, range(1, campaigns + 1))
        conn.execute("COMMIT")
        conn.execute("ANALYZE")


_Special = tuple[int, Message, int | None]


def _fill_messages(
    conn: sqlite3.Connection, messages: int, campaigns: int, chance: random.Random, ids: Ids
) -> Iterator[_Special]:
    """Writes the ledger; gives campaign, message and time of the reply of those that are more than a send."""
    rows, replies = [], []
    domains: dict[str, int] = {}

    def below(limit: int) -> int:
        return int(chance.random() * limit)  # many times as fast as `randrange`

    for number in range(messages):
        at = sent_at(number)
        campaign = 1 if below(10) == 0 else 2 + below(campaigns - 1)
        text = f"example{below(20_000)}.org"
        domain = domains.setdefault(text, len(domains) + 1)
        message = Message(None, 1 + below(3), at, domain=text)
        key = _key(ids, at, number)
        if number % BOUNCED_OF == 0:
            _bounce(message, at + chance.randrange(60_000, DAY_MS), chance)
            yield campaign, message, None
        if number % REPLIED_OF == 1:
            replied_at = at + chance.randrange(60_000, 3 * DAY_MS)
            lead = number.to_bytes(16, "big")
            kind = chance.choice(["interested", "out_of_office", None])
            place = (key, campaign, message.step, replied_at, replied_at, key, campaign, lead, kind, at)
            replies.append(place)
            yield campaign, message, replied_at if kind != "out_of_office" else -replied_at
        bounce = (message.soft_at, message.hard_at, message.soft_reason, message.hard_reason)
        rows.append((key, campaign, message.step, at, 200 + below(1_800), number + 1, domain, *bounce))
        if len(rows) == _CHUNK:
            conn.executemany(_MESSAGE, rows)
            rows = []
    conn.executemany(_MESSAGE, rows)
    conn.executemany("INSERT INTO domains (domain, id) VALUES (?, ?)", domains.items())
    conn.executemany(_REPLY, replies)


def sent_at(number: int) -> int:
    """When a message of so high a number, from 0, was sent."""
    return BEGIN_MS + number * DAY_MS // MESSAGES_PER_DAY


def _key(ids: Ids, at: int, number: int) -> bytes:
    """Ordered as the keys of such ids are."""
    tail = number.to_bytes(10, "big")
    return at.to_bytes(6, "big") + tail if ids is Ids.ULID else hashlib.sha256(tail).digest()[:16]


def _bounce(message: Message, at: int, chance: random.Random) -> None:
    if chance.randrange(3):
        message.hard_at, message.hard_reason = at, chance.choice(_REASONS)
    else:
        message.soft_at, message.soft_reason = at, chance.choice(_REASONS)


def _book(conn: sqlite3.Connection, special: list[_Special], minutes_since: int) -> None:
    rollups = Rollups(minutes_since, {})
    for campaign, message, replied_at in special:
        if replied_at is None:
            rollups.book_message(campaign, message)
            continue
        at = abs(replied_at)
        counted = [REPLY, REPLIED] if replied_at < 0 else [REPLY, REPLIED, REPLIED_HUMAN]
        rollups.book_reply(campaign, message.step, [Booking(at, row) for row in counted], message.sent_at)
    rollups.write(conn)
