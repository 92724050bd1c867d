"""What the running service knows about deliveries since it started, for whoever watches over it."""

from receiver.clock import Clock
from receiver.ingest.meters import Meters
from receiver.ingest.writer import Writer


class Intake:
    """Asks meters and writer."""

    def __init__(self, meters: Meters, writer: Writer, clock: Clock) -> None:
        self._meters = meters
        self._writer = writer
        self._clock = clock

    def arrived_at(self, event: str) -> int | None:
        """When a webhook of this type was taken in last, in epoch milliseconds; None if none was."""
        return self._meters.arrivals.get(event)

    def rejected_since(self) -> tuple[int, int] | None:
        """How many deliveries shaped like the sender's matched no secret, and since when; None after one that did."""
        rejected = self._meters.rejected
        return None if rejected is None else (rejected.count, rejected.since)

    def refused(self) -> int:
        """How many shaped like the sender's were refused for another reason than their signature."""
        return self._meters.refused

    def late(self) -> int:
        """How many events came after the late horizon."""
        return self._meters.late_events

    def is_accepting(self) -> bool:
        """Whether a delivery would be stored now, as far as the last commits tell."""
        return self._writer.accepting and self._writer.heartbeat.is_beating()
