"""What a failing database means: each of SQLite's errors, made for real where that can be done."""

import os
import resource
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from receiver.storage.faults import Fault, classify


def failure(code: int) -> sqlite3.Error:
    error = sqlite3.OperationalError("made up")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        (sqlite3.SQLITE_FULL, Fault.FULL),
        (sqlite3.SQLITE_IOERR_SHMSIZE, Fault.FULL),
        (sqlite3.SQLITE_BUSY, Fault.BUSY),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, Fault.BUSY),
        (sqlite3.SQLITE_LOCKED, Fault.BUSY),
        (sqlite3.SQLITE_INTERRUPT, Fault.INTERRUPTED),
        (sqlite3.SQLITE_IOERR, Fault.FATAL),
        (sqlite3.SQLITE_IOERR_FSYNC, Fault.FATAL),
        (sqlite3.SQLITE_IOERR_WRITE, Fault.FULL),
        (sqlite3.SQLITE_IOERR_READ, Fault.FATAL),
        (sqlite3.SQLITE_CORRUPT, Fault.FATAL),
        (sqlite3.SQLITE_CORRUPT_INDEX, Fault.FATAL),
        (sqlite3.SQLITE_NOTADB, Fault.FATAL),
        (sqlite3.SQLITE_CANTOPEN, Fault.FATAL),
        (sqlite3.SQLITE_READONLY_DBMOVED, Fault.FATAL),
        (sqlite3.SQLITE_CONSTRAINT, Fault.OTHER),
        (sqlite3.SQLITE_TOOBIG, Fault.OTHER),
        (sqlite3.SQLITE_ERROR, Fault.OTHER),
    ],
)
def test_each_error_means_one_thing(code: int, fault: Fault) -> None:
    assert classify(failure(code)) is fault


@pytest.mark.parametrize("error", [ValueError("x"), sqlite3.ProgrammingError("x"), KeyboardInterrupt()])
def test_what_did_not_come_from_the_database_is_something_else(error: BaseException) -> None:
    assert classify(error) is Fault.OTHER


def caught(conn: sqlite3.Connection, statement: str) -> Fault:
    with pytest.raises(sqlite3.Error) as raised:
        conn.execute(statement)
    return classify(raised.value)


def test_a_database_at_its_limit_is_full(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "a.db", isolation_level=None)) as conn:
        conn.execute("CREATE TABLE t (x)")
        conn.execute("PRAGMA max_page_count = 3")
        assert caught(conn, "INSERT INTO t VALUES (zeroblob(100000))") is Fault.FULL


def test_a_lock_that_another_holds_is_busy(tmp_path: Path) -> None:
    with (
        closing(sqlite3.connect(tmp_path / "a.db", isolation_level=None)) as holder,
        closing(sqlite3.connect(tmp_path / "a.db", isolation_level=None, timeout=0)) as other,
    ):
        holder.execute("BEGIN IMMEDIATE")
        assert caught(other, "BEGIN IMMEDIATE") is Fault.BUSY


def test_a_damaged_file_is_fatal(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as conn:
        conn.execute("CREATE TABLE t (x)")
        conn.execute("INSERT INTO t VALUES (zeroblob(100000))")
    raw = bytearray(path.read_bytes())
    raw[4096:12288] = b"\xa5" * 8192
    path.write_bytes(raw)
    with closing(sqlite3.connect(path, isolation_level=None)) as conn:
        assert caught(conn, "SELECT sum(length(x)) FROM t") is Fault.FATAL


def test_a_query_that_was_stopped_is_interrupted() -> None:
    with closing(sqlite3.connect(":memory:")) as conn:
        conn.set_progress_handler(lambda: 1, 100)
        endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
        assert caught(conn, endless) is Fault.INTERRUPTED


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on the size of files")
def test_a_file_that_may_not_grow_is_no_silent_success(tmp_path: Path) -> None:
    # In a child: the limit holds for the whole process.
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        conn = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
        conn.execute("CREATE TABLE t (x)")
        resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, 65_536))
        try:
            conn.execute("INSERT INTO t VALUES (zeroblob(1000000))")
        except sqlite3.Error as error:
            os.write(writer, classify(error).value.encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        assert answer.read() == "full"
