"""Times at the edge: what a parameter may say, and how an answer says it."""

import re
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache

from receiver.events import LATE_HORIZON_MS
from receiver.leadterra.payloads import epoch_ms
from receiver.web.buckets import first_instant

_MINUTE_MS = 60_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RELATIVE = re.compile(r"-(\d{1,6})([mhdw])", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_EPOCH_MS = re.compile(r"\d{1,14}", re.ASCII)
# One answer says the same times several times, and the next ones say most of them again.
_TEXTS_CACHED = 8192
_SECONDS_CACHED = 16
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

ALLOWED = "RFC 3339 with offset, a date, epoch milliseconds, now, or -30m, -6h, -7d, -2w"


@lru_cache(maxsize=_TEXTS_CACHED)
def rfc3339(ms: int | None) -> str | None:
    """UTC with `Z`; milliseconds only when they are not zero."""
    return None if ms is None else moment(ms)


def moment(ms: int) -> str:
    """The same of a time that hardly anybody else asks for, such as now: it takes the place of no other text."""
    seconds, milliseconds = divmod(ms, 1000)
    text = _second(seconds)
    return f"{text}.{milliseconds:03d}Z" if milliseconds else f"{text}Z"


@lru_cache(maxsize=_SECONDS_CACHED)
def _second(seconds: int) -> str:
    return (datetime(1970, 1, 1) + timedelta(seconds=seconds)).isoformat()


def settled_until(now_ms: int) -> int:
    """Before this no retry can change a figure any more; floored to the minute."""
    return (now_ms - LATE_HORIZON_MS) // _MINUTE_MS * _MINUTE_MS


def parse_time(text: str, now_ms: int, zone: tzinfo = UTC) -> int | None:
    """Epoch milliseconds of a time parameter; None when it is not one.

    A date is the first instant of that day in `zone`, and `-7d` and `-2w` go back whole days there: the same
    time by the clock on the wall. `-30m` is minutes, as `-6h` is hours, and both are as long as they always are.
    """
    if text == "now":
        return now_ms
    if match := _RELATIVE.fullmatch(text):
        return _back(now_ms, int(match[1]), match[2], zone)
    if _DATE.fullmatch(text):
        return _day(text, zone)
    if _EPOCH_MS.fullmatch(text):
        return int(text)
    return epoch_ms(text)


def _day(text: str, zone: tzinfo) -> int | None:
    try:
        return first_instant(date.fromisoformat(text), zone)
    except (ValueError, OverflowError):
        return None


def _back(now_ms: int, count: int, unit: str, zone: tzinfo) -> int | None:
    """Python counts in wall-clock time when both sides have the same zone, so whole days are the zone's."""
    counted_in = zone if unit in "dw" else UTC
    try:
        now = (_EPOCH + timedelta(milliseconds=now_ms)).astimezone(counted_in)
        moment = now - timedelta(**{_UNITS[unit]: count})
        return (moment.astimezone(UTC) - _EPOCH) // timedelta(milliseconds=1)
    except (ValueError, OverflowError):
        return None
