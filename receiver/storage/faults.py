"""What a failing database means for the service: wait, try again, or stop."""

import sqlite3
from enum import Enum

from receiver.errors import StorageError


class Fault(Enum):
    """How a failed transaction is to be answered."""

    FULL = "full"  # no space: refuse with 503 until there is some
    BUSY = "busy"  # another connection holds the lock: refuse with 503, try again
    FATAL = "fatal"  # fsync failed, the file is damaged, the writer ended: what is on disk is not known any more
    INTERRUPTED = "interrupted"
    OTHER = "other"  # a defect of ours, or a row that the database will not take


# The shared-memory file of a WAL cannot grow: the disk is full, not broken.
_FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE}
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
