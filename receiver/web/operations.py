"""What operators and their probes ask: is it alive, is it ready, what are its numbers."""

import math
import sqlite3
from pathlib import Path
from typing import Any

import structlog

from receiver.errors import QueryTimeoutError, UnavailableError
from receiver.ingest.meters import Meters
from receiver.ingest.writer import Writer
from receiver.storage.sqlite import reads
from receiver.storage.sqlite.store import Readers
from receiver.web.body import BodyReader
from receiver.web.operation import Call, Raw

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
        except sqlite3.Error as error:
            log.error("database_unreadable", exc_info=error)
            raise UnavailableError("The database cannot be read; see the log.") from error
        return {"status": "ready"}

    async def metrics(self, call: Call) -> Raw:
        meters = self._meters
        meters.queue.set(self._writer.queued)
        meters.accepting.set(self._writer.accepting and not self._reader.draining)
        meters.wal.set(self._wal.stat().st_size if self._wal.exists() else 0)
        meters.quarantine.set(await self._quarantine_bytes())
        return Raw(meters.render(), _EXPOSITION)

    async def _quarantine_bytes(self) -> float:
        """Not a number while the database cannot be read: just then the other metrics are needed."""
        try:
            return float(sum(row["size_bytes"] for row in await self._readers.run(reads.quarantine_counts)))
        except (sqlite3.Error, QueryTimeoutError):
            return math.nan
