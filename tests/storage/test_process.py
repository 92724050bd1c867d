"""The process that writes: what comes back over the boundary, and what its end leaves behind."""

import asyncio
import os
import select
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import pytest

from receiver.errors import StorageError, UnavailableError
from receiver.storage.deliveries import Outcome, Posted, Stretch
from receiver.storage.faults import Fault, WriterEndedError, classify
from receiver.storage.lock import DatabaseLock
from receiver.storage.sqlite.launch import launched
from receiver.storage.sqlite.process import WritingProcess
from receiver.storage.sqlite.store import Store
from tests.e2e.server import children, rows, until
from tests.storage import jobs
from tests.storage.conftest import NOW, sent

STRETCH = Stretch(NOW, NOW)
KILLED = r"^The process that writes has ended by signal 9\.$"


class Apart:
    """A store whose writing is done by a process of its own."""

    def __init__(self, store: Store, lock: DatabaseLock, launching: ExitStack) -> None:
        assert isinstance(store._writing, WritingProcess)
        self._launching = launching
        self.store = store
        self.lock = lock
        self.writing = store._writing
        self.pid = self.writing._process.pid

    def marks(self) -> list[str]:
        return [name for (name,) in rows(self.store.path, "SELECT name FROM meta WHERE value = 1")]

    async def close(self) -> None:
        await self.store.close()
        self._launching.close()
        self.lock.release()


@pytest.fixture
async def apart(tmp_path: Path) -> AsyncIterator[Apart]:
    opened = await open_apart(tmp_path / "receiver.db")
    yield opened
    with suppress(ProcessLookupError):
        os.kill(opened.pid, signal.SIGCONT)  # a test that held it up and failed must not be waited for
    if not opened.store.ended.is_set():
        await opened.close()


async def open_apart(path: Path) -> Apart:
    lock = DatabaseLock(path)
    assert lock.acquire()
    with ExitStack() as launching:
        writing = launching.enter_context(launched(path, NOW, lock.share()))
        return Apart(await Store.open(path, NOW, launched=writing), lock, launching.pop_all())


async def test_it_does_what_it_is_asked_in_the_order_of_asking(apart: Apart) -> None:
    asked = [asyncio.create_task(apart.writing.run(jobs.same, number)) for number in range(50)]
    await asyncio.sleep(0)
    for task in asked[::3]:
        task.cancel()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [answer for answer in answers if isinstance(answer, int)] == [n for n in range(50) if n % 3]


async def test_what_is_committed_there_is_read_here(apart: Apart) -> None:
    posted = [Posted(raw, NOW) for raw in (sent(), sent(), b"?")]
    committed = await apart.store.commit(posted, NOW, STRETCH, None)
    assert committed.outcomes == [Outcome.STORED, Outcome.DUPLICATE, Outcome.QUARANTINED]
    assert (committed.arrived, committed.late, committed.campaigns_made) == ({"message.sent": NOW}, 0, 1)
    assert rows(apart.store.path, "SELECT sum(sent) FROM totals WHERE step = -1") == [(1,)]


async def test_a_message_of_many_megabytes_goes_through(apart: Apart) -> None:
    large = os.urandom(20_000_000)
    assert await apart.writing.run(jobs.same, large) == large


async def test_it_is_small(apart: Apart) -> None:
    await apart.store.commit([Posted(sent(), NOW)], NOW, STRETCH, None)
    needless = {"uvicorn", "starlette", "httpx", "pydantic", "structlog", "asyncio", "aiosqlite"}
    assert not await apart.writing.run(jobs.modules) & needless
    assert await apart.writing.run(jobs.resident_kb) < 60_000


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        (sqlite3.SQLITE_FULL, Fault.FULL),
        (sqlite3.SQLITE_IOERR_SHMSIZE, Fault.FULL),
        (sqlite3.SQLITE_BUSY, Fault.BUSY),
        (sqlite3.SQLITE_IOERR_FSYNC, Fault.FATAL),
        (sqlite3.SQLITE_CORRUPT, Fault.FATAL),
        (sqlite3.SQLITE_CONSTRAINT, Fault.OTHER),
    ],
)
async def test_a_fault_is_the_same_on_both_sides(apart: Apart, code: int, fault: Fault) -> None:
    with pytest.raises(sqlite3.OperationalError) as caught:
        await apart.writing.run(jobs.fail_with_code, code)
    assert str(caught.value) == "as SQLite would say"
    assert classify(caught.value) is fault


async def test_an_error_comes_with_all_that_it_says(apart: Apart) -> None:
    with pytest.raises(sqlite3.OperationalError, match=r"^no such table: nowhere\n") as caught:
        await apart.writing.run(jobs.fail_really, "SELECT * FROM nowhere")
    assert caught.value.sqlite_errorcode == sqlite3.SQLITE_ERROR
    assert "fail_really" in caught.value.__notes__[0]
    with pytest.raises(UnavailableError, match=r"^not now\n") as unavailable:
        await apart.writing.run(jobs.fail_unavailable)
    assert unavailable.value.retry_after_s == 7
    with pytest.raises(RuntimeError, match=r"^AwkwardError: one and other$"):
        await apart.writing.run(jobs.fail_awkwardly)


