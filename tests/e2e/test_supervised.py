"""Under a supervisor such as systemd: ready when webhooks are taken in and not before, alive, stopping."""

import os
import select
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.server import PATIENCE_S, Server, environment, run, sent

READY = "READY=1"


@pytest.fixture
def supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The socket that servers started from now on are told of."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + str(tmp_path))
        listener.settimeout(PATIENCE_S)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{tmp_path}")
        yield listener


def next_of(supervisor: socket.socket) -> str:
    return supervisor.recv(4096).decode()


def says_nothing(supervisor: socket.socket) -> bool:
    return select.select([supervisor], [], [], 0)[0] == []


def test_it_is_ready_as_soon_as_webhooks_are_taken_in_and_not_before(
    serve: Callable[..., Server], supervisor: socket.socket
) -> None:
    first = serve()
    assert next_of(supervisor) == READY
    second = serve(wait=False)
    second.wait_until_said('"event": "waiting_for_lock"')
    assert says_nothing(supervisor)
    assert first.stop() == 0
    assert next_of(supervisor).startswith("STOPPING=1\n")
    assert next_of(supervisor) == READY
    second.wait_until_listening()
    assert (second.get("/readyz").status, second.post(sent("m1")).status) == (200, 204)
    assert second.stop() == 0
    assert next_of(supervisor) == "STOPPING=1\nEXTEND_TIMEOUT_USEC=30000000"


def test_a_server_that_cannot_start_never_says_ready(database: Path, supervisor: socket.socket) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert run(database, "serve", "--port", str(taken.getsockname()[1])).returncode == 1
    assert run(database, "serve", webhook__secrets="[]").returncode == 78
    assert says_nothing(supervisor)


def test_it_gives_signs_of_life_of_its_writer(
    serve: Callable[..., Server], supervisor: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "20000")
    server = serve()
    assert [next_of(supervisor) for _ in range(4)] == [READY, *["WATCHDOG=1"] * 3]
    assert server.stop() == 0


def may_be_process_1() -> bool:
    command = ["unshare", "--pid", "--fork", "--kill-child", "true"]
    if shutil.which("unshare") is None:
        return False
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not may_be_process_1(), reason="needs unshare, and root for a namespace of processes")
def test_as_process_1_of_a_container_it_ends_well_when_told_to(database: Path) -> None:
    """The kernel keeps from process 1 every signal that it has no handler for."""
    command = [sys.executable, "-m", "receiver", "serve", "--port", "0"]
    with subprocess.Popen(
        ["unshare", "--pid", "--fork", "--kill-child", *command],
        env=environment(database), cwd=database.parent, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            assert process.stderr is not None
            assert any("Listening on" in line for line in process.stderr)
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            assert len(children) == 1
            os.kill(int(children[0]), signal.SIGTERM)
            assert process.wait(PATIENCE_S) == 0
        finally:
            process.kill()
