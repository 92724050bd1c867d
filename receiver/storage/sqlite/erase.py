"""Takes one address out of the whole database: raw bodies, quarantine, and the few texts that the ledger keeps.

Figures stay as they are, a body still tells of its event, and a copy of it is still known as one. What is found is
found on a reading connection; writing is done in small transactions that look at each row again. It may be stopped
anywhere and done again.
"""

import hashlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from receiver.events import Kind, Message, Origin
from receiver.leadterra.erasure import Erasure
from receiver.leadterra.payloads import REASON_MAX, Parser
from receiver.reasons import reason_class
from receiver.storage.sqlite.queries import queries, write_rows
from receiver.storage.sqlite.recount import Progress
from receiver.storage.sqlite.rollups import bounce_rows
from receiver.storage.sqlite.rows import step_in

_WINDOW_ROWS = 20_000
_CHUNK_ROWS = 50
_CHUNK_BYTES = 262_144
_NO_SEQ = 0  # of a body that is not in the journal
_BOUNCES = (Kind.SOFT_BOUNCE, Kind.HARD_BOUNCE)


class Place(Enum):
    """Where an address may be kept."""

    JOURNAL = "journal"
    QUARANTINE = "quarantine"
    REASONS = "reasons"
    CLASSES = "classes"
    NAMES = "names"


@dataclass(frozen=True, slots=True)
class Hit:
    """A row that holds the address, by its key."""

    place: Place
    key: Any
    size_bytes: int = 0


@dataclass(slots=True)
class Erased:
    """What was changed: raw bodies, other records. `similar` texts hold the address as a part of a longer one."""

    bodies: int = 0
    records: int = 0
    similar: int = 0


