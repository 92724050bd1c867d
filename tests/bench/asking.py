"""What analysts' questions take over HTTP on a filled database, and what they cost the taking in of webhooks.

`python -m tests.bench.asking LARGE [SMALL]`, with files that `tests.bench.prefill` has made; they are copied first.
"""

import argparse
import http.client
import os
import re
import shutil
import sqlite3
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

from tests.bench.ingest import CONNECTIONS, load, write_requests
from tests.bench.prefill import DAY_MS
from tests.bench.servers import Running, empty_route, receiver

_ROUNDS = 41
_PAIRS = 3
_SECONDS = 4
_HEAVY = 20


@dataclass(frozen=True, slots=True)
class Question:
    """A URL with its parameters, and how long its answer may take."""

    name: str
    path: str
    params: dict[str, object] = field(default_factory=dict)
    goal_ms: float | None = None

    @property
    def url(self) -> str:
        return f"{self.path}?{urlencode(self.params)}"


def questions(end_ms: int, days: int = 30) -> list[Question]:
    """What is asked; `end_ms` is the end of what the database holds."""
    last = end_ms // DAY_MS * DAY_MS
    month: dict[str, object] = {"from": last - days * DAY_MS, "to": last}
    busiest = {"campaign_id": "camp_00001", **month}
    return [
        Question("one campaign", "/v1/campaigns/camp_00001"),
        Question(f"busiest campaign, {days} days, daily", "/v1/series", busiest, 5),
        Question("the same by send", "/v1/series", {**busiest, "basis": "send"}, 5),
        Question("the same by step", "/v1/series", {**busiest, "group_by": "step"}),
        Question(f"workspace, {days} days, daily", "/v1/series", month),
        Question("top 100 by bounce rate", "/v1/campaigns", {"sort": "bounce_rate", "limit": 100}, 10),
        Question(f"summary, {days} days and those before", "/v1/summary", {**month, "compare": "previous"}),
    ]


def heavy(end_ms: int) -> list[Question]:
    """Questions that read a lot."""
    last = end_ms // DAY_MS * DAY_MS
    quarter: dict[str, object] = {"from": last - 90 * DAY_MS, "to": last}
    return [
        Question("a quarter by hours", "/v1/series", {**quarter, "interval": "hour", "basis": "send"}),
        Question("all campaigns", "/v1/series", {**quarter, "interval": "month", "group_by": "campaign"}),
        Question("summary", "/v1/summary", {**quarter, "compare": "previous"}),
        Question("all campaigns as CSV", "/v1/campaigns", {"format": "csv"}),
    ]


@contextmanager
def serving(database: Path, parent: Path) -> Iterator[tuple[Running, int]]:
    """The receiver on a copy of a database, and the end of what that holds."""
    folder = Path(tempfile.mkdtemp(dir=parent))
    shutil.copy(database, folder / "bench.db")
    os.sync()  # else the copy is still being written while the first questions are asked
    with closing(sqlite3.connect(folder / "bench.db")) as conn:
        end_ms = conn.execute("SELECT max(sent_at) FROM messages").fetchone()[0]
    with receiver(folder) as running:
        yield running, end_ms
    shutil.rmtree(folder)


def median_ms(running: Running, question: Question) -> float:
    """The median of sequential requests on one connection; the first ones only warm up."""
    return medians_ms([(running, question)])[0]


