"""The process that writes, as the one that serves sees it."""

import asyncio
import contextlib
import pickle
import sqlite3
import subprocess
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from receiver.leadterra.payloads import Parser
from receiver.storage.faults import WriterEndedError
from receiver.storage.sqlite import wire
from receiver.storage.sqlite.launch import Launched
from receiver.storage.sqlite.ledger import Ledger
from receiver.storage.sqlite.migrate import Tell

P = ParamSpec("P")
T = TypeVar("T")

_POLL_S = 0.005


class WritingProcess:
    """A process of its own. It shares the database's lock, which so is held until both have ended.

    `ended` is set once nothing can be asked of it any more; what was asked then raises WriterEndedError.
    """

    def __init__(
        self,
        process: "subprocess.Popen[bytes]",
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        tell: Tell,
    ) -> None:
        self.parser: Parser
        self.unchecked: Sequence[str]
        self.ended = asyncio.Event()
        self.pid: int | None = process.pid
        self._process = process
        self._reader = reader
        self._writer = writer
        self._tell = tell
        self._pending: deque[asyncio.Future[Any]] = deque()
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def open(cls, launched: Launched, tell: Tell) -> "WritingProcess":
        """Wait until it has opened the database."""
        opened = cls(launched.process, *await asyncio.open_unix_connection(sock=launched.peer), tell)
        try:
            opened.parser, opened.unchecked = await opened._answer()
        except BaseException:
            await opened._end()
            raise
        return opened

    async def run(
        self, function: Callable[Concatenate[Ledger, sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """The result of `function(ledger, connection, …)`; it and all else must be known there by name."""
        return cast(T, await self._asked(wire.Asked(function, args, kwargs)))

    async def close(self) -> None:
        """Have it close the database, and wait for its end."""
        try:
            if not self.ended.is_set():
                await self._asked(None)
        finally:
            await self._end()

    async def _asked(self, question: wire.Asked | None) -> Any:
        if self.ended.is_set():
            raise self._ended_error()
        self._writer.write(wire.packed(question))
        return await self._answer()

    def _answer(self) -> asyncio.Future[Any]:
        """What comes next, after the answers that are awaited already."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._pending.append(future)
        return future

    async def _listen(self) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                (length,) = wire.LENGTH.unpack(await self._reader.readexactly(wire.LENGTH.size))
                content = await self._reader.readexactly(length)
                self._take(_answer_in(content))
        while self._process.poll() is None:  # noqa: ASYNC110 # it is ending, and has no event for it
            await asyncio.sleep(_POLL_S)
        self.ended.set()
        for future in self._pending:
            if not future.done():
                future.set_exception(self._ended_error())

    def _take(self, answer: wire.Answer) -> None:
        if answer.kind == "told":
            self._tell(answer.value)
            return
        future = self._pending.popleft()
        if future.done():  # nobody waits for it any more
            return
        if answer.kind == "failed":
            future.set_exception(answer.value)
        else:
            future.set_result(answer.value)

    def _ended_error(self) -> WriterEndedError:
        code = self._process.poll()
        how = "by itself" if code is None else f"by signal {-code}" if code < 0 else f"with exit code {code}"
        return WriterEndedError(f"The process that writes has ended {how}.")

    async def _end(self) -> None:
        self._writer.close()
        await self._listening


def _answer_in(content: bytes) -> wire.Answer:
    """An answer; one that cannot be read is a failure of what was asked, and of nothing else."""
    try:
        answer: wire.Answer = pickle.loads(content)  # noqa: S301 # from the process that this one started
    except Exception as error:  # noqa: BLE001 # whoever asked gets it
        return wire.Answer("failed", error)
    return answer
