"""What an event counts for and where it is booked; rates."""

from collections import Counter
from itertools import product

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from receiver.events import Message, Origin, Reply
from receiver.figures import (
    FIGURES,
    OBSERVED,
    QUARTER_MS,
    REPLY,
    SHIFTED,
    UNPLACED_MS,
    Booking,
    FirstReply,
    bounce_bookings,
    first_replies,
    message_bookings,
    message_shifts,
    rate,
    rates,
    reply_bookings,
    shifts,
)


def booked(sent: int | None = None, soft: int | None = None, hard: int | None = None) -> dict[int, Counter[str]]:
    """Figures by the time at which they are booked, without those that come to 0."""
    message = Message(sent_at=sent, soft_at=soft, hard_at=hard)
    places: dict[int, Counter[str]] = {}
    for at, row in message_bookings(message):
        places.setdefault(at, Counter()).update(dict(zip(FIGURES, row, strict=True)))
    return {at: Counter({name: n for name, n in row.items() if n}) for at, row in places.items()}


def test_a_message_that_only_was_sent_is_accepted() -> None:
    assert booked(sent=1) == {1: {"sent": 1, "attempted": 1, "accepted": 1}}


def test_a_bounce_takes_acceptance_back_when_it_happens() -> None:
    assert booked(sent=1, hard=2) == {
        1: {"sent": 1, "attempted": 1, "accepted": 1},
        2: {"bounced": 1, "bounced_hard": 1, "accepted": -1},
    }


def test_a_soft_bounce_before_a_hard_one_is_soft_until_then() -> None:
    assert booked(sent=1, soft=2, hard=3) == {
        1: {"sent": 1, "attempted": 1, "accepted": 1},
        2: {"bounced": 1, "bounced_soft": 1, "accepted": -1},
        3: {"bounced_hard": 1, "bounced_soft": -1},
    }


def test_a_soft_bounce_after_or_with_a_hard_one_does_not_count() -> None:
    hard_first = {
        1: {"sent": 1, "attempted": 1, "accepted": 1},
        2: {"bounced": 1, "bounced_hard": 1, "accepted": -1},
    }
    assert booked(sent=1, soft=3, hard=2) == hard_first
    assert booked(sent=1, soft=2, hard=2) == hard_first


def test_a_bounce_without_a_send_is_an_attempt() -> None:
    assert booked(soft=1, hard=2) == {
        1: {"attempted": 1, "bounced": 1, "bounced_soft": 1},
        2: {"bounced_hard": 1, "bounced_soft": -1},
    }


def test_an_attempt_is_booked_at_the_bounce_when_that_is_before_the_send() -> None:
    assert booked(sent=2, soft=1) == {
        1: {"attempted": 1, "bounced": 1, "bounced_soft": 1, "accepted": -1},
        2: {"sent": 1, "accepted": 1},
    }


def test_nothing_at_all_is_booked_nowhere() -> None:
    assert booked() == {}


@pytest.mark.parametrize(("sent", "soft", "hard"), list(product([None, 1, 2, 3], repeat=3)))
def test_the_sums_over_time_are_those_of_the_definitions(
    sent: int | None, soft: int | None, hard: int | None
) -> None:
    total: Counter[str] = Counter()
    for figures in booked(sent, soft, hard).values():
        total.update(figures)
    bounced = soft is not None or hard is not None
    assert {name: total[name] for name in FIGURES[:6]} == {
        "sent": int(sent is not None),
        "attempted": int(sent is not None or bounced),
        "accepted": int(sent is not None and not bounced),
        "bounced": int(bounced),
        "bounced_hard": int(hard is not None),
        "bounced_soft": int(bounced and hard is None),
    }


def test_only_a_reply_by_webhook_is_counted_as_an_event() -> None:
    (booking,) = reply_bookings(Reply(origin=Origin.WEBHOOK, at=5))
    assert booking == Booking(5, (0, 0, 0, 0, 0, 0, 1, 0, 0, 0))
    assert list(reply_bookings(Reply(origin=Origin.API, at=5))) == []


