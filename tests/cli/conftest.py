"""A folder with a database, the commands run in this process, and a real server on a port of its own."""

import json
import logging
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest
import structlog
from click.testing import CliRunner, Result

from receiver.cli import cli
from receiver.leadterra.signature import sign
from receiver.storage.deliveries import Delivery, Stretch
from receiver.storage.sqlite.connection import open_for_writing
from receiver.storage.sqlite.ledger import Ledger
from receiver.storage.sqlite.migrate import migrate

SECRET = b"cli-secret"
NOW = 1_749_634_200_000  # 2025-06-11T09:30:00Z
_LISTENING = re.compile(r"Listening on (http://\S+)\n")

Run = Callable[..., Result]


class Database:
    """A database in the test's folder, filled and damaged without any server."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fill(self, *bodies: bytes) -> None:
        with closing(open_for_writing(self.path)) as conn:
            migrate(conn, str(self.path), NOW)
            ledger = Ledger(conn)
            for body in bodies:
                delivery = Delivery(body, NOW, ledger.parser.parse(body, NOW))
                ledger.commit(conn, [delivery], NOW, Stretch(NOW, NOW), None)

    def execute(self, statement: str) -> None:
        with closing(sqlite3.connect(self.path)) as conn, conn:
            conn.execute(statement)

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(self.path)) as conn:
            return conn.execute(query).fetchall()

    def sent(self) -> int:
        """The figure `sent` of all campaigns."""
        with closing(sqlite3.connect(self.path)) as conn:
            return int(conn.execute("SELECT sum(sent) FROM totals WHERE step = -1").fetchone()[0])


class Server:
    """`serve` in a process of its own."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.process = process
        self._log = log
        self.url = self._await_url()

    def log(self) -> str:
        return self._log.read_text("utf-8")

    def _await_url(self) -> str:
        while not (found := _LISTENING.search(self.log())):
            assert self.process.poll() is None, self.log()
            time.sleep(0.01)
        return found[1]

    def deliver(self, *bodies: bytes) -> list[str]:
        """The outcomes of signed bodies."""
        with httpx.Client(base_url=self.url, trust_env=False) as client:
            answers = [
                client.post(
                    "/webhooks/leadterra", content=body, headers={"X-Leadterra-Signature": sign(SECRET, body).hex()}
                )
                for body in bodies
            ]
        return [answer.headers["receiver-outcome"] for answer in answers]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """The exit code."""
        self.process.send_signal(number)
        return self.process.wait(60)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Runs a command in the test's folder, in this process; its logging ends with the test."""
    monkeypatch.chdir(tmp_path)
    handlers = list(logging.getLogger().handlers)

    def run(*arguments: str, **environ: str) -> Result:
        result = CliRunner(env=dict(environ)).invoke(cli, arguments)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    yield run
    logging.getLogger().handlers[:] = handlers
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


@pytest.fixture
def database(tmp_path: Path) -> Database:
    """Where the commands look for their database; it is made by `fill`."""
    return Database(tmp_path / "receiver.db")


def environ(**settings: str) -> dict[str, str]:
    """This process's environment with the server's settings."""
    given = {"RECEIVER_WEBHOOK__SECRETS": json.dumps([SECRET.decode()])}
    return {**os.environ, **given, **settings}


@contextmanager
def starting(folder: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers on the database of a folder; what still runs at the end is killed."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str, **settings: str) -> Server:
        log = folder / f"log{len(processes)}"
        command = [sys.executable, "-m", "receiver", "serve", "--port", "0", *arguments]
        with log.open("wb") as stream:
            process = subprocess.Popen(command, cwd=folder, env=environ(**settings), stderr=stream)
        processes.append(process)
        return Server(process, log)

    try:
        yield start
    finally:
        for process in processes:
            process.kill()
            process.wait(60)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    with starting(tmp_path) as start:
        yield start


@pytest.fixture
def server(start: Callable[..., Server]) -> Server:
    return start()


@pytest.fixture
def run_on_terminal(tmp_path: Path) -> Callable[..., str]:
    """What a command writes on a terminal of 100 columns, both streams together."""

    def run(*arguments: str) -> str:
        main, terminal = os.openpty()
        command = [sys.executable, "-m", "receiver", *arguments]
        given = environ(COLUMNS="100", TERM="xterm")
        process = subprocess.Popen(command, cwd=tmp_path, env=given, stdin=terminal, stdout=terminal, stderr=terminal)
        os.close(terminal)
        written = b""
        try:
            while chunk := os.read(main, 65536):
                written += chunk
        except OSError:  # how Linux tells that the other side has closed
            pass
        os.close(main)
        process.wait(60)
        return written.decode("utf-8")

    return run
