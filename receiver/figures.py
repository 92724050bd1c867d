"""What each event counts for, and where it is booked: the meaning of every figure, without I/O.

A booking is a time and a row of differences, one per figure in `FIGURES`. Totals, series and minutes
are sums of bookings, so a state that changes is corrected by booking the new one and unbooking the old.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from receiver.events import Message, Origin, Reply, is_human

# What is stored; `contacted` is derived from the sends of the lowest step.
FIGURES = (
    "sent",
    "attempted",
    "accepted",
    "bounced",
    "bounced_hard",
    "bounced_soft",
    "replies",
    "replied",
    "replied_human",
    "starts",
)
# In the order of the interface's answers.
OBSERVED = (*FIGURES[:3], "contacted", *FIGURES[3:])

QUARTER_MS = 900_000
QUARTERS_PER_DAY = 96
MINUTE_MS = 60_000

# What the send basis books elsewhere than the event basis, and bounced messages whose send is not held.
SHIFTED = (*FIGURES[1:9], "bounced_unsent", "bounced_hard_unsent")
# Stands for a time that is not known: after every time, and in a quarter of an hour of its own.
UNPLACED_MS = 2**31 * QUARTER_MS

Row = tuple[int, ...]


def _row(**differences: int) -> Row:
    return tuple(differences.get(figure, 0) for figure in FIGURES)


def _shift_row(**differences: int) -> Row:
    return tuple(differences.get(figure, 0) for figure in SHIFTED)


NOTHING = _row()
SENT = _row(sent=1, attempted=1, accepted=1)
SENT_AFTER_BOUNCE = _row(sent=1, accepted=1)
BOUNCED_FIRST = _row(attempted=1, bounced=1)
BOUNCED = _row(bounced=1)
NO_LONGER_ACCEPTED = _row(accepted=-1)
HARD = _row(bounced_hard=1)
SOFT = _row(bounced_soft=1)
NO_LONGER_SOFT = _row(bounced_soft=-1)
REPLY = _row(replies=1)
REPLIED = _row(replied=1)
REPLIED_HUMAN = _row(replied_human=1)
STARTED = _row(starts=1)
UNSENT = _shift_row(bounced_unsent=1)
UNSENT_HARD = _shift_row(bounced_unsent=1, bounced_hard_unsent=1)


class Booking(NamedTuple):
    """Differences of the figures at a time, in epoch milliseconds."""

    at: int
    row: Row


def message_bookings(message: Message) -> Iterator[Booking]:
    """What one message counts for: sends, attempts and bounces, each once and by its worst."""
    sent_at, bounced_at = message.sent_at, message.bounced_at
    if bounced_at is None:
        if sent_at is not None:
            yield Booking(sent_at, SENT)
        return
    if sent_at is None:
        yield Booking(bounced_at, BOUNCED_FIRST)
    else:
        first_is_send = sent_at <= bounced_at
        yield Booking(sent_at, SENT if first_is_send else SENT_AFTER_BOUNCE)
        yield Booking(bounced_at, BOUNCED if first_is_send else BOUNCED_FIRST)
        yield Booking(bounced_at, NO_LONGER_ACCEPTED)
    yield from bounce_bookings(message)


def bounce_bookings(message: Message) -> Iterator[Booking]:
    """`bounced_hard` and `bounced_soft` of one message; together they are its `bounced`, at every time."""
    soft_at, hard_at = message.soft_at, message.hard_at
    if hard_at is not None:
        yield Booking(hard_at, HARD)
    if soft_at is not None and (hard_at is None or soft_at < hard_at):
        yield Booking(soft_at, SOFT)
        if hard_at is not None:
            yield Booking(hard_at, NO_LONGER_SOFT)


def message_shifts(message: Message) -> Iterator[Booking]:
    """What takes a message's bookings to its send, else to its earliest bounce; rows are of `SHIFTED`."""
    bounced_at = message.bounced_at
    if bounced_at is None:
        return
    if message.sent_at is not None:
        yield from shifts(message_bookings(message), message.sent_at)
        return
    yield from shifts(message_bookings(message), bounced_at)
    yield Booking(bounced_at, UNSENT if message.hard_at is None else UNSENT_HARD)


