"""What operators and their probes ask: is it alive, is it ready, what are its numbers."""

import math
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import structlog

from receiver.errors import QueryTimeoutError, StorageError, UnavailableError
from receiver.events import LATE_HORIZON_MS
from receiver.ingest.meters import Meters
from receiver.ingest.writer import Writer
from receiver.log import lost_lines
from receiver.storage.sqlite import reads, standings
from receiver.storage.sqlite.reconciliation import unattributed_bounces
from receiver.storage.sqlite.store import Readers
from receiver.web.body import BodyReader
from receiver.web.operation import Call, Raw

T = TypeVar("T")
D = TypeVar("D")

log = structlog.get_logger()

_EXPOSITION = b"text/plain; version=1.0.0; charset=utf-8; escaping=underscores"


class Operations:
    """Handlers of `/livez`, `/readyz` and `/metrics`."""

    def __init__(self, path: Path, readers: Readers, writer: Writer, reader: BodyReader, meters: Meters) -> None:
        self._wal = path.with_name(path.name + "-wal")
        self._readers = readers
        self._writer = writer
        self._reader = reader
        self._meters = meters

    async def livez(self, call: Call) -> dict[str, Any]:
        return {"status": "alive"}

    async def readyz(self, call: Call) -> dict[str, Any]:
        """Ready means: the database takes commits, its schema can be read, and we are not shutting down."""
        if self._reader.draining:
            raise UnavailableError("The receiver is shutting down.")
        if not self._writer.accepting:
            raise UnavailableError("The database takes nothing now; see the log.")
        try:
            await self._readers.run(reads.ping)
        except (sqlite3.Error, StorageError) as error:
            log.error("database_unreadable", exc_info=error)
            raise UnavailableError("The database cannot be read; see the log.") from error
        return {"status": "ready"}

    async def metrics(self, call: Call) -> Raw:
        meters = self._meters
        meters.queue.set(self._writer.queued)
        meters.accepting.set(self._writer.accepting and not self._reader.draining)
        meters.wal.set(self._wal.stat().st_size if self._wal.exists() else 0)
        meters.quarantine.set(await self._read(_quarantine_bytes, math.nan))
        meters.show_missing(await self._read(standings.lost, None))
        meters.show_lost_lines(lost_lines())
        before = call.now_ms - LATE_HORIZON_MS
        meters.unattributed.set(await self._read(lambda conn: float(unattributed_bounces(conn, before)), math.nan))
        return Raw(meters.render(), _EXPOSITION)

    async def _read(self, work: Callable[[sqlite3.Connection], T], otherwise: D) -> T | D:
        """Something else while the database cannot be read: just then the other metrics are needed."""
        try:
            return await self._readers.run(work)
        except (sqlite3.Error, StorageError, QueryTimeoutError):
            return otherwise


def _quarantine_bytes(conn: sqlite3.Connection) -> float:
    return float(sum(row["size_bytes"] for row in reads.quarantine_counts(conn)))
