"""The ledger as of a minute, against its events one by one."""

from hypothesis import given
from hypothesis import strategies as st

from receiver.figures import MINUTE_MS, QUARTER_MS
from receiver.reconcile.ledger import Counts, Curve
from tests.reconcile.made import AWAY, DAY, HARD, REPLIED, SENT, SOFT, WORSE, Booked, at, curve, every, summed

kinds = st.sampled_from([SENT, SOFT, HARD, WORSE, REPLIED, AWAY])
bookings = st.lists(st.tuples(st.integers(DAY, DAY + 3 * QUARTER_MS), kinds), max_size=12)
moment = st.integers(DAY - MINUTE_MS, DAY + 4 * QUARTER_MS)
FIRST_MINUTE = DAY // MINUTE_MS


def end_of(moment: int, width_ms: int) -> int:
    return (moment // width_ms + 1) * width_ms - 1


def test_counts_add_and_subtract_figure_by_figure() -> None:
    assert Counts(1, 2, 3, 4, 5).plus(Counts(1, 1, 1, 1, 1)) == Counts(2, 3, 4, 5, 6)
    assert Counts(1, 2, 3, 4, 5).minus(Counts(1, 1, 1, 1, 1)) == Counts(0, 1, 2, 3, 4)


def test_an_empty_ledger_counts_nothing_at_any_time() -> None:
    assert Curve(Counts(), [], 0).upto(at(5)) == Counts()


def test_a_minute_counts_whole() -> None:
    known = curve(every([9.99, 10.0, 10.99, 11.0]))
    assert [known.upto(at(minute)).sent for minute in (8.99, 9.0, 10.0, 10.5, 11.0)] == [0, 1, 3, 3, 4]


def test_between_holds_the_minutes_of_both_ends() -> None:
    known = curve(every([5, 10, 20, 25, 26]))
    assert known.between(at(10.5), at(25.2)).sent == 3
    assert known.between(at(11), at(19.9)).sent == 0


@given(bookings, moment)
def test_upto_is_all_that_lies_before_the_end_of_the_minute(booked: list[Booked], when: int) -> None:
    assert curve(booked).upto(when) == summed(booked, end_of(when, MINUTE_MS))


@given(bookings, moment, st.integers(0, 60))
def test_where_minutes_are_forgotten_it_is_the_end_of_the_quarter(
    booked: list[Booked], when: int, forgotten: int
) -> None:
    since = FIRST_MINUTE + forgotten
    exact = when // MINUTE_MS >= since - 1
    expected = summed(booked, end_of(when, MINUTE_MS if exact else QUARTER_MS))
    assert curve(booked, since).upto(when) == expected


@given(st.lists(st.tuples(moment, st.sampled_from([SENT, HARD, REPLIED])), max_size=12), moment, moment)
def test_between_never_leaves_an_event_out(booked: list[Booked], first: int, last: int) -> None:
    start, end = min(first, last), max(first, last)
    held = sum(start <= when <= end for when, _ in booked)
    for forgotten in (0, FIRST_MINUTE + 20, FIRST_MINUTE + 90):
        assert sum(curve(booked, forgotten).between(start, end)[i] for i in (0, 1, 3)) >= held


def test_an_event_in_a_forgotten_minute_is_near_all_the_same() -> None:
    known = curve(every([55]), FIRST_MINUTE + 600)
    assert known.between(at(65 - 15), at(66)).sent == 1
