"""Connections: what SQLite was told is what it does, and readers cannot write."""

import os
import platform
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from receiver.errors import StorageError
from receiver.storage.sqlite.connection import _set, open_for_analysis, open_for_reading, open_for_writing
from receiver.storage.sqlite.migrate import migrate, steps
from receiver.storage.sqlite.threads import connect


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "with spaces & 100% #.db"
    with closing(open_for_writing(path)) as conn:
        migrate(conn, str(path), 0)
    return path


@pytest.mark.parametrize(
    ("pragma", "value"),
    [
        ("journal_mode", "wal"),
        ("synchronous", 2),
        ("wal_autocheckpoint", 4000),
        ("cache_size", -32768),
        ("busy_timeout", 500),
    ],
)
def test_the_writing_connection_is_durable(path: Path, pragma: str, value: object) -> None:
    with closing(open_for_writing(path)) as conn:
        assert conn.execute(f"PRAGMA {pragma}").fetchone()[0] == value
        assert conn.isolation_level is None


def test_a_pragma_that_does_not_take_is_an_error(path: Path) -> None:
    with closing(sqlite3.connect(":memory:")) as conn, pytest.raises(StorageError) as refused:
        _set(conn, "journal_mode", "WAL", "wal")
    assert str(refused.value) == "The database's journal_mode is 'memory' and cannot be set to 'WAL'."


@pytest.mark.parametrize(
    "statement",
    ["INSERT INTO meta VALUES ('a', 1)", "DELETE FROM journal", "CREATE TABLE x (y)", "PRAGMA user_version = 5"],
)
def test_a_reader_cannot_write(path: Path, statement: str) -> None:
    with (
        closing(open_for_reading(path)) as conn,
        pytest.raises(sqlite3.OperationalError, match="attempt to write a readonly database"),
    ):
        conn.execute(statement)


def test_a_reader_sees_what_was_committed_and_no_more(path: Path) -> None:
    with closing(open_for_writing(path)) as writer, closing(open_for_reading(path)) as reader:
        writer.execute("BEGIN")
        writer.execute("INSERT INTO secrets (fingerprint, first_seen_at) VALUES (x'00', 1)")
        assert reader.execute("SELECT count(*) FROM secrets").fetchone()[0] == 0
        writer.execute("COMMIT")
        assert reader.execute("SELECT count(*) AS n FROM secrets").fetchone()["n"] == 1


def test_a_reader_does_not_make_a_database(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError, match="unable to open database file"):
        open_for_reading(tmp_path / "none.db")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises((StorageError, sqlite3.OperationalError), match="No such file or directory"):
        open_for_writing(tmp_path / "none" / "a.db")


async def test_a_function_runs_on_the_connections_own_thread(path: Path) -> None:
    connection = await connect(partial(open_for_writing, path))
    try:
        count = await connection.run(
            lambda conn, table: conn.execute(f"SELECT count(*) FROM {table}").fetchone(), "meta"
        )
        assert count[0] == 4
        with pytest.raises(ZeroDivisionError):
            await connection.run(lambda conn: 1 / 0)
    finally:
        await connection.close()


async def test_a_database_that_cannot_be_opened_leaves_no_thread_behind(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("buy milk\n" * 1000)
    before = set(threading.enumerate())
    for _ in range(20):
        with pytest.raises(StorageError):
            await connect(partial(open_for_writing, path))
        assert set(threading.enumerate()) <= before


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads have no priority of their own")
async def test_only_the_thread_of_an_analysts_connection_stands_back(path: Path) -> None:
    def priority(_conn: sqlite3.Connection) -> int:
        return os.getpriority(os.PRIO_PROCESS, 0)

    usual, standing_back = [await connect(partial(opener, path)) for opener in (open_for_reading, open_for_analysis)]
    try:
        assert await usual.run(priority) == os.getpriority(os.PRIO_PROCESS, 0) < await standing_back.run(priority)
    finally:
        await usual.close()
        await standing_back.close()


# Refuses one system call, as a service manager's filter or a container's does (seccomp(2)).
_SHUT_IN = """
import ctypes, struct, sys
from pathlib import Path

call, path = int(sys.argv[1]), Path(sys.argv[2])
steps = [(0x20, 0, 0, 0), (0x15, 0, 1, call), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7FFF0000)]
program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
given = struct.pack("HxxxxxxP", len(steps), ctypes.addressof(program))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, given) == 0, ctypes.get_errno()

import os
from receiver.storage.sqlite.connection import open_for_analysis

try:
    os.setpriority(os.PRIO_PROCESS, 0, 1)
except PermissionError:
    print(open_for_analysis(path).execute("PRAGMA user_version").fetchone()[0])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="filters of system calls are Linux'")
def test_one_that_may_not_stand_back_reads_all_the_same(path: Path) -> None:
    numbers = {"x86_64": 141, "aarch64": 140}
    if platform.machine() not in numbers:
        pytest.skip(f"the number of setpriority is not known on {platform.machine()}")
    command = [sys.executable, "-c", _SHUT_IN, str(numbers[platform.machine()]), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (f"{steps()[-1][0]}\n", "")
