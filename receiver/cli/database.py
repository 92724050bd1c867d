"""How commands reach a database: read-only beside the server, or as its owner, or through the server that owns it."""

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from os.path import isfile
from pathlib import Path
from typing import Any

import httpx

from receiver.cli.options import say
from receiver.clock import Clock
from receiver.errors import CommandError, StorageError
from receiver.http import server_client
from receiver.settings import Settings, clock_of
from receiver.storage.faults import explained
from receiver.storage.lock import DatabaseLock
from receiver.storage.sqlite.connection import open_for_reading, open_for_writing, refuse_empty, why_not_opened
from receiver.storage.sqlite.ledger import Ledger
from receiver.storage.sqlite.migrate import check_current, migrate
from receiver.storage.sqlite.spans import measure_spans

# As long as a server waits that is started.
_LEFT_OVER_WAIT_S = 30.0
_LOCK_POLL_S = 0.05


@contextlib.contextmanager
def reading(settings: Settings) -> Iterator[sqlite3.Connection]:
    """A connection that cannot write, whoever else has the database open."""
    path = existing(settings)
    try:
        with contextlib.closing(open_for_reading(path)) as conn:
            _check(conn, path)
            yield conn
    except sqlite3.DatabaseError as error:
        raise StorageError(explained(path, error, "read")) from error


def _check(conn: sqlite3.Connection, path: Path) -> None:
    try:
        check_current(conn, str(path))
    except sqlite3.DatabaseError as error:
        raise StorageError(why_not_opened(path, error, "read")) from error


def existing(settings: Settings) -> Path:
    """The database's path. Raises StorageError when there is none, or nothing in it: a command must not make one."""
    path = settings.database_path
    if not isfile(path):  # `Path.is_file` raises where a folder above may not be searched
        raise StorageError(f"There is no database at '{path}'; `serve` creates it, 'storage.url' names another.")
    refuse_empty(path)
    return path


class Owner:
    """The database opened by this command itself, because no server holds it."""

    def __init__(self, conn: sqlite3.Connection, path: Path, clock: Clock) -> None:
        self.clock = clock
        self.conn = conn
        self.path = path
        migrate(conn, str(path), self.now_ms(), say)
        self.ledger = Ledger(conn)

    def now_ms(self) -> int:
        return self.clock.now_ms()

    def narrow_spans(self) -> None:
        """Measure the spans that may have become too wide."""
        with contextlib.closing(open_for_reading(self.path)) as reader:
            self.ledger.narrow_spans(self.conn, measure_spans(reader))


class Server:
    """The running server that holds the database, reached with the token from its lock file."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """The JSON of an answer. Raises CommandError with the server's own words."""
        try:
            response = self._client.request(method, path, json=body)
            answer: dict[str, Any] = response.json()
        except (httpx.HTTPError, ValueError) as error:
            raise CommandError(
                f"The server at {self._client.base_url} does not answer: {str(error) or type(error).__name__}."
            ) from error
        if response.is_error:
            raise CommandError(str(answer.get("detail", "The server refused.")))
        return answer


@contextlib.contextmanager
def holding(settings: Settings) -> Iterator[Path | None]:
    """The path of the database, held by this command; None while another process holds it."""
    path = existing(settings)
    lock = DatabaseLock(path)
    if not _acquired(lock):
        yield None
        return
    try:
        yield path
    except sqlite3.DatabaseError as error:
        raise StorageError(explained(path, error, "used")) from error
    finally:
        lock.release()


def _acquired(lock: DatabaseLock) -> bool:
    """Take the lock, perhaps after the process that wrote for a server that was killed has finished."""
    if lock.acquire():
        return True
    if lock.is_left_over():
        say("Waiting for what a server that was killed is still writing.")
    deadline = time.monotonic() + _LEFT_OVER_WAIT_S
    while lock.is_left_over() and time.monotonic() < deadline:
        time.sleep(_LOCK_POLL_S)
        if lock.acquire():
            return True
    return False


@contextlib.contextmanager
def server_of(settings: Settings) -> Iterator[Server]:
    """The running server that holds the database. Raises CommandError when the holder is none."""
    holder = DatabaseLock(settings.database_path).holder()
    if holder.url is None:
        raise CommandError(f"The database is held by {holder.process}, which answers no commands; stop it first.")
    with server_client(holder.url, holder.token) as client:
        yield Server(client)


@contextlib.contextmanager
def writing(settings: Settings) -> Iterator[Owner | Server]:
    """The database's owner: this command, or the server that holds the lock."""
    with holding(settings) as path:
        if path is None:
            with server_of(settings) as server:
                yield server
        else:
            with contextlib.closing(open_for_writing(path)) as conn:
                yield Owner(conn, path, clock_of(settings))
