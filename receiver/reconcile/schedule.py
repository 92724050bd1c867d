"""Which campaigns are due, and how long each is left alone: no I/O. Times are epoch milliseconds."""

from collections.abc import Iterable
from dataclasses import dataclass

_HOUR = 3_600_000
_DAY = 24 * _HOUR
_WEEK = 7 * _DAY
# A clock that was set back must not keep a campaign waiting.
_BACK_MS = 60_000


@dataclass(frozen=True, slots=True)
class Polled:
    """One campaign, and what decides when it is asked."""

    campaign: int
    campaign_id: str
    last_event_at: int | None = None
    asked_at: int | None = None
    moved_at: int | None = None
    wait_ms: int = 0
    gone_at: int | None = None
    queued: int | None = None
    has_open_gap: bool = False


def is_active(polled: Polled, now_ms: int) -> bool:
    """Whether within a day an event came or a counter moved, messages are queued, or a gap may still heal."""
    recent = max(polled.last_event_at or 0, polled.moved_at or 0) > now_ms - _DAY
    return recent or bool(polled.queued) or polled.has_open_gap


def is_due(polled: Polled, now_ms: int, tolerance_ms: int = 0) -> bool:
    """Whether a campaign is to be asked in a run that begins now; `tolerance_ms` is how early it may be."""
    if polled.asked_at is None:
        return True
    if polled.gone_at is not None and (polled.last_event_at or 0) > polled.gone_at:
        return True
    return not polled.asked_at - _BACK_MS <= now_ms < polled.asked_at + polled.wait_ms - tolerance_ms


def wait_after(polled: Polled, now_ms: int, interval_ms: int, *, gone: bool, everything: bool) -> int:
    """How long to leave a campaign alone that has just been asked.

    An active one is asked every interval, a quiet one after twice as long each time, at least daily, one that is
    gone weekly. With `everything` all are active: nothing arrives here although counters move.
    """
    if gone:
        return _WEEK
    if everything or is_active(polled, now_ms):
        return interval_ms
    return min(max(2 * polled.wait_ms, interval_ms), max(_DAY, interval_ms))


def nothing_arrives(last_received_at: int | None, polled: Iterable[Polled], now_ms: int) -> bool:
    """Whether nothing at all has come for an hour while a counter moved."""
    if last_received_at is None or now_ms - last_received_at < _HOUR:
        return False
    return any((each.moved_at or 0) > last_received_at for each in polled)
