"""What the database takes: time to recount it and to start on it, memory under load, bytes on disk."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.asking import end_ms, medians_ms, questions
from tests.bench.growth import needs as all_sizes
from tests.bench.load import CONNECTIONS, load, signed_requests, write_requests
from tests.bench.report import Cell, Findings, Goal, Spread
from tests.bench.run import Filled, Run
from tests.bench.servers import Running, copied, receiver, receiver_environ, receiver_on
from tests.e2e.server import Connection

_SAMPLE_S = 0.1


def rebuild(run: Run) -> Findings:
    """The command on its own: seconds, and the most memory that it held. It must find nothing to change."""
    rows: list[dict[str, Cell]] = []
    goals = []
    for messages in (run.scale.middle, run.scale.large):
        with copied(run.database(Filled(messages)), run.folder) as folder:
            found = [_rebuild(folder) for _ in range(run.scale.rebuilds)]
        took_s, peak_mib = (Spread.of(each) for each in zip(*found, strict=True))
        rows.append({"messages": f"{messages:,}", "seconds": took_s, "most memory, MiB": peak_mib})
        if messages == run.scale.large:
            goals.append(Goal(f"rebuild of {messages:,} messages", took_s.median, 15, "s"))
    return Findings("Rebuild", rows, goals)


def _rebuild(folder: Path) -> tuple[float, float]:
    command = [sys.executable, "-m", "receiver", "rebuild", "--json"]
    begun = time.monotonic()
    process = subprocess.Popen(
        command, env={**os.environ, **receiver_environ(folder)}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    peak_kib = 0
    with process.stdout:
        while process.poll() is None:
            peak_kib = max(peak_kib, _high_water_kib(process.pid))
            time.sleep(_SAMPLE_S / 10)
        took_s = time.monotonic() - begun
        said = process.stdout.read()
    if process.returncode or json.loads(said)["rows_changed"]:
        raise RuntimeError(f"The rebuild ended with {process.returncode} and said {said!r}.")
    return took_s, peak_kib / 1024


def _high_water_kib(pid: int) -> int:
    """The most memory that a process has held so far; its resource usage would count its parent's (Linux only)."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:  # it has ended
        return 0
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    return int(found[1]) if found else 0


def memory(run: Run) -> Findings:
    """Resident memory of all of the server's processes: at rest, under ingest, then while questions are asked."""
    scale = run.scale
    database = run.database(Filled(scale.large))
    requests = write_requests(run.folder / "requests", scale.seconds * scale.rounds, seed=200)
    rows: list[dict[str, Cell]] = []
    with receiver_on(database, run.folder) as running:
        rows.append({"": "after the start", "MiB": running.resident_mib()})
        with _peak_mib(running) as peak:
            load(running, requests, scale.seconds * scale.rounds)
        rows.append({"": f"ingest, {CONNECTIONS} connections", "MiB": peak[0]})
        under_load = peak[0]
        with _peak_mib(running) as peak:
            for question in questions(end_ms(database)):
                medians_ms([(running, question)], scale.questions)
        rows.append({"": "questions after it", "MiB": peak[0]})
    goal = Goal(f"resident memory at {scale.large:,} under load", under_load, 150, "MiB")
    return Findings(f"Resident memory at {scale.large:,} messages, highest of each stretch", rows, [goal])


@contextmanager
def _peak_mib(running: Running) -> Iterator[list[float]]:
    """The highest of samples while the block runs."""
    peak, over = [running.resident_mib()], threading.Event()

    def watch() -> None:
        while not over.wait(_SAMPLE_S):
            peak[0] = max(peak[0], running.resident_mib())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()


def size(run: Run) -> Findings:
    """The file with all its figures, without the bodies in its journal."""
    rows: list[dict[str, Cell]] = []
    goals = []
    for filled in all_sizes(run.scale):
        per_message = run.database(filled).stat().st_size / filled.messages
        rows.append({"messages": f"{filled.messages:,}", "ids": filled.ids.value, "bytes per message": per_message})
        if filled == Filled(run.scale.large):
            goals.append(Goal(f"bytes per message at {filled.messages:,}, ULID ids", per_message, 90))
    return Findings("Size without the journal", rows, goals)


def start(run: Run) -> Findings:
    """From the start of the process to the first 204: after a stop, and after a kill under load."""
    rounds = range(2 * run.scale.rounds)
    took_s: dict[bool, list[float]] = {False: [], True: []}  # by whether it was killed before
    killed = False
    with copied(run.database(Filled(run.scale.large)), run.folder) as folder:
        requests = write_requests(run.folder / "requests", 1, seed=300)
        events = signed_requests(len(rounds) + 1, 2000, seed=301)
        for number in (-1, *rounds):
            begun = time.perf_counter()
            with receiver(folder) as running:
                _deliver(running, next(events))
                if number >= 0:  # the first one only warms up
                    took_s[killed].append(time.perf_counter() - begun)
                killed = number % 2 == 1
                load(running, requests, run.scale.seconds / 5)
                if killed:
                    os.killpg(running.process.pid, signal.SIGKILL)
    rows: list[dict[str, Cell]] = [
        {"": "after a kill under load" if killed else "after a stop", "seconds": Spread.of(found)}
        for killed, found in took_s.items()
    ]
    goal = Goal(f"start to the first 204 at {run.scale.large:,}", Spread.of(took_s[False]).median, 1, "s")
    return Findings(f"Start to the first 204 at {run.scale.large:,} messages", rows, [goal])


def _deliver(running: Running, raw: bytes) -> None:
    with Connection(running.port) as connection:
        answer = connection.ask(raw)
    if answer.status != 204:
        raise RuntimeError(f"The first delivery was answered {answer.status}: {answer.body!r}")