def medians_ms(asked: list[tuple[Running, Question]]) -> list[float]:
    """The same of several, request by request in turn: they share every disturbance of the machine."""
    times: list[list[float]] = [[] for _ in asked]
    with ExitStack() as opened:
        places = []
        for place, (running, question) in enumerate(asked):
            connection = http.client.HTTPConnection("127.0.0.1", running.port)
            places.append((place, opened.enter_context(closing(connection)), question))
        for _ in range(_ROUNDS):
            for place, connection, question in places:
                times[place].append(_ask(connection, question))
            places.reverse()  # whoever comes first finds the processor asleep
    return [statistics.median(each[_ROUNDS // 5 :]) for each in times]


def _ask(connection: http.client.HTTPConnection, question: Question) -> float:
    begun = time.perf_counter()
    connection.request("GET", question.url)
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"{question.url} was answered {answer.status}: {content[:200]!r}")
    return (time.perf_counter() - begun) * 1000


def per_second(port: int, path: str) -> float:
    """Requests that a path answers in a second."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{_SECONDS}s", f"http://127.0.0.1:{port}{path}"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in output:
        raise RuntimeError(f"{path} was refused:\n{output}")
    found = re.search(r"Requests/sec:\s*([\d.]+)", output)
    if found is None:
        raise RuntimeError(f"wrk printed no rate:\n{output}")
    return float(found[1])


def ratio_to_empty(running: Running, parent: Path) -> float:
    """One campaign's totals of the empty route: the median of interleaved pairs."""
    pairs = []
    with empty_route(Path(tempfile.mkdtemp(dir=parent))) as empty:
        for _ in range(_PAIRS):
            theirs = per_second(empty.port, "/webhooks/leadterra")
            pairs.append(per_second(running.port, "/v1/campaigns/camp_00001") / theirs)
    return statistics.median(pairs)


def ingest_p99_ms(running: Running, requests: Path, asked: list[Question]) -> float:
    """The 99th percentile of deliveries while so many questions are asked, each again and again."""
    stop = threading.Event()

    def ask(question: Question) -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", running.port)) as connection:
            while not stop.is_set():
                connection.request("GET", question.url)
                connection.getresponse().read()

    threads = [threading.Thread(target=ask, args=(question,)) for question in asked]
    for thread in threads:
        thread.start()
    try:
        return load(running, requests, _SECONDS).p99_ms
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def ingest_p99s_ms(running: Running, parent: Path, asked: list[Question]) -> list[tuple[float, float]]:
    """Interleaved pairs, without and with questions. A round before them only warms up: the file was just copied."""
    requests = parent / "requests"
    found = []
    for number in range(2 * _PAIRS + 1):
        write_requests(requests, count=20_000 * _SECONDS, campaigns=2000, seed=2 + number)
        found.append(ingest_p99_ms(running, requests, asked if number and number % 2 == 0 else []))
    return list(zip(found[1::2], found[2::2], strict=True))


def report(large: Path, small: Path | None, parent: Path) -> None:
    """Print what was measured."""
    with serving(large, parent) as (running, end_ms):
        found = {question.name: (median_ms(running, question), question.goal_ms) for question in questions(end_ms)}
        ratio = ratio_to_empty(running, parent)
        asked = (heavy(end_ms) * _HEAVY)[:_HEAVY]
        pairs = ingest_p99s_ms(running, parent, asked)
    for name, (took, goal) in found.items():
        print(f"{took:8.1f} ms  {name}" + (f" (goal {goal:g})" if goal else ""))
    print(f"{ratio:8.2f}     one campaign, of the empty route (goal 0.25)")
    ratios = statistics.median(beside / alone for alone, beside in pairs)
    alone, beside = (statistics.median(side) for side in zip(*pairs, strict=True))
    print(f"{ratios:8.1f}     ingest p99 beside {_HEAVY} heavy questions (goal 4), {beside:.0f} of {alone:.0f} ms")
    if small is not None:
        compare(large, small, parent)


def compare(large: Path, small: Path, parent: Path) -> None:
    """The same questions of databases of equal density, each about its own last days."""
    with serving(large, parent) as (one, one_end), serving(small, parent) as (other, other_end):
        for question, same in zip(questions(one_end, 7), questions(other_end, 7), strict=True):
            ratios = []
            for _ in range(_PAIRS):
                of_large, of_small = medians_ms([(one, question), (other, same)])
                ratios.append(of_large / of_small)
            print(f"{statistics.median(ratios):8.2f}     {question.name}, of the small database (goal 1.2)")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.asking", description=__doc__)
    parser.add_argument("large", type=Path)
    parser.add_argument("small", type=Path, nargs="?")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="receiver-asking-") as folder:
        report(options.large, options.small, Path(folder))


if __name__ == "__main__":
    main()
