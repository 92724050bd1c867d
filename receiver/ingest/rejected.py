"""Keeps a sample of bodies whose signature matched no secret, and takes them in once a secret that fits is known.

Nothing here makes a delivery wait: what is offered is written behind, and dropped when there is too much of it.
"""

import asyncio
import contextlib
import hashlib
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from receiver.clock import Clock
from receiver.errors import StorageError, UnavailableError
from receiver.ingest.meters import Meters
from receiver.ingest.sample import Sample, looks_like_an_event
from receiver.ingest.writer import Writer
from receiver.leadterra import signature
from receiver.leadterra.payloads import Parser
from receiver.storage.deliveries import Delivery
from receiver.storage.sqlite.rejected import RejectedBody, RejectedFile, RejectedHead, rejected_path

log = structlog.get_logger()

# What may wait to be written; at the pace of `_PAUSE_S` that is far more than Leadterra sends.
_WAITING_MAX = 1000
_WAITING_MAX_BYTES = 8_388_608
_PAUSE_S = 0.2
_EXPIRE_EVERY_S = 60.0
# Taken in per transaction: few enough not to hold the writer up.
_CHUNK = 100
_AGAIN_S = 1.0

Secrets = Sequence[tuple[bytes, int]]


class RejectedBodies:
    """The sample of one database, in a file beside it; start it with the database's lock held."""

    def __init__(self, database: Path, clock: Clock, meters: Meters, sample: Sample | None = None) -> None:
        self._path = rejected_path(database)
        self._file: RejectedFile | None = None
        self._sample = sample or Sample()
        self._clock = clock
        self._meters = meters
        self._next_id = 1
        self._waiting: dict[int, RejectedBody] = {}
        self._waiting_bytes = 0
        self._gone: list[int] = []
        self._writing = asyncio.Lock()
        # What is being taken in is no rejected body any more: whoever looks for those waits until it is stored.
        self._deciding = asyncio.Lock()
        self._wake = asyncio.Event()
        self._stop = asyncio.Event()
        self._failing = False
        self._unknown = False
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Look at what an earlier process kept, forget what is too old, and begin to keep more."""
        if self._path.exists():
            try:
                heads = await (await self._opened()).heads()
            except (sqlite3.Error, StorageError) as error:
                self._complain(error)
                self._unknown = True  # what is in it, so nothing can be added
                self._stop.set()
            else:
                for head in heads:
                    self._next_id = head.id + 1
                    self._forget(self._sample.add(head))
                self._expire()
                await self._write()
        self._tasks.append(asyncio.create_task(self._run()))

    def offer(self, body: bytes, digests: Sequence[bytes], received_at: int, peer: str | None) -> None:
        """Keep a body if there is room for it: with its signatures, when it came, and who posted it."""
        if self._stop.is_set() or not looks_like_an_event(body):
            return
        signatures = b"".join(digests)
        digest = hashlib.sha256(signatures + body).digest()[:16]
        if self._sample.holds(digest):
            return  # a retry of one that is kept
        if len(self._waiting) >= _WAITING_MAX or self._waiting_bytes + len(body) > _WAITING_MAX_BYTES:
            self._meters.rejected_body("dropped")
            return
        row = RejectedBody(self._next_id, received_at, peer, signatures, digest, body)
        self._next_id += 1
        self._waiting[row.id] = row
        self._waiting_bytes += len(body)
        gone = self._sample.add(RejectedHead(row.id, received_at, peer, digest, len(body)))
        self._forget(gone)
        self._meters.rejected_body("kept" if row.id in self._waiting else "dropped")
        self._meters.rejected_body("displaced", sum(head.id != row.id for head in gone))
        self._wake.set()

    def begin_taking_in(self, secrets: Secrets, parser: Parser, writer: Writer) -> None:
        """Take in, beside the running service, what one of these secrets has signed (key and number of each)."""
        self._tasks.append(asyncio.create_task(self._take_in(secrets, parser, writer)))

    async def erase(self, is_meant: Callable[[bytes], bool]) -> int:
        """Forget every kept body that is meant; how many. Nothing of them is left in the file, and those that are
        being taken in are in the database first. `is_meant` is called in another thread: it may take its time.

        Raises StorageError or sqlite3.Error while that cannot be done.
        """
        async with self._deciding:
            await self._write()
            count = 0
            for chunk in self._chunks():
                meant = await asyncio.to_thread(_meant, await self._rows(chunk), is_meant)
                self._remove([head for head in chunk if head.id in meant])
                count += len(meant)
            if not await self._write() or self._unknown:
                raise StorageError(f"The file '{self._path}' cannot be used; see the log, and erase again.")
        return count

    async def close(self) -> None:
        """Write what waits, and close the file."""
        self._stop.set()
        self._wake.set()
        for task in self._tasks:
            await task
        await self._write()
        if self._file is not None:
            await self._file.close()

    async def _opened(self) -> RejectedFile:
        if self._file is None:
            self._file = await RejectedFile.open(self._path)
        return self._file

    async def _rows(self, heads: Sequence[RejectedHead]) -> list[RejectedBody]:
        return await (await self._opened()).take([head.id for head in heads])

    # Writing behind.

    async def _run(self) -> None:
        while not self._stop.is_set():
            await _within(self._wake, _EXPIRE_EVERY_S / max(1.0, self._clock.speed))
            self._wake.clear()
            self._expire()
            await self._write()
            await _within(self._stop, _PAUSE_S)

    async def _write(self) -> bool:
        """Write what waits; whether it is written. What the file does not take is dropped: it must not pile up."""
        async with self._writing:
            new, gone = list(self._waiting.values()), self._gone
            self._waiting, self._gone, self._waiting_bytes = {}, [], 0
            if not new and not gone:
                return True
            try:
                await (await self._opened()).change(new, gone)
                self._failing = False
            except (sqlite3.Error, StorageError) as error:
                self._complain(error)
                self._drop(new, gone)
            return not self._failing

    def _drop(self, new: Sequence[RejectedBody], gone: list[int]) -> None:
        """Forget what could not be written; what could not be deleted is tried again."""
        ids = {row.id for row in new}
        for head in [head for head in self._sample if head.id in ids]:
            self._sample.remove(head)
        self._gone = gone + self._gone
        self._meters.rejected_body("dropped", len(new))
        self._show()

    def _complain(self, error: Exception) -> None:
        if not self._failing:
            log.warning("rejected_bodies_not_kept", error=str(error))
        self._failing = True

    def _expire(self) -> None:
        heads = self._sample.expired(self._clock.now_ms())
        self._remove(heads)
        self._meters.rejected_body("expired", len(heads))

    def _remove(self, heads: Sequence[RejectedHead]) -> None:
        kept = [head for head in heads if head in self._sample]
        for head in kept:
            self._sample.remove(head)
        self._forget(kept)

    def _forget(self, heads: Sequence[RejectedHead]) -> None:
        """Of what is in the sample no more: delete it, or never write it."""
        for head in heads:
            if self._waiting.pop(head.id, None) is None:
                self._gone.append(head.id)
            else:
                self._waiting_bytes -= head.size
        self._show()

    def _show(self) -> None:
        self._meters.show_rejected(self._sample.bodies, self._sample.bytes)

    # Taking in.

    async def _take_in(self, secrets: Secrets, parser: Parser, writer: Writer) -> None:
        outcomes: Counter[str] = Counter()
        try:
            async with self._deciding:
                for chunk in self._chunks():
                    if self._stop.is_set():
                        break
                    outcomes.update(await self._take_in_chunk(chunk, secrets, parser, writer))
        except UnavailableError:
            log.warning(
                "rejected_bodies_not_taken_in", detail="The database took nothing; the next start tries again."
            )
        except Exception as error:  # nobody awaits this task; what is left is tried at the next start
            log.error("rejected_bodies_not_taken_in", exc_info=error)
        self._meters.rejected_body("taken_in", outcomes.total())
        if outcomes:
            detail = "They were refused for their signature, which fits a secret now."
            log.info("rejected_bodies_taken_in", left=self._sample.bodies, detail=detail, **outcomes)

    async def _take_in_chunk(
        self, chunk: Sequence[RejectedHead], secrets: Secrets, parser: Parser, writer: Writer
    ) -> list[str]:
        signed = await asyncio.to_thread(_signed, await self._rows(chunk), secrets)
        now = self._clock.now_ms()
        deliveries = [
            Delivery(row.body, row.received_at, parser.parse(row.body, now), number, row.peer)
            for row, number in signed
        ]
        outcomes = await self._stored(deliveries, writer)
        ids = {row.id for row, _ in signed}
        self._remove([head for head in chunk if head.id in ids])
        self._wake.set()
        return outcomes

    async def _stored(self, deliveries: Sequence[Delivery], writer: Writer) -> list[str]:
        """The outcome of each, once it is durable; waits while the database takes nothing."""
        while deliveries:
            try:
                return [str(outcome) for outcome in await writer.take_in(deliveries)]
            except UnavailableError:
                await _within(self._stop, _AGAIN_S)
                if self._stop.is_set():
                    raise
        return []

    def _chunks(self) -> list[list[RejectedHead]]:
        """What is kept now, oldest first."""
        heads = list(self._sample)
        return [heads[begin : begin + _CHUNK] for begin in range(0, len(heads), _CHUNK)]


async def _within(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event, at most so long."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def _meant(rows: Sequence[RejectedBody], is_meant: Callable[[bytes], bool]) -> set[int]:
    return {row.id for row in rows if is_meant(row.body)}


def _signed(rows: Sequence[RejectedBody], secrets: Secrets) -> list[tuple[RejectedBody, int]]:
    """Those that a secret has signed, with its number."""
    keys = [key for key, _ in secrets]
    found = []
    for row in rows:
        digests = [row.signatures[begin : begin + 32] for begin in range(0, len(row.signatures), 32)]
        index = signature.matching_secret(keys, row.body, digests)
        if index is not None:
            found.append((row, secrets[index][1]))
    return found
