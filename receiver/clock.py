"""Time as the service sees it: real, or simulated for demos and tests."""

import time
from typing import Protocol


class Clock(Protocol):
    """Where every "now" comes from."""

    @property
    def speed(self) -> float:
        """How many simulated seconds pass in a real one; 1.0 for real time."""

    def now_ms(self) -> int:
        """Epoch milliseconds, UTC; may jump when the machine's clock is set."""

    def monotonic_ms(self) -> int:
        """Milliseconds that never go back, at the same speed as `now_ms`; only differences mean something."""


# Goes on while the machine sleeps, where there is such a clock: a stretch of sleep is no stretch of acceptance.
_MONOTONIC = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class SystemClock:
    """The machine's clock."""

    speed = 1.0

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> int:
        return time.clock_gettime_ns(_MONOTONIC) // 1_000_000


class SimulatedClock:
    """Begins at `start_ms`, runs `speed` times as fast until it reaches real time, and is real time then."""

    def __init__(self, start_ms: int, speed: float) -> None:
        self._start_ms = start_ms
        self._factor = speed
        self._origin_ns = time.monotonic_ns()
        # Real time moves too: the simulated clock catches up after (gap / (speed - 1)) real milliseconds.
        gap_ms = time.time_ns() // 1_000_000 - start_ms
        self._catch_up_ms = gap_ms / (speed - 1) if speed > 1 and gap_ms > 0 else None

    @property
    def speed(self) -> float:
        return self._factor if self._simulating() else 1.0

    def now_ms(self) -> int:
        if not self._simulating():
            return time.time_ns() // 1_000_000
        return self._start_ms + int(self._real_ms() * self._factor)

    def monotonic_ms(self) -> int:
        real_ms = self._real_ms()
        if self._catch_up_ms is None or real_ms < self._catch_up_ms:
            return int(real_ms * self._factor)
        return int(self._catch_up_ms * self._factor + real_ms - self._catch_up_ms)

    def _real_ms(self) -> float:
        return (time.monotonic_ns() - self._origin_ns) / 1_000_000

    def _simulating(self) -> bool:
        return self._catch_up_ms is None or self._real_ms() < self._catch_up_ms
