"""What every figure and rate means, in words: the one place that the README, OpenAPI and `/v1/explain` take it from.

No I/O.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from receiver.events import Kind
from receiver.figures import RATES

SENDS = (Kind.SENT,)
BOUNCES = (Kind.SOFT_BOUNCE, Kind.HARD_BOUNCE)
REPLIES = (Kind.REPLY,)


@dataclass(frozen=True, slots=True)
class Definition:
    """A figure or rate: what it counts, at which time it is booked, and the kinds of events that move it."""

    counts: str
    booked: str
    kinds: tuple[Kind, ...]

    def words(self) -> str:
        """All of it, as a sentence or two."""
        return f"{self.counts[:1].upper()}{self.counts[1:]}. Booked {self.booked}."


_AT_BOUNCE = "at the earliest bounce"
_AT_REPLY = "at that first reply, and in its step"
_COHORT = "at the send of each message, else at its earliest bounce"

_FIGURES: Mapping[str, Definition] = {
    "sent": Definition("messages with a `message.sent`", "at the send", SENDS),
    "attempted": Definition("messages with a send or a bounce", "at the earliest of them", SENDS + BOUNCES),
    "accepted": Definition("messages with a send and no bounce", f"+1 at the send, −1 {_AT_BOUNCE}", SENDS + BOUNCES),
    "contacted": Definition(
        "messages sent in the campaign's lowest step over its whole life: each lead gets that one once",
        "at the send",
        SENDS,
    ),
    "bounced": Definition("messages with a bounce, each once", _AT_BOUNCE, BOUNCES),
    "bounced_hard": Definition("messages with a hard bounce", "at the earliest hard bounce", BOUNCES[1:]),
    "bounced_soft": Definition(
        "messages with a soft bounce and no hard one", "+1 at the soft bounce, −1 at a later hard one", BOUNCES
    ),
    "replies": Definition("replies that came by webhook", "at the reply", REPLIES),
    "replied": Definition("leads with a reply; in two campaigns a lead counts in both", _AT_REPLY, REPLIES),
    "replied_human": Definition(
        "leads with a reply that is neither `out_of_office` nor `bounce`", _AT_REPLY, REPLIES
    ),
    "starts": Definition("distinct starts of the campaign", "at the start", (Kind.STARTED,)),
}
_WHY: Mapping[str, str] = {
    "bounce_rate": "",
    "hard_bounce_rate": "",
    "reply_rate": ", as Leadterra defines it: leads of messages",
    "lead_reply_rate": ": leads of leads",
    "human_reply_rate": ": leads of leads",
}


def _rate(name: str) -> Definition:
    top, bottom = RATES[name]
    kinds = dict.fromkeys(_FIGURES[top].kinds + _FIGURES[bottom].kinds)
    return Definition(f"`{top}` of `{bottom}`{_WHY[name]}", _COHORT, tuple(kinds))


DEFINITIONS: Mapping[str, Definition] = {**_FIGURES, **{name: _rate(name) for name in RATES}}


def denominator(name: str) -> str | None:
    """What a rate is divided by; None for a figure."""
    return RATES[name][1] if name in RATES else None
