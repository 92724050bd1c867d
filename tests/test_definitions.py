"""Every figure and rate is defined, by what the figures themselves are made of."""

import pytest

from receiver.definitions import DEFINITIONS, denominator
from receiver.events import Kind, Message, Origin, Reply
from receiver.figures import FIGURES, OBSERVED, RATES, message_bookings, reply_bookings


def test_every_figure_and_rate_is_defined_and_nothing_else() -> None:
    assert list(DEFINITIONS) == [*OBSERVED, *RATES]


@pytest.mark.parametrize("name", RATES)
def test_a_rate_names_its_numerator_and_denominator(name: str) -> None:
    top, bottom = RATES[name]
    assert DEFINITIONS[name].counts.startswith(f"`{top}` of `{bottom}`")
    assert denominator(name) == bottom
    assert set(DEFINITIONS[name].kinds) >= {*DEFINITIONS[top].kinds, *DEFINITIONS[bottom].kinds}


def test_a_figure_has_no_denominator() -> None:
    assert {denominator(name) for name in OBSERVED} == {None}


def moved(message: Message) -> set[str]:
    return {name for booking in message_bookings(message) for name, n in zip(FIGURES, booking.row, strict=True) if n}


def test_the_kinds_of_a_figure_are_those_that_move_it() -> None:
    soft, both = Message("a", 1, 1, 2), Message("a", 1, 1, 2, None, 3)
    by_kind = {
        Kind.SENT: moved(Message("a", 1, 1)) | {"contacted"},
        Kind.SOFT_BOUNCE: moved(soft) - {"sent"},
        Kind.HARD_BOUNCE: moved(both) - {"sent"},
        Kind.REPLY: {"replied", "replied_human", "replies"},
        Kind.STARTED: {"starts"},
    }
    for name in OBSERVED:
        kinds = {kind for kind, names in by_kind.items() if name in names}
        assert set(DEFINITIONS[name].kinds) == kinds, name


def test_a_fetched_reply_is_no_reply_by_webhook() -> None:
    assert list(reply_bookings(Reply(Origin.API, 1))) == []
    assert "by webhook" in DEFINITIONS["replies"].counts


def test_words_are_sentences() -> None:
    assert DEFINITIONS["bounced"].words() == "Messages with a bounce, each once. Booked at the earliest bounce."
