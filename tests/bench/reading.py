"""How much processor time the questions of analysts take on a filled database."""

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing

from receiver.storage.sqlite import reads
from receiver.storage.sqlite.connection import open_for_reading
from receiver.storage.sqlite.series import (
    ALL_TIME,
    Basis,
    BounceGroup,
    Group,
    SeriesQuery,
    bounces,
    replies_by_class,
    series,
    with_replies_to_nothing,
)
from tests.bench.prefill import DAY_MS
from tests.bench.report import Cell, Findings, Spread
from tests.bench.run import Filled, Run

_USUAL = ("sent", "bounced", "replied")
_RATED = ("sent", "attempted", "accepted", "contacted", "bounced", "bounced_hard", "bounced_unsent", "replied")


def _days(end_ms: int, count: int) -> list[int]:
    last = end_ms // DAY_MS
    return [day * DAY_MS for day in range(last - count, last + 1)]


def questions(end_ms: int) -> dict[str, Callable[[sqlite3.Connection], object]]:
    """Each question by its name; `end_ms` is the end of what the database holds."""
    month = _days(end_ms, 30)
    span = (month[0], month[-1])
    worst = reads.CampaignFilter("bounce_rate", descending=True, limit=100, active_since=0)
    return {
        "top 100 campaigns by bounce rate": lambda conn: reads.campaigns(conn, worst),
        "busiest campaign, 30 days, daily": lambda conn: list(series(conn, SeriesQuery(month, _USUAL, [1]))),
        "the same by send": lambda conn: list(series(conn, SeriesQuery(month, _USUAL, [1], basis=Basis.SEND))),
        "the same by step": lambda conn: list(series(conn, SeriesQuery(month, _USUAL, [1], Group.STEP))),
        "the same, contacted": lambda conn: list(series(conn, SeriesQuery(month, ("contacted",), [1]))),
        "workspace, 30 days, daily": lambda conn: list(series(conn, SeriesQuery(month, _USUAL))),
        "workspace, 30 days, cohort and contacted": lambda conn: list(
            series(conn, SeriesQuery(span, _RATED, basis=Basis.SEND))
        ),
        "10 campaigns, 30 days, daily": lambda conn: list(
            series(conn, SeriesQuery(month, _USUAL, range(5, 15), Group.CAMPAIGN))
        ),
        "all campaigns, 30 days, one bucket each": lambda conn: list(
            series(conn, SeriesQuery(span, _USUAL, None, Group.CAMPAIGN))
        ),
        "bounces by reason, workspace, all time": lambda conn: list(bounces(conn, ALL_TIME, BounceGroup.REASON)),
        "bounces by domain, workspace, 30 days": lambda conn: list(
            bounces(conn, span, BounceGroup.DOMAIN, None, 100)
        ),
        "bounces by type, workspace, all time": lambda conn: list(bounces(conn, ALL_TIME, BounceGroup.TYPE)),
        "bounces by reason, busiest, 30 days": lambda conn: list(bounces(conn, span, BounceGroup.REASON, [1])),
        "replies by class, workspace, all time": lambda conn: replies_by_class(conn, ALL_TIME),
        "replies by class, busiest, 30 days": lambda conn: replies_by_class(conn, span, [1]),
        "campaigns with replies to nothing": with_replies_to_nothing,
    }


def queries(run: Run) -> Findings:
    """Each question at both sizes, without HTTP; other work on the machine counts by what it takes from caches."""
    rows: dict[str, dict[str, Cell]] = {}
    for messages in (run.scale.middle, run.scale.large):
        with closing(open_for_reading(run.database(Filled(messages)))) as conn:
            (last,) = conn.execute("SELECT max(sent_at) FROM messages").fetchone()
            for name, ask in questions(last).items():
                row = rows.setdefault(name, {"question": name})
                row[f"ms at {messages:,}"] = Spread.of(_took_ms(conn, ask) for _ in range(run.scale.rounds))
    return Findings("Processor time of questions, without HTTP", list(rows.values()))


def _took_ms(conn: sqlite3.Connection, ask: Callable[[sqlite3.Connection], object]) -> float:
    begun = time.thread_time()
    ask(conn)
    return (time.thread_time() - begun) * 1000
