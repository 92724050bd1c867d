"""Starts the servers that are measured, each in a process of its own, on loopback."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SECRET = b"bench-secret"
_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path


@contextlib.contextmanager
def empty_route(folder: Path) -> Iterator[Running]:
    """The yardstick of `tests/bench/empty.py`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "tests.bench.empty", str(port)]
    with _started(command, folder, {}) as (process, log):
        _until(lambda: _answers(port), process, log)
        yield Running(port, process, log)


@contextlib.contextmanager
def receiver(folder: Path, prefix: tuple[str, ...] = ()) -> Iterator[Running]:
    """The receiver on the database in `folder`; `prefix` may trace it."""
    environ = {
        "RECEIVER_WEBHOOK__SECRETS": f'["{SECRET.decode()}"]',
        "RECEIVER_STORAGE__URL": f"sqlite:///{folder / 'bench.db'}",
    }
    command = [*prefix, sys.executable, "-m", "receiver", "serve", "--port", "0"]
    with _started(command, folder, environ) as (process, log):
        found: list[str] = []

        def listening() -> bool:
            found.extend(re.findall(r"Listening on http://127\.0\.0\.1:(\d+)", log.read_text()))
            return bool(found)

        _until(listening, process, log)
        yield Running(int(found[0]), process, log)


@contextlib.contextmanager
def _started(
    command: list[str], folder: Path, environ: dict[str, str]
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env={**os.environ, **environ}, start_new_session=True
        )
    try:
        yield process, log
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(_STOP_TIMEOUT_S)


def _until(condition: object, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not condition():  # type: ignore[operator] # a plain callable
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"The server did not start:\n{log.read_text()}")
        time.sleep(0.02)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
