"""Runs of reconciliation: at most one at a time, recorded from start to end."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from functools import partial

import structlog

from receiver.clock import Clock
from receiver.errors import ReceiverError, UnavailableError
from receiver.leadterra.client import LeadterraClient
from receiver.reconcile import writes
from receiver.reconcile.asking import Asking, worth_asking
from receiver.reconcile.books import Books, Options, Run
from receiver.reconcile.watch import Watch
from receiver.storage.sqlite import reconciliation as rows

log = structlog.get_logger()


class Reconciler:
    """At most one run at a time; who asks for one while another is under way gets that one."""

    def __init__(
        self,
        client: LeadterraClient,
        books: Books,
        clock: Clock,
        options: Options,
        watch: Watch | None = None,
        on_end: Callable[[Run], None] = lambda run: None,
    ) -> None:
        self.options = options
        self.current: Run | None = None
        self._client = client
        self._books = books
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._fetched: dict[str, tuple[int, int]] = {}
        self._starting = asyncio.Lock()
        self._watch = watch
        self._on_end = on_end
        self._stopping = False

    async def open(self) -> None:
        """Close runs that a killed process left open, and know the configured campaigns."""
        now = self._clock.now_ms()
        await self._books.write(partial(writes.begin_anew, campaign_ids=self.options.campaign_ids, now_ms=now))

    async def start(self, trigger: str, campaign_ids: Sequence[str] | None = None) -> Run:
        """Begin a run over these campaigns, or over all that are due; the one under way if there is one."""
        async with self._starting:
            if self._stopping:
                raise UnavailableError("The receiver is shutting down; try again.")
            if self.current is not None and self._task is not None and not self._task.done():
                return self.current
            now = self._clock.now_ms()
            run_id = await self._books.write(partial(rows.begin_run, trigger=trigger, now_ms=now))
            self.current = Run(run_id, trigger, now)
            self._task = asyncio.create_task(self._run(self.current, campaign_ids))
            return self.current

    async def known(self) -> list[str]:
        """Ids of all campaigns, but for those that are gone and not to be asked again yet."""
        now = self._clock.now_ms()
        return await self._books.read(lambda conn: worth_asking(conn, now))

    async def wait(self) -> None:
        """Until the present run is over, whatever ended it."""
        task = self._task
        if task is not None:
            await asyncio.wait({task})
            if not task.cancelled():
                task.result()

    async def run(self, trigger: str, campaign_ids: Sequence[str] | None = None) -> Run:
        """A whole run, or the rest of the one under way."""
        run = await self.start(trigger, campaign_ids)
        await self.wait()
        return run

    def stop(self) -> None:
        """Begin no run any more and cut the present one short: who waits for it must be answered."""
        self._stopping = True
        if self._task is not None:
            self._task.cancel()

    async def close(self) -> None:
        """Stop the present run: what it has taken in stays."""
        self.stop()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
        await self._client.close()

    async def _run(self, run: Run, campaign_ids: Sequence[str] | None) -> None:
        try:
            asking = Asking(run, self._client, self._books, self._clock, self.options, self._fetched)
            await asking.go(campaign_ids)
        except asyncio.CancelledError:
            run.status = "aborted"
            raise
        except Exception as failure:  # nobody may be waiting for this task: the log and the run are all there is
            error = _first(failure)
            run.status = "failed"
            if not isinstance(error, ReceiverError):
                log.error("reconciliation_failed", exc_info=error)
            run.errors.append({"campaign_id": None, "reason": "internal", "detail": _words(error)})
        finally:
            run.ended_at = self._clock.now_ms()
            with contextlib.suppress(ReceiverError):  # the next start closes it
                await asyncio.shield(self._books.write(partial(writes.end_run, run=run)))
            self._on_end(run)
        await self._tell(run)

    async def _tell(self, run: Run) -> None:
        log.info(
            "reconciled",
            run=run.id,
            trigger=run.trigger,
            status=run.status,
            campaigns=run.campaigns,
            failed=run.failed,
            differing=run.differing,
        )
        if self._watch is not None:
            try:
                await self._watch.after_run(run)
            except ReceiverError as error:  # the next run or minute looks again
                log.warning("alarms_not_checked", detail=str(error))


def _words(error: BaseException) -> str:
    return str(error) if isinstance(error, ReceiverError) else "An unexpected error; the log has it."


def _first(error: BaseException) -> BaseException:
    """The first of the errors that tasks side by side may have raised."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
