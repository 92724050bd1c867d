"""Edges of buckets in any zone, against a reference that walks from minute to minute."""

import os
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.errors import InvalidParameterError, TooManyRowsError
from receiver.figures import QUARTER_MS
from receiver.web.buckets import Interval, buckets, first_instant, local_time, zone_names, zone_parameter

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000
ROUNDS = int(os.environ.get("TEST_ROUNDS", "100"))
ZONES = [
    "UTC", "Asia/Kolkata", "Asia/Kathmandu", "America/St_Johns", "Australia/Lord_Howe", "Africa/Cairo",
    "America/New_York", "Asia/Beirut", "America/Sao_Paulo", "America/Havana", "Antarctica/Troll", "Asia/Gaza",
]  # fmt: skip


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def local(at_ms: int, zone: str) -> datetime:
    return datetime.fromtimestamp(at_ms // 1000, UTC).astimezone(ZoneInfo(zone))


def times(first: str, last: str, interval: str, zone: str) -> list[str]:
    return buckets(ms(first), ms(last), Interval(interval), ZoneInfo(zone)).times()


def _quarter(moment: datetime) -> object:
    return moment.date(), moment.hour, moment.minute // 15, moment.utcoffset()


def _hour(moment: datetime) -> object:
    return moment.date(), moment.hour, moment.utcoffset()


BUCKET_OF: dict[str, Callable[[datetime], object]] = {
    "15m": _quarter,
    "hour": _hour,
    "day": lambda moment: moment.date(),
    "week": lambda moment: moment.date() - timedelta(days=moment.weekday()),
    "month": lambda moment: (moment.year, moment.month),
}
REACH = {"15m": 60, "hour": 180, "day": 3 * 1440, "week": 9 * 1440, "month": 40 * 1440}


def reference(from_ms: int, to_ms: int, interval: str, zone: str) -> list[int]:
    """Walks from well before to well after, by minutes (weeks by quarters); an edge is where the name changes."""
    name = BUCKET_OF[interval]
    step = QUARTER_MS if interval in ("week", "month") else MINUTE_MS
    reach = REACH[interval] * MINUTE_MS
    walk = range((from_ms - reach) // QUARTER_MS * QUARTER_MS, to_ms + reach + 2 * step, step)
    names = [(at, name(local(at, zone))) for at in walk]
    edges = [after for (_, old), (after, new) in pairwise(names) if old != new]
    first = max(edge for edge in edges if edge <= from_ms)
    last = min(edge for edge in edges if edge >= to_ms)
    return [edge for edge in edges if first <= edge <= last]


def changes(zone: str) -> list[int]:
    """The hours from 2015 on, up to 2027, in which the zone's offset changes."""
    days = _changes(range(ms("2015-01-01T00:00:00Z"), ms("2027-01-01T00:00:00Z"), DAY_MS), zone)
    return [hour for day in days for hour in _changes(range(day, day + DAY_MS, HOUR_MS), zone)]


def _changes(starts: range, zone: str) -> list[int]:
    """The starts of steps at whose end the zone has another offset."""
    offsets = [local(start, zone).utcoffset() for start in (*starts, starts.stop)]
    return [start for start, (old, new) in zip(starts, pairwise(offsets), strict=True) if old != new]


CHANGES = {zone: changes(zone) for zone in ("Australia/Lord_Howe", "Africa/Cairo", "America/New_York", "Asia/Beirut",
                                            "America/Sao_Paulo", "America/St_Johns")}  # fmt: skip
LENGTH_MS = {"15m": 6 * 3_600_000, "hour": 86_400_000, "day": 5 * 86_400_000, "week": 86_400_000, "month": 86_400_000}


@st.composite
def ranges(draw: st.DrawFn) -> tuple[int, int, str, str]:
    """Ranges in all zones, half of them around a change of the clocks where there is one."""
    zone = draw(st.sampled_from(ZONES))
    interval = draw(st.sampled_from([*Interval]))
    if CHANGES.get(zone) and draw(st.booleans()):
        around = draw(st.sampled_from(CHANGES[zone]))
        begin = draw(st.integers(around - LENGTH_MS[interval], around + 3_600_000))
    else:
        begin = draw(st.integers(ms("2015-01-01T00:00:00Z"), ms("2040-01-01T00:00:00Z")))
    return begin, begin + draw(st.integers(0, LENGTH_MS[interval])), interval, zone


@settings(max_examples=ROUNDS, deadline=None)
@given(ranges())
def test_edges_are_those_of_a_walk_through_the_minutes(drawn: tuple[int, int, str, str]) -> None:
    from_ms, to_ms, interval, zone = drawn
    expected = reference(from_ms, to_ms, interval, zone)
    assert list(buckets(from_ms, to_ms, Interval(interval), ZoneInfo(zone)).edges) == expected


@pytest.mark.parametrize("zone", sorted(CHANGES))
@pytest.mark.parametrize("interval", ["15m", "hour", "day"])
def test_edges_around_every_change_of_the_clocks_are_those_of_a_walk(zone: str, interval: str) -> None:
    assert CHANGES[zone]
    for change in CHANGES[zone][:8]:
        begin, end = change - 5 * 3_600_000, change + 5 * 3_600_000
        assert list(buckets(begin, end, Interval(interval), ZoneInfo(zone)).edges) == reference(
            begin, end, interval, zone
        )


def test_weeks_begin_on_monday_and_months_on_their_first() -> None:
    assert times("2025-06-11T12:00Z", "2025-06-16T00:00Z", "week", "UTC") == ["2025-06-09T00:00:00+00:00"]
    assert times("2025-01-31T12:00Z", "2025-03-01T00:00Z", "month", "Asia/Kolkata") == [
        "2025-01-01T00:00:00+05:30",
        "2025-02-01T00:00:00+05:30",
        "2025-03-01T00:00:00+05:30",
    ]


def test_days_of_23_and_25_hours() -> None:
    spring = buckets(ms("2025-03-30T12:00Z"), ms("2025-03-30T13:00Z"), Interval.DAY, ZoneInfo("Europe/Berlin"))
    autumn = buckets(ms("2025-10-26T12:00Z"), ms("2025-10-26T13:00Z"), Interval.DAY, ZoneInfo("Europe/Berlin"))
    assert (spring.to_ms - spring.from_ms, autumn.to_ms - autumn.from_ms) == (23 * 3_600_000, 25 * 3_600_000)


def test_the_hour_that_comes_twice_is_two_rows() -> None:
    assert times("2025-10-26T00:00Z", "2025-10-26T02:00Z", "hour", "Europe/Berlin") == [
        "2025-10-26T02:00:00+02:00",
        "2025-10-26T02:00:00+01:00",
    ]


def test_the_half_hours_of_lord_howe_are_rows_of_their_own() -> None:
    assert times("2025-04-05T14:00Z", "2025-04-05T15:30Z", "hour", "Australia/Lord_Howe") == [
        "2025-04-06T01:00:00+11:00",
        "2025-04-06T01:30:00+10:30",
    ]
    assert times("2025-10-04T15:00Z", "2025-10-04T16:30Z", "hour", "Australia/Lord_Howe") == [
        "2025-10-05T01:00:00+10:30",
        "2025-10-05T02:30:00+11:00",
        "2025-10-05T03:00:00+11:00",
    ]


@pytest.mark.parametrize(
    ("zone", "day", "begin"),
    [
        ("Africa/Cairo", "2025-04-25", "2025-04-25T01:00:00+03:00"),
        ("America/Sao_Paulo", "2018-11-04", "2018-11-04T01:00:00-02:00"),
        ("Asia/Beirut", "2025-03-30", "2025-03-30T01:00:00+03:00"),
        ("America/Havana", "2025-11-02", "2025-11-02T00:00:00-04:00"),
    ],
)
def test_a_day_begins_with_its_first_instant(zone: str, day: str, begin: str) -> None:
    assert times(f"{day}T12:00Z", f"{day}T12:00Z", "day", zone) == [begin]


def test_a_day_begins_at_a_change_that_skips_its_midnight() -> None:
    """Toronto went from 23:30 to 00:30."""
    begin = first_instant(date(1919, 3, 31), ZoneInfo("America/Toronto"))
    assert local_time(begin, ZoneInfo("America/Toronto")) == "1919-03-31T00:30:00-04:00"


def test_a_day_that_a_zone_skipped_is_no_bucket() -> None:
    assert times("2011-12-30T00:00Z", "2011-12-31T00:00Z", "day", "Pacific/Apia") == [
        "2011-12-29T00:00:00-10:00",
        "2011-12-31T00:00:00+14:00",
    ]


def test_an_empty_range_at_an_edge_has_no_bucket_and_elsewhere_one() -> None:
    assert times("2025-06-11T00:00Z", "2025-06-11T00:00Z", "day", "UTC") == []
    assert times("2025-06-11T00:01Z", "2025-06-11T00:01Z", "day", "UTC") == ["2025-06-11T00:00:00+00:00"]


def test_every_edge_from_2015_on_is_at_a_quarter_of_an_hour_in_every_zone() -> None:
    """Offsets are looked at week by week, once for zones that share them; between two that differ, every hour."""
    seen = set()
    week = 7 * 86_400_000
    weeks = range(ms("2015-01-01T00:00Z"), ms("2040-12-31T00:00Z"), week)
    for name in sorted(zone_names()):
        zone = ZoneInfo(name)
        offsets = tuple(datetime.fromtimestamp(at // 1000, zone).utcoffset() or timedelta() for at in weeks)
        if offsets in seen:
            continue
        seen.add(offsets)
        assert not any(offset % timedelta(minutes=15) for offset in set(offsets)), name
        for at, (old, new) in zip(weeks, pairwise(offsets), strict=False):
            if old != new:
                hours = buckets(at, at + week, Interval.HOUR, zone).edges
                days = buckets(at, at + week, Interval.DAY, zone).edges
                assert not [edge for edge in (*hours, *days) if edge % QUARTER_MS], name
                assert list(hours) == sorted(set(hours)), name


def test_clocks_that_change_within_a_quarter_count_as_changed_from_its_end() -> None:
    """Casey went from 00:01 to 03:01."""
    expected = ["2020-10-04T00:00:00+08:00", "2020-10-04T03:15:00+11:00", "2020-10-04T04:00:00+11:00"]
    assert times("2020-10-03T16:00Z", "2020-10-03T17:01Z", "hour", "Antarctica/Casey") == expected
    assert times("2020-10-03T16:14Z", "2020-10-03T17:01Z", "hour", "Antarctica/Casey") == expected
    assert times("2020-10-03T16:15Z", "2020-10-03T17:01Z", "hour", "Antarctica/Casey") == expected[1:]


def test_offsets_of_old_with_seconds_are_said_in_minutes() -> None:
    assert times("1900-01-01T00:00Z", "1900-01-01T00:00Z", "day", "Asia/Kolkata") == ["1900-01-01T00:06:00+05:21"]


# Too many, and nonsense.


@pytest.mark.parametrize(
    ("first", "last", "interval", "use"),
    [
        ("2000-01-01", "2100-01-01", "15m", "use week"),
        ("2000-01-01", "2100-01-01", "hour", "use week"),
        ("2000-01-01", "2100-01-01", "day", "use week"),
        ("2025-01-01", "2025-06-01", "15m", "use hour"),
        ("2023-01-01", "2025-06-01", "hour", "use day"),
        ("1800-01-01", "2025-06-01", "week", "use month"),
        ("1000-01-01", "2025-06-01", "month", "ask for a shorter range or fewer groups"),
        ("0002-01-01", "9998-01-01", "15m", "ask for a shorter range or fewer groups"),
    ],
)
def test_too_many_rows_name_the_interval_that_would_fit(first: str, last: str, interval: str, use: str) -> None:
    begin, end = (ms(f"{day}T00:00:00+00:00") for day in (first, last))
    with pytest.raises(TooManyRowsError) as caught:
        buckets(begin, end, Interval(interval), ZoneInfo("America/New_York"))
    assert str(caught.value) == f"'interval' is '{interval}', which makes more than 10000 rows here; {use}."
    assert (caught.value.parameter, caught.value.code) == ("interval", "too_many_rows")


def _edge(interval: Interval, number: int) -> int:
    """The so-manyth edge of an interval from the first Monday of 1970 on, or from its first month on, in UTC."""
    if interval is Interval.MONTH:
        return ms(f"{1970 + number // 12}-{number % 12 + 1:02d}-01T00:00:00+00:00")
    hours = {Interval.QUARTER: 0.25, Interval.HOUR: 1, Interval.DAY: 24, Interval.WEEK: 168}[interval]
    return ms("1970-01-05T00:00:00+00:00") + round(number * hours * 3_600_000)


@pytest.mark.parametrize("interval", [*Interval])
def test_ten_thousand_rows_are_just_right(interval: Interval) -> None:
    def found(count: int, groups: int = 1, more: int = 0) -> int:
        return len(buckets(_edge(interval, 0), _edge(interval, count), interval, UTC, groups, more))

    assert (found(10_000), found(100, groups=100), found(10_000, groups=0)) == (10_000, 100, 10_000)
    assert (found(9_999, more=1), found(99, groups=100, more=100)) == (9_999, 99)
    for count, groups, more in ((10_001, 1, 0), (101, 100, 0), (1, 10_001, 0), (10_000, 1, 1), (100, 100, 100)):
        with pytest.raises(TooManyRowsError):
            found(count, groups, more)


@pytest.mark.parametrize("interval", [*Interval])
@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_the_ends_of_the_calendar_have_buckets(interval: Interval, zone: str) -> None:
    for day in ("0002-01-01T00:00:00+00:00", "9998-12-31T00:00:00+00:00"):
        assert len(buckets(ms(day), ms(day) + 0, interval, ZoneInfo(zone))) in (0, 1)


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "Etc/GMT+5", "America/Argentina/Buenos_Aires", "EST5EDT"])
def test_a_zone_is_taken_by_its_exact_name(name: str) -> None:
    assert zone_parameter("timezone", name).key == name


@pytest.mark.parametrize(
    "name",
    [
        "", ".", "..", "../../etc/passwd", "/usr/share/zoneinfo/Europe/Berlin", "/etc/localtime", "localtime",
        "europe/berlin", "EUROPE/BERLIN", "utc", "Europe", "Europe/", "Europe/Berlin/", "Europe//Berlin",
        "Europe/../Europe/Berlin", "Europe\\Berlin", "Europe/Berlin\0", " UTC", "UTC\n", "+02:00", "CEST",
        "posixrules", "Factory", "posix/UTC", "right/UTC", "zone.tab", "tzdata.zi", "Ｕ", "a" * 5000,
    ],
)  # fmt: skip
def test_anything_else_is_no_zone(name: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        zone_parameter("timezone", name)
    text = f"'timezone' is '{name[:100]}'; use an IANA time zone such as UTC or Europe/Berlin."
    assert (caught.value.parameter, str(caught.value)) == ("timezone", text)
