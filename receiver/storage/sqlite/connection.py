"""Opens SQLite: one writing connection, and reading ones beside it that cannot write."""

import contextlib
import os
import sqlite3
import sys
from pathlib import Path
from urllib.parse import quote

from receiver.errors import StorageError
from receiver.storage.faults import damaged, explained
from receiver.storage.files import leftovers_of, part_of, publish, sync
from receiver.storage.sqlite import migrate

_BUSY_TIMEOUT_S = 0.5
_STATEMENTS_CACHED = 256
_PAGE_CACHE_KIB = 32_768
# A tenth of the weight of the threads that take webhooks in (`sched(7)`), where both want the processor.
_NICE = 10
# A checkpoint of 4,000 pages (16 MiB) is rare enough to keep fsyncs few and small enough not to be felt.
_CHECKPOINT_PAGES = 4000
# Where an SQLite file says which program made it.
_HEADER_BYTES = 100
_ID_AT = 68
# What SQLite says of a header that makes no sense; the second of a format that it does not know.
_TORN = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}
# While one transaction after another does nothing but delete, smaller ones are felt less.
_CHECKPOINT_PAGES_OFTEN = 1000


def open_for_writing(path: Path) -> sqlite3.Connection:
    """The one writing connection: WAL, and a commit is on disk when it returns (`synchronous=FULL`).

    A database that is not there is made. What is deleted is overwritten (`secure_delete`). A file that is not this
    program's is refused before anything in it is touched. Raises StorageError.
    """
    if not path.exists():
        _make(path.resolve())
    refuse_empty(path)
    conn = sqlite3.connect(
        path,
        isolation_level=None,
        check_same_thread=False,
        timeout=_BUSY_TIMEOUT_S,
        cached_statements=_STATEMENTS_CACHED,
    )
    try:
        migrate.check(conn, str(path))
        _set(conn, "journal_mode", "WAL", "wal")
        _set(conn, "synchronous", "FULL", 2)
        _set(conn, "secure_delete", "ON", 1)
        _set(conn, "wal_autocheckpoint", _CHECKPOINT_PAGES, _CHECKPOINT_PAGES)
        _set(conn, "cache_size", -_PAGE_CACHE_KIB, -_PAGE_CACHE_KIB)
    except sqlite3.DatabaseError as error:
        conn.close()
        raise StorageError(why_not_opened(path, error, "opened for writing")) from error
    except BaseException:
        conn.close()
        raise
    return conn


def _make(path: Path) -> None:
    """A new database gets its name when the whole schema is on disk, so that no killed start leaves half of one.

    The caller holds the database's lock: parts that an earlier start has left are nobody's.
    """
    part = part_of(path)
    try:
        for left in leftovers_of(path):
            left.unlink()
        with contextlib.closing(sqlite3.connect(part, isolation_level=None)) as conn:
            conn.execute("PRAGMA journal_mode = OFF")  # a part that is not whole is thrown away
            conn.execute("PRAGMA synchronous = OFF")
            # Only while the file is new: free pages can be given back.
            conn.execute("PRAGMA auto_vacuum = INCREMENTAL")
            migrate.make(conn)
        sync(part)
        publish(part, path)
    except (OSError, sqlite3.DatabaseError) as error:
        raise StorageError(f"The database '{path}' cannot be made: {_why(error)}.") from error
    finally:
        part.unlink(missing_ok=True)


def _why(error: OSError | sqlite3.DatabaseError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def refuse_empty(path: Path) -> None:
    """Raises StorageError for an empty file: SQLite would fill it, and delete a log beside it that holds events."""
    if path.stat().st_size == 0:
        raise StorageError(
            f"'{path}' is empty, which no database ever is; restore a backup, or delete it to begin with none."
        )


def why_not_opened(path: Path, error: sqlite3.DatabaseError, what: str) -> str:
    """Why a first look at a file failed, in words; where its header is torn, its mark tells whether it was ours."""
    if getattr(error, "sqlite_errorcode", None) not in _TORN:
        return explained(path, error, what)
    if has_our_mark(path):
        return damaged(path, error)
    return f"'{path}' is not an SQLite database; name another file in 'storage.url'."


def has_our_mark(path: Path) -> bool:
    """Whether a file's header has this program's id; while the file is open elsewhere, its locks would be dropped."""
    with path.open("rb") as file:
        return file.read(_HEADER_BYTES)[_ID_AT:].startswith(migrate.APPLICATION_ID.to_bytes(4, "big"))


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


def one_moment(conn: sqlite3.Connection) -> contextlib.AbstractContextManager[None]:
    """All reads inside see the database as of one moment; within a transaction they do already."""
    return contextlib.nullcontext() if conn.in_transaction else _Moment(conn)


class _Moment:
    """A reading transaction. As a generator it would take as long as a small answer's own statement."""

    __slots__ = ("_conn",)

    def __init__(self, conn: sqlite3.Connection) -> None:
        self._conn = conn

    def __enter__(self) -> None:
        self._conn.execute("BEGIN")

    def __exit__(self, *_: object) -> None:
        _leave(self._conn)


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

    Only Linux gives each thread its own priority; elsewhere, and where the process may not, nothing is changed.
    """
    if sys.platform == "linux":
        with contextlib.suppress(PermissionError):  # a filter of system calls may forbid it
            os.setpriority(os.PRIO_PROCESS, 0, _NICE)  # 0 is the calling thread
    return open_for_reading(path)
