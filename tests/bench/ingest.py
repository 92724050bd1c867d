"""Ingest beside an empty Starlette route and beside what people would use instead; fsyncs; copies only."""

import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.load import CONNECTIONS, Round, load, signed_requests, write_framed, write_requests
from tests.bench.report import Cell, Findings, Goal, Spread, quotient
from tests.bench.run import Run
from tests.bench.sender import Sender
from tests.bench.servers import PEERS, PEERS_MISSING, Running, empty_route, receiver

_EMPTY = "empty Starlette route"
_RECEIVER = "receiver"
COUNTED = "SELECT sum(sent) FROM totals WHERE step = -1"
_STORED = "SELECT count(*) FROM events"
_COPIED_EVENTS = 2000
_STRACE = ("strace", "-f", "--seccomp-bpf", "-c", "-e", "trace=fsync,fdatasync", "-o")


@dataclass(slots=True)
class _Contender:
    """A server, how to ask its database what it holds, and its rounds."""

    title: str
    start: Callable[[Path], AbstractContextManager[Running]]
    stored: str | None
    rounds: list[Round] = field(default_factory=list)

    def take(self, folder: Path, requests: Path, seconds: float) -> None:
        """One more round, on a new database. A fast answer counts only when the event is stored."""
        with self.start(folder) as running:
            found = load(running, requests, seconds)
        if self.stored is not None and count(folder, self.stored) < found.acknowledged:
            raise RuntimeError(f"{self.title} answered {found} and has stored {count(folder, self.stored)} events.")
        self.rounds.append(found)


def count(folder: Path, statement: str) -> int:
    """What the database in a folder says that it holds."""
    with closing(sqlite3.connect(f"file:{folder / 'bench.db'}?mode=ro", uri=True)) as conn:
        return int(conn.execute(statement).fetchone()[0] or 0)


def ingest(run: Run) -> Findings:
    """The whole comparison, in turns."""
    scale = run.scale
    requests = write_requests(run.folder / "requests", scale.seconds, seed=1)
    contenders = [_Contender(_EMPTY, empty_route, None), _Contender(_RECEIVER, receiver, COUNTED)]
    contenders += [_Contender(peer.title, peer.start, _STORED) for peer in PEERS if not peer.missing]
    for number in range(scale.rounds):
        for contender in contenders if number % 2 == 0 else reversed(contenders):
            folder = run.empty_folder()
            contender.take(folder, requests, scale.seconds)
            shutil.rmtree(folder)
    return _compared({each.title: each.rounds for each in contenders})


def _compared(rounds: dict[str, list[Round]]) -> Findings:
    rates = {title: [each.per_second for each in found] for title, found in rounds.items()}
    if any(each.refused for each in rounds[_RECEIVER]):
        raise RuntimeError(f"The receiver refused events: {rounds[_RECEIVER]}")
    rows: list[dict[str, Cell]] = []
    for title in (_EMPTY, _RECEIVER, *(peer.title for peer in PEERS)):
        if title not in rounds:
            rows.append(_row(f"{title}: {PEERS_MISSING}"))
            continue
        found = rounds[title]
        rows.append(
            _row(
                title,
                Spread.of(rates[title]),
                Spread.ratio(rates[title], rates[_EMPTY]),
                Spread.ratio(rates[_RECEIVER], rates[title]),
                Spread.of(each.p50_ms for each in found),
                Spread.of(each.p99_ms for each in found),
                sum(each.refused for each in found),
            )
        )
    return Findings(f"Ingest, {CONNECTIONS} kept-alive connections", rows, list(_goals(rounds, rates)))


def _row(title: str, *cells: Cell) -> dict[str, Cell]:
    columns = ("events/s", "of the empty route", "receiver is × as fast", "p50 ms", "p99 ms", "not taken in")
    filled = cells or (None,) * len(columns)
    return {"server": title, **dict(zip(columns, filled, strict=True))}


def _goals(rounds: dict[str, list[Round]], rates: dict[str, list[float]]) -> Iterator[Goal]:
    ours, empty = rounds[_RECEIVER], rounds[_EMPTY]
    yield Goal(
        "ingest, of the empty route", Spread.ratio(rates[_RECEIVER], rates[_EMPTY]).median, 0.45, at_least=True
    )
    slower = Spread.ratio((each.p99_ms for each in ours), (each.p99_ms for each in empty))
    yield Goal("p99 of ingest, of the empty route's", slower.median, 4)
    for peer in PEERS:
        if peer.goal is not None and peer.title in rates:
            faster = Spread.ratio(rates[_RECEIVER], rates[peer.title]).median
            yield Goal(f"ingest, times that of {peer.title}", faster, peer.goal, at_least=True)


def fsyncs(run: Run) -> Findings:
    """Forced writes per event, counted by the kernel's own trace; which slows everything down, so once."""
    title = f"Fsyncs, {CONNECTIONS} connections, traced"
    if shutil.which("strace") is None:
        return Findings(title, [{"": "not measured: strace is not installed; on Debian: apt-get install strace"}])
    folder = run.empty_folder()
    requests = write_requests(run.folder / "requests", run.scale.seconds, seed=1)
    with receiver(folder, (*_STRACE, str(folder / "trace"))) as running:
        found = load(running, requests, run.scale.seconds)
    trace = (folder / "trace").read_text()
    calls = re.findall(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+).*\b(?:fsync|fdatasync)$", trace, re.MULTILINE)
    total = sum(map(int, calls))
    per_event = quotient(total, found.acknowledged)
    rows: list[dict[str, Cell]] = [{"events": found.acknowledged, "fsyncs": total, "fsyncs per event": per_event}]
    return Findings(title, rows, [Goal("fsyncs per event", per_event, 0.04)])


def duplicates(run: Run) -> Findings:
    """Nothing but copies of events that are held, beside new events and beside the empty route."""
    scale = run.scale
    new = run.folder / "requests"
    held = list(signed_requests(_COPIED_EVENTS, 2000, seed=2))
    copies = write_framed(run.folder / "copies", held)
    rates: dict[str, list[float]] = {_EMPTY: [], "new events": [], "copies only": []}
    with ExitStack() as opened:
        empty = opened.enter_context(empty_route(run.empty_folder()))
        ours = opened.enter_context(receiver(run.empty_folder()))
        Sender(ours.port, held).deliver(CONNECTIONS)
        for number in range(scale.rounds):
            write_requests(new, scale.seconds, seed=3 + number)
            for title, server, requests in (
                (_EMPTY, empty, new),
                ("new events", ours, new),
                ("copies only", ours, copies),
            ):
                rates[title].append(load(server, requests, scale.seconds).per_second)
    rows: list[dict[str, Cell]] = [
        {"": title, "requests/s": Spread.of(found), "of the empty route": Spread.ratio(found, rates[_EMPTY])}
        for title, found in rates.items()
    ]
    return Findings(f"Copies only, {CONNECTIONS} connections", rows)
