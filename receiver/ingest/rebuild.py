"""Recounts the ledger beside the running service and repairs the figures in one transaction."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import structlog

from receiver.clock import Clock
from receiver.ingest.writer import Writer
from receiver.storage.sqlite.connection import open_for_analysis
from receiver.storage.sqlite.fingerprints import corrections
from receiver.storage.sqlite.recount import Progress
from receiver.storage.sqlite.store import Store
from receiver.storage.sqlite.threads import connect_to_read

log = structlog.get_logger()


@dataclass(slots=True)
class RebuildState:
    """The present or last rebuild; times in epoch milliseconds."""

    status: Literal["idle", "running", "ok", "failed"] = "idle"
    started_at: int | None = None
    ended_at: int | None = None
    rows_changed: int | None = None
    progress: Progress = field(default_factory=Progress)


class Rebuilding:
    """At most one rebuild at a time."""

    def __init__(self, path: Path, store: Store, writer: Writer, clock: Clock) -> None:
        self.state = RebuildState()
        self._path = path
        self._store = store
        self._writer = writer
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin one, unless one is under way."""
        if self.state.status != "running":
            self.state = RebuildState("running", self._clock.now_ms())
            self._task = asyncio.create_task(self._run(self.state))

    async def close(self) -> None:
        """Stop the present one; nothing is lost but its time."""
        if self._task is not None:
            self.state.progress.stopped = True  # cancelling interrupts one connection only
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, state: RebuildState) -> None:
        try:
            state.rows_changed = await self._rebuild(state.progress)
            state.status = "ok"
            log.info("rebuilt", rows_changed=state.rows_changed, rows=state.progress.total)
        except asyncio.CancelledError:
            state.status = "failed"
            log.info("rebuild_stopped", detail="The receiver stops; no figure has changed.")
            raise
        except Exception as error:  # nobody awaits this task: the log and the state are all there is
            state.status = "failed"
            log.error("rebuild_failed", exc_info=error)
        finally:
            state.ended_at = self._clock.now_ms()

    async def _rebuild(self, progress: Progress) -> int:
        # Its own connection: a recount takes longer than any read may.
        connection = await connect_to_read(self._path, open_for_analysis)
        try:
            correction = await connection.run_to_cancel(corrections, progress)
        finally:
            await connection.close()
        if correction.rows:
            await self._writer.exclusively(lambda: self._store.correct(correction))
            await self._writer.narrow_spans()
        return correction.rows