class Eraser:
    """One erasure. `erased` counts what has been committed, if every write's result is `add`ed."""

    def __init__(self, erasable: str, parser: Parser, erased: Erased | None = None) -> None:
        self.erased = Erased() if erased is None else erased
        self._erasure = Erasure(erasable, parser.lead_key)
        self._parser = parser
        self._sql = queries("erase.sql")
        self._writers: dict[Place, Callable[[sqlite3.Connection, Any], bool]] = {
            Place.JOURNAL: self._write_body,
            Place.QUARANTINE: self._write_quarantined,
            Place.REASONS: self._write_reasons,
            Place.CLASSES: self._write_classes,
            Place.NAMES: self._write_name,
        }

    def hits(self, conn: sqlite3.Connection, progress: Progress) -> Iterator[list[Hit]]:
        """Chunks of rows to write, of what was there when it began. No transaction is open in between.

        If each chunk is written before the next is asked for, a body that is understood meanwhile is no exception:
        it goes from quarantine to the journal, and never back.
        """
        yield from self._in_quarantine(conn, progress)
        last_seq = conn.execute(queries("ingest.sql")["last_seq"]).fetchone()[0] or 0
        progress.total = last_seq
        for after in range(0, last_seq, _WINDOW_ROWS):
            yield from _chunks(self._in_journal(conn, after, progress))
            progress.done = min(after + _WINDOW_ROWS, last_seq)
        for place in (Place.REASONS, Place.CLASSES, Place.NAMES):
            yield from _chunks(self._in_texts(conn, place, progress))

    def write(self, conn: sqlite3.Connection, hits: Sequence[Hit]) -> Erased:
        """Take the address out of these rows, in the caller's transaction; what was changed."""
        changed = Erased()
        for hit in hits:
            if self._writers[hit.place](conn, hit.key):
                if hit.place in (Place.JOURNAL, Place.QUARANTINE):
                    changed.bodies += 1
                else:
                    changed.records += 1
        return changed

    def is_in_body(self, body: bytes) -> bool:
        """Whether the address is in a raw body; if only as a part of a longer one, that is noted."""
        if self._erasure.body_without(body) is not body:
            return True
        self._note_similar(body.decode("utf-8", "surrogateescape"))
        return False

    def add(self, changed: Erased) -> None:
        """Count what has been committed."""
        self.erased.bodies += changed.bodies
        self.erased.records += changed.records

    # Finding.

    def _in_journal(self, conn: sqlite3.Connection, after: int, progress: Progress) -> list[Hit]:
        local, domain = (run.encode() for run in self._erasure.runs)
        values = {"after": after, "upto": after + _WINDOW_ROWS, "local": local, "domain": domain}
        found = []
        for seq, body in conn.execute(self._sql["bodies"], values):
            progress.check()
            if self.is_in_body(body):
                found.append(Hit(Place.JOURNAL, seq, len(body)))
        return found

    def _in_quarantine(self, conn: sqlite3.Connection, progress: Progress) -> Iterator[list[Hit]]:
        after: int | None = 0
        while after is not None:
            found, values, after = [], {"after": after}, None
            for row_id, body, *texts in conn.execute(self._sql["quarantined"], values):
                progress.check()
                after = row_id
                if self.is_in_body(body) or self._is_in_texts(texts):
                    found.append(Hit(Place.QUARANTINE, row_id, len(body)))
            yield from _chunks(found)

    def _in_texts(self, conn: sqlite3.Connection, place: Place, progress: Progress) -> list[Hit]:
        found = []
        for key, *texts in conn.execute(self._sql[place.value]):
            progress.check()
            if self._is_in_texts(texts):
                found.append(Hit(place, key))
        return found

    def _is_in_texts(self, texts: Sequence[str | None]) -> bool:
        held = [text for text in texts if text is not None]
        if any(self._erasure.is_in(text) for text in held):
            return True
        for text in held:
            self._note_similar(text)
        return False

    def _note_similar(self, text: str) -> None:
        self.erased.similar += self._erasure.resembles(text)

    # Writing.

    def _write_body(self, conn: sqlite3.Connection, seq: int) -> bool:
        row = conn.execute(self._sql["body"], {"seq": seq}).fetchone()
        if row is None:
            return False  # it has expired
        kind, key, _, origin, body = row
        left = self._erasure.body_without(body)
        if left is body:
            return False
        place = {"kind": kind, "key": key, "seq": seq}
        conn.execute(self._sql["keep_digest"], {**place, "digest": hashlib.sha256(body).digest()[:16]})
        conn.execute(self._sql["set_body"], {"seq": seq, "body": left})
        if kind in _BOUNCES:
            self._follow(conn, key, Kind(kind), (body, left), Origin(origin))
        return True

    def _follow(
        self, conn: sqlite3.Connection, key: bytes, kind: Kind, bodies: tuple[bytes, bytes], origin: Origin
    ) -> None:
        """The ledger's reason is the beginning of the body's: it is cut at the same place again."""
        before, after = (self._parser.parse_kept(body, origin) for body in bodies)
        if before is None or after is None:
            return

        def followed(reason: str | None, of: Kind) -> str | None:
            return after.reason if of is kind and reason == before.reason else reason

        self._change_reasons(conn, key, followed)

    def _write_quarantined(self, conn: sqlite3.Connection, row_id: int) -> bool:
        row = conn.execute(self._sql["quarantined_row"], {"id": row_id}).fetchone()
        if row is None:
            return False
        body, event, detail, digest = row
        left = self._erasure.body_without(body)
        # Understood later, it is in the journal as it is now; a copy with the bytes that came is known as one then.
        meant = self._parser.parse(body, None)
        if left is not body and meant.kind is not None and meant.key is not None:
            place = {"kind": meant.kind, "key": meant.key, "digest": digest, "seq": _NO_SEQ}
            conn.execute(self._sql["keep_digest"], place)
        values = {"id": row_id, "body": left, "event": self._without(event), "detail": self._without(detail)}
        conn.execute(self._sql["set_quarantined"], values)
        return True

    def _write_reasons(self, conn: sqlite3.Connection, key: bytes) -> bool:
        def without(reason: str | None, _: Kind) -> str | None:
            left = self._without(reason)
            return None if left is None else left[:REASON_MAX]

        return self._change_reasons(conn, key, without)

    def _change_reasons(
        self, conn: sqlite3.Connection, key: bytes, change: Callable[[str | None, Kind], str | None]
    ) -> bool:
        row = conn.execute(self._sql["message"], {"key": key}).fetchone()
        if row is None:
            return False
        number, step, *rest = row
        before, after = (Message(None, step_in(step), *rest) for _ in range(2))
        after.soft_reason = change(before.soft_reason, Kind.SOFT_BOUNCE)
        after.hard_reason = change(before.hard_reason, Kind.HARD_BOUNCE)
        if after == before:
            return False
        values = {"key": key, "soft_reason": after.soft_reason, "hard_reason": after.hard_reason}
        conn.execute(self._sql["set_reasons"], values)
        if number is not None and reason_class(after.reason) != reason_class(before.reason):
            self._count_anew(conn, number, before, after)
        return True

    def _count_anew(self, conn: sqlite3.Connection, number: int, before: Message, after: Message) -> None:
        """As a rule a reason's class holds no address; where it did, the bounce counts under another one."""
        old, new = list(bounce_rows(number, before)), list(bounce_rows(number, after))
        changes = [(*place, -hard, -soft) for place, (hard, soft) in old]
        write_rows(conn, "add_bounces", [*changes, *((*place, *row) for place, row in new)])
        conn.executemany(self._sql["forget_bounces"], [place for place, _ in old])

    def _write_classes(self, conn: sqlite3.Connection, key: bytes) -> bool:
        _, best, other = conn.execute(self._sql["reply"], {"key": key}).fetchone()
        values = {"key": key, "best_class": self._without(best), "other_class": self._without(other)}
        conn.execute(self._sql["set_classes"], values)
        return True

    def _write_name(self, conn: sqlite3.Connection, number: int) -> bool:
        _, name = conn.execute(self._sql["campaign"], {"id": number}).fetchone()
        conn.execute(self._sql["set_name"], {"id": number, "name": self._without(name)})
        return True

    def _without(self, text: str | None) -> str | None:
        return None if text is None else self._erasure.without(text)


def _chunks(hits: Sequence[Hit]) -> Iterator[list[Hit]]:
    """Few enough rows at a time that the writer is not held for long."""
    chunk: list[Hit] = []
    size_bytes = 0
    for hit in hits:
        if chunk and (len(chunk) == _CHUNK_ROWS or size_bytes + hit.size_bytes > _CHUNK_BYTES):
            yield chunk
            chunk, size_bytes = [], 0
        chunk.append(hit)
        size_bytes += hit.size_bytes
    if chunk:
        yield chunk
