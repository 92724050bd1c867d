"""The SQLite store as the service sees it: asynchronous, one writer, a few readers."""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from receiver.errors import QueryTimeoutError, StorageError
from receiver.leadterra.payloads import Parser
from receiver.storage.deliveries import Committed, Delivery, Posted, Refusals, Stretch
from receiver.storage.faults import Fault, classify, explained
from receiver.storage.sqlite import work
from receiver.storage.sqlite.connection import checkpoint_often, open_for_analysis, open_for_reading, truncate_wal
from receiver.storage.sqlite.launch import Launched
from receiver.storage.sqlite.ledger import Ledger
from receiver.storage.sqlite.migrate import Tell, in_silence
from receiver.storage.sqlite.process import WritingProcess
from receiver.storage.sqlite.recount import Correction, correct
from receiver.storage.sqlite.spans import Measured, any_wide, measure_spans
from receiver.storage.sqlite.threads import Connection, connect, connect_to_read

P = ParamSpec("P")
T = TypeVar("T")


class Writing(Protocol):
    """The side that writes. It holds the ledger and its connection, and does one thing after the other.

    `unchecked` are the tables whose pages it had no time to look at; `ended` is set when it has ended, told or not;
    `pid` is that of a process of its own.
    """

    parser: Parser
    unchecked: Sequence[str]
    ended: asyncio.Event
    pid: int | None

    async def run(
        self, function: Callable[Concatenate[Ledger, sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """The result of `function(ledger, connection, …)`."""

    async def close(self) -> None:
        """Close the database."""


class Store:
    """The one writing connection. Every method is one transaction; call them one at a time.

    `unchecked` are the tables whose pages the start had no time to look at.
    """

    def __init__(self, path: Path, writing: Writing) -> None:
        self.path = path
        self.parser: Parser = writing.parser
        self.unchecked = writing.unchecked
        self.ended = writing.ended
        self.writer_pid = writing.pid
        self._writing = writing

    @classmethod
    async def open(
        cls, path: Path, now_ms: int, tell: Tell = in_silence, launched: Launched | None = None
    ) -> "Store":
        """Opens, checks and migrates the database.

        A thread of this process writes or, when it was `launched` for this database, a process of its own. `tell`
        gets sentences about what takes long, perhaps in that thread. Raises StorageError naming what is wrong.
        """
        if launched is None:
            return cls(path, await WritingThread.open(path, now_ms, tell))
        return cls(path, await WritingProcess.open(launched, tell))

    async def commit(
        self,
        deliveries: Sequence[Posted | Delivery],
        now_ms: int,
        stretch: Stretch,
        refusals: Refusals | None,
    ) -> Committed:
        """Deliveries and all that follows from them; durable on return."""
        return await self._writing.run(work.commit, deliveries, now_ms, stretch, refusals)

    async def secret_ids(self, secrets: Sequence[bytes], now_ms: int) -> list[int]:
        """The numbers under which the journal knows these signing secrets."""
        try:
            return [await self._writing.run(Ledger.secret_id, secret, now_ms) for secret in secrets]
        except sqlite3.DatabaseError as error:
            raise StorageError(explained(self.path, error, "used")) from error

    async def retry(self, ids: Sequence[int], now_ms: int) -> dict[str, int]:
        """Reads quarantined bodies again: counts of retried, stored, duplicate, still_quarantined."""
        return await self._writing.run(Ledger.retry, ids, now_ms)

    async def retry_due(self, now_ms: int) -> int:
        """Takes in bodies that were ahead of their time; how many are understood now."""
        counts = await self._writing.run(Ledger.retry_due, now_ms)
        return counts["stored"] + counts["duplicate"]

    async def take_in(self, deliveries: Sequence[Delivery], now_ms: int) -> Committed:
        """Events that were fetched, not delivered."""
        return await self._writing.run(work.take_in, deliveries, now_ms)

    async def transact(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Other writing work, in one transaction."""
        return await self._writing.run(Ledger.transact, function)

    async def truncate_wal(self) -> bool:
        """Empties the write-ahead log; False while a reader needs what is in it."""
        return await self._writing.run(work.plainly, truncate_wal)

    async def checkpoint_often(self, *, often: bool) -> None:
        """Has the write-ahead log written into the database in small pieces, or as usual."""
        await self._writing.run(work.plainly, checkpoint_often, often)

    async def correct(self, correction: Correction) -> None:
        """Adds the differences that a recount found, all at once."""
        await self._writing.run(work.plainly, correct, correction)

    async def any_wide_span(self) -> bool:
        """Whether some campaign's span may have become too wide."""
        return await self._writing.run(work.plainly, any_wide)

    async def measure_spans(self) -> Measured:
        """The true spans of campaigns that may have become too wide; reads beside the writer."""
        connection = await connect_to_read(self.path, open_for_analysis)
        try:
            return await connection.run(measure_spans)
        finally:
            await connection.close()

    async def narrow_spans(self, measured: Measured) -> None:
        """Takes measured spans over."""
        await self._writing.run(Ledger.narrow_spans, measured)

    async def close(self) -> None:
        await self._writing.close()


class WritingThread:
    """A thread of this process."""

    def __init__(self, connection: Connection, prepared: work.Prepared) -> None:
        self.parser: Parser = prepared.ledger.parser
        self.unchecked = prepared.unchecked
        self.ended = asyncio.Event()
        self.pid: int | None = None
        self._connection = connection
        self._ledger = prepared.ledger

    @classmethod
    async def open(cls, path: Path, now_ms: int, tell: Tell) -> "WritingThread":
        prepared: list[work.Prepared] = []

        def opener() -> sqlite3.Connection:
            prepared.append(work.prepare(path, now_ms, tell))
            return prepared[0].conn

        return cls(await connect(opener), prepared[0])

    async def run(
        self, function: Callable[Concatenate[Ledger, sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """The result of `function(ledger, connection, …)`, called on that thread."""
        return await self._connection.run(partial(function, self._ledger), *args, **kwargs)

    async def close(self) -> None:
        await self._connection.close()
        self.ended.set()


class Readers:
    """A few read-only connections, each with its own thread; a read that takes too long is interrupted.

    More of them answer no more questions in a second: they take turns at the interpreter, and the event loop and the
    writer wait for all of them.
    """

    def __init__(self, connections: list[Connection], timeout_s: float) -> None:
        self._all = connections
        self._idle: asyncio.LifoQueue[Connection] = asyncio.LifoQueue()
        for connection in connections:
            self._idle.put_nowait(connection)
        self._timeout_s = timeout_s

    @classmethod
    async def open(
        cls,
        path: Path,
        count: int = 2,
        timeout_s: float = 5.0,
        opener: Callable[[Path], sqlite3.Connection] = open_for_reading,
    ) -> "Readers":
        connections: list[Connection] = []
        try:
            while len(connections) < count:
                connections.append(await connect_to_read(path, opener))
        except BaseException:
            for connection in connections:
                await connection.close()
            raise
        return cls(connections, timeout_s)

    async def run(
        self, function: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """The result of `function(connection, …)`.

        Raises QueryTimeoutError when it took too long, DamagedError when the database is damaged.
        """
        connection = await self._idle.get()
        try:
            work = asyncio.ensure_future(connection.run(function, *args, **kwargs))
            await asyncio.wait({work}, timeout=self._timeout_s)
            await connection.interrupt_until_done(work)
            return work.result()
        except sqlite3.OperationalError as error:
            if classify(error) is Fault.INTERRUPTED:
                text = f"The query took longer than {self._timeout_s:g} s; ask for less at once."
                raise QueryTimeoutError(text) from error
            raise
        finally:
            self._idle.put_nowait(connection)

    async def close(self) -> None:
        for connection in self._all:
            await connection.close()
