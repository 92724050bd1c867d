"""What is signed and kept but not counted: bodies that are not understood, events that wait, conflicts."""

import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

from receiver.events import EVENT_NAMES, Event, Kind, Unread
from receiver.storage.deliveries import Delivery, Outcome
from receiver.storage.sqlite.queries import queries


class Quarantine:
    """The quarantine table, inside the caller's transaction."""

    def __init__(self, conn: sqlite3.Connection) -> None:
        self._conn = conn
        self._sql = queries("quarantine.sql")

    def add(self, delivery: Delivery, unread: Unread) -> Outcome:
        """Keep a body that is not understood; one with equal bytes is a duplicate."""
        row_id = self._find_equal(delivery.body)
        if row_id is not None:
            self._conn.execute(self._sql["count_copy"], {"id": row_id, "received_at": delivery.received_at})
            return Outcome.DUPLICATE
        self._insert(delivery, unread)
        return Outcome.QUARANTINED

    def add_waiting(self, delivery: Delivery, event: Event) -> None:
        """List an event of the ledger that is not counted until its campaign is known."""
        detail = "No campaign is named, and no 'message.sent' with this messageId has arrived."
        name = EVENT_NAMES[event.kind]
        self._insert(delivery, Unread("campaign_unknown", detail, name, None, event.kind, event.key))

    def has_conflict(self, kind: Kind, key: bytes) -> bool:
        row = self._conn.execute(self._sql["find_conflict"], {"kind": kind, "key": key}).fetchone()
        return row is not None

    def add_conflict(self, delivery: Delivery, event: Event, field: str) -> None:
        """List two copies of an event that contradict each other; the first such pair is enough."""
        detail = f"Another delivery of this event has another {field}; the join decides which one counts."
        name = EVENT_NAMES[event.kind]
        self._insert(delivery, Unread("conflict", detail, name, event.campaign, event.kind, event.key))

    def resolve(self, row_id: int, now_ms: int) -> None:
        self._conn.execute(self._sql["resolve"], {"id": row_id, "now": now_ms})

    def describe(self, row_id: int, unread: Unread) -> None:
        """Why a body that was read again is still not understood."""
        values = {"id": row_id, "reason": unread.reason, "detail": unread.detail, "due_at": unread.due_at}
        self._conn.execute(self._sql["describe"], values)

    def due(self, now_ms: int) -> list[int]:
        return [row[0] for row in self._conn.execute(self._sql["due"], {"now": now_ms})]

    def open_ids(self, reason: str | None, after: int) -> list[int]:
        return [row[0] for row in self._conn.execute(self._sql["open_ids"], {"reason": reason, "after": after})]

    def take(self, ids: Sequence[int]) -> Iterator[tuple[Any, ...]]:
        """Unresolved rows: (id, reason, received_at, secret, peer, body)."""
        for row_id in ids:
            yield from self._conn.execute(self._sql["take"], {"id": row_id})

    def _find_equal(self, body: bytes) -> int | None:
        digest = _digest(body)
        for row_id, held in self._conn.execute(self._sql["find_equal"], {"digest": digest}):
            # One that an address was erased from has only its digest left of the bytes that came.
            if held == body or _digest(held) != digest:
                return int(row_id)
        return None

    def _insert(self, delivery: Delivery, unread: Unread) -> None:
        values = {
            "reason": unread.reason,
            "detail": unread.detail,
            "event": unread.event,
            "campaign_id": unread.campaign,
            "kind": unread.kind,
            "key": unread.key,
            "received_at": delivery.received_at,
            "due_at": unread.due_at,
            "secret": delivery.secret,
            "peer": delivery.peer,
            "digest": _digest(delivery.body),
            "body": delivery.body,
        }
        self._conn.execute(self._sql["insert"], values)


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()[:16]
