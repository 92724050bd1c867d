"""The ledger's transactions: the only code that begins one on the writing connection.

Everything here runs on that connection's thread, one call at a time.
"""

import hmac
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from receiver.events import Unread
from receiver.leadterra.payloads import Parser
from receiver.storage.deliveries import Delivery, Outcome, Refusals, Stretch
from receiver.storage.sqlite.batch import Batch
from receiver.storage.sqlite.copies import Copies
from receiver.storage.sqlite.kept import watch_baselines
from receiver.storage.sqlite.numbers import CampaignNumbers, DomainNumbers
from receiver.storage.sqlite.quarantine import Quarantine
from receiver.storage.sqlite.queries import queries
from receiver.storage.sqlite.reconciliation import baseline_times
from receiver.storage.sqlite.rollups import Rollups, minute_horizon
from receiver.storage.sqlite.spans import Measured, narrow_spans

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _OpenRow:
    """The row of the stretch that is being extended."""

    row_id: int
    started_at: int


@dataclass(slots=True)
class _Memory:
    """What the ledger remembers between transactions."""

    next_seq: int
    stretch: _OpenRow | None = None
    refusals: _OpenRow | None = None
    minutes_since: int = 0
    baselines: Mapping[int, Sequence[int]] = field(default_factory=dict)


