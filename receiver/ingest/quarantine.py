"""Reads quarantined bodies again, a few hundred at a time, between the batches of the writer."""

from collections import Counter
from collections.abc import Sequence

from receiver.clock import Clock
from receiver.ingest.writer import Writer
from receiver.storage.sqlite import reads
from receiver.storage.sqlite.store import Readers, Store

_CHUNK = 500


class Retrying:
    """Each method gives counts of retried, stored, duplicate and still_quarantined."""

    def __init__(self, store: Store, readers: Readers, writer: Writer, clock: Clock) -> None:
        self._store = store
        self._readers = readers
        self._writer = writer
        self._clock = clock

    async def of_ids(self, ids: Sequence[int]) -> dict[str, int]:
        counts = Counter(retried=0, stored=0, duplicate=0, still_quarantined=0)
        unique = list(dict.fromkeys(ids))
        for begin in range(0, len(unique), _CHUNK):
            counts.update(await self._retry(unique[begin : begin + _CHUNK]))
        return dict(counts)

    async def of_reason(self, reason: str | None) -> dict[str, int]:
        """Everything unresolved of a reason, or of any."""
        counts = Counter(retried=0, stored=0, duplicate=0, still_quarantined=0)
        after = 0
        while ids := await self._readers.run(reads.quarantine_ids, reason, after):
            counts.update(await self._retry(ids))
            after = ids[-1]
        return dict(counts)

    async def _retry(self, ids: Sequence[int]) -> dict[str, int]:
        return await self._writer.exclusively(lambda: self._store.retry(ids, self._clock.now_ms()))