def shifts(bookings: Iterable[Booking], to: int | None) -> Iterator[Booking]:
    """What takes bookings to another time, None when that is not known; rows are of `SHIFTED`."""
    target = UNPLACED_MS if to is None else to
    for at, row in bookings:
        if at // QUARTER_MS != target // QUARTER_MS:
            yield Booking(at, (*(-value for value in row[1:9]), 0, 0))
            yield Booking(target, (*row[1:9], 0, 0))


def reply_bookings(reply: Reply) -> Iterator[Booking]:
    """A reply event counts only when it came by webhook; the lead counts apart, see `lead_bookings`."""
    if reply.origin is Origin.WEBHOOK and reply.at is not None:
        yield Booking(reply.at, REPLY)


class FirstReply(NamedTuple):
    """A lead's first (human) reply in a campaign: its time, its step as stored, and the send that it answers."""

    at: int
    step: int
    sent_at: int | None


def first_replies(
    replies: Iterable[tuple[int, int, int | None, str | None]],
) -> tuple[FirstReply | None, FirstReply | None]:
    """Of a lead's replies (time, step, send, class) in one campaign: the first, and the first human one."""
    all_of_them = [(FirstReply(*reply[:3]), reply[3]) for reply in replies]
    human = [reply for reply, classification in all_of_them if is_human(classification)]
    return (
        min((reply for reply, _ in all_of_them), key=_rank, default=None),
        min(human, key=_rank, default=None),
    )


def _rank(reply: FirstReply) -> tuple[int, int, int]:
    """What decides between several: the earliest, and of equal times the smallest that is known."""
    return reply.at, reply.step, UNPLACED_MS if reply.sent_at is None else reply.sent_at


def rate(numerator: int | None, denominator: int | None) -> dict[str, float | int | None]:
    """A rate with what it is made of; its value is None when the denominator is not above 0."""
    if numerator is None or denominator is None or denominator <= 0:
        return {"value": None, "numerator": numerator, "denominator": denominator}
    # What `round` gives, in half the time, for all but ties; a page of campaigns has hundreds of rates.
    millionths, rest = divmod(2_000_000 * numerator + denominator, 2 * denominator)
    value = millionths / 1_000_000 if rest else round(numerator / denominator, 6)
    return {"value": value, "numerator": numerator, "denominator": denominator}


# Each rate's numerator and denominator; `reply_rate` is as Leadterra defines it: leads over messages.
RATES: Mapping[str, tuple[str, str]] = {
    "bounce_rate": ("bounced", "attempted"),
    "hard_bounce_rate": ("bounced_hard", "attempted"),
    "reply_rate": ("replied", "accepted"),
    "lead_reply_rate": ("replied", "contacted"),
    "human_reply_rate": ("replied_human", "contacted"),
}
_RATES = [(name, top, bottom) for name, (top, bottom) in RATES.items()]
# Rates of leads: of no cohort where a reply names no message.
REPLY_RATES = tuple(name for name, (top, _) in RATES.items() if top.startswith("replied"))


def rates(observed: Mapping[str, int | None]) -> dict[str, dict[str, float | int | None]]:
    """All rates of a set of observed figures."""
    return {name: rate(observed[top], observed[bottom]) for name, top, bottom in _RATES}


def held_rates(observed: Mapping[str, int | None], hard_unsent: int) -> dict[str, dict[str, float | int | None]]:
    """All rates while the campaign's older messages are not held: of bounces those whose send is, of replies none.

    `hard_unsent` are the hard bounces whose send is not held.
    """
    sent, accepted, hard = observed["sent"], observed["accepted"], observed["bounced_hard"]
    if sent is None or accepted is None or hard is None:
        return rates(observed)
    held = {"attempted": sent, "bounced": sent - accepted, "bounced_hard": hard - hard_unsent}
    return rates({**observed, **held, "accepted": None, "contacted": None})