def cohort(sent: int | None = None, soft: int | None = None, hard: int | None = None) -> dict[int, dict[str, int]]:
    """A message's figures as the send basis books them, by quarter of an hour."""
    message = Message(sent_at=sent, soft_at=soft, hard_at=hard)
    places: dict[int, Counter[str]] = {}
    for names, bookings in ((FIGURES, message_bookings(message)), (SHIFTED, message_shifts(message))):
        for at, row in bookings:
            places.setdefault(at // QUARTER_MS, Counter()).update(dict(zip(names, row, strict=True)))
    rows = {quarter: {name: n for name, n in row.items() if n} for quarter, row in places.items()}
    return {quarter: row for quarter, row in rows.items() if row}


TIMES = [None, QUARTER_MS, QUARTER_MS + 1, 2 * QUARTER_MS, 3 * QUARTER_MS]


@pytest.mark.parametrize(("sent", "soft", "hard"), list(product(TIMES, repeat=3)))
def test_the_send_basis_has_all_of_a_message_at_its_send(
    sent: int | None, soft: int | None, hard: int | None
) -> None:
    bounces = [at for at in (soft, hard) if at is not None]
    if sent is None and not bounces:
        assert cohort(sent, soft, hard) == {}
        return
    expected = {"attempted": 1}
    if sent is not None:
        expected |= {"sent": 1} if bounces else {"sent": 1, "accepted": 1}
    if bounces:
        expected |= {"bounced": 1, "bounced_soft" if hard is None else "bounced_hard": 1}
    if sent is None:
        expected |= {"bounced_unsent": 1} if hard is None else {"bounced_unsent": 1, "bounced_hard_unsent": 1}
    at = sent if sent is not None else min(bounces)
    assert cohort(sent, soft, hard) == {at // QUARTER_MS: expected}


def test_a_message_without_a_bounce_is_where_it_was() -> None:
    assert list(message_shifts(Message(sent_at=1))) == []


@pytest.mark.parametrize(("soft", "hard"), list(product(TIMES, repeat=2)))
def test_hard_and_soft_are_together_all_bounced_at_every_time(soft: int | None, hard: int | None) -> None:
    at_times: Counter[int] = Counter()
    message = Message(sent_at=0, soft_at=soft, hard_at=hard)
    for at, row in bounce_bookings(message):
        at_times[at] += row[FIGURES.index("bounced_hard")] + row[FIGURES.index("bounced_soft")]
    for at, row in message_bookings(message):
        at_times[at] -= row[FIGURES.index("bounced")]
    assert set(at_times.values()) <= {0}


def test_a_reply_is_taken_to_the_send_that_it_answers() -> None:
    taken = list(shifts([Booking(QUARTER_MS, REPLY)], 5))
    assert taken == [
        Booking(QUARTER_MS, (0, 0, 0, 0, 0, -1, 0, 0, 0, 0)),
        Booking(5, (0, 0, 0, 0, 0, 1, 0, 0, 0, 0)),
    ]


def test_a_reply_to_no_known_send_is_taken_out_of_time() -> None:
    assert [at for at, _ in shifts([Booking(7, REPLY)], None)] == [7, UNPLACED_MS]


def test_what_stays_in_its_quarter_of_an_hour_is_not_taken_anywhere() -> None:
    assert list(shifts([Booking(QUARTER_MS + 5, REPLY)], QUARTER_MS)) == []


def test_a_leads_first_reply_and_first_human_reply_are_apart() -> None:
    replies = [(3, 1, 0, "interested"), (2, 2, None, None), (1, 1, 0, "out_of_office"), (2, 1, 0, "bounce")]
    assert first_replies(replies) == (FirstReply(1, 1, 0), FirstReply(2, 2, None))


def test_of_replies_at_the_same_time_the_lower_step_is_the_first() -> None:
    replies = [(1, 2, 0, None), (1, 1, 5, "bounce")]
    assert first_replies(replies) == (FirstReply(1, 1, 5), FirstReply(1, 2, 0))


def test_of_replies_at_the_same_time_in_one_step_the_one_to_the_earliest_send_is_the_first() -> None:
    replies = [(3, 1, None, None), (3, 1, 2, None), (3, 1, 1, "bounce")]
    assert first_replies(replies) == (FirstReply(3, 1, 1), FirstReply(3, 1, 2))


def test_a_lead_without_replies_has_no_first_one() -> None:
    assert first_replies([]) == (None, None)
    assert first_replies([(1, 1, 0, "bounce")]) == (FirstReply(1, 1, 0), None)


def test_a_rate_says_what_it_is_made_of_in_six_decimals() -> None:
    assert rate(5, 120) == {"value": 0.041667, "numerator": 5, "denominator": 120}


@pytest.mark.parametrize(("numerator", "denominator"), [(0, 0), (1, -1), (None, 5), (1, None), (None, None)])
def test_a_rate_without_a_denominator_is_unknown(numerator: int | None, denominator: int | None) -> None:
    assert rate(numerator, denominator) == {"value": None, "numerator": numerator, "denominator": denominator}


@given(st.integers(-(10**9), 10**9), st.integers(1, 10**9))
@example(1, 128)  # a tie that a float holds: the even neighbour
@example(3, 128)
@example(1, 2_000_000)  # one that no float holds: whichever neighbour is nearer
@example(3, 2_000_000)
@example(999_999_999, 1_000_000_000)
def test_a_rate_is_rounded_as_python_rounds(numerator: int, denominator: int) -> None:
    assert rate(numerator, denominator)["value"] == round(numerator / denominator, 6)


def test_a_rate_of_nothing_in_something_is_zero() -> None:
    assert rate(0, 3)["value"] == 0


def test_each_rate_has_its_own_numerator_and_denominator() -> None:
    observed = dict(zip(OBSERVED, range(1, 12), strict=True))
    pairs = {name: (found["numerator"], found["denominator"]) for name, found in rates(observed).items()}
    assert observed == {
        "sent": 1,
        "attempted": 2,
        "accepted": 3,
        "contacted": 4,
        "bounced": 5,
        "bounced_hard": 6,
        "bounced_soft": 7,
        "replies": 8,
        "replied": 9,
        "replied_human": 10,
        "starts": 11,
    }
    assert pairs == {
        "bounce_rate": (5, 2),
        "hard_bounce_rate": (6, 2),
        "reply_rate": (9, 3),
        "lead_reply_rate": (9, 4),
        "human_reply_rate": (10, 4),
    }
