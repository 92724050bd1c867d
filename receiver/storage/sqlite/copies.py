"""Further deliveries of a known event: counted, kept when their bytes differ, listed when they contradict."""

import hashlib
import sqlite3

from receiver.events import Event, Kind, Origin, copies_disagree
from receiver.leadterra.payloads import Parser, timestamp_of
from receiver.storage.deliveries import Delivery
from receiver.storage.sqlite.quarantine import Quarantine
from receiver.storage.sqlite.queries import queries, select_by_keys

# Roles of a journal row.
FIRST = 1
COPY = 2
COPY_NOT_UNDERSTOOD = 3

# A message is sent once and a reply received once; bounces and starts may really happen again.
_ONCE_STAMPED = (Kind.SENT, Kind.REPLY)
# The first retry comes after about a minute.
_RETRY_MIN_MS = 30_000


class Copies:
    """The copies of one batch. Also hands out the journal's row numbers, which are never used twice."""

    def __init__(self, conn: sqlite3.Connection, parser: Parser, next_seq: int) -> None:
        self.next_seq = next_seq
        self._conn = conn
        self._parser = parser
        self._sql = queries("ingest.sql")
        self._bodies: dict[int, bytes] = {}
        self._arrivals: dict[int, int] = {}
        self._stamps = {"copies_equal": 0, "copies_restamped": 0}
        self._noted: list[tuple[Delivery, Kind, bytes, int | None]] = []

    def take_seq(self, delivery: Delivery) -> int:
        """The row number for a new event's first delivery."""
        seq = self.next_seq
        self._bodies[seq] = delivery.body
        self._arrivals[seq] = delivery.received_at
        self.next_seq += 1
        return seq

    def note(self, delivery: Delivery, kind: Kind, key: bytes, first_seq: int | None) -> None:
        """A delivery of an event that is in the ledger, whose first delivery has this row number."""
        self._noted.append((delivery, kind, key, first_seq))

    def write(self, quarantine: Quarantine) -> None:
        """Count all noted copies; keep those that are unequal to every earlier one."""
        if not self._noted:
            return
        seqs = {seq for _, _, _, seq in self._noted if seq is not None}
        for seq, body, received_at in select_by_keys(self._conn, "load_bodies", seqs - self._bodies.keys()):
            self._bodies[seq], self._arrivals[seq] = body, received_at
        self._conn.executemany(self._sql["count_copy"], [(seq,) for _, _, _, seq in self._noted if seq is not None])
        for delivery, kind, key, seq in self._noted:
            first_body = self._bodies.get(seq) if seq is not None else None
            if seq is not None and first_body is not None and kind in _ONCE_STAMPED:
                self._note_stamp(delivery, first_body, self._arrivals[seq])
            if delivery.body != first_body:
                self._keep_unequal(delivery, kind, key, first_body, quarantine)
        facts = [(name, count) for name, count in self._stamps.items() if count]
        self._conn.executemany(queries("meta.sql")["add_fact"], facts)

    def _note_stamp(self, delivery: Delivery, first_body: bytes, first_at: int) -> None:
        """Whether a retry carries the timestamp of the first try. A copy sent at once is none, and
        a time that cannot be read is not a new one.
        """
        if delivery.received_at - first_at < _RETRY_MIN_MS or not isinstance(delivery.parsed, Event):
            return
        if delivery.body == first_body or timestamp_of(delivery.body) == timestamp_of(first_body):
            self._stamps["copies_equal"] += 1
        else:
            self._stamps["copies_restamped"] += 1

    def _keep_unequal(
        self, delivery: Delivery, kind: Kind, key: bytes, first_body: bytes | None, quarantine: Quarantine
    ) -> None:
        identity = (kind, key, hashlib.sha256(delivery.body).digest()[:16])
        if self._conn.execute(self._sql["load_variant"], identity).fetchone() is not None:
            return
        event = delivery.parsed
        if isinstance(event, Event) and not quarantine.has_conflict(kind, key):
            field = self._contradicts(event, first_body)
            if field is not None:
                quarantine.add_conflict(delivery, event, field)
        role = COPY if isinstance(event, Event) else COPY_NOT_UNDERSTOOD
        place = (self.next_seq, delivery.received_at, kind, key, None, role)
        values = (*place, delivery.secret, delivery.peer, delivery.body, Origin.WEBHOOK)
        self._conn.execute(self._sql["insert_journal"], values)
        self._conn.execute(self._sql["insert_variant"], (*identity, self.next_seq))
        self.next_seq += 1

    def _contradicts(self, event: Event, first_body: bytes | None) -> str | None:
        earlier = [row[0] for row in self._conn.execute(self._sql["load_variant_bodies"], (event.kind, event.key))]
        for body in [first_body, *earlier]:
            other = self._parser.parse(body, None) if body is not None else None
            if isinstance(other, Event):
                field = copies_disagree(other, event)
                if field is not None:
                    return field
        return None
