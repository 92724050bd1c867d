"""Looks at the server's system calls: the 204 leaves after an fsync that came after the body, and never without."""

import re
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from receiver.errors import StorageError
from receiver.storage.sqlite import connection
from tests.e2e.server import Server, ledger, sent, until

CALLS = "fsync,fdatasync,read,recvfrom,recvmsg,write,writev,sendto,sendmsg"
_SYNCED = re.compile(r"(fsync|fdatasync)(\(| resumed).*= 0$")


def _strace_refuses() -> str | None:
    """Why strace cannot be used here; None when it can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    sleeper = subprocess.Popen(["sleep", "30"])
    tracer = subprocess.Popen(["strace", "-p", str(sleeper.pid)], stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    said = tracer.stderr.readline()
    sleeper.kill()
    sleeper.wait()
    tracer.wait(10)
    tracer.stderr.close()
    return None if "attached" in said else f"strace may not attach to a process here: {said.strip()}"


@pytest.fixture(scope="module")
def strace() -> str:
    refused = _strace_refuses()
    if refused:
        pytest.skip(refused)
    return "strace"


@contextmanager
def traced(strace: str, server: Server, *options: str) -> Iterator[None]:
    """strace attached to all threads of both processes of a server, from before the block to after it."""
    command = [strace, "-f", "-p", str(server.pid), "-p", str(server.writer_pid), *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        try:
            assert tracer.stderr is not None
            for _ in range(2):
                assert "attached" in tracer.stderr.readline()
            yield
        finally:
            if tracer.poll() is None:
                tracer.terminate()  # it detaches and the server goes on; SIGINT may be ignored here


def calls_between(lines: list[str], message: str) -> list[str]:
    """The system calls from the arrival of an event's body to the sending of its answer."""
    arrival = next(number for number, line in enumerate(lines) if message in line)
    departure = next(number for number, line in enumerate(lines) if number > arrival and "HTTP/1.1 204" in line)
    return lines[arrival:departure]


def test_an_fsync_lies_between_each_body_and_its_204(strace: str, server: Server, tmp_path: Path) -> None:
    trace = tmp_path / "trace.txt"
    messages = [f"traced-{number}" for number in range(5)]
    with traced(strace, server, "-o", str(trace), "-s", "2000", "-e", f"trace={CALLS}"):
        assert [server.post(sent(message)).status for message in messages] == [204] * 5
        until(lambda: trace.read_text().count("HTTP/1.1 204") == 5, "the trace")
    lines = trace.read_text().splitlines()
    for message in messages:
        assert any(_SYNCED.search(line) for line in calls_between(lines, message)), message


def test_a_failed_fsync_is_never_acknowledged_and_ends_the_server(strace: str, server: Server) -> None:
    assert server.post(sent("before")).status == 204
    faults = "inject=fsync,fdatasync:error=EIO:when=1+"
    with traced(strace, server, "-o", "/dev/null", "-e", faults), server.connect() as client:
        answer = client.post(sent("lost"))
        assert (answer.status, answer.code) == (503, "unavailable")
        assert int(answer.headers["retry-after"]) > 0
        assert server.wait() == 1
    assert '"event": "database_failed"' in server.stderr
    assert "Traceback" not in server.stderr


def test_after_a_failed_fsync_a_new_start_takes_the_event_in_once(strace: str, serve: Callable[..., Server]) -> None:
    failing = serve()
    body = sent("m1")
    with traced(strace, failing, "-o", "/dev/null", "-e", "inject=fsync,fdatasync:error=EIO:when=1+"):
        assert failing.post(body).status == 503
        assert failing.wait() == 1
    again = serve()
    # Whether the transaction reached the disk nobody can say; that it is counted once, one can.
    assert again.post(body).status == 204
    assert ledger(again.database) == ["m1"]
    assert again.campaign()["sent"] == 1


def test_a_database_that_will_not_sync_is_refused(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Deaf(sqlite3.Connection):
        """A database that takes the pragma and does not follow it."""

        def execute(self, sql: str, *values: object) -> sqlite3.Cursor:
            return super().execute(sql.replace("synchronous = FULL", "synchronous = OFF"), *values)  # type: ignore[arg-type] # passed on as they came

    original = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *given, **named: original(*given, **named, factory=Deaf))
    with pytest.raises(StorageError, match=r"^The database's synchronous is 0 and cannot be set to 'FULL'\.$"):
        connection.open_for_writing(database)


def test_the_writing_connection_syncs_every_commit(database: Path) -> None:
    conn = connection.open_for_writing(database)
    pragmas = ("journal_mode", "synchronous", "wal_autocheckpoint")
    assert [conn.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas] == ["wal", 2, 4000]
    conn.close()
