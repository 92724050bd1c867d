"""All connections of the service to its database."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from receiver.storage.sqlite.connection import open_for_analysis
from receiver.storage.sqlite.launch import Launched
from receiver.storage.sqlite.migrate import Tell
from receiver.storage.sqlite.points import PointReader
from receiver.storage.sqlite.store import Readers, Store


@dataclass(frozen=True, slots=True)
class Database:
    """The side that writes, and readers for point reads, short questions, analysts' long ones and probes.

    They are apart so that a long question makes no short one wait, and neither of them a probe.
    """

    store: Store
    points: PointReader
    readers: Readers
    analysts: Readers
    probes: Readers

    @classmethod
    async def open(cls, path: Path, now_ms: int, tell: Tell, launched: Launched | None) -> "Database":
        """Opens, checks and migrates it; `launched`, `tell` and errors are those of `Store.open`."""
        async with contextlib.AsyncExitStack() as opened:
            store = await Store.open(path, now_ms, tell, launched)
            opened.push_async_callback(store.close)  # the thread of a connection left open keeps the process alive
            readers = await Readers.open(path)
            opened.push_async_callback(readers.close)
            points = PointReader.open(path, readers)
            opened.callback(points.close)
            analysts = await Readers.open(path, opener=open_for_analysis)
            opened.push_async_callback(analysts.close)
            probes = await Readers.open(path, count=1)
            opened.pop_all()
        return cls(store, points, readers, analysts, probes)

    async def close(self) -> None:
        """The writing side last, so that it is the one to tidy up."""
        self.points.close()
        await self.readers.close()
        await self.analysts.close()
        await self.probes.close()
        await self.store.close()
