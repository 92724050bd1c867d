"""The service's own metrics, for Prometheus; no label ever comes from a payload."""

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
_COMMIT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_BATCH_BUCKETS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000)


class Meters:
    """Counts of one process, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._deliveries = Counter(
            "receiver_deliveries", "Deliveries by what was answered.", ["outcome"], registry=self.registry
        )
        self._commit = Histogram(
            "receiver_commit_seconds",
            "Duration of a commit.",
            buckets=_COMMIT_BUCKETS,
            registry=self.registry,
        )
        self._batch = Histogram(
            "receiver_batch_events", "Events in a commit.", buckets=_BATCH_BUCKETS, registry=self.registry
        )
        self.late = Counter(
            "receiver_late_deliveries",
            "Events that arrived later than any retry should.",
            registry=self.registry,
        )
        self.queue = Gauge("receiver_queue_events", "Events that wait to be stored.", registry=self.registry)
        self.wal = Gauge("receiver_wal_bytes", "Size of the write-ahead log.", registry=self.registry)
        self.accepting = Gauge("receiver_accepting", "1 while deliveries are taken in.", registry=self.registry)
        self.quarantine = Gauge(
            "receiver_quarantine_bytes", "Size of unresolved quarantined bodies.", registry=self.registry
        )
        self._last_delivery = Gauge(
            "receiver_last_delivery_timestamp_seconds",
            "Time of the last delivery that was taken in.",
            registry=self.registry,
        )
        self._outcomes = dict.fromkeys(OUTCOMES, 0)
        self._last_delivery_ms = 0

    def batch(self, events: int, seconds: float) -> None:
        self._batch.observe(events)
        self._commit.observe(seconds)

    def delivery(self, outcome: str) -> None:
        """Count an answer; folded into the counter when it is read, because this runs for every delivery."""
        self._outcomes[outcome] += 1

    def delivered(self, outcome: str, now_ms: int) -> None:
        """Count a delivery that was taken in."""
        self.delivery(outcome)
        self._last_delivery_ms = now_ms

    def render(self) -> bytes:
        """The exposition text."""
        for outcome, count in self._outcomes.items():
            self._deliveries.labels(outcome).inc(count)
            self._outcomes[outcome] = 0
        self._last_delivery.set(self._last_delivery_ms / 1000)
        return generate_latest(self.registry)
