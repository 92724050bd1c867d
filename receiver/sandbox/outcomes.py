"""What becomes of a message, given what chance says: when it arrives, whether it bounces, who opens and answers."""

from typing import NamedTuple

from receiver.sandbox.chance import between
from receiver.sandbox.options import Habits

_MINUTE_MS = 60_000
_HOUR_MS = 3_600_000

_HARD = (
    "550 5.1.1 The email account that you tried to reach does not exist",
    "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found",
    "554 5.7.1 Message rejected due to local policy",
    "Host or domain name not found",
)
_SOFT = (
    "452 4.2.2 The recipient's inbox is out of storage space",
    "421 4.7.0 Try again later, closing connection",
    "Mailbox temporarily unavailable",
)
# Class, its share, and what such a reply says.
_CLASSES = (
    ("interested", 0.25, "Sounds good. Can we talk on Thursday?"),
    ("not_interested", 0.35, "Thanks, but this is not for us."),
    ("out_of_office", 0.20, "I am away until Monday, with limited access to e-mail."),
    ("unsubscribe", 0.10, "Please take me off your list."),
    ("referral", 0.07, "Better ask my colleague, who looks after this."),
    ("bounce", 0.03, "Your message could not be delivered."),
)
_WRITES_AGAIN = 0.3  # of those whose first answer was automatic


class Fate(NamedTuple):
    """Milliseconds count from the submission (`transit_ms`), else from the arrival; None: does not happen."""

    transit_ms: int
    bounce: str
    reason: str
    hardens_ms: int | None
    opens_ms: int | None
    replies_ms: int | None


class Outcomes:
    """Turns draws into fates, according to the habits."""

    def __init__(self, habits: Habits) -> None:
        self._habits = habits

    def fate(self, units: tuple[float, ...]) -> Fate:
        habits = self._habits
        transit_ms = int(between(2_000, 90_000, units[1]))
        if units[0] < habits.hard_bounce:
            return Fate(transit_ms, "hard", _pick(_HARD, units[2]), None, None, None)
        if units[0] < habits.hard_bounce + habits.soft_bounce:
            hardens = units[3] < habits.soft_turns_hard
            hardens_ms = int(between(_HOUR_MS, 12 * _HOUR_MS, units[4])) if hardens else None
            return Fate(transit_ms, "soft", _pick(_SOFT, units[2]), hardens_ms, None, None)
        # Squared: most open and answer soon, some late.
        opens_ms = int(between(_MINUTE_MS, 36 * _HOUR_MS, units[2] ** 2)) if units[3] < habits.open else None
        replies = units[4] < habits.reply
        replies_ms = int(between(5 * _MINUTE_MS, 96 * _HOUR_MS, units[5] ** 2)) if replies else None
        return Fate(transit_ms, "", "", None, opens_ms, replies_ms)

    @staticmethod
    def hard_reason(fate: Fate) -> str:
        """The reason of a hard bounce; of one that was soft, that its server gave up."""
        return fate.reason if fate.bounce == "hard" else "550 5.4.7 Delivery time expired"

    @staticmethod
    def reply(unit: float, *, again: bool) -> tuple[str, str]:
        """Class and text of a reply; who writes again after an automatic answer is a person."""
        if again:
            return _CLASSES[0][0], _CLASSES[0][2]
        for name, share, text in _CLASSES:
            unit -= share
            if unit < 0:
                return name, text
        return _CLASSES[0][0], _CLASSES[0][2]

    @staticmethod
    def writes_again(classification: str, unit: float) -> bool:
        return classification == "out_of_office" and unit < _WRITES_AGAIN


def _pick(texts: tuple[str, ...], unit: float) -> str:
    return texts[int(unit * len(texts))]
