"""Whole lists as CSV or NDJSON: read at once from one state, kept aside, downloaded at the client's own pace.

The reading transaction ends before the download begins: SQLite's log cannot be emptied past an open one, and
a client may take hours.
"""

import asyncio
import errno
import re
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from io import FileIO
from itertools import islice
from pathlib import Path
from typing import Any

import structlog
from starlette.types import Receive, Send

from receiver.errors import QueryTimeoutError, UnavailableError
from receiver.masking import all_masked, may_hold_address
from receiver.storage.faults import Fault, classify
from receiver.storage.sqlite.connection import open_for_analysis
from receiver.storage.sqlite.recount import Progress
from receiver.storage.sqlite.threads import Connection, connect_to_read
from receiver.web.formats import Format, Lines, columns
from receiver.web.operation import Call, Table
from receiver.web.spool import OpenFile, Spool, unnamed_file

log = structlog.get_logger()

_BATCH_ROWS = 500
_GZIP_MIN_BYTES = 1000
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+", re.ASCII)
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_RETRY_AFTER_S = 5


@dataclass(frozen=True, slots=True)
class ExportLimits:
    """`at_once` counts exports being read and those on disk; others wait `wait_s` for one to end.

    `read_at_once` of them are being read: more would not be ready sooner, and slow down what takes webhooks in.

    Reading may take `read_s`: an export is longer than any page. A client may take nothing for `stall_s`.
    """

    at_once: int = 4
    read_at_once: int = 2
    wait_s: float = 5.0
    read_s: float = 300.0
    stall_s: float = 60.0


def write_table(
    conn: sqlite3.Connection,
    table: Table,
    call: Call,
    format_: Format,
    write: Callable[[bytes], object],
    progress: Progress,
) -> None:
    """Writes a list from one state of the database. Raises what its rows raise, StoppedError, and OSError."""
    fields = table.fields(call) if table.fields else None
    lines = Lines(format_, columns(table.row, fields))
    conn.execute("BEGIN")
    try:
        rows = table.rows(conn, call)
        batch = list(islice(rows, _BATCH_ROWS))  # an unknown campaign is found before anything is written
        write(lines.head())
        while batch:
            progress.check()
            content = lines.of(batch)
            if not call.show_recipients and may_hold_address(content):
                content = lines.of(map(all_masked, batch))
            write(content)
            progress.done += len(batch)
            batch = list(islice(rows, _BATCH_ROWS))
    finally:
        conn.execute("ROLLBACK")


def file_name(table: Table, call: Call, format_: Format) -> str:
    """`steps-camp_1.csv`: safe in a header and on every file system."""
    parts = [table.name, *(call.path[part] for part in table.path)]
    return f"{'-'.join(_UNSAFE.sub('_', part)[:64] for part in parts)}.{format_}"


