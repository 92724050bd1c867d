"""Every figure of a series is that of a plain recount: any story, zone, interval, basis, group and filter."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import count, product
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.errors import CampaignNotFoundError
from receiver.figures import OBSERVED
from receiver.storage.sqlite.connection import open_for_reading
from receiver.web.access import Role
from receiver.web.buckets import Interval
from receiver.web.operation import Call
from receiver.web.params import SeriesParams, parse_query
from receiver.web.series import series_rows
from tests.storage.conftest import NOW
from tests.storage.plain import NO_SEND, NO_STEP, Fields, PlainRecount
from tests.storage.test_order import CHECKS, EVENTS, Story, copy_of, empty_database, tell

__all__ = ["empty_database"]

QUARTER_MS = 900_000
DAY_MS = 86_400_000

# A zone, and a moment near which its clocks are set or its days begin at odd times.
PLACES = [
    ("UTC", "2025-06-11T00:00:00+00:00"),
    ("Asia/Kolkata", "2025-06-11T00:00:00+05:30"),
    ("Asia/Kathmandu", "2025-06-11T00:00:00+05:45"),
    ("America/St_Johns", "2025-03-09T02:00:00-03:30"),
    ("America/St_Johns", "2024-11-03T02:00:00-02:30"),
    ("Australia/Lord_Howe", "2025-04-06T02:00:00+11:00"),
    ("Australia/Lord_Howe", "2024-10-06T02:00:00+10:30"),
    ("Europe/Berlin", "2025-03-30T02:00:00+01:00"),
    ("Europe/Berlin", "2024-10-27T03:00:00+02:00"),
    ("Africa/Cairo", "2025-04-25T00:00:00+02:00"),
    ("America/Havana", "2024-11-03T00:00:00-04:00"),
    ("Pacific/Apia", "2025-06-01T00:00:00+13:00"),
]


@dataclass(frozen=True)
class Question:
    """What happened around a moment, and what is asked of it."""

    story: Story
    zone: str
    moment: int
    from_ms: int
    to_ms: int
    interval: Interval
    basis: str
    group_by: str | None
    campaigns: tuple[str, ...]
    figures: tuple[str, ...]

    def call(self) -> Call:
        given = [
            ("figures", ",".join(self.figures)), ("interval", self.interval), ("timezone", self.zone),
            ("from", self.from_ms), ("to", self.to_ms), ("basis", self.basis),
            *[("campaign_id", campaign) for campaign in self.campaigns],
            *([("group_by", self.group_by)] if self.group_by else []),
        ]  # fmt: skip
        return Call(parse_query(SeriesParams, urlencode(given).encode()), None, {}, Role.ANALYST, NOW)


OFFSETS = st.builds(
    lambda quarters, more: quarters * QUARTER_MS + more,
    st.integers(-3 * 96, 3 * 96) | st.integers(-6, 6),
    st.sampled_from([0, 0, -1, 1, 450_000]),
)


UNDERSTOOD = EVENTS.filter(lambda fields: fields["event"] != "spoilt")


@st.composite
def questions(draw: st.DrawFn) -> Question:
    zone, text = draw(st.sampled_from(PLACES))
    moment = round(datetime.fromisoformat(text).timestamp() * 1000)
    events = draw(st.lists(st.tuples(UNDERSTOOD, OFFSETS), min_size=2, max_size=12))
    told = [({**fields, "at": moment + offset}, True) for fields, offset in events]
    bounds = st.integers(-5 * DAY_MS, 5 * DAY_MS)
    first, last = sorted((draw(bounds), draw(bounds)))
    if draw(st.booleans()):
        first, last = -6 * DAY_MS, 6 * DAY_MS
    return Question(
        Story([("nothing", told)]), zone, moment, moment + first, moment + last,
        draw(st.sampled_from(list(Interval))),
        draw(st.sampled_from(["event", "send"])),
        draw(st.sampled_from([None, "campaign", "step"])),
        draw(st.sampled_from([(), ("a",), ("c", "a"), ("a", "b", "c")])),
        tuple(draw(st.lists(st.sampled_from(OBSERVED), min_size=1, unique=True))),
    )  # fmt: skip


def bucket(at: int, interval: Interval, zone: ZoneInfo) -> object:
    """What tells one bucket from another, read from the clock on the wall."""
    local = datetime.fromtimestamp(at / 1000, zone)
    return {
        Interval.QUARTER: at // QUARTER_MS,
        Interval.HOUR: (local.date(), local.hour, local.utcoffset()),
        Interval.DAY: local.date(),
        Interval.WEEK: local.isocalendar()[:2],
        Interval.MONTH: (local.year, local.month),
    }[interval]


Booked = Iterator[tuple[str, int, int | None, Counter[str]]]


def booked(deliveries: list[Fields], basis: str) -> Booked:
    """Campaign, step, time (None: not known) and figures, as the definitions book them."""
    plain = PlainRecount(deliveries, b"any")
    lowest: dict[str, int] = {}
    for (campaign, step, _), row in plain.places.items():
        if row["sent"]:
            lowest[campaign] = min(step, lowest.get(campaign, NO_STEP))
    rows: list[tuple[str, int, int | None, Counter[str]]]
    if basis == "event":
        rows = [(campaign, step, at, row) for (campaign, step, at), row in plain.places.items()]
    else:
        rows = [
            (campaign, step, None if quarter == NO_SEND else quarter * QUARTER_MS, row)
            for (campaign, step, quarter), row in plain.cohorts.items()
        ]
    for campaign, step, at, row in rows:
        contacted = row["sent"] if step == lowest.get(campaign) else 0
        # Not by adding counters: a sum of two leaves out what is below 0.
        yield campaign, step, at, Counter({**row, "contacted": contacted})


def expected(question: Question, edges: tuple[int, int]) -> dict[Any, dict[str, int]]:
    """By bucket and group, what is not 0."""
    zone = ZoneInfo(question.zone)
    found: dict[Any, Counter[str]] = defaultdict(Counter)
    for campaign, step, at, row in booked(question.story.deliveries(), question.basis):
        if question.campaigns and campaign not in question.campaigns:
            continue
        if at is not None and not edges[0] <= at < edges[1]:
            continue
        place = None if at is None else bucket(at, question.interval, zone)
        group = {None: None, "campaign": campaign, "step": None if step == NO_STEP else step}[question.group_by]
        found[place, group].update({name: row[name] for name in question.figures})
    return {place: {n: v for n, v in row.items() if v} for place, row in found.items() if any(row.values())}


def epoch(text: str) -> int:
    return (datetime.fromisoformat(text) - datetime.fromtimestamp(0, ZoneInfo("UTC"))) // timedelta(milliseconds=1)


def answered(question: Question, rows: list[dict[str, Any]]) -> dict[Any, dict[str, int]]:
    zone = ZoneInfo(question.zone)
    found: dict[Any, dict[str, int]] = {}
    for row in rows:
        place = None if row["time"] is None else bucket(epoch(row["time"]), question.interval, zone)
        group = row["campaign_id"] if question.group_by == "campaign" else row.get("step")
        values = {name: row[name] for name in question.figures if row[name]}
        assert (place, group) not in found
        found[place, group] = values
    return found


def all_known(question: Question) -> bool:
    """Whether every campaign that is asked has an event."""
    named = {campaign for campaign, *_ in booked(question.story.deliveries(), "event")}
    return named >= set(question.campaigns)


def bucket_end(question: Question, start: int) -> int:
    """The first quarter of an hour that the clock on the wall says is of another bucket."""
    zone = ZoneInfo(question.zone)
    place = bucket(start, question.interval, zone)
    return next(at for at in count(start, QUARTER_MS) if bucket(at, question.interval, zone) != place)


def check_grid(question: Question, rows: list[dict[str, Any]], starts: list[int], last: int) -> None:
    """Every group in every bucket, in order; what is 0 is null before the bucket of installation, and only there."""
    assert starts[0] <= question.from_ms
    assert last >= question.to_ms
    placed = [(epoch(row["time"]), row) for row in rows if row["time"] is not None]
    if question.group_by == "step":
        shown = [(at, row["step"] is None, row["step"] or 0) for at, row in placed]
        known = sorted({row["step"] for _, row in placed if row["step"] is not None})
        assert shown == sorted(shown)
        assert [(at, step) for at, unknown, step in shown if not unknown] == list(product(starts, known))
    else:
        groups = sorted({row.get("campaign_id", "") for _, row in placed})
        assert [(at, row.get("campaign_id", "")) for at, row in placed] == list(product(starts, groups))
    ends = dict(zip(starts, [*starts[1:], last], strict=True))
    for row in rows:
        before = row["time"] is not None and ends[epoch(row["time"])] <= NOW
        for name in question.figures:
            unknown = before or (name == "starts" and question.basis == "send")
            assert row[name] or (row[name] is None) is unknown


@settings(max_examples=100, deadline=None, suppress_health_check=CHECKS)
@given(question=questions())
def test_every_figure_is_that_of_a_plain_recount(empty_database: Path, question: Question) -> None:
    with copy_of(empty_database) as ledger:
        ledger.now = question.moment + 5 * DAY_MS
        tell(ledger, question.story)
        with closing(open_for_reading(ledger.path)) as conn:
            if not all_known(question):
                with pytest.raises(CampaignNotFoundError):
                    list(series_rows(conn, question.call()))
                return
            rows = list(series_rows(conn, question.call()))
            plain = replace(question, group_by=None, basis="event").call()
            starts = [epoch(row["time"]) for row in series_rows(conn, plain)]
    if not starts:
        assert (rows, question.from_ms) == ([], question.to_ms)
        return
    last = bucket_end(question, starts[-1])
    counted = {place: row for place, row in answered(question, rows).items() if row}
    assert counted == expected(question, (starts[0], last))
    check_grid(question, rows, starts, last)
