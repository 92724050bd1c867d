"""Outages of up to half a day: what they delay is never called lost, what they lose is counted and explained.

Few by default; `TEST_ROUNDS=50 pytest -m slow …` asks for any number.
"""

import os
import random
from dataclasses import dataclass
from pathlib import Path

import pytest

from receiver.reconcile.books import Run
from receiver.sandbox.faults import Rule
from receiver.sandbox.options import Habits, Schedule
from tests.reconcile import checks
from tests.reconcile.world import HOUR_MS, MINUTE_MS, World, opened

ROUNDS = int(os.environ.get("TEST_ROUNDS", "50"))
HABITS = Habits(0.08, 0, 0, 0, 0.02)
PINS = {"message_sent_means": "sent", "bounced_means": "any"}
ANSWERED_FOR_MS = 8 * HOUR_MS
LATEST_MS = 10 * HOUR_MS + 51 * MINUTE_MS
SECOND_MS = 1000


@dataclass
class Outage:
    """One world with one busy campaign and one outage."""

    world: World
    campaign_id: str
    length_ms: int
    sleepy: bool
    first_after_ms: int = 0

    async def nothing_is_lost(self, run: Run) -> None:
        """While everything may still come, and after it did."""
        for standing in (await checks.standings(self.world)).values():
            checks.add_up([standing])
            for figure, parts in standing.figures.items():
                assert parts is not None
                assert (parts["not_accepting"], parts["unexplained"]) == (0, 0), (figure, parts, run)
        assert {gap["state"] for gap in await checks.gaps(self.world)} <= {"settling"}
        assert await checks.codes(self.world) <= {"still_expected"}

    async def add_up(self, run: Run) -> None:
        checks.add_up((await checks.standings(self.world)).values())
        settled = self.world.clock.ms - self.first_after_ms > LATEST_MS
        assert settled or "missing" not in {gap["state"] for gap in await checks.gaps(self.world)}, run

    async def happen(self) -> None:
        world = self.world
        await world.down()
        await self.pass_busy(self.length_ms)
        world.after_run = self.nothing_is_lost if self.length_ms <= ANSWERED_FOR_MS else self.add_up
        self.first_after_ms = world.clock.ms
        await world.up()
        await self.pass_busy(LATEST_MS + 1)
        await world.run()

    async def pass_busy(self, ms: int) -> None:
        """Let time pass; with `sleepy` the campaign sends in its first and last half hour only."""
        if self.sleepy and ms > HOUR_MS:
            path = f"/v1/campaigns/{self.campaign_id}"
            await self.world.advance(HOUR_MS // 2)
            await self.world.leadterra("POST", f"{path}/pause")
            await self.world.advance(ms - HOUR_MS)
            await self.world.leadterra("POST", f"{path}/start")
            ms = HOUR_MS // 2
        await self.world.advance(ms)

    def given_up(self, figure: str) -> list[int]:
        """When the events that all tries failed for happened."""
        return [
            happening.at_ms
            for happening, reason in checks.lost(self.world)
            if reason == "gave_up" and checks.FIGURES.get(happening.event.value) == figure
        ]

    async def all_healed(self) -> None:
        assert checks.lost(self.world) == []
        assert await checks.gaps(self.world) == []
        figures = (await checks.standings(self.world))[self.campaign_id].figures
        assert [parts and parts["at_least"] for parts in figures.values()] == [0, 0, 0]

    async def all_counted(self, figure: str) -> None:
        """But for what happened near the snapshots, which is one or two minutes' worth of a busy campaign."""
        lost = len(self.given_up(figure))
        found = await checks.drift(self.world, self.campaign_id, figure)
        assert lost - self.at_once(figure) <= found["at_least"] <= lost
        # What a later snapshot added, when fewer happened around it, is settled as much later.
        assert lost - 2 * self.at_once(figure) <= found["not_accepting"]
        assert found["not_accepting"] + found["settling"] == found["at_least"]
        assert found["unexplained"] == 0

    def at_once(self, figure: str) -> int:
        """The most events of two minutes."""
        times = sorted(
            happening.at_ms
            for happening in self.world.sandbox.courier.happened
            if checks.FIGURES.get(happening.event.value) == figure
        )
        return max(sum(at <= other < at + 2 * MINUTE_MS for other in times[n : n + 50]) for n, at in enumerate(times))


async def endure(folder: Path, schedule: Schedule, length_ms: int, seed: int = 1, *, sleepy: bool = False) -> Outage:
    chance = random.Random(seed)
    async with opened(folder, retry_schedule=schedule, accounts=1, habits=HABITS, reconcile=PINS, seed=seed) as world:
        world.stride_ms = 15_000
        campaign_id = await world.campaign(5000, asked_first=True)
        await world.advance(chance.randint(10 * MINUTE_MS, 90 * MINUTE_MS))
        outage = Outage(world, campaign_id, length_ms, sleepy)
        await outage.happen()
        if length_ms <= ANSWERED_FOR_MS:
            await outage.all_healed()
        else:
            await outage.all_counted("sent")
            await outage.all_counted("bounced")
    return outage


@pytest.mark.parametrize("schedule", ["cumulative", "absolute"])
async def test_after_eight_hours_everything_still_comes(tmp_path: Path, schedule: Schedule) -> None:
    await endure(tmp_path, schedule, ANSWERED_FOR_MS, sleepy=True)


@pytest.mark.parametrize(("schedule", "hours"), [("cumulative", 12), ("absolute", 9)])
async def test_what_a_longer_outage_loses_is_counted_and_laid_to_it(
    tmp_path: Path, schedule: Schedule, hours: int
) -> None:
    outage = await endure(tmp_path, schedule, hours * HOUR_MS, sleepy=True)
    assert len(outage.given_up("sent")) > 50


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("schedule", ["cumulative", "absolute"])
async def test_outages_of_any_length(tmp_path: Path, schedule: Schedule) -> None:
    chance = random.Random(schedule)
    for seed in range(ROUNDS):
        folder = tmp_path / str(seed)
        folder.mkdir()
        await endure(folder, schedule, chance.randint(SECOND_MS, 12 * HOUR_MS), seed)


@pytest.mark.parametrize("minutes", [5, 479])
async def test_an_outage_of_less_than_eight_hours_explains_nothing(tmp_path: Path, minutes: int) -> None:
    async with opened(tmp_path, accounts=1, reconcile=PINS) as world:
        world.stride_ms = 15_000
        campaign_id = await world.campaign(300 + 3 * minutes, asked_first=True)
        await world.advance(30 * MINUTE_MS)
        from_s = world.sandbox.plan.seconds_at(world.clock.ms)
        world.sandbox.plan.add(Rule("drop", event="message.sent", from_s=from_s, to_s=from_s + 60 * minutes))
        await world.down()
        await world.advance(minutes * MINUTE_MS)
        await world.up()
        count = len(checks.lost(world))
        await world.advance(4 * HOUR_MS)
        assert (await checks.drift(world, campaign_id))["settling"] == count > 5
        await world.advance(11 * HOUR_MS)
        found = await checks.drift(world, campaign_id)
        assert (found["unexplained"], found["not_accepting"], found["settling"]) == (count, 0, 0)
        assert "missing" in await checks.codes(world)
