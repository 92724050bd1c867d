"""What can happen, what makes two deliveries the same event, and how unequal copies are joined: no I/O.

Every state here is a join: commutative, associative and idempotent, so that any permutation and
repetition of the same deliveries ends in the same state. In each join `None` loses to any value and
ties fall to the smaller value; text is compared by its UTF-8 bytes, which in Python is the order of `str`.
"""

import hashlib
import re
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeVar

STEP_MAX = 2**31 - 1
# A step that is not known sorts after every known one, so it is stored as the next integer.
STEP_NONE = 2**31

EARLIEST_MS = 1_420_070_400_000  # 2015-01-01T00:00:00Z, before Leadterra existed
AHEAD_MAX_MS = 86_400_000  # a sender's clock may be a day ahead, not more
LATE_HORIZON_MS = 39_060_000  # 10 h 51 min: the last retry (10 h 36 min) and a quarter of an hour of grace

NOT_HUMAN = frozenset({"out_of_office", "bounce"})


class Kind(IntEnum):
    """The kinds of event that are told apart; the numbers are stored for ever."""

    STARTED = 1
    SENT = 2
    SOFT_BOUNCE = 3
    HARD_BOUNCE = 4
    REPLY = 5


EVENT_NAMES = {
    Kind.STARTED: "campaign.started",
    Kind.SENT: "message.sent",
    Kind.SOFT_BOUNCE: "message.bounced",
    Kind.HARD_BOUNCE: "message.bounced",
    Kind.REPLY: "reply.received",
}


class Origin(IntEnum):
    """Where an event came from; a webhook outranks the API."""

    WEBHOOK = 0
    API = 1


@dataclass(slots=True)
class Event:
    """One understood delivery.

    `key` is that of the ledger row: of the message for sends and bounces, of the reply or the start
    otherwise. `campaign` and `step` are what the body itself says. `message_key` links a reply to the
    message it answers. Times are epoch milliseconds, UTC. `lead` is the keyed hash of the recipient.
    """

    kind: Kind
    key: bytes
    occurred_at: int
    campaign: str | None
    step: int | None = None
    reason: str | None = None
    domain: str | None = None
    campaign_name: str | None = None
    message_key: bytes | None = None
    lead: bytes | None = None
    classification: str | None = None
    origin: Origin = Origin.WEBHOOK


@dataclass(slots=True)
class Unread:
    """A signed delivery that is not understood: it is kept, not counted.

    `kind` and `key` are set when the event's identity could be read all the same. `due_at` is set
    when the body is merely ahead of its time: from then on it will be understood.
    """

    reason: str
    detail: str
    event: str | None = None
    campaign: str | None = None
    kind: Kind | None = None
    key: bytes | None = None
    due_at: int | None = None


# Crockford's base 32 without I, L, O and U; the first digit holds only three bits (github.com/ulid/spec).
_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}")
_CROCKFORD_TO_BASE32 = str.maketrans("0123456789ABCDEFGHJKMNPQRSTVWXYZ", "0123456789ABCDEFGHIJKLMNOPQRSTUV")


_ERASED = "erased-"
_ERASED_KEY = re.compile(rf"{_ERASED}([0-9a-f]{{32}})")


def erased(key: bytes) -> str:
    """What stands for an identity, or for the address of a lead, that was erased: it still has this key."""
    return _ERASED + key.hex()


def erased_key(text: str) -> bytes | None:
    """The key of an identity that was erased; None of any other."""
    found = _ERASED_KEY.fullmatch(text) if text.startswith(_ERASED) else None
    return None if found is None else bytes.fromhex(found[1])


def identity_key(kind: bytes, identity: str) -> bytes:
    """The 16 bytes that stand for an identity for ever: bodies expire, keys do not. An erased one names its own.

    A SHA-256 prefix, where the id ends in a ULID with the ULID's own six bytes of time in front:
    keys that arrive in order keep a B-tree fast.
    """
    key = erased_key(identity)
    if key is not None:
        return key
    digest = hashlib.sha256(kind + b"\0" + identity.encode()).digest()
    tail = identity.rpartition("_")[2]
    if len(tail) == 26 and _ULID.fullmatch(tail):
        time = int(tail[:10].upper().translate(_CROCKFORD_TO_BASE32), 32)
        return time.to_bytes(6, "big") + digest[:10]
    return digest[:16]


def message_key(message_id: str) -> bytes:
    return identity_key(b"message", message_id)


def reply_key(reply_id: str) -> bytes:
    return identity_key(b"reply", reply_id)


def lead_reply_key(campaign: str, lead: bytes, occurred_at: int) -> bytes:
    """The key of a reply that has no id: its campaign, lead and time in seconds."""
    return identity_key(b"reply of lead", f"{campaign}\0{lead.hex()}\0{occurred_at // 1000}")


def start_key(campaign: str, occurred_at: int) -> bytes:
    return identity_key(b"start", f"{campaign}\0{occurred_at}")