class Exports:
    """Makes exports of the database at `path`, a few at once, beside its writer and its readers."""

    def __init__(self, path: Path, limits: ExportLimits | None = None, open_file: OpenFile | None = None) -> None:
        self._path = path
        self._limits = limits or ExportLimits()
        self._open_file = open_file or unnamed_file(path.parent)
        self._slots = asyncio.Semaphore(self._limits.at_once)
        self._turns = asyncio.Semaphore(self._limits.read_at_once)
        self._draining = asyncio.Event()
        self._stalls: set[asyncio.Timeout] = set()

    def drain(self) -> None:
        """Refuse exports from now on, and cut off those under way: they can be asked for again."""
        self._draining.set()
        now = asyncio.get_running_loop().time()
        for stall in self._stalls:
            if not stall.expired():
                stall.reschedule(now)

    async def make(self, table: Table, call: Call, format_: Format, receive: Receive) -> "Download":
        """The whole export, ready to be sent; the caller closes it.

        Raises UnavailableError, QueryTimeoutError and what the table's rows raise.
        """
        return await self._made(table, call, format_, receive, self._open_file)

    async def make_small(self, table: Table, call: Call, format_: Format, receive: Receive) -> "Download | None":
        """The same, in memory: one that would need a file is left off where it does, and is None."""
        try:
            return await self._made(table, call, format_, receive, _no_file)
        except _NoFileError:
            return None

    async def _made(
        self, table: Table, call: Call, format_: Format, receive: Receive, open_file: OpenFile
    ) -> "Download":
        if self._draining.is_set():
            raise _shutting_down()
        limits = self._limits
        await self._take(self._slots, f"{limits.at_once} exports are under way, and no more are made at once")
        spool = Spool(open_file)
        client = asyncio.ensure_future(_gone(receive))
        try:
            await self._take(self._turns, f"{limits.read_at_once} exports are being read, and no more are at once")
            try:
                await self._read(partial(write_table, table=table, call=call, format_=format_), spool, client)
            finally:
                self._turns.release()
        except BaseException as error:
            client.cancel()
            spool.close()
            self._slots.release()
            if _is_full(error):
                log.warning("export_without_room", table=table.name)
                raise UnavailableError("There is no room for the export now; ask for less, or try later.") from error
            raise
        return Download(spool, client, self._slots, self._draining, self._stalls, self._limits.stall_s)

    async def _take(self, places: asyncio.Semaphore, taken: str) -> None:
        try:
            async with asyncio.timeout(self._limits.wait_s):
                await places.acquire()
        except TimeoutError:
            raise UnavailableError(f"{taken}; try again later.", _RETRY_AFTER_S) from None

    async def _read(self, into: Callable[..., None], spool: Spool, client: "asyncio.Future[None]") -> None:
        connection = await connect_to_read(self._path, open_for_analysis)
        try:
            progress = Progress()
            work = connection.run(into, write=spool.write, progress=progress)
            await self._finished(asyncio.ensure_future(work), connection, progress, client)
            await asyncio.to_thread(spool.finish)
        finally:
            await connection.close()

    async def _finished(
        self, work: "asyncio.Future[None]", connection: Connection, progress: Progress, client: "asyncio.Future[None]"
    ) -> None:
        """Wait for the reading; end it when nobody wants it any more or it takes too long."""
        draining = asyncio.ensure_future(self._draining.wait())
        try:
            ends: set[asyncio.Future[Any]] = {work, client, draining}
            await asyncio.wait(ends, timeout=self._limits.read_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            draining.cancel()
            in_time = work.done()
            if not in_time:
                progress.stopped = True
                await connection.interrupt()
                await asyncio.gather(work, return_exceptions=True)
        if in_time:
            work.result()
        elif client.done():
            raise UnavailableError("The client has gone.")
        elif self._draining.is_set():
            raise _shutting_down()
        else:
            raise QueryTimeoutError(f"The export took longer than {self._limits.read_s:g} s; ask for less at once.")


class Download:
    """A finished export on its way to one client."""

    def __init__(
        self,
        spool: Spool,
        client: "asyncio.Future[None]",
        slots: asyncio.Semaphore,
        draining: asyncio.Event,
        stalls: set[asyncio.Timeout],
        stall_s: float,
    ) -> None:
        self._spool = spool
        self._client = client
        self._slots: asyncio.Semaphore | None = slots
        self._draining = draining
        self._stalls = stalls
        self._stall_s = stall_s
        if not spool.on_disk:
            self._release()

    def length(self, *, compressed: bool) -> int:
        """How many bytes `send` sends."""
        return self._spool.stored_bytes if compressed else self._spool.plain_bytes

    @property
    def is_worth_compressing(self) -> bool:
        return self._spool.plain_bytes > _GZIP_MIN_BYTES

    async def send(self, send: Send, *, compressed: bool) -> None:
        """The body, as fast as the client takes it. Ends early for one that has gone or takes nothing."""
        chunks = self._spool.chunks(compressed=compressed)
        while chunk := await asyncio.to_thread(next, chunks, b""):
            if not await self._is_taken(send, chunk):
                log.info("export_cut_off", reason=self._reason())
                return
        await send({"type": "http.response.body", "body": b""})

    async def _is_taken(self, send: Send, chunk: bytes) -> bool:
        if self._client.done() or self._draining.is_set():
            return False
        stall = asyncio.timeout(self._stall_s)
        try:
            async with stall:
                self._stalls.add(stall)
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except TimeoutError:
            return False
        finally:
            self._stalls.discard(stall)
        return True

    def _reason(self) -> str:
        if self._client.done():
            return "gone"
        return "shutdown" if self._draining.is_set() else "stalled"

    def close(self) -> None:
        self._client.cancel()
        self._spool.close()
        self._release()

    def _release(self) -> None:
        if self._slots is not None:
            self._slots.release()
            self._slots = None


async def _gone(receive: Receive) -> None:
    """Ends when the client has gone: what comes after the request's body, which is passed over."""
    message = await receive()
    while message.get("more_body", False):
        message = await receive()
    if message["type"] != "http.disconnect":
        message = await receive()
    if message["type"] != "http.disconnect":
        await asyncio.Event().wait()  # nothing can be told by such a server; the task is cancelled


def _shutting_down() -> UnavailableError:
    return UnavailableError("The receiver is shutting down; try again.", _RETRY_AFTER_S)


class _NoFileError(Exception):
    """An export needs a file where none is wanted."""


def _no_file() -> FileIO:
    raise _NoFileError


def _is_full(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno in _FULL
    return classify(error) is Fault.FULL
