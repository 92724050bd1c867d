"""Reading and writing for work beside ingest, such as reconciliation."""

import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from receiver.leadterra.payloads import Parser
from receiver.storage.deliveries import Delivery
from receiver.storage.sqlite.connection import one_moment
from receiver.storage.sqlite.store import Readers, Store

T = TypeVar("T")

Exclusively = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]


async def alone(work: Callable[[], Awaitable[T]]) -> T:
    """For a command that holds the database and takes no deliveries in: nobody else writes."""
    return await work()


class StoreBooks:
    """A store's reading and writing sides; `exclusively` runs writing work between two batches."""

    def __init__(self, store: Store, readers: Readers, exclusively: Exclusively = alone) -> None:
        self._store = store
        self._readers = readers
        self._exclusively = exclusively

    @property
    def parser(self) -> Parser:
        """Reads bodies as the ledger does."""
        return self._store.parser

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """The result of `work` on a reading connection, as of one moment. Raises QueryTimeoutError."""

        def whole(conn: sqlite3.Connection) -> T:
            with one_moment(conn):
                return work(conn)

        return await self._readers.run(whole)

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """The result of `work` in a transaction. Raises UnavailableError while nothing can be stored."""
        result: T = await self._exclusively(lambda: self._store.transact(work))
        return result

    async def take_in(self, deliveries: Sequence[Delivery], now_ms: int) -> None:
        """Take fetched events into the ledger. Raises UnavailableError while nothing can be stored."""
        await self._exclusively(lambda: self._store.take_in(deliveries, now_ms))
