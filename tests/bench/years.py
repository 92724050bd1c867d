"""What running for years costs: a backup, an erasure and expiring bodies beside a server under load; once each."""

import random
import sqlite3
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from receiver.storage.deliveries import Delivery, Stretch
from receiver.storage.sqlite import retention
from receiver.storage.sqlite.connection import checkpoint_often, open_for_reading, open_for_writing
from receiver.storage.sqlite.ledger import Ledger
from receiver.storage.sqlite.migrate import migrate
from tests.bench.report import Cell, Findings
from tests.bench.run import Run
from tests.e2e.server import Connection, Server, environment, sent

DAY_MS = 86_400_000
CANARY = "canary.bird@example.org"
_BATCH = 1000
_BODY_BYTES = 600


def fill(path: Path, events: int) -> None:
    """So many messages with bodies, the first half of them a hundred days old; every thousandth of one person."""
    now = time.time_ns() // 1_000_000
    padding = "x" * (_BODY_BYTES - 200)
    with closing(open_for_writing(path)) as conn:
        migrate(conn, str(path), now)
        ledger = Ledger(conn)
        conn.execute("PRAGMA synchronous = OFF")
        for begin in range(0, events, _BATCH):
            at = now - 100 * DAY_MS if begin < events // 2 else now
            bodies = [_body(number, padding) for number in range(begin, begin + _BATCH)]
            deliveries = [Delivery(body, at, ledger.parser.parse(body, now)) for body in bodies]
            ledger.commit(conn, deliveries, now, Stretch(at, at), None)


def _body(number: int, padding: str) -> bytes:
    email = CANARY if number % 1000 == 0 else f"lead{number}@example.org"
    return sent(f"{random.getrandbits(64):x}-{number}", f"camp_{number % 200}", email=email, padding=padding)


class Load:
    """Posts one message after another over a few connections; how long each answer took, in milliseconds."""

    def __init__(self, port: int, clients: int = 4) -> None:
        self.took_ms: list[float] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._post, args=(port, number)) for number in range(clients)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _post(self, port: int, client: int) -> None:
        with Connection(port) as connection:
            for number in range(10**9):
                if self._stop.is_set():
                    return
                begun = time.perf_counter()
                assert connection.post(sent(f"load-{client}-{number}-{begun}")).status == 204
                self.took_ms.append((time.perf_counter() - begun) * 1000)


@contextmanager
def watching_wal(database: Path) -> Iterator[list[int]]:
    """The largest size of the write-ahead log while the block runs, in bytes."""
    wal, largest, over = database.with_name(database.name + "-wal"), [0], threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            largest[0] = max(largest[0], wal.stat().st_size)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield largest
    finally:
        over.set()
        thread.join()


def command(server: Server, calm_s: float, *arguments: str) -> dict[str, Cell]:
    """One command beside the server under load, which is watched for a while before."""
    with Load(server.port) as load, watching_wal(server.database) as wal:
        time.sleep(calm_s)
        before = len(load.took_ms)
        begun = time.monotonic()
        words = [sys.executable, "-m", "receiver", *arguments]
        subprocess.run(words, env=environment(server.database), capture_output=True, check=True)
        seconds = time.monotonic() - begun
        during = load.took_ms[before:]
    return {
        "what": arguments[0],
        "seconds": seconds,
        "turns of the writer": None,
        "largest log, MiB": wal[0] / 2**20,
        "ms, half under": _quantile(during, 50),
        "99 of 100 under": _quantile(during, 99),
        "99 of 100 before": _quantile(load.took_ms[:before], 99),
        "longest": max(during, default=0.0),
    }


def _quantile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1] if len(values) > 1 else 0.0


def expire(path: Path) -> Iterator[dict[str, Cell]]:
    """How long each chunk of expiring bodies, and of giving pages back, holds the writer: commit included."""
    with closing(open_for_writing(path)) as conn:
        ledger = Ledger(conn)
        checkpoint_often(conn, often=True)
        with closing(open_for_reading(path)) as reader:
            plan = retention.plan(reader, time.time_ns() // 1_000_000, 90 * DAY_MS)
        for title, work in (
            ("an empty commit, to compare", _nothing_for(500)),
            ("expire bodies", lambda conn: retention.expire_bodies(conn, plan.upto, plan.chunk)),
            ("give pages back", lambda conn: retention.give_back(conn, plan.chunk)),
        ):
            took_ms: list[float] = []
            while True:
                begun = time.perf_counter()
                count = ledger.transact(conn, work)
                took_ms.append((time.perf_counter() - begun) * 1000)
                plan.took(took_ms[-1] / 1000)
                if not count:
                    break
            yield {
                "what": title,
                "seconds": sum(took_ms) / 1000,
                "turns of the writer": len(took_ms),
                "largest log, MiB": None,
                "ms, half under": _quantile(took_ms, 50),
                "99 of 100 under": _quantile(took_ms, 99),
                "99 of 100 before": None,
                "longest": max(took_ms),
            }


def _nothing_for(times: int) -> Callable[[sqlite3.Connection], int]:
    """Work that is only a commit, and ends after so many."""
    left = iter(range(times, -1, -1))

    def work(conn: sqlite3.Connection) -> int:
        conn.execute("UPDATE meta SET value = value + 1 WHERE name = 'installed_at'")
        return next(left)

    return work


def years(run: Run) -> Findings:
    """Half of the bodies are a hundred days old, and a thousandth is of one person."""
    folder, events = run.empty_folder(), run.scale.years_events
    database = folder / "receiver.db"
    fill(database, events)
    before = database.stat().st_size
    with Server(database) as server:
        rows = [
            command(server, run.scale.seconds, "backup", str(folder / "copy.db")),
            command(server, run.scale.seconds, "erase", "--email", CANARY),
        ]
        server.stop()
    rows += expire(database)
    shrunk = f"{before / 2**20:,.0f} MiB, {database.stat().st_size / 2**20:,.0f} afterwards"
    title = (
        f"Years: {events:,} events with bodies, {shrunk}; deliveries beside the commands, else turns of the writer"
    )
    return Findings(title, rows)
