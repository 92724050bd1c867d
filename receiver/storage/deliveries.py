"""What ingest hands to a store, and what it gets back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from receiver.events import Event, Unread


class Outcome(StrEnum):
    """What became of a delivery; the text is the `Receiver-Outcome` header."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    QUARANTINED = "quarantined"


@dataclass(slots=True)
class Posted:
    """One signed body as it came; the side that writes reads it.

    `received_at` is in epoch milliseconds; `secret` is the stored id of the secret that verified;
    `peer` the address that posted it.
    """

    body: bytes
    received_at: int
    secret: int | None = None
    peer: str | None = None


@dataclass(slots=True)
class Delivery:
    """The same, and the event that it tells of."""

    body: bytes
    received_at: int
    parsed: Event | Unread
    secret: int | None = None
    peer: str | None = None


@dataclass(frozen=True, slots=True)
class Committed:
    """What became of deliveries, in their order, once it is durable.

    `arrived` is when each type of event came last, in epoch milliseconds; `late` how many new events came after any
    retry should. `campaigns_made` grows with every campaign that is seen for the first time.
    """

    outcomes: Sequence[Outcome]
    arrived: Mapping[str, int]
    late: int
    campaigns_made: int


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of acceptance to extend: begun at `started_at`, good until `last_at` (epoch milliseconds)."""

    started_at: int
    last_at: int
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class Refusals:
    """Deliveries shaped like the sender's that were refused in a row, from first to last."""

    started_at: int
    last_at: int
    count: int
