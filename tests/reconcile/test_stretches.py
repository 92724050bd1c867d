"""Stretches of time, against sets of minutes; and which outage can have swallowed all six attempts."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.figures import MINUTE_MS
from receiver.reconcile.stretches import (
    FROM_FIRST_FAILURE,
    FROM_LAST_TRY,
    all_attempts_inside,
    common,
    merged,
    not_accepting,
    overlap,
)

Stretches = list[tuple[int, int]]
END = 40
SECOND_MS = 1000
HOUR = 60  # these tests count in minutes

stretch = st.tuples(st.integers(0, END), st.integers(0, END)).map(lambda ends: (min(ends), max(ends)))
stretches = st.lists(stretch, max_size=5)


def moments(found: Stretches, start: int = 0, end: int = END) -> set[int]:
    return {moment for moment in range(start, end) if any(begin <= moment < stop for begin, stop in found)}


def is_tidy(found: Stretches) -> bool:
    flat = [moment for each in found for moment in each]
    return all(a < b for a, b in itertools.pairwise(flat))


def inside(start: float, end: float, *closed: tuple[float, float]) -> bool:
    """The same with times in minutes."""
    whole = merged((round(begin * MINUTE_MS), round(stop * MINUTE_MS)) for begin, stop in closed)
    return all_attempts_inside(round(start * MINUTE_MS), round(end * MINUTE_MS), whole)


# Arithmetic.


@given(stretches)
def test_merged_is_the_same_time_in_order_and_apart(found: Stretches) -> None:
    assert moments(merged(found)) == moments(found)
    assert is_tidy(merged(found))


@given(stretches, stretches)
def test_common_is_what_both_hold(left: Stretches, right: Stretches) -> None:
    shared = common(merged(left), merged(right))
    assert moments(shared) == moments(left) & moments(right)
    assert is_tidy(shared)


@given(stretches, stretches, stretch)
def test_we_did_not_accept_outside_of_acceptance_and_while_refusing(
    accepting: Stretches, refusing: Stretches, window: tuple[int, int]
) -> None:
    since, until = window
    closed = not_accepting(accepting, refusing, since, until)
    expected = set(range(since, until)) - moments(accepting) | moments(refusing, since, until)
    assert moments(closed, -5, END + 5) == expected
    assert is_tidy(closed)


@given(stretches, stretch)
def test_overlap_is_shared_time_and_not_a_shared_end(found: Stretches, other: tuple[int, int]) -> None:
    apart = [each for each in found if each[0] < each[1]]
    assert other[0] == other[1] or overlap(apart, *other) == bool(moments(apart) & moments([other]))


def test_what_ends_where_the_other_begins_does_not_overlap() -> None:
    assert not overlap([(0, 10), (20, 30)], 10, 20)
    assert overlap([(0, 10)], 9, 20)
    assert overlap([(20, 30)], 10, 21)


def test_without_any_stretch_nothing_was_accepted() -> None:
    assert not_accepting([], [], 5, 9) == [(5, 9)]
    assert not_accepting([], [], 9, 9) == []


def test_a_stretch_that_begins_after_the_end_leaves_it_closed() -> None:
    assert not_accepting([(50, 60)], [], 5, 9) == [(5, 9)]


# Six attempts.


def test_the_schedules_have_six_attempts_and_end_after_8_and_10_6_hours() -> None:
    assert (len(FROM_FIRST_FAILURE), FROM_FIRST_FAILURE[-1]) == (6, 8 * HOUR * MINUTE_MS)
    assert (len(FROM_LAST_TRY), FROM_LAST_TRY[-1]) == (6, (10 * HOUR + 36) * MINUTE_MS)


@pytest.mark.parametrize(
    ("minutes", "lost"),
    [(5, False), (36, False), (4 * HOUR, False), (8 * HOUR, False), (8 * HOUR + 1, True), (12 * HOUR, True)],
)
def test_nothing_is_lost_to_an_outage_of_up_to_8_hours(minutes: int, lost: bool) -> None:
    assert inside(0, 24 * HOUR, (HOUR, HOUR + minutes)) == lost


def test_a_second_more_than_8_hours_is_enough() -> None:
    second = SECOND_MS / MINUTE_MS
    assert inside(0, 24 * HOUR, (HOUR, 9 * HOUR + second))
    assert not inside(0, 24 * HOUR, (HOUR, 9 * HOUR))


@pytest.mark.parametrize(
    ("start", "end", "lost"),
    [(0, 60, False), (0, 60.1, True), (60, 61, True), (119, 120, True), (120, 130, False), (500, 600, False)],
)
def test_only_what_came_8_hours_before_the_end_of_an_outage_is_lost(start: float, end: float, lost: bool) -> None:
    assert inside(start, end, (HOUR, 10 * HOUR)) == lost


def test_an_outage_of_several_stretches_may_hold_all_attempts() -> None:
    by_first_failure = [(0, 7), (29, 32), (119, 122), (479, 482)]
    by_last_try = [(0, 8), (35, 38), (155, 158), (635, 638)]
    assert inside(0, 3, *by_first_failure)
    assert inside(0, 3, *by_last_try)


@pytest.mark.parametrize("open_at", [0, 1, 5, 30, 120, 480])
def test_one_attempt_in_the_open_saves_the_event(open_at: int) -> None:
    waits = (0, 1, 5, 30, 120, 480)
    closed = [(wait, wait + 0.5) for wait in waits if wait != open_at]
    assert not inside(0, 0.5, *closed)
    assert inside(0, 0.5, *closed, (open_at, open_at + 0.5))


def test_attempts_of_two_schedules_do_not_add_up() -> None:
    mixed = [(0, 2), (5, 6), (36, 37), (120, 121), (636, 637)]
    assert not inside(0, 0.5, *mixed)


@given(
    st.lists(st.tuples(st.integers(0, 1500), st.integers(1, 700)), max_size=4),
    st.tuples(st.integers(0, 1500), st.integers(1, 300)),
)
def test_all_attempts_inside_is_some_minute_with_all_six_closed(
    outages: list[tuple[int, int]], gap: tuple[int, int]
) -> None:
    closed = [(start, start + length) for start, length in outages]
    shut = {minute for start, end in closed for minute in range(start, end)}
    schedules = ((0, 1, 5, 30, 120, 480), (0, 1, 6, 36, 156, 636))
    start, end = gap[0], gap[0] + gap[1]
    expected = any(
        all(minute + wait in shut for wait in waits) for waits in schedules for minute in range(start, end)
    )
    whole = merged((begin * MINUTE_MS, stop * MINUTE_MS) for begin, stop in closed)
    assert all_attempts_inside(start * MINUTE_MS, end * MINUTE_MS, whole) == expected
