"""What the process that started the service is told: ready, alive, stopping; over real sockets."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from receiver.supervisor import Supervisor

PID = 4711


@pytest.fixture(params=["path", "abstract"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[socket.socket]:
    """A supervisor's socket, in the file system or in the abstract namespace."""
    name = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(name if request.param == "path" else "\0" + name)
        bound.setblocking(False)
        yield bound


def environ(listener: socket.socket, **more: str) -> dict[str, str]:
    """The environment that names this socket, as systemd would write it."""
    name = listener.getsockname()
    return {"NOTIFY_SOCKET": name if isinstance(name, str) else "@" + name[1:].decode(), **more}


def heard(listener: socket.socket) -> list[str]:
    """Everything that was said up to now."""
    said = []
    while True:
        try:
            said.append(listener.recv(4096).decode())
        except BlockingIOError:
            return said


async def told(supervisor: Supervisor, is_alive: Callable[[], bool], until: asyncio.Event) -> None:
    async with supervisor.told(is_alive, 10):
        await until.wait()


class Pulse:
    """Is asked a few times, then ends the test's wait."""

    def __init__(self, *, alive: bool, times: int = 3) -> None:
        self.enough = asyncio.Event()
        self._alive = alive
        self._left = times

    def __call__(self) -> bool:
        self._left -= 1
        if self._left <= 0:
            self.enough.set()
        return self._alive


async def test_it_says_ready_and_when_the_block_ends_stopping(listener: socket.socket) -> None:
    async with Supervisor(environ(listener), PID).told(lambda: True, 12.5):
        assert heard(listener) == ["READY=1"]
    assert heard(listener) == ["STOPPING=1\nEXTEND_TIMEOUT_USEC=32500000"]


async def test_it_says_stopping_after_an_error_too(listener: socket.socket) -> None:
    with pytest.raises(RuntimeError):
        async with Supervisor(environ(listener), PID).told(lambda: True, 10):
            raise RuntimeError
    assert heard(listener)[-1].startswith("STOPPING=1\n")


async def test_it_gives_signs_of_life(listener: socket.socket) -> None:
    pulse = Pulse(alive=True)
    supervisor = Supervisor(environ(listener, WATCHDOG_USEC="2000", WATCHDOG_PID=str(PID)), PID)
    await told(supervisor, pulse, pulse.enough)
    said = heard(listener)
    assert said[0] == "READY=1"
    assert said.count("WATCHDOG=1") >= 3


async def test_what_is_not_alive_gives_no_sign_of_life(listener: socket.socket) -> None:
    pulse = Pulse(alive=False)
    await told(Supervisor(environ(listener, WATCHDOG_USEC="2000"), PID), pulse, pulse.enough)
    assert "WATCHDOG=1" not in heard(listener)


@pytest.mark.parametrize(
    ("variables", "watchdog_s"),
    [
        ({"WATCHDOG_USEC": "120000000"}, 120.0),
        ({"WATCHDOG_USEC": "120000000", "WATCHDOG_PID": str(PID)}, 120.0),
        ({"WATCHDOG_USEC": "120000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({"WATCHDOG_USEC": "\N{ARABIC-INDIC DIGIT TWO}"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_it_knows_how_long_the_watchdog_waits(variables: dict[str, str], watchdog_s: float | None) -> None:
    assert Supervisor(variables, PID).watchdog_s == watchdog_s


@pytest.mark.parametrize("variables", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1234"}])
async def test_without_a_socket_it_says_nothing(variables: dict[str, str]) -> None:
    with structlog.testing.capture_logs() as logs:
        async with Supervisor(variables, PID).told(lambda: True, 10):
            pass
    assert logs == []


async def test_a_socket_that_is_gone_is_a_warning(tmp_path: Path) -> None:
    with structlog.testing.capture_logs() as logs:
        async with Supervisor({"NOTIFY_SOCKET": str(tmp_path / "gone")}, PID).told(lambda: True, 10):
            pass
    assert [(line["event"], line["log_level"]) for line in logs] == [("supervisor_not_told", "warning")] * 2