async def test_what_cannot_be_sent_harms_nothing_else(apart: Apart) -> None:
    with pytest.raises(AttributeError, match="local object"):
        await apart.writing.run(lambda _ledger, _conn: None)
    with pytest.raises(AttributeError, match="local object"):
        await apart.writing.run(jobs.answer_badly)
    with pytest.raises(ValueError, match="no number"):
        await apart.writing.run(jobs.answer_unreadably)
    assert await apart.writing.run(jobs.same, 1) == 1


async def test_what_it_had_not_committed_when_it_was_killed_is_not_there(apart: Apart) -> None:
    await apart.store.transact(partial(jobs.mark, name="before"))
    with pytest.raises(WriterEndedError, match=KILLED) as caught:
        await apart.store.transact(partial(jobs.mark_and_die, name="during"))
    assert classify(caught.value) is Fault.FATAL
    await apart.close()
    again = await open_apart(apart.store.path)
    assert again.marks() == ["before"]
    await again.close()


async def test_what_it_had_committed_when_it_was_killed_is_there_unanswered(apart: Apart) -> None:
    with pytest.raises(WriterEndedError, match=KILLED):
        await apart.writing.run(jobs.commit_and_die, "committed")
    await apart.close()
    again = await open_apart(apart.store.path)
    assert again.marks() == ["committed"]
    await again.close()


async def test_its_end_is_noticed_while_nothing_is_asked(apart: Apart) -> None:
    os.kill(apart.pid, signal.SIGKILL)
    await apart.store.ended.wait()
    with pytest.raises(WriterEndedError, match=KILLED):
        await apart.writing.run(jobs.same, 1)
    await apart.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_signals_that_are_not_its_own_do_not_end_it(apart: Apart, number: signal.Signals) -> None:
    os.kill(apart.pid, number)
    assert await apart.writing.run(jobs.same, 1) == 1


async def test_it_closes_the_database_and_is_waited_for(apart: Apart) -> None:
    await apart.store.commit([Posted(sent(), NOW)], NOW, STRETCH, None)
    await apart.close()
    assert apart.pid not in children(os.getpid())
    assert not apart.store.path.with_name("receiver.db-wal").exists()
    assert rows(apart.store.path, "SELECT sum(sent) FROM totals WHERE step = -1") == [(1,)]


async def test_it_ends_when_nobody_can_ask_any_more_and_leaves_the_log(apart: Apart) -> None:
    await apart.store.commit([Posted(sent(), NOW)], NOW, STRETCH, None)
    apart.writing._writer.close()
    await apart.store.ended.wait()
    assert apart.writing._process.wait(20) == 0
    assert apart.store.path.with_name("receiver.db-wal").stat().st_size > 0
    apart.lock.release()
    again = await open_apart(apart.store.path)
    assert rows(again.store.path, "SELECT sum(sent) FROM totals WHERE step = -1") == [(1,)]
    await again.close()


async def test_the_lock_is_held_until_both_have_ended(apart: Apart) -> None:
    os.kill(apart.pid, signal.SIGSTOP)
    apart.lock.release()
    other = DatabaseLock(apart.store.path)
    assert not other.acquire()
    apart.writing._writer.close()
    assert not other.acquire()
    os.kill(apart.pid, signal.SIGCONT)
    await apart.store.ended.wait()
    apart.writing._process.wait(20)
    until(other.acquire, "the lock")
    other.release()


async def test_a_database_that_it_cannot_open_is_named(tmp_path: Path) -> None:
    (tmp_path / "receiver.db").write_bytes(b"x" * 5000)
    lock = DatabaseLock(tmp_path / "receiver.db")
    assert lock.acquire()
    with (
        launched(tmp_path / "receiver.db", NOW, lock.share()) as writing,
        pytest.raises(StorageError, match=r"is not an SQLite database; name another file in 'storage\.url'\."),
    ):
        await Store.open(tmp_path / "receiver.db", NOW, launched=writing)
    assert children(os.getpid()) == []
    lock.release()


async def test_one_that_cannot_be_started_is_an_error_of_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    lock = DatabaseLock(tmp_path / "receiver.db")
    assert lock.acquire()
    with (
        launched(tmp_path / "receiver.db", NOW, lock.share()) as writing,
        pytest.raises(StorageError, match=r"^The process that writes has ended with exit code 1\.$"),
    ):
        await Store.open(tmp_path / "receiver.db", NOW, launched=writing)
    lock.release()


@pytest.mark.parametrize("has_opened", [False, True])
def test_one_that_nobody_comes_to_ask_ends(tmp_path: Path, has_opened: bool) -> None:
    lock = DatabaseLock(tmp_path / "receiver.db")
    assert lock.acquire()
    with launched(tmp_path / "receiver.db", NOW, lock.share()) as writing:
        if has_opened:
            select.select([writing.peer], [], [])
    assert writing.process.returncode == 0
    lock.release()
    other = DatabaseLock(tmp_path / "receiver.db")
    assert other.acquire()
    other.release()


def test_it_is_launched_before_all_else_is_imported() -> None:
    heavy = "{'uvicorn', 'starlette', 'httpx', 'jinja2', 'receiver.app', 'receiver.storage.sqlite.store'}"
    listing = f"import sys, receiver.cli.serve; sys.exit(bool({heavy} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", listing], check=False).returncode == 0
