"""What each event counts for, and where it is booked: the meaning of every figure, without I/O.

A booking is a time and a row of differences, one per figure in `FIGURES`. Totals, series and minutes
are sums of bookings, so a state that changes is corrected by booking the new one and unbooking the old.
"""

from collections.abc import Iterator, Mapping
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
MINUTE_MS = 60_000

Row = tuple[int, ...]


def _row(**differences: int) -> Row:
    return tuple(differences.get(figure, 0) for figure in FIGURES)


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
    yield from _by_type(message.soft_at, message.hard_at)


def _by_type(soft_at: int | None, hard_at: int | None) -> Iterator[Booking]:
    if hard_at is not None:
        yield Booking(hard_at, HARD)
    if soft_at is not None and (hard_at is None or soft_at < hard_at):
        yield Booking(soft_at, SOFT)
        if hard_at is not None:
            yield Booking(hard_at, NO_LONGER_SOFT)


def reply_bookings(reply: Reply) -> Iterator[Booking]:
    """A reply event counts only when it came by webhook; the lead counts apart, see `lead_bookings`."""
    if reply.origin is Origin.WEBHOOK and reply.at is not None:
        yield Booking(reply.at, REPLY)


class FirstReply(NamedTuple):
    """A lead's first (human) reply in a campaign: its time and the step that it answers, as stored."""

    at: int
    step: int


def first_replies(replies: list[tuple[int, int, str | None]]) -> tuple[FirstReply | None, FirstReply | None]:
    """Of a lead's replies (time, step, class) in one campaign: the first, and the first human one."""
    human = [FirstReply(at, step) for at, step, classification in replies if is_human(classification)]
    return (
        min((FirstReply(at, step) for at, step, _ in replies), default=None),
        min(human, default=None),
    )


def rate(numerator: int | None, denominator: int | None) -> dict[str, float | int | None]:
    """A rate with what it is made of; its value is None when the denominator is not above 0."""
    if numerator is None or denominator is None or denominator <= 0:
        return {"value": None, "numerator": numerator, "denominator": denominator}
    return {"value": round(numerator / denominator, 6), "numerator": numerator, "denominator": denominator}


# Each rate's numerator and denominator; `reply_rate` is as Leadterra defines it: leads over messages.
RATES: Mapping[str, tuple[str, str]] = {
    "bounce_rate": ("bounced", "attempted"),
    "hard_bounce_rate": ("bounced_hard", "attempted"),
    "reply_rate": ("replied", "accepted"),
    "lead_reply_rate": ("replied", "contacted"),
    "human_reply_rate": ("replied_human", "contacted"),
}


def rates(observed: Mapping[str, int | None]) -> dict[str, dict[str, float | int | None]]:
    """All rates of a set of observed figures."""
    return {name: rate(observed[top], observed[bottom]) for name, (top, bottom) in RATES.items()}


def held_rates(observed: Mapping[str, int | None], hard_unsent: int) -> dict[str, dict[str, float | int | None]]:
    """All rates while the campaign's older messages are not held: of bounces those whose send is, of replies none.

    `hard_unsent` are the hard bounces whose send is not held.
    """
    sent, accepted, hard = observed["sent"], observed["accepted"], observed["bounced_hard"]
    if sent is None or accepted is None or hard is None:
        return rates(observed)
    held = {"attempted": sent, "bounced": sent - accepted, "bounced_hard": hard - hard_unsent}
    return rates({**observed, **held, "accepted": None, "contacted": None})
