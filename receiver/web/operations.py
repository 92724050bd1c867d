"""What operators and their probes ask: is it alive, is it ready, what are its numbers."""

from pathlib import Path
from typing import Any

from receiver.errors import UnavailableError
from receiver.ingest.meters import Meters
from receiver.ingest.writer import Writer
from receiver.storage.sqlite import reads
from receiver.storage.sqlite.store import Readers
from receiver.web.body import BodyReader
from receiver.web.operation import Call, Raw

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
        await self._readers.run(reads.ping)
        return {"status": "ready"}

    async def metrics(self, call: Call) -> Raw:
        meters = self._meters
        meters.queue.set(self._writer.queued)
        meters.accepting.set(self._writer.accepting and not self._reader.draining)
        meters.wal.set(self._wal.stat().st_size if self._wal.exists() else 0)
        counts = await self._readers.run(reads.quarantine_counts)
        meters.quarantine.set(sum(row["size_bytes"] for row in counts))
        return Raw(meters.render(), _EXPOSITION)
