"""Two triggers at once, a clock that jumps by days, a stop in the middle: no double run, no false alarm."""

import asyncio
from pathlib import Path

import httpx
import pytest

from receiver.sandbox.faults import Rule
from receiver.sandbox.options import Habits
from tests.reconcile import checks
from tests.reconcile.world import DAY_MS, HOUR_MS, LEADTERRA, MINUTE_MS, World, opened

LIVELY = Habits(0.1, 0.1, 0.5, 0.3, 0.3)
PINS = {"message_sent_means": "sent", "bounced_means": "any"}


class Held(httpx.AsyncBaseTransport):
    """Answers so many calls, and the others when it is let go."""

    def __init__(self, world: World, free: int) -> None:
        self._inner = httpx.ASGITransport(world.sandbox.app)
        self._free = free
        self.calls = 0
        self.go = asyncio.Event()
        self.waits = asyncio.Event()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert str(request.url).startswith(LEADTERRA)
        self.calls += 1
        if self.calls > self._free:
            self.waits.set()
            await self.go.wait()
        return await self._inner.handle_async_request(request)


async def campaigns(world: World, count: int) -> list[str]:
    world.run_every_ms = 0
    world.stride_ms = 5000
    ids = [await world.campaign(5, name=f"c{number}", prefix=f"c{number}-") for number in range(count)]
    await world.advance(HOUR_MS)
    return ids


async def restarted(world: World, free: int) -> Held:
    """The receiver with Leadterra's answers held back."""
    held = Held(world, free)
    await world.down()
    world.leadterra_transport = held
    await world.up()
    return held


async def runs(world: World) -> list[tuple[str, str, int]]:
    return [
        (run["trigger"], run["status"], run["campaigns"])
        for run in await checks._rows(world, "SELECT * FROM runs ORDER BY id")
    ]


async def test_two_triggers_at_once_get_the_same_run(tmp_path: Path) -> None:
    async with opened(tmp_path) as world:
        ids = await campaigns(world, 4)
        held = await restarted(world, 2)
        before = len(await runs(world))
        both = [asyncio.create_task(world.reconciler.run(trigger)) for trigger in ("schedule", "api")]
        await held.waits.wait()
        third = await world.reconciler.start("cron", ids[:1])
        held.go.set()
        first, second = await asyncio.gather(*both)
        assert first is second is third
        assert held.calls == len(ids)
        assert (await runs(world))[before:] == [("schedule", "ok", len(ids))]


async def test_a_stop_in_the_middle_aborts_the_run_and_keeps_what_came(tmp_path: Path) -> None:
    async with opened(tmp_path) as world:
        ids = await campaigns(world, 10)
        held = await restarted(world, 5)
        running = asyncio.create_task(world.reconciler.run("schedule", ids))
        await held.waits.wait()
        await world.down()
        await asyncio.gather(running, return_exceptions=True)
        world.leadterra_transport = None
        await world.up()
        assert (await runs(world))[-1][1] == "aborted"
        assert len(await checks.standings(world)) <= 10
        await world.run(ids)
        assert {standing.status for standing in (await checks.standings(world)).values()} == {"in_sync"}


@pytest.mark.parametrize("days", [2, -2])
async def test_a_clock_that_jumps_alarms_nobody(tmp_path: Path, days: int) -> None:
    async with opened(tmp_path, habits=LIVELY, accounts=2) as world:
        world.stride_ms = 2000
        await world.campaign(1000, steps=2, asked_first=True)
        told = set()
        for off_days in (0, days, 0, days, 0):
            world.clock.off_ms = off_days * DAY_MS
            if days < 0 and off_days == 0:
                await asyncio.sleep(1.3)  # until what waited is looked at again: every real second
            for _ in range(6):
                await world.advance(4 * MINUTE_MS)
                await world.run()
                await world.tick()
                told |= await checks.codes(world)
                for standing in (await checks.standings(world)).values():
                    checks.add_up([standing])
                    # What lies more than a day ahead of our clock waits in quarantine.
                    assert standing.status == "in_sync" or (off_days < 0 and standing.status == "settling")
        assert told == set()


@pytest.mark.parametrize("hours", [48, -20])
async def test_with_a_wrong_clock_a_loss_is_still_found_and_told_in_its_time(tmp_path: Path, hours: int) -> None:
    async with opened(tmp_path, accounts=2, reconcile=PINS) as world:
        world.stride_ms = 2000
        campaign_id = await world.campaign(60, asked_first=True)
        await world.advance(3 * MINUTE_MS)
        world.sandbox.plan.add(Rule("drop", event="message.sent", limit=5))
        world.clock.off_ms = hours * HOUR_MS
        await world.advance(40 * MINUTE_MS)
        assert (await checks.drift(world, campaign_id))["settling"] == 5
        assert "missing" not in await checks.codes(world)
        await world.advance(HOUR_MS)
        assert (await checks.drift(world, campaign_id))["unexplained"] == 5
