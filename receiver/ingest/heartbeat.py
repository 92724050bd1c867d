"""Knows when we accepted and when we refused: stretches that the writer commits along with its batches."""

from receiver.clock import Clock
from receiver.storage.deliveries import Refusals, Stretch

# At rest a commit every ten seconds proves that one works.
INTERVAL_MS = 10_000
# Longer than this without a commit that worked, and nobody can say that we would have accepted.
SILENCE_MAX_MS = 3 * INTERVAL_MS


class Heartbeat:
    """The present stretch of acceptance, measured by the monotonic clock, and the present run of refusals."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._started_at = 0
        self._began_ms = 0
        self._last_ms: int | None = None
        self._tried_ms: int | None = None
        self._last_speed = 1.0
        self._refusals: Refusals | None = None

    def stretch(self, *, stopped: bool = False) -> Stretch:
        """The stretch that a commit beginning now would prove."""
        monotonic_ms = self._clock.monotonic_ms()
        if not self.is_beating():
            self._started_at, self._began_ms = self._clock.now_ms(), monotonic_ms
        return Stretch(self._started_at, self._started_at + monotonic_ms - self._began_ms, stopped)

    def committed(self, *, accepted: bool, refusals: Refusals | None = None) -> None:
        """A commit worked. With `accepted` it took a delivery in, which ends the run of `refusals` written with it.

        What was refused while that commit was under way is a new run.
        """
        self._last_ms = self._tried_ms = self._clock.monotonic_ms()
        self._last_speed = self._clock.speed
        held = self._refusals
        if not accepted or held is None:
            return
        since = held.count - (refusals.count if refusals is not None else 0)
        self._refusals = Refusals(held.last_at, held.last_at, since) if since else None

    def is_beating(self) -> bool:
        """Whether the last commit worked and is not long ago, by the monotonic clock: whatever the time of day."""
        return self._is_recent(self._last_ms)

    def is_alive(self) -> bool:
        """Whether the last commit ended not long ago, even if it failed: a full disk heals without a restart."""
        return self._is_recent(self._tried_ms)

    def failed(self) -> None:
        """A commit failed: the stretch ended with the last one that worked."""
        self._last_ms = None
        self._tried_ms = self._clock.monotonic_ms()

    def refused(self) -> None:
        """Something shaped like the sender's was refused."""
        now = self._clock.now_ms()
        held = self._refusals
        self._refusals = Refusals(held.started_at, now, held.count + 1) if held else Refusals(now, now, 1)

    def refusals(self) -> Refusals | None:
        """The present run of refusals, to be written with the next commit."""
        return self._refusals

    def _is_recent(self, moment_ms: int | None) -> bool:
        # A simulated clock may have become a real one since.
        silence_max_ms = SILENCE_MAX_MS * max(1.0, self._clock.speed, self._last_speed)
        return moment_ms is not None and self._clock.monotonic_ms() - moment_ms <= silence_max_ms
