"""What analysts' questions take over HTTP on a filled database, and what they cost the taking in of webhooks."""

import http.client
import sqlite3
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

from tests.bench.load import CONNECTIONS, Round, load, write_question, write_requests
from tests.bench.prefill import DAY_MS
from tests.bench.report import Cell, Findings, Goal, Spread
from tests.bench.run import Filled, Run, Scale
from tests.bench.servers import Running, empty_route, receiver_on

_CAMPAIGN = "/v1/campaigns/camp_00001"
_HEAVY = 20
_SAME_DAYS = 7  # asked of databases of both sizes, which are equally dense


@dataclass(frozen=True, slots=True)
class Question:
    """A URL with its parameters, and how long its answer may take at most, and should."""

    name: str
    path: str
    params: dict[str, object] = field(default_factory=dict)
    limits_ms: tuple[float, ...] = ()

    @property
    def url(self) -> str:
        return f"{self.path}?{urlencode(self.params)}"


def questions(end_ms: int, days: int = 30) -> list[Question]:
    """What is asked; `end_ms` is the end of what the database holds."""
    last = end_ms // DAY_MS * DAY_MS
    month: dict[str, object] = {"from": last - days * DAY_MS, "to": last}
    busiest = {"campaign_id": "camp_00001", **month}
    return [
        Question("one campaign", _CAMPAIGN),
        Question(f"busiest campaign, {days} days, daily", "/v1/series", busiest, (5, 2)),
        Question("the same by send", "/v1/series", {**busiest, "basis": "send"}),
        Question("the same by step", "/v1/series", {**busiest, "group_by": "step"}),
        Question(f"workspace, {days} days, daily", "/v1/series", month),
        Question("top 100 by bounce rate", "/v1/campaigns", {"sort": "bounce_rate", "limit": 100}, (10, 3)),
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


def end_ms(database: Path) -> int:
    """The last send that a database holds."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as conn:
        return int(conn.execute("SELECT max(sent_at) FROM messages").fetchone()[0])


def medians_ms(asked: list[tuple[Running, Question]], times: int) -> list[float]:
    """The medians of sequential requests, each question on one connection, in turns.

    They share every disturbance of the machine. The first fifth only warms up.
    """
    took: list[list[float]] = [[] for _ in asked]
    with ExitStack() as opened:
        places = []
        for place, (running, question) in enumerate(asked):
            connection = http.client.HTTPConnection("127.0.0.1", running.port)
            places.append((place, opened.enter_context(closing(connection)), question))
        for _ in range(times):
            for place, connection, question in places:
                took[place].append(_ask(connection, question))
            places.reverse()  # whoever comes first finds the processor asleep
    return [statistics.median(each[times // 5 :]) for each in took]


def _ask(connection: http.client.HTTPConnection, question: Question) -> float:
    begun = time.perf_counter()
    connection.request("GET", question.url)
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"{question.url} was answered {answer.status}: {content[:200]!r}")
    return (time.perf_counter() - begun) * 1000


def needs_both(scale: Scale) -> Iterator[Filled]:
    """Two of equal density."""
    yield from (Filled(scale.middle), Filled(scale.large))


def needs_large(scale: Scale) -> Iterator[Filled]:
    """The largest."""
    yield Filled(scale.large)


def reads(run: Run) -> Findings:
    """Each question of both databases, and one campaign's totals at full load beside the empty route."""
    middle, large = (run.database(each) for each in needs_both(run.scale))
    with ExitStack() as opened:
        servers = [(opened.enter_context(receiver_on(each, run.folder)), end_ms(each)) for each in (middle, large)]
        empty = opened.enter_context(empty_route(run.empty_folder()))
        taken = _both(run, servers, 30)
        same = _both(run, servers, _SAME_DAYS)
        totals = [_ratio_to_empty(run, running, empty) for running, _ in servers]
    sizes = f"{run.scale.middle:,}", f"{run.scale.large:,}"
    rows: list[dict[str, Cell]] = []
    goals = [
        Goal(f"one campaign, of the empty route, at {sizes[1]}", totals[1].median, limit, at_least=True)
        for limit in (0.25, 0.45)
    ]
    for question, (few, many), (same_few, same_many) in zip(questions(0), taken, same, strict=True):
        growth = Spread.ratio(same_many.values, same_few.values)
        rows.append(
            {
                "question": question.name,
                f"ms at {sizes[0]}": few,
                f"ms at {sizes[1]}": many,
                f"large / small, {_SAME_DAYS} days": growth,
            }
        )
        goals += [Goal(f"{question.name}, at {sizes[1]}", many.median, limit, "ms") for limit in question.limits_ms]
        goals.append(Goal(f"{question.name}, large / small, {_SAME_DAYS} days", growth.median, 1.2))
    ratio: dict[str, Cell] = dict(
        zip(rows[0], ("one campaign, requests/s of the empty route", *totals, None), strict=True)
    )
    return Findings("Reads over HTTP", [*rows, ratio], goals)


def _both(run: Run, servers: list[tuple[Running, int]], days: int) -> list[list[Spread]]:
    """For each question what it takes of each server, round by round."""
    found = []
    for same in zip(*(questions(end, days) for _, end in servers), strict=True):
        asked = [(running, question) for (running, _), question in zip(servers, same, strict=True)]
        rounds = [medians_ms(asked, run.scale.questions) for _ in range(run.scale.rounds)]
        found.append([Spread.of(each) for each in zip(*rounds, strict=True)])
    return found


def _ratio_to_empty(run: Run, running: Running, empty: Running) -> Spread:
    """One campaign's totals a second, of the empty route's answers to the same kind of request."""
    ours = write_question(run.folder / "question", _CAMPAIGN)
    theirs = write_question(run.folder / "empty-question", "/webhooks/leadterra")
    pairs = [
        (load(running, ours, run.scale.seconds), load(empty, theirs, run.scale.seconds))
        for _ in range(run.scale.rounds)
    ]
    if refused := sum(each.refused for pair in pairs for each in pair):
        raise RuntimeError(f"{refused} requests for {_CAMPAIGN} or the empty route were refused.")
    return Spread.ratio(*zip(*((each.per_second for each in pair) for pair in pairs), strict=True))


def reads_during_ingest(run: Run) -> Findings:
    """Interleaved pairs, without and with questions, after a round that only warms up: the file was just copied."""
    scale = run.scale
    database = run.database(Filled(scale.large))
    asked = (heavy(end_ms(database)) * _HEAVY)[:_HEAVY]
    requests = run.folder / "requests"
    alone: list[Round] = []
    beside: list[Round] = []
    with receiver_on(database, run.folder) as running:
        for number in range(2 * scale.rounds + 1):
            write_requests(requests, scale.seconds, seed=100 + number)
            found = _ingest_beside(running, requests, scale.seconds, [] if number % 2 else asked)
            if number:
                (alone if number % 2 else beside).append(found)
    rows: list[dict[str, Cell]] = [
        {
            f"at {scale.large:,} messages": title,
            "events/s": Spread.of(each.per_second for each in found),
            "p50 ms": Spread.of(each.p50_ms for each in found),
            "p99 ms": Spread.of(each.p99_ms for each in found),
            "not taken in": sum(each.refused for each in found),
        }
        for title, found in (("ingest alone", alone), (f"beside {_HEAVY} heavy questions", beside))
    ]
    slower = Spread.ratio((each.p99_ms for each in beside), (each.p99_ms for each in alone))
    goal = Goal(f"p99 of ingest beside {_HEAVY} heavy questions, of that alone", slower.median, 4)
    return Findings(f"Ingest while questions are asked, {CONNECTIONS} connections", rows, [goal])


def _ingest_beside(running: Running, requests: Path, seconds: float, asked: list[Question]) -> Round:
    """A round of load while so many questions are asked, each again and again."""
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
        return load(running, requests, seconds)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
