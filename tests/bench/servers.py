"""Starts the servers that are measured, each in a process group of its own, on loopback."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

SECRET = b"bench-secret"
PEERS_MISSING = "not installed: pip install -e '.[bench]'"
_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 60.0
_REST_TIMEOUT_S = 120.0
_REST_SAMPLE_S = 0.5
_REST_SHARE = 0.1
# Those of the receiver; the level only spares a peer the lines about its start.
_UVICORN = ("uvicorn", "--http", "httptools", "--loop", "uvloop", "--no-access-log", "--log-level", "error")
# Two for each processor and one more, as gunicorn's manual has it.
_GUNICORN = ("gunicorn", "--workers", str(2 * (os.cpu_count() or 1) + 1), "--log-level", "error")


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def resident_mib(self) -> float:
        """What the processes of its group hold in memory; what they share counts for each. Linux only."""
        return sum(int(fields[21]) for fields in self._stats()) * os.sysconf("SC_PAGE_SIZE") / 2**20

    def wait_until_at_rest(self) -> None:
        """Until its processes compute next to nothing: after a start they look at the database's pages."""
        deadline = time.monotonic() + _REST_TIMEOUT_S
        while self._computed_s_in(_REST_SAMPLE_S) > _REST_SHARE * _REST_SAMPLE_S:
            if time.monotonic() > deadline:
                raise RuntimeError(f"The server does not come to rest:\n{self.log.read_text()}")

    def _computed_s_in(self, seconds: float) -> float:
        before = self._computed_s()
        time.sleep(seconds)
        return self._computed_s() - before

    def _computed_s(self) -> float:
        """The processor time that its processes have taken so far. Linux only."""
        ticks = sum(int(fields[11]) + int(fields[12]) for fields in self._stats())
        return ticks / os.sysconf("SC_CLK_TCK")

    def _stats(self) -> Iterator[list[str]]:
        """The fields of each process of its group, from the third on (`proc(5)`)."""
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):  # ended meanwhile
                fields = stat.read_text().rpartition(") ")[2].split()
                if int(fields[2]) == self.process.pid:
                    yield fields


@dataclass(frozen=True, slots=True)
class Peer:
    """What people would use instead: an app in `tests.bench.peers`, and the packages that it needs.

    The receiver is to be `goal` times as fast.
    """

    title: str
    app: str
    packages: tuple[str, ...]
    goal: float | None = None
    command: tuple[str, ...] = _UVICORN

    @property
    def missing(self) -> list[str]:
        """Its packages that are not installed."""
        return [name for name in self.packages if find_spec(name) is None]

    def start(self, folder: Path) -> contextlib.AbstractContextManager[Running]:
        """The peer on a database in `folder`."""
        environ = {"BENCH_DATABASE": str(folder / "bench.db"), "BENCH_SECRET": SECRET.decode()}
        return _at_port(folder, f"tests.bench.peers.{self.app}", self.command, environ)


PEERS = (
    Peer("aiosqlite, naive", "starlette_aiosqlite:naive", ("aiosqlite",), 8),
    Peer("aiosqlite, one connection", "starlette_aiosqlite:shared", ("aiosqlite",)),
    Peer("Flask + gunicorn", "flask_sqlite3:app", ("flask", "gunicorn"), command=_GUNICORN),
    Peer("FastAPI + SQLAlchemy", "fastapi_sqlalchemy:app", ("fastapi", "sqlalchemy"), 20),
)


def empty_route(folder: Path) -> contextlib.AbstractContextManager[Running]:
    """The yardstick of `tests/bench/empty.py`."""
    return _at_port(folder, "tests.bench.empty:app", _UVICORN, {})


@contextlib.contextmanager
def _at_port(folder: Path, app: str, command: tuple[str, ...], environ: dict[str, str]) -> Iterator[Running]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    place = ("--bind", f"127.0.0.1:{port}") if command[0] == "gunicorn" else ("--port", str(port))
    with _started([sys.executable, "-m", *command, *place, app], folder, environ) as (process, log):
        _until(lambda: _answers(port), process, log)
        yield Running(port, process, log)


@contextlib.contextmanager
def receiver(folder: Path, prefix: tuple[str, ...] = ()) -> Iterator[Running]:
    """The receiver on the database in `folder`; `prefix` may trace it."""
    command = [*prefix, sys.executable, "-m", "receiver", "serve", "--port", "0"]
    with _started(command, folder, receiver_environ(folder)) as (process, log):
        found: list[str] = []

        def listening() -> bool:
            found.extend(re.findall(r"Listening on http://127\.0\.0\.1:(\d+)", log.read_text()))
            return bool(found)

        _until(listening, process, log)
        yield Running(int(found[0]), process, log)


def receiver_environ(folder: Path) -> dict[str, str]:
    """The receiver's settings: the database in `folder` and the secret."""
    return {
        "RECEIVER_WEBHOOK__SECRETS": f'["{SECRET.decode()}"]',
        "RECEIVER_STORAGE__URL": f"sqlite:///{folder / 'bench.db'}",
    }


@contextlib.contextmanager
def copied(database: Path, parent: Path) -> Iterator[Path]:
    """A folder with a copy of a database, gone afterwards."""
    folder = Path(tempfile.mkdtemp(dir=parent))
    try:
        shutil.copy(database, folder / "bench.db")
        os.sync()  # else the copy is still being written while the first figures are taken
        yield folder
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def receiver_on(database: Path, parent: Path) -> Iterator[Running]:
    """The receiver on a copy of a database, at rest."""
    with copied(database, parent) as folder, receiver(folder) as running:
        running.wait_until_at_rest()
        yield running


@contextlib.contextmanager
def _started(
    command: list[str], folder: Path, environ: dict[str, str]
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env={**os.environ, **environ}, process_group=0
        )
    try:
        yield process, log
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(_STOP_TIMEOUT_S)


def _until(condition: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"The server did not start:\n{log.read_text()}")
        time.sleep(0.01)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
