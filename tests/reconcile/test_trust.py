"""How far buckets can be trusted, against a count of every single moment."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.reconcile import trust
from receiver.reconcile.stretches import Stretch, merged

EDGES = st.lists(st.integers(0, 60), min_size=2, max_size=8, unique=True).map(sorted)
STRETCHES = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=6).map(
    lambda found: [(start, start + length) for start, length in found]
)
MOMENTS = st.integers(-5, 70)


def within(stretches: list[Stretch], start: int, end: int) -> int:
    """How many moments between two lie in any stretch."""
    return sum(any(begin <= at < stop for begin, stop in stretches) for at in range(start, end))


@given(EDGES, STRETCHES)
def test_what_lies_inside_is_every_moment_that_does(edges: list[int], stretches: list[Stretch]) -> None:
    expected = [within(stretches, start, end) for start, end in pairwise(edges)]
    assert trust.inside_ms(edges, merged(stretches)) == expected


@given(EDGES, STRETCHES, MOMENTS, MOMENTS)
def test_the_receiver_was_up_in_every_moment_that_has_passed_and_was_not_closed(
    edges: list[int], closed: list[Stretch], installed_at: int, now: int
) -> None:
    for (start, end), share in zip(pairwise(edges), trust.receiver_up(edges, closed, installed_at, now), strict=True):
        passed = min(end, now) - start
        if passed <= 0 or end <= installed_at:
            assert share is None
        else:
            assert share == pytest.approx(1 - within(closed, start, min(end, now)) / passed, abs=1e-6)


@given(EDGES, STRETCHES, MOMENTS, MOMENTS, MOMENTS)
def test_coverage_is_what_no_gap_takes(
    edges: list[int], gaps: list[Stretch], since: int, installed_at: int, now: int
) -> None:
    found = trust.coverage(edges, gaps, since, installed_at, now)
    for (start, end), share in zip(pairwise(edges), found, strict=True):
        if start >= now or end <= max(since, installed_at):
            assert share is None
        else:
            assert share == pytest.approx(1 - within(gaps, start, end) / (end - start), abs=1e-6)


@given(EDGES, st.lists(st.tuples(st.integers(-5, 70), st.integers(1, 9)), max_size=6), MOMENTS)
def test_a_loss_is_whole_in_the_bucket_of_its_time(
    edges: list[int], losses: list[tuple[int, int]], installed_at: int
) -> None:
    found = trust.lost(edges, losses, installed_at)
    for (start, end), total in zip(pairwise(edges), found, strict=True):
        expected = sum(amount for at, amount in losses if start <= at < end)
        assert total == (None if end <= installed_at and not expected else expected)


@given(EDGES, STRETCHES, MOMENTS, st.none() | MOMENTS)
def test_settled_is_what_lies_before_the_horizon_and_in_no_gap(
    edges: list[int], gaps: list[Stretch], settled_until: int, matured_until: int | None
) -> None:
    found = trust.settled(edges, gaps, settled_until, matured_until)
    for (start, end), is_settled in zip(pairwise(edges), found, strict=True):
        if matured_until is not None and end > matured_until:
            assert is_settled is None
        else:
            assert is_settled is (end <= settled_until and within(gaps, start, end) == 0)


def test_a_bucket_is_over_when_its_end_has_come() -> None:
    assert trust.ended([0, 10, 20, 30], 20) == [True, True, False]


def test_a_second_of_a_month_is_not_rounded_away() -> None:
    month = 31 * 86_400_000
    assert trust.receiver_up([0, month], [(5000, 6000)], 0, month) == [0.999999]
    assert trust.coverage([0, month], [(5000, 6000)], 0, 0, month) == [0.999999]
    assert trust.receiver_up([0, month], [], 0, month) == [1.0]


def test_the_running_bucket_is_judged_by_what_has_passed() -> None:
    assert trust.receiver_up([0, 100, 200], [(0, 50), (120, 130)], 0, 140) == [0.5, 0.75]


def test_the_bucket_of_the_installation_is_the_first_that_is_known() -> None:
    edges = [0, 10, 20, 30]
    assert trust.receiver_up(edges, [(0, 15)], 15, 30) == [None, 0.5, 1.0]
    assert trust.receiver_up(edges, [(0, 10)], 10, 30) == [None, 1.0, 1.0]
    assert trust.lost(edges, [], 10) == [None, 0, 0]
    assert trust.coverage(edges, [], 20, 0, 30) == [None, None, 1.0]
    assert trust.coverage(edges, [], None, 0, 30) == [None, None, None]
