"""The lock file: one owner, readable by nobody else, and a reader that takes any content."""

import fcntl
import json
import os
import resource
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from receiver.errors import CommandError
from receiver.storage.lock import DatabaseLock, Holder

SERVER = Holder(7, "http://127.0.0.1:8000", "secret-token", 8)


@pytest.fixture
def lock(tmp_path: Path) -> Iterator[DatabaseLock]:
    found = DatabaseLock(tmp_path / "receiver.db")
    yield found
    found.release()


def text(lock: DatabaseLock) -> str:
    return lock.path.read_text()


def test_the_file_stands_beside_the_database(lock: DatabaseLock, tmp_path: Path) -> None:
    assert lock.path == tmp_path / "receiver.db.lock"


def test_who_acquires_it_is_named_in_it(lock: DatabaseLock) -> None:
    assert lock.acquire()
    assert json.loads(text(lock)) == {"pid": os.getpid(), "url": None, "token": None, "writer": None}
    assert lock.holder() == Holder(os.getpid())


def test_only_one_holds_it(lock: DatabaseLock, tmp_path: Path) -> None:
    other = DatabaseLock(tmp_path / "receiver.db")
    assert lock.acquire()
    assert not other.acquire()
    lock.release()
    assert other.acquire()
    other.release()


def test_it_is_held_by_flock(lock: DatabaseLock) -> None:
    assert lock.acquire()
    with lock.path.open("rb") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    lock.release()
    with lock.path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)


def test_who_does_not_get_it_leaves_it_as_it_is(lock: DatabaseLock, tmp_path: Path) -> None:
    assert lock.acquire()
    lock.describe(SERVER)
    assert not DatabaseLock(tmp_path / "receiver.db").acquire()
    assert lock.holder() == SERVER


@pytest.mark.parametrize("before", [None, 0o644, 0o666])
def test_nobody_else_may_read_it(lock: DatabaseLock, before: int | None) -> None:
    if before is not None:
        lock.path.touch()
        lock.path.chmod(before)
    assert lock.acquire()
    assert stat.S_IMODE(lock.path.stat().st_mode) == 0o600


def test_a_server_says_how_it_is_reached(lock: DatabaseLock) -> None:
    assert lock.acquire()
    lock.describe(SERVER)
    assert text(lock) == '{"pid": 7, "url": "http://127.0.0.1:8000", "token": "secret-token", "writer": 8}'
    assert lock.holder() == SERVER


def test_a_shorter_text_leaves_nothing_of_a_longer_one(lock: DatabaseLock) -> None:
    lock.path.write_text("x" * 1000)
    assert lock.acquire()
    lock.describe(SERVER)
    lock.describe(Holder(1))
    assert text(lock) == '{"pid": 1, "url": null, "token": null, "writer": null}'


def test_the_token_goes_with_the_holder(lock: DatabaseLock) -> None:
    assert lock.acquire()
    lock.describe(SERVER)
    lock.release()
    assert (text(lock), lock.holder()) == ("", Holder(None))
    lock.release()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"7", b"[]", b"null", b"{}", b'{"pid": 7}', b'"x"'])
def test_garbage_names_nobody(lock: DatabaseLock, content: bytes) -> None:
    lock.path.write_bytes(content)
    assert lock.holder() == Holder(None)


def test_a_missing_file_names_nobody(lock: DatabaseLock) -> None:
    assert lock.holder() == Holder(None)
    assert not lock.path.exists()


def test_a_holder_is_named_in_words() -> None:
    assert (Holder(7).process, Holder(None).process) == ("process 7", "a process that has not named itself")


def test_the_token_never_shows() -> None:
    assert repr(SERVER) == str(SERVER) == "Holder(pid=7, url='http://127.0.0.1:8000')"
    assert "secret" not in f"{SERVER} {SERVER!r} {[SERVER]}"


def test_who_does_not_hold_it_cannot_write_into_it(lock: DatabaseLock) -> None:
    with pytest.raises(CommandError) as caught:
        lock.describe(SERVER)
    assert str(caught.value) == f"The lock file '{lock.path}' is not held."
    assert not lock.path.exists()


def test_a_file_that_cannot_be_made_is_said_so(tmp_path: Path) -> None:
    path = tmp_path / "none" / "receiver.db"
    with pytest.raises(CommandError) as caught:
        DatabaseLock(path).acquire()
    assert str(caught.value) == f"The lock file '{path}.lock' cannot be opened: No such file or directory."


def test_a_text_that_cannot_be_written_gives_the_lock_back(lock: DatabaseLock, tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        with pytest.raises(CommandError) as caught:
            lock.acquire()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(caught.value) == f"The lock file '{lock.path}' cannot be written: File too large."
    assert DatabaseLock(tmp_path / "receiver.db").acquire()


def test_it_is_left_over_while_a_writer_outlives_its_server(lock: DatabaseLock) -> None:
    with subprocess.Popen([sys.executable, "-c", "pass"]) as ended:
        ended.wait()
    assert lock.acquire()
    found = []
    us = os.getpid()
    for server, writer in [(ended.pid, us), (us, us), (ended.pid, ended.pid), (ended.pid, None)]:
        lock.describe(Holder(server, "url", "token", writer))
        found.append(lock.is_left_over())
    assert found == [True, False, False, False]
