"""Takes addresses out of the database beside the running service."""

import asyncio
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import structlog

from receiver.clock import Clock
from receiver.ingest.rejected import RejectedBodies
from receiver.ingest.soundness import PageCheck
from receiver.ingest.writer import Writer
from receiver.storage.sqlite.erase import Erased, Eraser, Hit, erase
from receiver.storage.sqlite.recount import Progress
from receiver.storage.sqlite.store import Store
from receiver.storage.sqlite.threads import connect_to_read

log = structlog.get_logger()

# Longer than any query may take; exports and recounts read for minutes.
_READERS_WAIT_S = 20.0
_POLL_S = 0.1


@dataclass(slots=True)
class ErasureState:
    """The present or last erasure, of one address or of several that were asked for meanwhile; times in epoch
    milliseconds. `blocked`: the rows are clean, but a reader kept the write-ahead log from being emptied.
    """

    status: Literal["idle", "running", "ok", "blocked", "failed"] = "idle"
    started_at: int | None = None
    ended_at: int | None = None
    erased: Erased = field(default_factory=Erased)
    progress: Progress = field(default_factory=Progress)


class Erasing:
    """One address at a time; a reader that is in the way is waited for `readers_wait_s` seconds."""

    def __init__(
        self,
        path: Path,
        store: Store,
        rejected: RejectedBodies,
        page_check: PageCheck,
        writer: Writer,
        clock: Clock,
        readers_wait_s: float = _READERS_WAIT_S,
    ) -> None:
        self.state = ErasureState()
        self._path = path
        self._store = store
        self._rejected = rejected
        self._page_check = page_check
        self._writer = writer
        self._clock = clock
        self._readers_wait_s = readers_wait_s
        self._waiting: list[str] = []
        self._task: asyncio.Task[None] | None = None

    def start(self, erasable: str) -> None:
        """Begin one, or let it follow the one that is under way."""
        self._waiting.append(erasable)
        if self.state.status != "running":
            self.state = ErasureState("running", self._clock.now_ms())
            self._task = asyncio.create_task(self._run(self.state))

    async def close(self) -> None:
        """Stop the present one; it can be done again."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, state: ErasureState) -> None:
        try:
            state.status = "ok" if await self._erase_all(state) else "blocked"
            log.info("erased", status=state.status, bodies=state.erased.bodies, records=state.erased.records)
        except asyncio.CancelledError:
            state.status = "failed"
            log.info("erasure_stopped", detail="The receiver stops; the erasure is to be done again.")
            raise
        except Exception as error:  # nobody awaits this task: the log and the state are all there is
            state.status = "failed"
            log.error("erasure_failed", exc_info=error)
        finally:
            self._waiting.clear()
            state.ended_at = self._clock.now_ms()

    async def _erase_all(self, state: ErasureState) -> bool:
        """Until nobody waits; whether the log is empty then."""
        empty = True
        while self._waiting:
            await self._erase(state, self._waiting[0])
            self._waiting.pop(0)
            empty = bool(self._waiting) or await self._empty_log()
        return empty

    async def _erase(self, state: ErasureState, erasable: str) -> None:
        progress, parser = state.progress, self._store.parser
        eraser = Eraser(erasable, parser, state.erased)
        # First, because what is taken in of them meanwhile is then looked for in the database.
        eraser.add(Erased(await self._rejected.erase(eraser.is_in_body)))
        # Its own connection: a whole journal takes longer than any read may.
        connection = await connect_to_read(self._path)
        try:
            chunks = await connection.run(eraser.hits, progress)
            while hits := await self._next(connection.run(_next_of, chunks), progress):
                work = partial(erase, erasable=erasable, parser=parser, hits=hits)
                eraser.add(await self._writer.exclusively(partial(self._store.transact, work)))
        finally:
            await connection.close()

    async def _next(self, finding: Coroutine[Any, Any, list[Hit] | None], progress: Progress) -> list[Hit] | None:
        work = asyncio.ensure_future(finding)
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            progress.stopped = True
            await asyncio.gather(work, return_exceptions=True)
            raise

    async def _empty_log(self) -> bool:
        """Whether the log could be emptied: what was erased is in it until then."""
        loop = asyncio.get_running_loop()
        async with self._page_check.paused():
            deadline = loop.time() + self._readers_wait_s
            while not await self._writer.exclusively(self._store.truncate_wal):
                if loop.time() >= deadline:
                    return False
                await asyncio.sleep(_POLL_S)
        return True


def _next_of(_: object, chunks: Iterator[list[Hit]]) -> list[Hit] | None:
    return next(chunks, None)
