"""Opens SQLite: one writing connection, and reading ones beside it that cannot write."""

import contextlib
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar
from urllib.parse import quote

import aiosqlite

from receiver.errors import StorageError
from receiver.storage.sqlite import migrate

P = ParamSpec("P")
T = TypeVar("T")

_BUSY_TIMEOUT_S = 0.5
_STATEMENTS_CACHED = 256
_PAGE_CACHE_KIB = 32_768
# A tenth of the weight of the threads that take webhooks in (`sched(7)`), where both want the processor.
_NICE = 10
# A checkpoint of 4,000 pages (16 MiB) is rare enough to keep fsyncs few and small enough not to be felt.
_CHECKPOINT_PAGES = 4000
# While one transaction after another does nothing but delete, smaller ones are felt less.
_CHECKPOINT_PAGES_OFTEN = 1000


class Connection(aiosqlite.Connection):
    """An aiosqlite connection that also runs whole functions on its thread: one hop for many statements."""

    async def run(
        self, function: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """The result of `function(connection, …)`, called on this connection's own thread."""
        result: T = await self._execute(function, self._conn, *args, **kwargs)  # type: ignore[no-untyped-call] # aiosqlite leaves it untyped
        return result

    def join(self) -> None:
        """Wait for the thread of a connection that could not be opened.

        aiosqlite has told it to end, but does not wait; ending after the event loop has, it fails loudly.
        """
        self._thread.join()


def open_for_writing(path: Path) -> sqlite3.Connection:
    """The one writing connection: WAL, and a commit is on disk when it returns (`synchronous=FULL`).

    What is deleted is overwritten (`secure_delete`), and in a new database free pages can be given back. A file
    that is not this program's is refused before anything in it is touched.
    """
    conn = sqlite3.connect(
        path,
        isolation_level=None,
        check_same_thread=False,
        timeout=_BUSY_TIMEOUT_S,
        cached_statements=_STATEMENTS_CACHED,
    )
    try:
        migrate.check(conn, str(path))
        # Only while the file is new: a later one would have to be written anew as a whole.
        conn.execute("PRAGMA auto_vacuum = INCREMENTAL")
        _set(conn, "journal_mode", "WAL", "wal")
        _set(conn, "synchronous", "FULL", 2)
        _set(conn, "secure_delete", "ON", 1)
        _set(conn, "wal_autocheckpoint", _CHECKPOINT_PAGES, _CHECKPOINT_PAGES)
        _set(conn, "cache_size", -_PAGE_CACHE_KIB, -_PAGE_CACHE_KIB)
    except sqlite3.DatabaseError as error:
        conn.close()
        raise StorageError(_explain(path, error)) from error
    except BaseException:
        conn.close()
        raise
    return conn


def _explain(path: Path, error: sqlite3.DatabaseError) -> str:
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB:
        return f"'{path}' is not an SQLite database; name another file in 'storage.url'."
    return f"The database '{path}' cannot be opened for writing: {error}."


def _set(conn: sqlite3.Connection, name: str, value: object, expected: object) -> None:
    """Set a pragma and read it back: SQLite ignores silently what it cannot do."""
    conn.execute(f"PRAGMA {name} = {value}")
    found = conn.execute(f"PRAGMA {name}").fetchone()[0]
    if found != expected:
        raise StorageError(f"The database's {name} is {found!r} and cannot be set to {value!r}.")


def truncate_wal(conn: sqlite3.Connection) -> bool:
    """Write the log into the database and empty it; False, at once, while a reader still needs what is in it.

    Until then the log holds pages as they were. `conn` is the writing connection, in no transaction.
    """
    conn.execute("PRAGMA busy_timeout = 0")  # waiting, it would hold up whoever wants to write
    try:
        return bool(conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0)
    finally:
        conn.execute(f"PRAGMA busy_timeout = {round(_BUSY_TIMEOUT_S * 1000)}")


def checkpoint_often(conn: sqlite3.Connection, often: bool) -> None:
    """Write the log into the database every 4 MiB, or as rarely as usual."""
    pages = _CHECKPOINT_PAGES_OFTEN if often else _CHECKPOINT_PAGES
    _set(conn, "wal_autocheckpoint", pages, pages)


@contextlib.contextmanager
def one_moment(conn: sqlite3.Connection) -> Iterator[None]:
    """All reads inside see the database as of one moment; within a transaction they do already."""
    if conn.in_transaction:
        yield
        return
    conn.execute("BEGIN")
    try:
        yield
    finally:
        _leave(conn)


def _leave(conn: sqlite3.Connection) -> None:
    """End a reading transaction; one left open would refuse the next."""
    try:
        if conn.in_transaction:
            conn.execute("ROLLBACK")
    except sqlite3.OperationalError:  # interrupted, too
        conn.execute("ROLLBACK")


def open_for_reading(path: Path) -> sqlite3.Connection:
    """A connection that cannot write; `query_only` would still checkpoint."""
    conn = sqlite3.connect(
        f"file:{quote(str(path))}?mode=ro",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=_BUSY_TIMEOUT_S,
    )
    conn.row_factory = sqlite3.Row
    return conn


def open_for_analysis(path: Path) -> sqlite3.Connection:
    """The same for a thread of its own, of which this call makes one that stands back for all others.

    Only Linux gives each thread its own priority; elsewhere nothing is changed.
    """
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, 0, _NICE)  # 0 is the calling thread
    return open_for_reading(path)


async def connect(opener: Callable[[], sqlite3.Connection]) -> Connection:
    """An open aiosqlite connection over `opener`; the caller closes it."""
    connection = Connection(opener, iter_chunk_size=64)
    try:
        await connection
    except Exception:
        connection.join()
        raise
    return connection
