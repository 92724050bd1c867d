"""One webhook delivery: what is sent for an event, when, and how often."""

from dataclasses import dataclass, field

import orjson

from receiver.leadterra.signature import sign
from receiver.sandbox.faults import Plan, Rule
from receiver.sandbox.happenings import Event, Happening
from receiver.sandbox.options import Schedule
from receiver.sandbox.shapes import Shapes, payload
from receiver.sandbox.times import iso

_MINUTE_MS = 60_000
# leadterra-api.md, section 1: the waits after a failed try.
WAITS_MS = tuple(minutes * _MINUTE_MS for minutes in (1, 5, 30, 120, 480))
ATTEMPTS = len(WAITS_MS) + 1


def due_ms(schedule: Schedule, first_ms: int, attempt: int) -> int:
    """When a try is due; the first is attempt 0.

    The documentation leaves open what a wait counts from: `absolute` is the first try (the last one 8 h
    later), `cumulative` is the try before (10 h 36 min).
    """
    if attempt == 0:
        return first_ms
    return first_ms + (sum(WAITS_MS[:attempt]) if schedule == "cumulative" else WAITS_MS[attempt - 1])


class Book:
    """What one webhook was to bring and did not: reason and time by event."""

    def __init__(self) -> None:
        # By identity: an event is one object for all webhooks, and is kept as long as the sandbox runs.
        self._entries: dict[int, tuple[str, int]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def withhold(self, happening: Happening, reason: str, at_ms: int) -> None:
        self._entries[id(happening)] = (reason, at_ms)

    def take_back(self, happening: Happening) -> bool:
        """The event did arrive; whether it was held for withheld."""
        return self._entries.pop(id(happening), None) is not None

    def entry(self, happening: Happening) -> tuple[str, int] | None:
        """Reason and time, or None if the webhook brought the event or may still bring it."""
        return self._entries.get(id(happening))


@dataclass(slots=True)
class Webhook:
    """Where events are posted to; the counts are of events and tries; `late` came later than they had to on purpose.

    `book` holds what it withheld; `happened_before` is the number of events before its registration.
    """

    id: str
    url: str
    events: tuple[str, ...]
    created_ms: int
    happened_before: int = 0
    book: Book = field(default_factory=Book)
    events_due: int = 0
    delivered: int = 0
    attempts: int = 0
    duplicates: int = 0
    late: int = 0
    extra: int = 0


@dataclass(slots=True)
class Delivery:
    """An event on its way to one webhook. `rule` is what befalls it; `copy_of` says that it is one too many.

    `arrived`: the event got there, by this delivery or by a copy of it.
    """

    webhook: Webhook
    happening: Happening
    first_ms: int
    rule: Rule | None = None
    copy_of: "Delivery | None" = None
    attempt: int = 0
    arrived: bool = False

    @property
    def is_extra(self) -> bool:
        """Whether it is an event that never happened."""
        return self.copy_of is not None and self.rule is not None and self.rule.fault == "unknown_event"

    @property
    def is_mangled(self) -> bool:
        """Whether nobody can read the event from it."""
        return self.rule is not None and self.rule.fault in ("malformed_body", "missing_fields")


class Writing:
    """Writes and signs the bodies of deliveries, faults included."""

    def __init__(self, shapes: Shapes, plan: Plan, secret: str, *, restamp: bool) -> None:
        self._shapes = shapes
        self._plan = plan
        self._secret = secret
        self._restamp = restamp

    def body(self, delivery: Delivery, now_ms: int) -> bytes:
        happening = delivery.happening
        again = self._restamp and delivery.attempt > 0
        body = payload(self._shapes, happening, now_ms if again else happening.at_ms)
        fault = delivery.rule.fault if delivery.rule else ""
        if fault == "malformed_body":
            return body[: len(body) // 2]
        if fault == "missing_fields":
            return _without_fields(body)
        if delivery.is_extra:
            return _unknown(happening)
        return body

    def signature(self, delivery: Delivery, body: bytes, now_ms: int) -> str:
        """The header's value; a corrupt one has the right form, of another body."""
        rule = delivery.rule
        if rule is not None and rule.fault == "corrupt_signature":
            corrupt = 1 if rule.amount is None else rule.amount
            if corrupt == 0 or delivery.attempt < corrupt:
                body += b"\0"
        secret = self._plan.secret_at(now_ms, self._secret)
        return self._shapes.signature(sign(secret.encode(), body))


def _without_fields(body: bytes) -> bytes:
    """The time and what the event is about are gone."""
    whole = orjson.loads(body)
    return orjson.dumps({"event": whole["event"], "data": {}})


def _unknown(happening: Happening) -> bytes:
    """An event that no page documents, about the same message or campaign."""
    data = {"campaignId": happening.campaign_id, "messageId": happening.message_id or None}
    name = "campaign.touched" if happening.event is Event.STARTED else "message.touched"
    return orjson.dumps({"event": name, "timestamp": iso(happening.at_ms), "data": data})
