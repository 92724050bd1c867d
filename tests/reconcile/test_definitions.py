"""What counters mean: which interval tells it, and how much it takes to believe it."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.leadterra.answers import Counters
from receiver.reconcile.definitions import (
    CAMPAIGNS_MIN,
    CANDIDATES,
    FIGURES,
    INTERVALS_KEPT,
    INTERVALS_MIN,
    Interval,
    growth_fits,
    proven,
)
from receiver.reconcile.ledger import Counts
from tests.reconcile.made import counters

NOTHING = (counters(0, 0, 0), Counts())
ALL_SENT = frozenset({"sent", "delivered", "delivered+bounced"})


def fits(figure: str, given_: Counters, counts: Counts) -> set[str] | None:
    found = growth_fits(figure, NOTHING, (given_, counts))
    return None if found is None else set(found)


def evidence(*names: str, count: int = INTERVALS_MIN, campaigns: int = CAMPAIGNS_MIN) -> list[Interval]:
    return [Interval(number % campaigns, frozenset(names)) for number in range(count)]


# One interval.


def test_an_interval_with_a_bounce_tells_sent_from_delivered() -> None:
    after = counters(10, 1)
    assert fits("sent", after, Counts(sent=10)) == {"sent", "delivered+bounced"}
    assert fits("sent", after, Counts(sent=9)) == {"delivered"}


def test_an_interval_with_a_message_under_way_tells_all_three_apart() -> None:
    after = counters(10, 2, delivered=7)
    for sent, name in ((10, "sent"), (7, "delivered"), (9, "delivered+bounced")):
        assert fits("sent", after, Counts(sent=sent)) == {name}


def test_an_interval_without_a_bounce_tells_nothing() -> None:
    assert fits("sent", counters(10, 0), Counts(sent=10)) is None


def test_an_interval_that_fits_nothing_tells_nothing() -> None:
    assert fits("sent", counters(10, 2), Counts(sent=5)) is None


def test_bounces_are_told_apart_by_soft_ones_and_replies_by_automatic_ones() -> None:
    counts = Counts(bounced=5, bounced_soft=2, replied=4, replied_human=3)
    assert fits("bounced", counters(0, 5), counts) == {"any"}
    assert fits("bounced", counters(0, 3), counts) == {"hard"}
    assert fits("replied", counters(replied=4), counts) == {"all"}
    assert fits("replied", counters(replied=3), counts) == {"human"}


def test_only_growth_counts() -> None:
    before = counters(1000, 50), Counts(sent=3)
    after = counters(1010, 51), Counts(sent=13)
    assert growth_fits("sent", before, after) == frozenset({"sent", "delivered+bounced"})


@pytest.mark.parametrize(
    "missing", [counters(None, 1, delivered=9), counters(10, None), counters(10, 1, delivered=None)]
)
def test_a_counter_that_is_missing_tells_nothing_unless_others_stand_for_it(missing: Counters) -> None:
    expected = {"sent", "delivered+bounced"} if missing.sent is None else None
    assert fits("sent", missing, Counts(sent=10)) == expected


def test_without_sent_delivered_and_bounced_stand_for_it() -> None:
    sent = CANDIDATES["sent"][0]
    assert sent.provider(counters(None, 2, delivered=7)) == 9
    assert sent.provider(counters(None, None, delivered=7)) is None
    assert sent.provider(counters(12, 2, delivered=7)) == 12


# Many.


@pytest.mark.parametrize(
    ("count", "campaigns", "expected"),
    [
        (20, 3, "sent"),
        (19, 3, None),
        (20, 2, None),
        (0, 1, None),
    ],
)
def test_it_takes_20_intervals_in_3_campaigns(count: int, campaigns: int, expected: str | None) -> None:
    assert proven("sent", evidence("sent", count=count, campaigns=campaigns)) == expected


def test_one_that_contradicts_leaves_it_open() -> None:
    assert proven("sent", [*evidence("sent"), Interval(9, frozenset({"delivered"}))]) is None
    assert proven("bounced", [*evidence("hard", count=50), Interval(9, frozenset({"any"}))]) is None


def test_what_contradicts_is_forgotten_in_time() -> None:
    wrong = Interval(9, frozenset({"delivered"}))
    assert proven("sent", [wrong, *evidence("sent", count=INTERVALS_KEPT - 1)]) is None
    assert proven("sent", [wrong, *evidence("sent", count=INTERVALS_KEPT)]) == "sent"


def test_a_change_of_meaning_is_believed_after_as_much_evidence() -> None:
    assert proven("sent", [*evidence("sent", count=99), *evidence("delivered", count=INTERVALS_KEPT)]) == "delivered"


def test_of_several_that_fit_all_the_first_is_taken() -> None:
    assert proven("sent", evidence("delivered+bounced", "sent")) == "sent"


def test_several_that_fit_are_narrowed_down() -> None:
    found = [*evidence("sent", "delivered+bounced"), Interval(0, frozenset({"delivered+bounced"}))]
    assert proven("sent", found) == "delivered+bounced"


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.sets(st.sampled_from(sorted(ALL_SENT)), min_size=1, max_size=2)), max_size=90
    )
)
def test_what_is_proven_fits_every_interval_that_is_kept(found: list[tuple[int, set[str]]]) -> None:
    intervals = [Interval(campaign, frozenset(names)) for campaign, names in found]
    name = proven("sent", intervals)
    kept = intervals[-INTERVALS_KEPT:]
    if name is not None:
        assert all(name in interval.fits for interval in kept)
        assert len(kept) >= INTERVALS_MIN


counts = st.builds(Counts, *[st.integers(0, 6)] * 5)
answers = st.builds(counters, *[st.integers(0, 6)] * 3, delivered=st.integers(0, 6))


@given(st.sampled_from(FIGURES), answers, answers, counts, counts)
def test_growth_over_two_intervals_that_fit_fits_too(
    figure: str, first: Counters, second: Counters, before: Counts, after: Counts
) -> None:
    steps = list(itertools.pairwise([NOTHING, (first, before), (second, after)]))
    fitting = [growth_fits(figure, *step) for step in steps]
    whole = growth_fits(figure, NOTHING, (second, after))
    if all(each is not None for each in fitting) and whole is not None:
        both = frozenset.intersection(*(each for each in fitting if each is not None))
        assert both <= whole
