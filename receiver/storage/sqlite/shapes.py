"""What rows of the ledger book at each of their times, by which of the times they have and how these are ordered.

It depends on nothing else, so it is asked of `figures` once for each order and not for each row.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from operator import add

from receiver.events import Message
from receiver.figures import (
    FIGURES,
    NOTHING,
    QUARTER_MS,
    REPLIED,
    REPLIED_HUMAN,
    REPLY,
    SHIFTED,
    STARTED,
    Booking,
    Row,
    bounce_bookings,
    message_bookings,
    message_shifts,
    shifts,
)

_HARD, _SOFT = FIGURES.index("bounced_hard"), FIGURES.index("bounced_soft")
# The numbers of what is no message; those of bounced messages are above 0.
REPLY_SHAPE, FETCHED_SHAPE, REPLIED_SHAPE, REPLIED_HUMAN_SHAPE, STARTED_SHAPE = -1, -2, -3, -4, -5


@dataclass(frozen=True, slots=True)
class Shape:
    """What rows of the ledger whose times stand in the same order book at one of them, the `place`-th."""

    number: int
    place: int
    is_event: bool
    figures: Row
    shifted: Row
    bounced: Row  # hard, soft


def message_shapes() -> Iterator[Shape]:
    """Those of all bounced messages: at most three times, in every order."""
    steps = (None, 0, QUARTER_MS, 2 * QUARTER_MS)
    seen = set()
    for times in product(steps, repeat=3):
        sent_at, soft_at, hard_at = times
        message = Message(sent_at=sent_at, soft_at=soft_at, hard_at=hard_at)
        number = _shape(*times)
        if message.bounced_at is not None and number not in seen:
            seen.add(number)
            booked = (message_bookings(message), message_shifts(message), bounce_bookings(message))
            yield from _places(number, times, 3, *booked)


def _shape(sent_at: int | None, soft_at: int | None, hard_at: int | None) -> int:
    """As `gather_bounced` numbers it."""
    return (
        64 * (hard_at is not None)
        + 16 * _order(sent_at, soft_at)
        + 4 * _order(sent_at, hard_at)
        + _order(soft_at, hard_at)
    )


def _order(first: int | None, second: int | None) -> int:
    return 0 if first is None or second is None else 1 + (first >= second) + (first > second)


def other_shapes() -> Iterator[Shape]:
    """Those of replies, of leads' first replies and of starts."""
    for number, row in ((REPLY_SHAPE, REPLY), (REPLIED_SHAPE, REPLIED), (REPLIED_HUMAN_SHAPE, REPLIED_HUMAN)):
        bookings = [Booking(0, row)]
        yield from _places(number, (0, QUARTER_MS), 1, bookings, shifts(bookings, QUARTER_MS))
    yield from _places(FETCHED_SHAPE, (0,), 1)
    yield from _places(STARTED_SHAPE, (0,), 1, [Booking(0, STARTED)])


def _places(
    number: int,
    times: Sequence[int | None],
    events: int,
    bookings: Iterable[Booking] = (),
    shifted: Iterable[Booking] = (),
    bounces: Iterable[Booking] = (),
) -> Iterator[Shape]:
    """One for each time that is there; the first `events` of them are those of events."""
    figures, moved = _by_place(times, bookings, NOTHING), _by_place(times, shifted, (0,) * len(SHIFTED))
    bounced = _by_place(times, bounces, NOTHING)
    for place, at in enumerate(times):
        if at is not None:
            hard_soft = (bounced[place][_HARD], bounced[place][_SOFT])
            yield Shape(number, place, place < events, figures[place], moved[place], hard_soft)


def _by_place(times: Sequence[int | None], bookings: Iterable[Booking], nothing: Row) -> list[Row]:
    """Sums of bookings by time; of equal times the first has all."""
    rows = [nothing] * len(times)
    for at, row in bookings:
        place = times.index(at)
        rows[place] = tuple(map(add, rows[place], row))
    return rows
