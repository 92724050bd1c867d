"""Proves the ledger against the journal: every event against the join of the bodies it was made from."""

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from receiver.events import Event, Kind, Message, Origin, Reply
from receiver.leadterra.payloads import Parser
from receiver.storage.sqlite.queries import queries
from receiver.storage.sqlite.recount import Progress
from receiver.storage.sqlite.rows import step_in


@dataclass(frozen=True, slots=True)
class JournalCheck:
    """How far the journal reaches, and how many events differ from their bodies.

    `since` is the arrival of the oldest body, in epoch milliseconds; `missing_events` are in the
    journal and not in the ledger, `differing_events` in both but not the same, `missing_bodies` in the
    ledger although their body should still be there. `older_events` are from before the journal's first row:
    they are compared with nothing.
    """

    since: int | None
    bodies: int
    missing_events: int
    differing_events: int
    missing_bodies: int
    older_events: int = 0

    @property
    def mismatches(self) -> int:
        return self.missing_events + self.differing_events + self.missing_bodies


def check_journal(conn: sqlite3.Connection, progress: Progress) -> JournalCheck:
    """Compare on one snapshot. `conn` must not be in a transaction."""
    conn.execute("BEGIN")
    try:
        return _check(conn, progress)
    finally:
        conn.execute("ROLLBACK")


def _check(conn: sqlite3.Connection, progress: Progress) -> JournalCheck:
    sql = queries("verify.sql")
    lead_key = dict(conn.execute(queries("meta.sql")["load_facts"]).fetchall())["lead_key"]
    first_seq, since, bodies = conn.execute(sql["reach"]).fetchone()
    older, missing_bodies = conn.execute(sql["events_by_body"], {"first_seq": first_seq or 0}).fetchone()
    if first_seq is None:
        return JournalCheck(None, 0, 0, 0, missing_bodies)
    progress.total = bodies
    comparison = _Comparison(conn, Parser(lead_key), first_seq, since)
    rows = _counted(conn.execute(sql["bodies"]), progress)
    for key, group in groupby(rows, key=lambda row: bytes(row[2])):
        comparison.compare(key, group)
    progress.done = progress.total
    return JournalCheck(since, bodies, comparison.missing, comparison.differing, missing_bodies, older)


def _counted(rows: Iterable[Any], progress: Progress) -> Iterator[Any]:
    for row in rows:
        progress.check()
        yield row
        progress.done += 1


class _Comparison:
    """Joins each event's bodies again and holds the result against the ledger's row."""

    def __init__(self, conn: sqlite3.Connection, parser: Parser, first_seq: int, since: int) -> None:
        self.missing = 0
        self.differing = 0
        self._conn = conn
        self._sql = queries("verify.sql")
        self._parser = parser
        self._first_seq = first_seq
        self._since = since

    def compare(self, key: bytes, rows: Iterable[Any]) -> None:
        events = [event for row in rows if (event := self._parser.parse_kept(row[3], Origin(row[4]))) is not None]
        if not events:
            return
        kind = events[0].kind
        if kind is Kind.STARTED:
            start = (events[0].campaign, events[0].occurred_at)
            self._judge(self._one("start", key), lambda row: tuple(row)[:2] == start)
        elif kind is Kind.REPLY:
            self._judge(self._one("reply", key), lambda row: self._reply_fits(row, events))
        else:
            self._judge(self._one("message", key), lambda row: self._message_fits(row, events))

    def _judge(self, row: Any, fits: Any) -> None:
        if row is None:
            self.missing += 1
        elif not fits(row):
            self.differing += 1

    def _one(self, name: str, key: bytes) -> Any:
        return self._conn.execute(self._sql[name], {"key": key}).fetchone()

    def _message_fits(self, row: Any, events: list[Event]) -> bool:
        (campaign, step, sent_at, soft_at, hard_at, soft_reason, hard_reason, domain) = tuple(row)[:8]
        held = Message(campaign, step_in(step), sent_at, soft_at, soft_reason, hard_at, hard_reason, domain)
        seqs = [seq for seq in tuple(row)[8:] if seq is not None]
        return _is_join(held, Message(), events, whole=min(seqs, default=0) >= self._first_seq)

    def _reply_fits(self, row: Any, events: list[Event]) -> bool:
        *values, answered = tuple(row)
        if not answered:
            return False
        held = Reply(Origin(values[0]), *values[1:10])
        # The copy that came first may be a fetched one, whose body has gone.
        whole = (values[10] or 0) >= self._first_seq and values[11] >= self._since
        return _is_join(held, Reply(), events, whole=whole)


def _is_join(held: Any, empty: Any, events: list[Event], *, whole: bool) -> bool:
    """Whether `held` is the join of the events. Where older bodies have gone it need only contain them."""
    joined = empty if whole else held
    before = _fields(held)
    for event in events:
        joined.join(event)
    return _fields(joined) == before


def _fields(state: Any) -> tuple[Any, ...]:
    """A state's fields, to be compared."""
    return tuple(getattr(state, name) for name in state.__dataclass_fields__)
