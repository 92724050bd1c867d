"""Where nobody takes the log, the service goes on: a full disk, a closed stream, a pipe that nobody reads."""

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from receiver.storage.lock import DatabaseLock
from tests.e2e.server import PATIENCE_S, Connection, environment, ledger, request, sent, until

SERVE = [sys.executable, "-m", "receiver", "serve", "--port", "0"]


@contextmanager
def serving(
    database: Path, *command: str, stderr: int | None = None
) -> Iterator[tuple[int, "subprocess.Popen[bytes]"]]:
    """A server and its port, which it tells in the lock file too."""
    process = subprocess.Popen(command, env=environment(database), cwd=database.parent, stderr=stderr)
    lock = DatabaseLock(database)
    try:
        until(lambda: lock.holder().url is not None or process.poll() is not None, "the server to listen")
        url = lock.holder().url
        assert url is not None, f"it ended with {process.poll()}"
        yield int(url.rpartition(":")[2]), process
    finally:
        process.kill()
        process.wait()


def lost(client: Connection) -> int:
    """The log lines that the server says it has lost."""
    text = client.ask(request("GET", "/metrics")).body.decode()
    return int(float(text.partition("\nreceiver_log_lines_lost_total ")[2].split()[0]))


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-", ">&- 2>&- <&-"])
def test_a_log_that_cannot_be_written_stops_nothing(database: Path, redirection: str) -> None:
    with serving(database, "sh", "-c", f'exec "$@" {redirection}', "sh", *SERVE) as (port, process):
        with Connection(port) as client:
            assert client.post(sent("m1")).status == 204
            assert (lost(client) > 0) == (redirection == "2>/dev/full")
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    assert ledger(database) == ["m1"]
    assert database.read_bytes().startswith(b"SQLite format 3\0"), "nothing else is written to it"


def test_a_pipe_that_nobody_reads_holds_nothing_up(database: Path) -> None:
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.write(writer, b"x" * 4095 + b"\n")
    with serving(database, *SERVE, stderr=writer) as (port, process), Connection(port) as client:
        os.close(writer)
        answers = [client.post(sent(f"m{number}")).status for number in range(50)]
        assert answers == [204] * 50
        before = lost(client)
        assert before >= 3
        assert os.read(reader, 4096) == b"x" * 4095 + b"\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
        with os.fdopen(reader) as stream:
            lines = [json.loads(line) for line in stream]
    assert [line["event"] for line in lines][:1] == ["Shutting down"], "once there is room lines are written again"


def test_a_pipe_whose_reader_has_gone_stops_nothing(database: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with serving(database, *SERVE, stderr=writer) as (port, process), Connection(port) as client:
        os.close(writer)
        assert client.post(sent("m1")).status == 204
        assert lost(client) > 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
