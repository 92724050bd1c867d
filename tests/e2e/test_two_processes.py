"""One process serves and one writes: either may be killed or held up at any time, and every answer holds."""

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE

import pytest

from tests.e2e.server import PATIENCE_S, Load, Server, environment, ledger, run, sent, until

ROUNDS = int(os.environ.get("TEST_ROUNDS", "20"))


@contextmanager
def held_up(pid: int) -> Iterator[None]:
    """A process does nothing until the end of the block."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def kill_writer_under_load(database: Path, number: int) -> list[str]:
    """One round: what was acknowledged in it."""
    with Server(database) as server, Load(server.port, f"load-{number}") as load:
        load.wait_for_acks(random.randint(1, 150))
        os.kill(server.writer_pid, signal.SIGKILL)
        assert server.wait() == 1
    assert load.strange == []
    assert server.stderr.count('"event": "database_failed"') == 1
    assert "The process that writes has ended" in server.stderr
    assert "Traceback" not in server.stderr
    return load.acked


def check(database: Path, acked: list[str]) -> None:
    """All of it is held once, and every figure is what the ledger says."""
    held = Counter(ledger(database))
    assert set(acked) - set(held) == set()
    assert set(held.values()) == {1}
    rebuilt = run(database, "rebuild", "--json")
    assert json.loads(rebuilt.stdout) == {"rows": len(held), "rows_changed": 0}
    with Server(database) as server:
        assert server.campaign()["sent"] == len(held)
        assert server.stop() == 0


def rounds(database: Path, count: int) -> None:
    acked: list[str] = []
    for number in range(count):
        acked += kill_writer_under_load(database, number)
    check(database, acked)


def test_what_was_acknowledged_is_there_once_after_the_writer_was_killed(database: Path) -> None:
    rounds(database, 3)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_it_survives_many_kills_of_the_writer(database: Path) -> None:
    rounds(database, ROUNDS)


def test_a_writer_killed_while_nothing_comes_ends_the_server(server: Server) -> None:
    assert server.post(sent("m1")).status == 204
    os.kill(server.writer_pid, signal.SIGKILL)
    assert server.wait() == 1
    assert ledger(server.database) == ["m1"]


def test_the_writer_ends_with_a_killed_server(server: Server) -> None:
    writer = server.writer_pid
    server.process.kill()
    until(lambda: not Path(f"/proc/{writer}").exists(), "the end of the writer")


def test_nobody_gets_the_database_before_the_writer_of_a_killed_server_has_ended(
    serve: Callable[..., Server], database: Path
) -> None:
    first = serve()
    assert first.post(sent("m1")).status == 204
    writer = first.writer_pid
    with held_up(writer):
        first.process.kill()
        second = serve(wait=False)
        second.wait_until_said('"event": "waiting_for_lock"')
        assert not second.port
    second.wait_until_listening()
    assert second.post(sent("m1")).outcome == "duplicate"


def test_a_command_waits_for_the_writer_of_a_killed_server(server: Server) -> None:
    assert server.post(sent("m1")).status == 204
    command = [sys.executable, "-m", "receiver", "rebuild", "--json"]
    environ, folder = environment(server.database), server.database.parent
    with held_up(server.writer_pid):
        server.process.kill()
        server.process.wait()
        rebuilding = subprocess.Popen(command, env=environ, cwd=folder, text=True, stdout=PIPE, stderr=PIPE)
        assert rebuilding.stderr is not None
        first_line = rebuilding.stderr.readline()
    said, _ = rebuilding.communicate(timeout=PATIENCE_S)
    assert first_line == "Waiting for what a server that was killed is still writing.\n"
    assert json.loads(said) == {"rows": 1, "rows_changed": 0}


def test_a_held_up_writer_is_503_until_it_goes_on(serve: Callable[..., Server]) -> None:
    server = serve(ingest__commit_timeout_s=0.5)
    writer = server.writer_pid
    with held_up(writer):
        refused = server.post(sent("m1"))
    assert (refused.status, refused.code) == (503, "unavailable")
    assert refused.json()["detail"] == "The event was not stored in time; send it again."
    assert server.post(sent("m1")).status == 204
    assert ledger(server.database) == ["m1"]
    assert server.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_both_is_a_clean_stop_that_keeps_every_answer(server: Server, number: signal.Signals) -> None:
    with Load(server.port, "load") as load:
        load.wait_for_acks(50)
        os.kill(server.writer_pid, number)
        server.signal(number)
        assert server.wait() == 0
    assert not server.database.with_name("receiver.db-wal").exists()
    assert load.strange == []
    assert sorted(ledger(server.database)) == sorted(set(load.acked))
