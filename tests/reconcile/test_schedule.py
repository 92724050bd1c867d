"""Who is asked when: backing off, coming back, gone, and clocks that were set."""

import itertools

import pytest

from receiver.figures import MINUTE_MS
from receiver.reconcile.schedule import Polled, is_active, is_due, nothing_arrives, wait_after
from tests.reconcile.made import DAY, HOUR_MS

INTERVAL = 5 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
NOW = DAY
LONG_AGO = NOW - 30 * DAY_MS


def polled(**more: int | bool | None) -> Polled:
    given: dict[str, object] = {"last_event_at": LONG_AGO, "asked_at": NOW, "moved_at": LONG_AGO, **more}
    return Polled(1, "a", **given)  # type: ignore[arg-type] # by name


def wait(each: Polled, *, gone: bool = False, everything: bool = False, interval: int = INTERVAL) -> int:
    return wait_after(each, NOW, interval, gone=gone, everything=everything)


# Active.


@pytest.mark.parametrize("name", ["last_event_at", "moved_at"])
def test_within_a_day_of_an_event_or_a_move_it_is_active(name: str) -> None:
    assert is_active(polled(**{name: NOW - DAY_MS + 1}), NOW)
    assert not is_active(polled(**{name: NOW - DAY_MS}), NOW)


def test_with_messages_queued_or_a_gap_it_is_active() -> None:
    assert is_active(polled(queued=1), NOW)
    assert is_active(polled(has_open_gap=True), NOW)
    assert not is_active(polled(queued=0), NOW)


def test_without_any_event_it_is_quiet() -> None:
    assert not is_active(polled(last_event_at=None, moved_at=None, queued=None), NOW)


# Waiting.


def test_an_active_one_waits_an_interval() -> None:
    assert wait(polled(queued=1, wait_ms=DAY_MS)) == INTERVAL


def test_a_quiet_one_waits_twice_as_long_each_time_and_a_day_at_most() -> None:
    waits = [0]
    for _ in range(12):
        waits.append(wait(polled(wait_ms=waits[-1])))
    assert waits[1:4] == [INTERVAL, 2 * INTERVAL, 4 * INTERVAL]
    assert waits[-1] == DAY_MS
    assert all(later <= 2 * earlier for earlier, later in itertools.pairwise(waits[1:]))


def test_an_interval_of_more_than_a_day_is_kept() -> None:
    assert wait(polled(wait_ms=9 * DAY_MS), interval=2 * DAY_MS) == 2 * DAY_MS


def test_when_nothing_arrives_everything_waits_an_interval() -> None:
    assert wait(polled(wait_ms=DAY_MS), everything=True) == INTERVAL


def test_one_that_is_gone_waits_a_week() -> None:
    assert wait(polled(queued=5), gone=True, everything=True) == 7 * DAY_MS


# Due.


def test_who_was_never_asked_is_due() -> None:
    assert is_due(polled(asked_at=None), NOW)


def test_it_is_due_when_the_wait_is_over_or_nearly() -> None:
    each = polled(asked_at=NOW - INTERVAL, wait_ms=INTERVAL)
    assert is_due(each, NOW)
    assert not is_due(each, NOW - 1)
    assert is_due(each, NOW - INTERVAL // 2, INTERVAL // 2)
    assert not is_due(each, NOW - INTERVAL // 2 - 1, INTERVAL // 2)


def test_one_that_is_gone_is_due_when_an_event_comes() -> None:
    assert not is_due(polled(gone_at=NOW, wait_ms=7 * DAY_MS), NOW + 1)
    assert is_due(polled(gone_at=NOW, wait_ms=7 * DAY_MS, last_event_at=NOW + 1), NOW + 1)


def test_a_clock_that_was_set_back_keeps_nobody_waiting() -> None:
    each = polled(asked_at=NOW + 2 * DAY_MS, wait_ms=7 * DAY_MS)
    assert is_due(each, NOW)
    assert not is_due(polled(asked_at=NOW + MINUTE_MS, wait_ms=INTERVAL), NOW)


# Nothing arrives.


def test_counters_that_move_while_nothing_came_for_an_hour() -> None:
    moved = [polled(), polled(moved_at=NOW - HOUR_MS + 1)]
    assert nothing_arrives(NOW - HOUR_MS, moved, NOW)
    assert not nothing_arrives(NOW - HOUR_MS + 1, moved, NOW)
    assert not nothing_arrives(NOW - HOUR_MS, [polled(), polled(moved_at=NOW - HOUR_MS)], NOW)


def test_where_nothing_ever_came_nothing_can_be_said() -> None:
    assert not nothing_arrives(None, [polled(moved_at=NOW)], NOW)
    assert not nothing_arrives(LONG_AGO, [polled(moved_at=None)], NOW)
