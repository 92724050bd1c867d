"""Stretches of acceptance and runs of refusals, by a clock that the test moves."""

import pytest

from receiver.ingest.heartbeat import Heartbeat
from receiver.storage.deliveries import Refusals, Stretch

NOW = 1_749_634_200_000


class Clock:
    """Wall clock and monotonic clock, each moved by hand."""

    def __init__(self, speed: float = 1.0) -> None:
        self.speed = speed
        self.wall = NOW
        self.monotonic = 5_000

    def now_ms(self) -> int:
        return self.wall

    def monotonic_ms(self) -> int:
        return self.monotonic

    def pass_ms(self, duration: int) -> None:
        self.wall += duration
        self.monotonic += duration


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def heartbeat(clock: Clock) -> Heartbeat:
    return Heartbeat(clock)


def beat(heartbeat: Heartbeat, *, accepted: bool = False) -> Stretch:
    stretch = heartbeat.stretch()
    heartbeat.committed(accepted=accepted, refusals=heartbeat.refusals())
    return stretch


def test_a_stretch_begins_with_the_first_commit(heartbeat: Heartbeat) -> None:
    assert beat(heartbeat) == Stretch(NOW, NOW, stopped=False)


def test_a_stretch_grows_with_every_commit(heartbeat: Heartbeat, clock: Clock) -> None:
    beat(heartbeat)
    clock.pass_ms(10_000)
    assert beat(heartbeat) == Stretch(NOW, NOW + 10_000)
    clock.pass_ms(30_000)
    assert beat(heartbeat) == Stretch(NOW, NOW + 40_000)


def test_a_silence_of_more_than_three_heartbeats_ends_a_stretch(heartbeat: Heartbeat, clock: Clock) -> None:
    beat(heartbeat)
    clock.pass_ms(30_001)
    assert beat(heartbeat) == Stretch(NOW + 30_001, NOW + 30_001)


def test_a_failed_commit_ends_a_stretch(heartbeat: Heartbeat, clock: Clock) -> None:
    beat(heartbeat)
    clock.pass_ms(1000)
    heartbeat.failed()
    clock.pass_ms(1000)
    assert heartbeat.stretch() == Stretch(NOW + 2000, NOW + 2000)
    clock.pass_ms(1000)
    assert beat(heartbeat) == Stretch(NOW + 3000, NOW + 3000)


def test_a_stretch_that_no_commit_proved_is_not_continued(heartbeat: Heartbeat, clock: Clock) -> None:
    heartbeat.stretch()
    clock.pass_ms(1000)
    assert beat(heartbeat) == Stretch(NOW + 1000, NOW + 1000)


@pytest.mark.parametrize("jump", [-3_600_000, 3_600_000])
def test_a_clock_that_jumps_neither_ends_nor_stretches_a_stretch(
    heartbeat: Heartbeat, clock: Clock, jump: int
) -> None:
    beat(heartbeat)
    clock.pass_ms(10_000)
    clock.wall += jump
    assert beat(heartbeat) == Stretch(NOW, NOW + 10_000)


def test_a_clean_stop_is_marked(heartbeat: Heartbeat, clock: Clock) -> None:
    beat(heartbeat)
    clock.pass_ms(4000)
    assert heartbeat.stretch(stopped=True) == Stretch(NOW, NOW + 4000, stopped=True)


def test_at_a_thousandfold_speed_the_silence_may_last_as_many_times_longer() -> None:
    clock = Clock(speed=1000)
    heartbeat = Heartbeat(clock)
    beat(heartbeat)
    clock.pass_ms(30_000_000)
    assert beat(heartbeat) == Stretch(NOW, NOW + 30_000_000)
    clock.pass_ms(30_000_001)
    assert beat(heartbeat).started_at == NOW + 60_000_001


def test_below_real_speed_the_silence_lasts_no_shorter() -> None:
    clock = Clock(speed=0.1)
    heartbeat = Heartbeat(clock)
    beat(heartbeat)
    clock.pass_ms(30_000)
    assert beat(heartbeat).started_at == NOW


def test_refusals_in_a_row_are_one_run(heartbeat: Heartbeat, clock: Clock) -> None:
    assert heartbeat.refusals() is None
    for _ in range(3):
        heartbeat.refused()
        clock.pass_ms(60_000)
    assert heartbeat.refusals() == Refusals(NOW, NOW + 120_000, 3)


def test_a_heartbeat_does_not_end_a_run_of_refusals(heartbeat: Heartbeat) -> None:
    heartbeat.refused()
    beat(heartbeat)
    assert heartbeat.refusals() == Refusals(NOW, NOW, 1)


def test_a_refusal_during_a_commit_begins_a_new_run(heartbeat: Heartbeat, clock: Clock) -> None:
    heartbeat.refused()
    written = heartbeat.refusals()
    clock.pass_ms(60_000)
    heartbeat.refused()
    heartbeat.committed(accepted=True, refusals=written)
    assert heartbeat.refusals() == Refusals(NOW + 60_000, NOW + 60_000, 1)


def test_a_delivery_taken_in_ends_a_run_of_refusals(heartbeat: Heartbeat, clock: Clock) -> None:
    heartbeat.refused()
    beat(heartbeat, accepted=True)
    assert heartbeat.refusals() is None
    clock.pass_ms(5)
    heartbeat.refused()
    assert heartbeat.refusals() == Refusals(NOW + 5, NOW + 5, 1)


def test_a_failed_commit_keeps_the_run_of_refusals(heartbeat: Heartbeat) -> None:
    heartbeat.refused()
    heartbeat.failed()
    assert heartbeat.refusals() == Refusals(NOW, NOW, 1)


def test_a_writer_that_has_not_begun_is_not_alive(heartbeat: Heartbeat) -> None:
    assert not heartbeat.is_alive()


def test_a_commit_that_fails_is_a_sign_of_life_too(heartbeat: Heartbeat, clock: Clock) -> None:
    beat(heartbeat)
    clock.pass_ms(20_000)
    heartbeat.failed()
    clock.pass_ms(30_000)
    assert (heartbeat.is_beating(), heartbeat.is_alive()) == (False, True)


def test_after_a_silence_of_more_than_three_heartbeats_the_writer_is_not_alive(
    heartbeat: Heartbeat, clock: Clock
) -> None:
    beat(heartbeat)
    clock.pass_ms(30_001)
    assert not heartbeat.is_alive()
