"""The edges of a series' buckets: quarters, hours, days, weeks and months of any time zone, without I/O.

A day begins with the first instant of its local date, which is not midnight where clocks skip midnight.
Where clocks are set back, an hour that comes twice is two buckets; where they are set by half an hour,
that half hour is a bucket of its own. Quarters of an hour are those of UTC, which are the local ones of every
offset in use since 2015; no event is older. Every edge is such a quarter: where clocks change within one
(Antarctica/Casey did, at 00:01), they count as changed from its end.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from enum import StrEnum
from functools import cache, lru_cache
from itertools import count, islice
from zoneinfo import ZoneInfo, available_timezones

from receiver.errors import InvalidParameterError, TooManyRowsError
from receiver.figures import QUARTER_MS

ROWS_MAX = 10_000
# Finding a day's begin in its zone takes as long as reading its figures, and most questions are of the same days.
_DAYS_CACHED = 4096
_HOUR_MS = 3_600_000
_DAY_MS = 86_400_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_MINUTE = timedelta(minutes=1)
# Files beside the zones that name none, or a different one on every machine.
_NO_ZONES = frozenset({"localtime", "posixrules", "Factory", "build/etc/localtime"})
# A bucket's neighbours must be dates that Python knows, too.
CALENDAR = tuple((datetime(*day, tzinfo=UTC) - _EPOCH) // _MILLISECOND for day in ((2, 1, 1), (9998, 12, 31)))
ZONES_ALLOWED = "an IANA time zone such as UTC or Europe/Berlin"


class Interval(StrEnum):
    """How long a bucket is, in local time."""

    QUARTER = "15m"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


# No bucket is longer: more of these than rows are allowed need not be counted one by one.
_LONGEST_MS = {
    Interval.QUARTER: QUARTER_MS,
    Interval.HOUR: _HOUR_MS,
    Interval.DAY: 2 * _DAY_MS,
    Interval.WEEK: 8 * _DAY_MS,
    Interval.MONTH: 32 * _DAY_MS,
}


@dataclass(frozen=True, slots=True)
class Buckets:
    """Half-open buckets between neighbouring `edges`, in epoch milliseconds; one edge more than buckets."""

    interval: Interval
    zone: tzinfo
    edges: tuple[int, ...]

    @property
    def from_ms(self) -> int:
        return self.edges[0]

    @property
    def to_ms(self) -> int:
        return self.edges[-1]

    def __len__(self) -> int:
        return len(self.edges) - 1

    def times(self) -> list[str]:
        """The first instant of every bucket, with its offset, as answers say it."""
        return [local_time(edge, self.zone) for edge in self.edges[:-1]]


@cache
def zone_names() -> frozenset[str]:
    """The time zones of this machine, or of the `tzdata` package where it has none."""
    return frozenset(available_timezones()) - _NO_ZONES


def zone_parameter(name: str, text: str) -> ZoneInfo:
    """The zone of that exact name. Raises InvalidParameterError; never opens what is not a zone's file."""
    if text not in zone_names():
        raise InvalidParameterError(name, f"'{name}' is '{text[:100]}'; use {ZONES_ALLOWED}.")
    return ZoneInfo(text)


def buckets(
    from_ms: int, to_ms: int, interval: Interval, zone: tzinfo, groups: int = 1, rows_more: int = 0
) -> Buckets:
    """The buckets from the one that holds `from_ms` to the one that ends at or after `to_ms`; both in `CALENDAR`.

    Raises TooManyRowsError when they make more than `ROWS_MAX` rows with `groups` of them per bucket and
    `rows_more` besides.
    """
    most = (ROWS_MAX - rows_more) // max(groups, 1)
    edges = _edges(from_ms, to_ms, interval, zone, most)
    if edges is None:
        raise TooManyRowsError("interval", _too_many(from_ms, to_ms, interval, zone, most))
    return Buckets(interval, zone, edges)


def _too_many(from_ms: int, to_ms: int, interval: Interval, zone: tzinfo, most: int) -> str:
    """What to ask instead."""
    coarser = list(Interval)[list(Interval).index(interval) + 1 :]
    fitting = (other for other in coarser if _edges(from_ms, to_ms, other, zone, most) is not None)
    use = next((f"use {other}" for other in fitting), "ask for a shorter range or fewer groups")
    return f"'interval' is '{interval}', which makes more than {ROWS_MAX} rows here; {use}."


