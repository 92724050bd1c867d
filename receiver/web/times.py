"""Times at the edge: what a parameter may say, and how an answer says it."""

import re
from datetime import UTC, datetime, timedelta

from receiver.events import LATE_HORIZON_MS
from receiver.leadterra.payloads import epoch_ms

_MINUTE_MS = 60_000
_RELATIVE = re.compile(r"-(\d{1,6})([mhdw])", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_EPOCH_MS = re.compile(r"\d{1,14}", re.ASCII)
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

ALLOWED = "RFC 3339 with offset, a date, epoch milliseconds, now, or -30m, -6h, -7d, -2w"


def rfc3339(ms: int | None) -> str | None:
    """UTC with `Z`; milliseconds only when they are not zero."""
    if ms is None:
        return None
    seconds, milliseconds = divmod(ms, 1000)
    text = (datetime(1970, 1, 1) + timedelta(seconds=seconds)).isoformat()
    return f"{text}.{milliseconds:03d}Z" if milliseconds else f"{text}Z"


def settled_until(now_ms: int) -> int:
    """Before this no retry can change a figure any more; floored to the minute."""
    return (now_ms - LATE_HORIZON_MS) // _MINUTE_MS * _MINUTE_MS


def parse_time(text: str, now_ms: int) -> int | None:
    """Epoch milliseconds of a time parameter; None when it is not one. Days are days of UTC."""
    if text == "now":
        return now_ms
    if match := _RELATIVE.fullmatch(text):
        return _back(now_ms, int(match[1]), match[2])
    if _DATE.fullmatch(text):
        return epoch_ms(f"{text}T00:00:00Z")
    if _EPOCH_MS.fullmatch(text):
        return int(text)
    return epoch_ms(text)


def _back(now_ms: int, count: int, unit: str) -> int | None:
    try:
        moment = datetime.fromtimestamp(now_ms / 1000, UTC) - timedelta(**{_UNITS[unit]: count})
    except OverflowError:
        return None
    return int(moment.timestamp() * 1000)