def is_human(classification: str | None) -> bool:
    return classification is None or classification.strip().lower() not in NOT_HUMAN


_Ordered = TypeVar("_Ordered", int, str, bytes)


def smaller(a: _Ordered | None, b: _Ordered | None) -> _Ordered | None:
    """The smaller of two values; `None` loses to any."""
    if a is None or (b is not None and b < a):
        return b
    return a


def _rank(*fields: object) -> tuple[tuple[bool, object], ...]:
    """A sort key in which `None` comes after every value."""
    return tuple((field is None, field) for field in fields)


@dataclass(slots=True)
class Message:
    """One e-mail: the join of all deliveries that name its `messageId`.

    Without a send, `campaign` and `step` are the smallest pair that a bounce names; with one they
    are those of the smallest (`sent_at`, campaign, step).
    """

    campaign: str | None = None
    step: int | None = None
    sent_at: int | None = None
    soft_at: int | None = None
    soft_reason: str | None = None
    hard_at: int | None = None
    hard_reason: str | None = None
    domain: str | None = None

    @property
    def bounced_at(self) -> int | None:
        return smaller(self.soft_at, self.hard_at)

    @property
    def reason(self) -> str | None:
        """The reason of the hard bounce, else of the soft one."""
        return self.hard_reason if self.hard_reason is not None else self.soft_reason

    def holds(self, kind: Kind) -> bool:
        """Whether an event of this kind is already part of the message."""
        if kind is Kind.SENT:
            return self.sent_at is not None
        return (self.soft_at if kind is Kind.SOFT_BOUNCE else self.hard_at) is not None

    def join(self, event: Event) -> None:
        if event.domain is not None and (self.domain is None or event.domain < self.domain):
            self.domain = event.domain
        if event.kind is Kind.SENT:
            self._join_send(event)
            return
        if event.kind is Kind.SOFT_BOUNCE:
            self.soft_at, self.soft_reason = _earlier_bounce(self.soft_at, self.soft_reason, event)
        else:
            self.hard_at, self.hard_reason = _earlier_bounce(self.hard_at, self.hard_reason, event)
        if self.sent_at is None and _rank(event.campaign, event.step) < _rank(self.campaign, self.step):
            self.campaign, self.step = event.campaign, event.step

    def _join_send(self, event: Event) -> None:
        if self.sent_at is None or _rank(event.occurred_at, event.campaign, event.step) < _rank(
            self.sent_at, self.campaign, self.step
        ):
            self.sent_at, self.campaign, self.step = event.occurred_at, event.campaign, event.step


def _earlier_bounce(at: int | None, reason: str | None, event: Event) -> tuple[int, str | None]:
    if at is None or _rank(event.occurred_at, event.reason) < _rank(at, reason):
        return event.occurred_at, event.reason
    return at, reason


@dataclass(slots=True)
class Reply:
    """One reply: the smallest (origin, time, campaign, lead, class) of its deliveries, and what that lacks.

    `best_*` are of the smallest delivery; `other_*` are the smallest value of each field that any
    delivery had, and fill what the smallest one leaves open.
    """

    origin: Origin | None = None
    at: int | None = None
    best_campaign: str | None = None
    best_lead: bytes | None = None
    best_class: str | None = None
    other_campaign: str | None = None
    other_step: int | None = None
    other_lead: bytes | None = None
    other_class: str | None = None
    message_key: bytes | None = None

    @property
    def own_campaign(self) -> str | None:
        return self.best_campaign if self.best_campaign is not None else self.other_campaign

    @property
    def lead(self) -> bytes | None:
        return self.best_lead if self.best_lead is not None else self.other_lead

    @property
    def classification(self) -> str | None:
        return self.best_class if self.best_class is not None else self.other_class

    def join(self, event: Event) -> None:
        best = _rank(self.origin, self.at, self.best_campaign, self.best_lead, self.best_class)
        fields = (event.origin, event.occurred_at, event.campaign, event.lead, event.classification)
        if _rank(*fields) < best:
            self.origin, self.at, self.best_campaign, self.best_lead, self.best_class = fields
        self.other_campaign = smaller(self.other_campaign, event.campaign)
        self.other_step = smaller(self.other_step, event.step)
        self.other_lead = smaller(self.other_lead, event.lead)
        self.other_class = smaller(self.other_class, event.classification)
        self.message_key = smaller(self.message_key, event.message_key)


def copies_disagree(a: Event, b: Event) -> str | None:
    """The first field in which two copies of one event contradict each other, or None.

    Times may differ (retries may be stamped anew), and so may the reason of a bounce. A webhook and
    the same reply fetched from the API never contradict each other: the webhook outranks it.
    """
    if a.origin is not b.origin:
        return None
    pairs = {
        "campaign": (a.campaign, b.campaign),
        "step": (a.step, b.step),
        "lead": (a.lead, b.lead),
        "classification": (a.classification, b.classification),
    }
    for field, (left, right) in pairs.items():
        if left is not None and right is not None and left != right:
            return field
    return None
