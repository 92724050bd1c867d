"""The clock that the settings ask for."""

from receiver.clock import Clock, SimulatedClock, SystemClock
from receiver.settings.models import Settings


def clock_of(settings: Settings) -> Clock:
    """The machine's clock, or a simulated one that starts now."""
    start_ms = settings.clock.start_ms
    return SystemClock() if start_ms is None else SimulatedClock(start_ms, settings.clock.speed)
