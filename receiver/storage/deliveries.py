"""What ingest hands to a store, and what it gets back."""

from dataclasses import dataclass
from enum import StrEnum

from receiver.events import Event, Unread


class Outcome(StrEnum):
    """What became of a delivery; the text is the `Receiver-Outcome` header."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    QUARANTINED = "quarantined"


@dataclass(slots=True)
class Delivery:
    """One signed body on its way into the ledger.

    `received_at` is in epoch milliseconds; `secret` is the stored id of the secret that verified;
    `peer` the address that posted it.
    """

    body: bytes
    received_at: int
    parsed: Event | Unread
    secret: int | None = None
    peer: str | None = None


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
