"""All campaigns together in a range: observed by event, rates of what was sent in it, and how both changed."""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from receiver.errors import InvalidParameterError
from receiver.figures import OBSERVED, QUARTER_MS, RATES, REPLY_RATES, rate
from receiver.storage.sqlite.connection import one_moment
from receiver.storage.sqlite.series import (
    ALL_TIME,
    UNSENT,
    Basis,
    SeriesQuery,
    series,
    with_replies_to_nothing,
)
from receiver.storage.sqlite.store import Readers
from receiver.storage.sqlite.trust import campaigns_with_life, installed_at, with_earlier_sends
from receiver.web.buckets import CALENDAR, local_time, zone_parameter
from receiver.web.operation import Call
from receiver.web.params import SummaryParams, refusal
from receiver.web.ranges import time_span

_RATED = tuple(dict.fromkeys(figure for parts in RATES.values() for figure in parts))
_UNSENT_OF = {"attempted": "bounced_unsent", "bounced": "bounced_unsent", "bounced_hard": "bounced_hard_unsent"}

Counts = dict[str, int | None]


class Summary:
    """Handler of `/v1/summary`."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    async def one(self, call: Call) -> dict[str, Any]:
        return await self._readers.run(_answer, call)


@dataclass(frozen=True, slots=True)
class _Range:
    """Half-open, in epoch milliseconds on whole quarters of an hour; None where it has no end."""

    from_ms: int | None
    to_ms: int | None

    @property
    def span(self) -> tuple[int, int]:
        first, last = (min(max(0, at), ALL_TIME[1]) for at in (self.from_ms or 0, self._last))
        return first, last

    @property
    def _last(self) -> int:
        return ALL_TIME[1] if self.to_ms is None else self.to_ms

    @property
    def is_all(self) -> bool:
        return self.from_ms is None and self.to_ms is None


def _answer(conn: sqlite3.Connection, call: Call) -> dict[str, Any]:
    params: SummaryParams = call.params
    zone = zone_parameter("timezone", params.timezone)
    current, previous = _ranges(call, zone)

    def period(of: _Range) -> dict[str, Any]:
        ends = {"from": of.from_ms, "to": of.to_ms}
        shown = {name: None if at is None else local_time(at, zone) for name, at in ends.items()}
        observed, rated = _observed(conn, of), _rates(conn, of)
        return {**shown, "observed": observed, "rates": rated}

    with one_moment(conn):
        now = period(current)
        before = None if previous is None else period(previous)
    return {**now, "previous": before, "change": None if before is None else _change(now, before)}


def _ranges(call: Call, zone: Any) -> tuple[_Range, _Range | None]:
    """What is asked, floored and raised to quarters of an hour, and the same length of time before it."""
    params: SummaryParams = call.params
    to = "now" if params.to is None and params.compare else params.to
    from_ms, to_ms = time_span({"from": params.from_, "to": to}, call.now_ms, zone)
    if params.compare is None:
        ends = (None if from_ms is None else _floored(from_ms), None if to_ms is None else _raised(to_ms))
        return _Range(*ends), None
    if from_ms is None or to_ms is None:
        text = "'compare' is 'previous', which needs a 'from'; use it with one, or leave 'compare' out."
        raise InvalidParameterError("compare", text)
    first, last = _floored(from_ms), _raised(to_ms)
    if 2 * first - last < CALENDAR[0]:
        raise refusal("from", params.from_, "a time that leaves room to compare with, from the year 2 on")
    return _Range(first, last), _Range(2 * first - last, first)


def _floored(at: int) -> int:
    return at // QUARTER_MS * QUARTER_MS


def _raised(at: int) -> int:
    return -(-at // QUARTER_MS) * QUARTER_MS


def _observed(conn: sqlite3.Connection, of: _Range) -> Counts:
    """By event. A figure that is 0 is not known of a time before the installation."""
    found = _sums(conn, of, OBSERVED, Basis.EVENT)
    if of.to_ms is not None and of.to_ms <= installed_at(conn):
        found = {name: value or None for name, value in found.items()}
    if _with_life(conn, of) & with_earlier_sends(conn, None):
        found["contacted"] = None
    return found


def _rates(conn: sqlite3.Connection, of: _Range) -> dict[str, dict[str, Any]]:
    """Of the messages sent in the range, else of those whose earliest bounce lies in it."""
    cohort = _sums(conn, of, (*_RATED, *UNSENT), Basis.SEND)
    alive = _with_life(conn, of)
    replies_known = of.is_all or not alive & with_replies_to_nothing(conn)
    if alive & with_earlier_sends(conn, None):
        replies_known = False
        for figure, unsent in _UNSENT_OF.items():
            cohort[figure] = (cohort[figure] or 0) - (cohort[unsent] or 0)
    return {
        name: rate(cohort[top], cohort[bottom]) if replies_known or name not in REPLY_RATES else rate(None, None)
        for name, (top, bottom) in RATES.items()
    }


def _sums(conn: sqlite3.Connection, of: _Range, figures: tuple[str, ...], basis: Basis) -> Counts:
    """Of all campaigns; what has no time counts only where nothing is left out."""
    sums: Counts = dict.fromkeys(figures, 0)
    for row in series(conn, SeriesQuery(of.span, figures, basis=basis)):
        if row.bucket is not None or of.is_all:
            sums = {name: (sums[name] or 0) + (value or 0) for name, value in zip(figures, row.values, strict=True)}
    return sums


def _with_life(conn: sqlite3.Connection, of: _Range) -> set[int]:
    return set(campaigns_with_life(conn, *of.span))


def _change(now: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """Current less previous, of every figure and of every rate's value; null when either is."""

    def of(part: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
        pairs = {name: (part[name], other[name]) for name in part}
        return {name: None if None in pair else round(pair[0] - pair[1], 6) for name, pair in pairs.items()}

    def values(period: Mapping[str, Any]) -> dict[str, Any]:
        return {name: found["value"] for name, found in period["rates"].items()}

    return {"observed": of(now["observed"], before["observed"]), "rates": of(values(now), values(before))}
