"""The service's own metrics, for Prometheus; no label ever comes from a payload."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

# Every answer that the webhook gives; each is there from the start, so that a rate sees the first one.
OUTCOMES = (
    "stored",
    "duplicate",
    "quarantined",
    "signature_invalid",
    "body_too_large",
    "unsupported_encoding",
    "body_timeout",
    "unavailable",
    "internal",
    "gone",
)
# Why a connection was ended by us before its client was done.
CONNECTION_REFUSALS = (
    "header_timeout",
    "header_too_large",
    "invalid_request",
    "too_many_connections",
    "unread_body",
    "untaken_answer",
)
# What becomes of a body whose signature matched no secret, where it looks like an event.
REJECTED = ("kept", "dropped", "displaced", "expired", "taken_in")
# How a run of reconciliation can end.
RUNS = ("ok", "partial", "failed", "aborted")
FIGURES = ("sent", "bounced", "replied")
GAP_STATES = ("settling", "overdue", "missing")
_COMMIT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_BATCH_BUCKETS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000)


@dataclass(slots=True)
class Rejected:
    """Deliveries in a row that matched no secret, and when the first came (epoch milliseconds)."""

    count: int
    since: int


class Meters:
    """Counts of one process, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._counter = partial(Counter, registry=self.registry)
        self._gauge = partial(Gauge, registry=self.registry)
        self._histogram = partial(Histogram, registry=self.registry)
        self._meter_intake()
        self._meter_writing()
        self._meter_reconciliation()
        self._meter_clients()
        self._outcomes = dict.fromkeys(OUTCOMES, 0)
        self._refusals = dict.fromkeys(CONNECTION_REFUSALS, 0)
        self._last_delivery_ms = 0
        self._lost_lines_told = 0
        self.arrivals: dict[str, int] = {}
        self.rejected: Rejected | None = None
        self.refused = 0
        self.late_events = 0

    def _meter_intake(self) -> None:
        self._deliveries = self._counter("receiver_deliveries", "Deliveries by what was answered.", ["outcome"])
        self.late = self._counter("receiver_late_deliveries", "Events that arrived later than any retry should.")
        self._last_delivery = self._gauge(
            "receiver_last_delivery_timestamp_seconds", "Time of the last delivery that was taken in."
        )
        self.accepting = self._gauge("receiver_accepting", "1 while deliveries are taken in.")
        self._rejected = self._counter(
            "receiver_rejected_bodies",
            "Bodies like events whose signature matched no secret, by what became of them.",
            ["outcome"],
        )
        for outcome in REJECTED:
            self._rejected.labels(outcome)
        self._rejected_now = self._gauge(
            "receiver_rejected_bodies_now",
            "Bodies like events, whose signature matched no secret, that are kept now.",
        )
        self._rejected_bytes = self._gauge("receiver_rejected_bytes", "What these take on the disk, at most.")

    def _meter_writing(self) -> None:
        self.queue = self._gauge("receiver_queue_events", "Events that wait to be stored.")
        self._batch = self._histogram("receiver_batch_events", "Events in a commit.", buckets=_BATCH_BUCKETS)
        self._commit = self._histogram("receiver_commit_seconds", "Duration of a commit.", buckets=_COMMIT_BUCKETS)
        self.exclusive = self._histogram(
            "receiver_exclusive_seconds",
            "Duration of other writing work, during which deliveries wait.",
            buckets=_COMMIT_BUCKETS,
        )
        self.wal = self._gauge("receiver_wal_bytes", "Size of the write-ahead log.")
        self.quarantine = self._gauge("receiver_quarantine_bytes", "Size of unresolved quarantined bodies.")
        self._lost_lines = self._counter(
            "receiver_log_lines_lost",
            "Log lines that were not written, because nobody took them or the disk was full.",
        )

    def _meter_reconciliation(self) -> None:
        self._alarms = self._gauge("receiver_alarms", "Alarms that are not over, by what they are about.", ["code"])
        self._runs = self._counter(
            "receiver_reconcile_runs", "Comparisons with Leadterra by how they ended.", ["status"]
        )
        for status in RUNS:
            self._runs.labels(status)
        self._last_run = self._gauge(
            "receiver_reconcile_last_run_timestamp_seconds", "Time at which the last comparison ended."
        )
        self._missing = self._gauge(
            "receiver_missing_events",
            "Events that are known to be missing at the least, by figure and by whether they can still arrive.",
            ["figure", "state"],
        )
        self.unattributed = self._gauge(
            "receiver_bounced_unattributed", "Bounced messages that count in no campaign."
        )

    def _meter_clients(self) -> None:
        self.connections = self._gauge("receiver_connections", "Connections that are open.")
        self._connection_refusals = self._counter(
            "receiver_connections_refused",
            "Connections that were ended before their client was done, by why.",
            ["reason"],
        )

    def batch(self, events: int, seconds: float) -> None:
        self._batch.observe(events)
        self._commit.observe(seconds)

    def arrived(self, event: str, received_at: int) -> None:
        """A webhook of this type was taken in; perhaps one that came earlier than the last."""
        self.arrivals[event] = max(received_at, self.arrivals.get(event, 0))

    def came_late(self, events: int = 1) -> None:
        """Events came later than any retry should."""
        self.late_events += events
        self.late.inc(events)

    def refuse(self, outcome: str, now_ms: int, *, shaped: bool) -> None:
        """Count a refusal; `shaped` when it looked like the sender's."""
        self.delivery(outcome)
        if not shaped:
            return
        if outcome != "signature_invalid":
            self.refused += 1
        elif self.rejected is None:
            self.rejected = Rejected(1, now_ms)
        else:
            self.rejected.count += 1

    def refuse_connection(self, reason: str) -> None:
        """A connection was ended; `reason` is one of CONNECTION_REFUSALS. Folded in when it is read."""
        self._refusals[reason] += 1

    def rejected_body(self, outcome: str, count: int = 1) -> None:
        """Count what became of bodies that matched no secret (one of `REJECTED`)."""
        self._rejected.labels(outcome).inc(count)

    def show_rejected(self, bodies: int, size_bytes: int) -> None:
        """How many such bodies are kept now, and what they take on the disk."""
        self._rejected_now.set(bodies)
        self._rejected_bytes.set(size_bytes)

    def show_lost_lines(self, total: int) -> None:
        """How many log lines have been lost so far."""
        self._lost_lines.inc(max(0, total - self._lost_lines_told))
        self._lost_lines_told = total

    def show_alarms(self, counts: Mapping[str, int]) -> None:
        """How many alarms of each code are not over."""
        for code, count in counts.items():
            self._alarms.labels(code).set(count)

    def ran(self, status: str, ended_ms: int) -> None:
        """A comparison with Leadterra has ended."""
        self._runs.labels(status).inc()
        self._last_run.set(ended_ms / 1000)

    def show_missing(self, events: Mapping[tuple[str, str], float] | None) -> None:
        """Known losses by figure and state of their gaps; not a number while they cannot be read."""
        for figure in FIGURES:
            for state in GAP_STATES:
                count = math.nan if events is None else events.get((figure, state), 0)
                self._missing.labels(figure, state).set(count)

    def delivery(self, outcome: str) -> None:
        """Count an answer; folded into the counter when it is read, because this runs for every delivery."""
        self._outcomes[outcome] += 1

    def delivered(self, outcome: str, now_ms: int) -> None:
        """Count a delivery that was taken in."""
        self.delivery(outcome)
        self._last_delivery_ms = now_ms
        self.rejected = None

    def render(self) -> bytes:
        """The exposition text."""
        for outcome, count in self._outcomes.items():
            self._deliveries.labels(outcome).inc(count)
            self._outcomes[outcome] = 0
        for reason, count in self._refusals.items():
            self._connection_refusals.labels(reason).inc(count)
            self._refusals[reason] = 0
        self._last_delivery.set(self._last_delivery_ms / 1000)
        return generate_latest(self.registry)
