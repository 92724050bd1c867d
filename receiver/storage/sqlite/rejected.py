"""A file of its own for bodies whose signature matched no secret: nothing unsigned gets into the database.

It is written without fsync. A power cut may cost some of them, or all: the sender was told 401 and tries again.
"""

import os
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import structlog

from receiver.errors import StorageError
from receiver.storage.faults import Fault, classify
from receiver.storage.sqlite.connection import has_our_mark
from receiver.storage.sqlite.migrate import APPLICATION_ID
from receiver.storage.sqlite.queries import queries
from receiver.storage.sqlite.threads import Connection, connect

log = structlog.get_logger()

# How every SQLite file begins.
_MAGIC = b"SQLite format 3\0"
_BUSY_TIMEOUT_S = 0.5


@dataclass(frozen=True, slots=True)
class RejectedHead:
    """A kept body without the body; `size` in bytes, `received_at` in epoch milliseconds."""

    id: int
    received_at: int
    peer: str | None
    digest: bytes
    size: int


@dataclass(frozen=True, slots=True)
class RejectedBody:
    """A body with the decoded signatures that came with it, one after the other, 32 bytes each."""

    id: int
    received_at: int
    peer: str | None
    signatures: bytes
    digest: bytes
    body: bytes = field(repr=False)


class RejectedFile:
    """`<database>.rejected`, mode 0600; the caller holds the database's lock. Its methods raise sqlite3.Error."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @classmethod
    async def open(cls, path: Path) -> "RejectedFile":
        """Opens or makes the file; a damaged one is begun anew. Raises StorageError."""
        try:
            try:
                return cls(await connect(partial(_open, path)))
            except sqlite3.DatabaseError as error:
                if classify(error) is not Fault.FATAL or not _is_ours(path):
                    raise
                log.warning("rejected_bodies_lost", detail=f"'{path}' is damaged and is begun anew.")
                return cls(await connect(partial(_begin_anew, path)))
        except (OSError, sqlite3.DatabaseError) as error:
            raise StorageError(f"The file '{path}' cannot be used: {error}.") from error

    async def heads(self) -> list[RejectedHead]:
        """All that is kept, in the order in which it came."""
        return await self._connection.run(_heads)

    async def take(self, ids: Sequence[int]) -> list[RejectedBody]:
        """Those of these that are kept, with their bodies."""
        return await self._connection.run(_take, ids)

    async def change(self, new: Iterable[RejectedBody], gone: Iterable[int]) -> None:
        """Keep some and forget others, in one transaction."""
        await self._connection.run(_change, list(new), list(gone))

    async def close(self) -> None:
        await self._connection.close()


def rejected_path(database: Path) -> Path:
    """Where the rejected bodies of a database are kept."""
    return database.with_name(database.name + ".rejected")


def _open(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    if path.stat().st_size and not _is_ours(path):
        raise StorageError(f"'{path}' is not a file of this program; move it away.")
    path.chmod(0o600)
    conn = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=_BUSY_TIMEOUT_S)
    try:
        # What is deleted is overwritten, and the file shrinks; no write-ahead log keeps a copy.
        conn.execute("PRAGMA secure_delete=ON").fetchone()
        conn.execute("PRAGMA synchronous=OFF")
        # Also one that a kill left half-made. The first has an effect only while nothing is in the file.
        conn.execute("PRAGMA auto_vacuum=FULL")
        if conn.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            conn.execute(f"PRAGMA application_id={APPLICATION_ID}")
        conn.execute(queries("rejected.sql")["create"])
        conn.execute(queries("rejected.sql")["heads"]).fetchall()
    except BaseException:
        conn.close()
        raise
    return conn


def _begin_anew(path: Path) -> sqlite3.Connection:
    path.unlink()
    return _open(path)


def _is_ours(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC and has_our_mark(path)


def _heads(conn: sqlite3.Connection) -> list[RejectedHead]:
    return [RejectedHead(*row) for row in conn.execute(queries("rejected.sql")["heads"])]


def _take(conn: sqlite3.Connection, ids: Sequence[int]) -> list[RejectedBody]:
    text = queries("rejected.sql").with_list("take", len(ids))
    return [RejectedBody(*row) for row in conn.execute(text, ids)]


def _change(conn: sqlite3.Connection, new: Sequence[RejectedBody], gone: Sequence[int]) -> None:
    sql = queries("rejected.sql")
    rows = [(row.id, row.received_at, row.peer, row.signatures, row.digest, row.body) for row in new]
    conn.execute("BEGIN IMMEDIATE")
    try:
        conn.executemany(sql["delete"], [(row_id,) for row_id in gone])
        conn.executemany(sql["insert"], rows)
        conn.execute("COMMIT")
    except BaseException:
        if conn.in_transaction:
            conn.execute("ROLLBACK")
        raise
