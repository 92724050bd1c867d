"""Time as the service sees it. Real time stands still or moves only as the test says."""

import time
from datetime import UTC, datetime

import pytest
import time_machine

from receiver.clock import SimulatedClock, SystemClock

REAL = datetime(2025, 6, 11, 9, 0, tzinfo=UTC)
REAL_MS = 1_749_632_400_000
HOUR_MS = 3_600_000


class Monotonic:
    """Stands in for the machine's monotonic clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, travel: time_machine.Traveller) -> None:
        self.ns = 77_000_000_000
        self._travel = travel
        monkeypatch.setattr(time, "monotonic_ns", lambda: self.ns)

    def pass_s(self, seconds: float) -> None:
        self.ns += int(seconds * 1_000_000_000)
        self._travel.shift(seconds)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, time_machine: time_machine.TimeMachineFixture) -> Monotonic:
    time_machine.move_to(REAL, tick=False)
    return Monotonic(monkeypatch, time_machine)  # type: ignore[arg-type] # the fixture shifts like a traveller


def test_the_system_clock_is_the_machines() -> None:
    clock = SystemClock()
    before = time.time_ns() // 1_000_000
    assert before <= clock.now_ms() <= before + 5000
    assert 0 <= clock.monotonic_ms() - time.monotonic_ns() // 1_000_000 <= 5000
    assert clock.speed == 1.0


@pytest.mark.usefixtures("machine")
def test_a_simulated_clock_begins_where_it_is_told_to() -> None:
    assert SimulatedClock(REAL_MS - HOUR_MS, 60).now_ms() == REAL_MS - HOUR_MS


def test_a_simulated_clock_runs_as_many_times_faster(machine: Monotonic) -> None:
    clock = SimulatedClock(REAL_MS - HOUR_MS, 60)
    began = clock.monotonic_ms()
    machine.pass_s(10)
    assert (clock.now_ms(), clock.speed) == (REAL_MS - HOUR_MS + 600_000, 60)
    assert clock.monotonic_ms() - began == 600_000


def test_a_simulated_clock_is_real_time_from_when_it_reaches_it(machine: Monotonic) -> None:
    clock = SimulatedClock(REAL_MS - 59_000, 60)  # caught up after one second
    began = clock.monotonic_ms()
    machine.pass_s(1)
    assert (clock.now_ms(), clock.speed) == (REAL_MS + 1000, 1.0)
    machine.pass_s(5)
    assert clock.now_ms() == REAL_MS + 6000
    assert clock.monotonic_ms() - began == 65_000


def test_a_simulated_clock_at_real_speed_stays_behind(machine: Monotonic) -> None:
    clock = SimulatedClock(REAL_MS - HOUR_MS, 1)
    machine.pass_s(3600)
    assert (clock.now_ms(), clock.speed) == (REAL_MS, 1)


def test_a_simulated_clock_that_begins_in_the_future_stays_ahead(machine: Monotonic) -> None:
    clock = SimulatedClock(REAL_MS + HOUR_MS, 2)
    machine.pass_s(10)
    assert (clock.now_ms(), clock.speed) == (REAL_MS + HOUR_MS + 20_000, 2)
