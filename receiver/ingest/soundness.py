"""Looks, beside the running service, at the pages of the database that the start had no time for."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection
from pathlib import Path

import structlog

from receiver.ingest.writer import Writer
from receiver.storage.faults import DamagedError
from receiver.storage.sqlite.connection import open_for_analysis
from receiver.storage.sqlite.soundness import check_table, tables
from receiver.storage.sqlite.threads import Connection, connect_to_read

log = structlog.get_logger()

_AGAIN_S = 60.0
# A disk or a network that fails for a moment is over it then, perhaps.
_CONFIRM_S = 1.0


class PageCheck:
    """A task of the service that ends when each of the tables `unchecked` has been looked at, or one is damaged.

    Damage that a second look finds as well ends acceptance: what would be acknowledged then may not be kept. A table
    that cannot be read now is looked at again after `again_s` seconds; for a second look it is `confirm_s`.
    """

    def __init__(
        self,
        path: Path,
        unchecked: Collection[str],
        writer: Writer,
        again_s: float = _AGAIN_S,
        confirm_s: float = _CONFIRM_S,
    ) -> None:
        self._path = path
        self._unchecked = set(unchecked)
        self._writer = writer
        self._again_s = again_s
        self._confirm_s = confirm_s
        self._suspected = False
        self._took_s = 0.0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin with what is unchecked; nothing, when that is nothing."""
        if self._unchecked and not self._writer.failed.is_set():
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop; the table that is being looked at stays unchecked."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @contextlib.asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """Nothing is read within this block, so that the write-ahead log can be emptied."""
        await self.close()
        try:
            yield
        finally:
            self.start()

    async def _run(self) -> None:
        while self._unchecked:
            try:
                await self._check()
            except DamagedError as error:
                if self._suspected:
                    self._writer.give_up(error)
                    return
                self._suspected = True
                log.warning("damage_suspected", finding=error.finding, again_s=self._confirm_s)
                await asyncio.sleep(self._confirm_s)
            except Exception as error:  # nothing is known of the database then, neither good nor bad
                log.warning("pages_not_read", exc_info=error, again_s=self._again_s)
                await asyncio.sleep(self._again_s)
        log.info("database_sound", seconds=round(self._took_s, 1))

    async def _check(self) -> None:
        # Its own connection: a large table takes longer than any read may.
        connection = await connect_to_read(self._path, open_for_analysis)
        try:
            for table in await connection.run(tables, self._unchecked):
                await self._check_table(connection, table)
            self._unchecked.clear()  # the start's migrations made others of those that are left
        finally:
            await connection.close()

    async def _check_table(self, connection: Connection, table: str) -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            await connection.run_to_cancel(check_table, self._path, table)
        finally:
            self._took_s += loop.time() - begun
        self._unchecked.discard(table)
        self._suspected = False
