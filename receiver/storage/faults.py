"""What a failing database means for the service: wait, try again, or stop."""

import sqlite3
from enum import Enum
from pathlib import Path
from typing import Any

from receiver.errors import StorageError


class Fault(Enum):
    """How a failed transaction is to be answered."""

    FULL = "full"  # no space: refuse with 503 until there is some
    BUSY = "busy"  # another connection holds the lock: refuse with 503, try again
    FATAL = "fatal"  # fsync failed, the file is damaged, the writer ended: what is on disk is not known any more
    INTERRUPTED = "interrupted"
    OTHER = "other"  # a defect of ours, or a row that the database will not take


# The shared-memory file of a WAL cannot grow: the disk is full, not broken. A write that the system refuses comes
# before its commit, which it only prevents: a quota is used up, a file may not grow. SQLite does not say which.
_FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_WRITE}
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_FINDING_MAX = 200
_CHAPTER = "README, 'Backup and restore'"
_BY_PRIMARY_CODE = {
    sqlite3.SQLITE_FULL: Fault.FULL,
    sqlite3.SQLITE_BUSY: Fault.BUSY,
    sqlite3.SQLITE_LOCKED: Fault.BUSY,
    sqlite3.SQLITE_INTERRUPT: Fault.INTERRUPTED,
    sqlite3.SQLITE_IOERR: Fault.FATAL,
    sqlite3.SQLITE_CORRUPT: Fault.FATAL,
    sqlite3.SQLITE_NOTADB: Fault.FATAL,
    sqlite3.SQLITE_CANTOPEN: Fault.FATAL,
    sqlite3.SQLITE_READONLY: Fault.FATAL,
}


class WriterEndedError(StorageError):
    """The process that writes has ended without being told to: what it was about to write, nobody knows."""


def classify(error: BaseException) -> Fault:
    if isinstance(error, WriterEndedError):
        return Fault.FATAL
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return Fault.OTHER
    return Fault.FULL if code in _FULL else _BY_PRIMARY_CODE.get(code & 0xFF, Fault.OTHER)


def is_damage(error: BaseException) -> bool:
    """Whether the error says that the database's file is not what was written to it."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _DAMAGE


class DamagedError(StorageError):
    """The database's file is not what was written to it: `finding` says where."""

    def __init__(self, path: Path, finding: object) -> None:
        super().__init__(damaged(path, finding))
        self.path = path
        self.finding = str(finding)

    def __reduce__(self) -> tuple[Any, ...]:  # it is raised in the process that writes, too
        return DamagedError, (self.path, self.finding)


def damaged(path: Path, finding: object) -> str:
    """What to say of a damaged database: what was found, and the way back."""
    found = " ".join(str(finding).split())[:_FINDING_MAX]
    return f"The database '{path}' is damaged ({found}); restore a backup, then run `reconcile`: {_CHAPTER}."


def explained(path: Path, error: Exception, what: str) -> str:
    """Why a database cannot be used, in words for the operator; `what` is what cannot be done with it."""
    return damaged(path, error) if is_damage(error) else f"The database '{path}' cannot be {what}: {error}."
