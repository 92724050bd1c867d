"""Connections with a thread of their own each, for whoever must not wait: asynchronous."""

import asyncio
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import aiosqlite

from receiver.storage.faults import DamagedError, is_damage
from receiver.storage.sqlite.connection import open_for_reading

P = ParamSpec("P")
T = TypeVar("T")

_INTERRUPT_EVERY_S = 0.02


class Connection(aiosqlite.Connection):
    """An aiosqlite connection that also runs whole functions on its thread: one hop for many statements.

    `read_path` is the database of one that only reads: what it meets of damage is raised as DamagedError.
    """

    read_path: Path | None = None

    async def run(
        self, function: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """The result of `function(connection, …)`, called on this connection's own thread."""
        try:
            result: T = await self._execute(function, self._conn, *args, **kwargs)  # type: ignore[no-untyped-call] # aiosqlite leaves it untyped
        except sqlite3.DatabaseError as error:
            if self.read_path is not None and is_damage(error):
                raise DamagedError(self.read_path, error) from error
            raise
        return result

    async def run_to_cancel(
        self, function: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """The same. When the caller is cancelled the function is interrupted, and has ended before this returns."""
        running = asyncio.ensure_future(self.run(function, *args, **kwargs))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await self.interrupt_until_done(running)
            await asyncio.gather(running, return_exceptions=True)
            raise

    async def interrupt_until_done(self, running: asyncio.Future[Any]) -> None:
        """Interrupt what runs on this connection, until it has ended."""
        while not running.done():  # it may have been between two statements, of which none is interrupted
            await self.interrupt()
            await asyncio.wait({running}, timeout=_INTERRUPT_EVERY_S)

    def join(self) -> None:
        """Wait for the thread of a connection that could not be opened.

        aiosqlite has told it to end, but does not wait; ending after the event loop has, it fails loudly.
        """
        self._thread.join()


async def connect_to_read(path: Path, opener: Callable[[Path], sqlite3.Connection] = open_for_reading) -> Connection:
    """A connection that only reads; the caller closes it."""
    connection = await connect(partial(opener, path))
    connection.read_path = path
    return connection


async def connect(opener: Callable[[], sqlite3.Connection]) -> Connection:
    """An open aiosqlite connection over `opener`; the caller closes it."""
    connection = Connection(opener, iter_chunk_size=64)
    try:
        await connection
    except Exception:
        connection.join()
        raise
    return connection