def _edges(from_ms: int, to_ms: int, interval: Interval, zone: tzinfo, most: int) -> tuple[int, ...] | None:
    """All edges of a range; None when they are of more than `most` buckets."""
    if (to_ms - from_ms) // _LONGEST_MS[interval] > most:
        return None
    found: list[int] = []
    for edge in islice(_from(from_ms // QUARTER_MS * QUARTER_MS, interval, zone), most + 2):
        found.append(edge)
        if edge >= to_ms:
            return tuple(found) if len(found) <= most + 1 else None
    return None


def _from(from_ms: int, interval: Interval, zone: tzinfo) -> Iterator[int]:
    """Edges without end, strictly rising, from the last one at or before a time that is a quarter's."""
    if interval is Interval.QUARTER:
        return count(from_ms, QUARTER_MS)
    if interval is Interval.HOUR:
        return _hours(from_ms, zone)
    return _dates(from_ms, zone, *_CALENDAR[interval])


def _aligned(at_ms: int) -> int:
    """The quarter that begins at a time or next after it."""
    return -(-at_ms // QUARTER_MS) * QUARTER_MS


def _hours(from_ms: int, zone: tzinfo) -> Iterator[int]:
    edge = _hour_begin(from_ms, zone)
    while True:
        yield edge
        offset = _offset_ms(edge, zone)
        full = (edge + offset) // _HOUR_MS * _HOUR_MS + _HOUR_MS - offset
        edge = _aligned(full if _offset_ms(full, zone) == offset else _change(edge, full, zone))


def _hour_begin(at_ms: int, zone: tzinfo) -> int:
    offset = _offset_ms(at_ms, zone)
    full = (at_ms + offset) // _HOUR_MS * _HOUR_MS - offset
    return min(at_ms, _aligned(full if _offset_ms(full, zone) == offset else _change(full, at_ms, zone)))


def _dates(
    from_ms: int, zone: tzinfo, floor: Callable[[date], date], following: Callable[[date], date]
) -> Iterator[int]:
    day = floor(_local(from_ms, zone).date())
    before: int | None = None
    while True:
        edge = _aligned(first_instant(day, zone))
        if edge != before:  # a date that a zone has skipped is no bucket
            yield edge
        before = edge
        day = following(day)


def _same(day: date) -> date:
    return day


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


def _first_of_month(day: date) -> date:
    return day.replace(day=1)


def _next_day(day: date) -> date:
    return day + timedelta(days=1)


def _next_week(day: date) -> date:
    return day + timedelta(days=7)


def _next_month(day: date) -> date:
    return (day.replace(day=28) + timedelta(days=4)).replace(day=1)


_CALENDAR: dict[Interval, tuple[Callable[[date], date], Callable[[date], date]]] = {
    Interval.DAY: (_same, _next_day),
    Interval.WEEK: (_monday, _next_week),
    Interval.MONTH: (_first_of_month, _next_month),
}


@lru_cache(maxsize=_DAYS_CACHED)
def first_instant(day: date, zone: tzinfo) -> int:
    """When a local date begins, in epoch milliseconds: at midnight, or where that is skipped, at the change."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    at = (midnight.astimezone(UTC) - _EPOCH) // _MILLISECOND
    if _local(at, zone).replace(tzinfo=None) == midnight.replace(tzinfo=None):
        return at
    return _change(at - _DAY_MS, at, zone)


def _change(before_ms: int, after_ms: int, zone: tzinfo) -> int:
    """The first instant after `before_ms`, at or before `after_ms`, that has the offset of `after_ms`."""
    new = _offset_ms(after_ms, zone)
    while after_ms - before_ms > 1:
        middle = (before_ms + after_ms) // 2
        if _offset_ms(middle, zone) == new:
            after_ms = middle
        else:
            before_ms = middle
    return after_ms


@lru_cache(maxsize=_DAYS_CACHED)
def local_time(at_ms: int, zone: tzinfo) -> str:
    """A time as its zone's clocks show it, with the offset: `2025-06-11T00:00:00+02:00`.

    RFC 3339 knows no seconds in an offset, as many zones had them until about 1920: they are left out.
    """
    local = _local(at_ms, zone)
    offset = local.utcoffset() or timedelta()
    if offset % _MINUTE:
        local = local.astimezone(timezone(offset // _MINUTE * _MINUTE))
    return local.isoformat()


def _local(at_ms: int, zone: tzinfo) -> datetime:
    return (_EPOCH + timedelta(milliseconds=at_ms)).astimezone(zone)


def _offset_ms(at_ms: int, zone: tzinfo) -> int:
    return (_local(at_ms, zone).utcoffset() or timedelta()) // _MILLISECOND