class Ledger:
    """Takes batches in, extends stretches, reads quarantined bodies again: each in one transaction."""

    def __init__(self, conn: sqlite3.Connection) -> None:
        meta = dict(conn.execute(queries("meta.sql")["load_facts"]).fetchall())
        self.parser = Parser(meta["lead_key"])
        self._key = meta["lead_key"]
        self._sql = queries("ingest.sql")
        self._numbers = CampaignNumbers()
        self._domains = DomainNumbers()
        last_seq = conn.execute(self._sql["last_seq"]).fetchone()[0] or 0
        since = int(meta.get("minutes_since", 0))
        self._memory = _Memory(last_seq + 1, minutes_since=since, baselines=baseline_times(conn))
        self._baselines_moved: set[int] = set()
        watch_baselines(conn, self._baselines_moved.add)

    @property
    def campaigns_made(self) -> int:
        """Grows with every campaign that is seen for the first time."""
        return self._numbers.made

    def secret_id(self, conn: sqlite3.Connection, secret: bytes, now_ms: int) -> int:
        """The number under which the journal knows a signing secret; only a keyed fingerprint is stored."""
        fingerprint = hmac.digest(self._key, secret, "sha256")[:16]

        def work() -> int:
            values = {"fingerprint": fingerprint, "now": now_ms}
            conn.execute(queries("meta.sql")["insert_secret"], values)
            return int(conn.execute(queries("meta.sql")["load_secret"], values).fetchone()[0])

        return self._transact(conn, work)

    def commit(
        self,
        conn: sqlite3.Connection,
        deliveries: Sequence[Delivery],
        now_ms: int,
        stretch: Stretch,
        refusals: Refusals | None,
    ) -> list[Outcome]:
        """One transaction: the deliveries, what follows from them, and the proof that a commit worked."""

        def work() -> list[Outcome]:
            self._forget_minutes(conn, now_ms)
            outcomes = self._apply(conn, deliveries, now_ms) if deliveries else []
            self._extend(conn, stretch)
            self._record(conn, refusals)
            return outcomes

        return self._transact(conn, work)

    def take_in(self, conn: sqlite3.Connection, deliveries: Sequence[Delivery], now_ms: int) -> list[Outcome]:
        """Events that no delivery brought: they prove nothing about acceptance."""
        return self._transact(conn, lambda: self._apply(conn, deliveries, now_ms))

    def transact(self, conn: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
        """Other writing work, in one transaction. It may add campaigns' first snapshots."""

        def whole() -> T:
            self._baselines_moved.clear()
            result = work(conn)
            if self._baselines_moved:
                times = baseline_times(conn, self._baselines_moved)
                held = dict.fromkeys(self._baselines_moved, ()) | times
                self._memory.baselines = {**self._memory.baselines, **held}
            return result

        return self._transact(conn, whole)

    def narrow_spans(self, conn: sqlite3.Connection, measured: Measured) -> None:
        """Take over spans that a reading connection has measured."""
        self._transact(conn, lambda: narrow_spans(conn, measured))

    def retry(self, conn: sqlite3.Connection, ids: Sequence[int], now_ms: int) -> dict[str, int]:
        """Read quarantined bodies again; what is understood now goes the ordinary way.

        Conflicts and events that wait for their campaign are in the ledger already and stay listed.
        """
        counts = {"retried": 0, "stored": 0, "duplicate": 0, "still_quarantined": 0}
        return self._transact(conn, lambda: self._retry(conn, ids, now_ms, counts))

    def retry_due(self, conn: sqlite3.Connection, now_ms: int) -> dict[str, int]:
        """Take in the bodies that were ahead of their time and are not any more."""
        return self.retry(conn, Quarantine(conn).due(now_ms), now_ms)

    def _apply(self, conn: sqlite3.Connection, deliveries: Sequence[Delivery], now_ms: int) -> list[Outcome]:
        copies = Copies(conn, self.parser, self._memory.next_seq)
        rollups = Rollups(self._memory.minutes_since, self._memory.baselines)
        outcomes = Batch(conn, self._numbers, self._domains, copies, now_ms, rollups).apply(deliveries)
        self._memory.next_seq = copies.next_seq
        return outcomes

    def _retry(
        self, conn: sqlite3.Connection, ids: Sequence[int], now_ms: int, counts: dict[str, int]
    ) -> dict[str, int]:
        quarantine = Quarantine(conn)
        understood: list[tuple[int, Delivery]] = []
        for row_id, reason, received_at, secret, peer, body in quarantine.take(ids):
            counts["retried"] += 1
            parsed = self.parser.parse(body, now_ms)
            if reason in ("conflict", "campaign_unknown"):
                counts["still_quarantined"] += 1
            elif isinstance(parsed, Unread):
                counts["still_quarantined"] += 1
                quarantine.describe(row_id, parsed)
            else:
                understood.append((row_id, Delivery(body, received_at, parsed, secret, peer)))
        outcomes = self._apply(conn, [delivery for _, delivery in understood], now_ms) if understood else []
        for (row_id, _), outcome in zip(understood, outcomes, strict=True):
            counts["still_quarantined" if outcome is Outcome.QUARANTINED else str(outcome)] += 1
            quarantine.resolve(row_id, now_ms)
        return counts

    def _extend(self, conn: sqlite3.Connection, stretch: Stretch) -> None:
        values = {
            "started_at": stretch.started_at,
            "last_at": stretch.last_at,
            "stopped": int(stretch.stopped),
        }
        held = self._memory.stretch
        if held is None or held.started_at != stretch.started_at:
            row_id = conn.execute(self._sql["open_stretch"], values).fetchone()[0]
            held = self._memory.stretch = _OpenRow(row_id, stretch.started_at)
        conn.execute(self._sql["extend_stretch"], {**values, "id": held.row_id})

    def _record(self, conn: sqlite3.Connection, refusals: Refusals | None) -> None:
        if refusals is None:
            return
        values = {"started_at": refusals.started_at, "last_at": refusals.last_at, "count": refusals.count}
        held = self._memory.refusals
        if held is None or held.started_at != refusals.started_at:
            row_id = conn.execute(self._sql["insert_refusals"], values).fetchone()[0]
            self._memory.refusals = _OpenRow(row_id, refusals.started_at)
        else:
            conn.execute(self._sql["extend_refusals"], {**values, "id": held.row_id})

    def _forget_minutes(self, conn: sqlite3.Connection, now_ms: int) -> None:
        """Forget minutes that are too old. The mark only moves on: a clock that goes back brings nothing back."""
        horizon = minute_horizon(now_ms)
        if horizon > self._memory.minutes_since:
            conn.execute(self._sql["forget_minutes"], (horizon,))
            conn.execute(queries("meta.sql")["set_fact"], {"name": "minutes_since", "value": horizon})
            self._memory.minutes_since = horizon

    def _transact(self, conn: sqlite3.Connection, work: Callable[[], T]) -> T:
        """Run `work` in one transaction. What this object remembers changes only when that has committed."""
        before = replace(self._memory)
        conn.execute("BEGIN IMMEDIATE")
        try:
            result = work()
            conn.execute("COMMIT")
        except BaseException:
            self._memory = before
            self._numbers.roll_back()
            self._domains.roll_back()
            if conn.in_transaction:
                conn.execute("ROLLBACK")
            raise
        self._numbers.commit()
        self._domains.commit()
        return result
