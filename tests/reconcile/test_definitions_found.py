"""What Leadterra's counters mean is found out from quiet nights, whatever they mean, and no outage fools it.

Few leads over eight simulated days by default; `-m slow` adds seeds (`TEST_ROUNDS`).
"""

import os
import random
from pathlib import Path
from typing import Any

import pytest

from receiver.reconcile import cases
from receiver.reconcile.books import Run
from receiver.sandbox.faults import Rule
from receiver.sandbox.options import BouncedMeans, Habits, SentMeans
from tests.reconcile import checks
from tests.reconcile.world import DAY_MS, HOUR_MS, MINUTE_MS, World, opened

ROUNDS = min(int(os.environ.get("TEST_ROUNDS", "10")), 20)
HABITS = Habits(0.2, 0.3, 0, 0, 0.1)
CAMPAIGNS = 5
# Under one reading a message that bounces is never announced as sent.
RIGHT = {"submitted": {"sent"}, "delivered": {"delivered"}}


async def found(world: World) -> dict[str, str | None]:
    assert world.service is not None
    pins = world.service.reconciliation.pins
    return await world.service.database.readers.run(lambda conn: cases.definitions(conn, pins))


class Look:
    """After every run: nothing is said to be missing, and no meaning is believed that is wrong."""

    def __init__(self, world: World, right: dict[str, set[str]]) -> None:
        self.world = world
        self.right = right

    async def __call__(self, run: Run) -> None:
        standings = (await checks.standings(self.world)).values()
        checks.add_up(standings)
        assert [standing for standing in standings if standing.status in ("missing", "surplus")] == []
        assert await checks.codes(self.world) <= {"still_expected"}
        for figure, name in (await found(self.world)).items():
            assert name is None or figure not in self.right or name in self.right[figure], (figure, name)


async def busy_days(world: World, chance: random.Random, days: int, prefix: str) -> None:
    """Every morning some campaigns get leads; the nights are quiet."""
    ids = list(world.sandbox.world.campaigns)
    for day in range(days):
        for campaign_id in ids:
            leads = [
                {"email": f"{prefix}{day}-{campaign_id}-{number}@example.org"}
                for number in range(chance.randint(3, 6))
            ]
            await world.leadterra("POST", f"/v1/campaigns/{campaign_id}/leads/bulk", {"leads": leads})
        await world.advance(DAY_MS)


async def find_out(folder: Path, sent: SentMeans, bounced: BouncedMeans, seed: int = 1) -> None:
    options: dict[str, Any] = {"message_sent_means": sent, "bounced_means": bounced, "habits": HABITS, "seed": seed}
    async with opened(folder, accounts=2, **options) as world:
        world.run_every_ms = 2 * HOUR_MS
        world.stride_ms = 5 * MINUTE_MS
        right: dict[str, set[str]] = {"bounced": {bounced}, "sent": set(RIGHT[sent])}
        if (sent, bounced) == ("submitted", "any"):
            right["sent"].add("delivered+bounced")  # the same sum
        world.after_run = Look(world, right)
        for number in range(CAMPAIGNS):
            await world.campaign(5, name=f"c{number}", prefix=f"c{number}-", asked_first=True)
        await busy_days(world, random.Random(seed), 8, "day")
        known = await found(world)
        assert known["bounced"] == bounced
        assert known["sent"] in right["sent"]


@pytest.mark.parametrize(("sent", "bounced"), [("submitted", "hard"), ("delivered", "any")])
async def test_meanings_are_found_out(tmp_path: Path, sent: SentMeans, bounced: BouncedMeans) -> None:
    await find_out(tmp_path, sent, bounced)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("sent", ["submitted", "delivered"])
@pytest.mark.parametrize("bounced", ["any", "hard"])
async def test_every_combination_is_found_of_meanings_is_found(
    tmp_path: Path, sent: SentMeans, bounced: BouncedMeans
) -> None:
    for seed in range(ROUNDS):
        folder = tmp_path / str(seed)
        folder.mkdir()
        await find_out(folder, sent, bounced, seed)


async def test_outages_that_lose_as_many_sends_as_there_are_bounces_fool_nobody(tmp_path: Path) -> None:
    """Lost sends look like a counter of deliveries: `sent` less what was lost is `delivered`, day by day."""
    async with opened(tmp_path, accounts=2, habits=Habits(0.3, 0, 0, 0, 0)) as world:
        world.run_every_ms = 2 * HOUR_MS
        world.stride_ms = 5 * MINUTE_MS
        for number in range(CAMPAIGNS):
            await world.campaign(5, name=f"c{number}", prefix=f"c{number}-", asked_first=True)
        outages = []
        for day in range(7):
            world.run_every_ms = 0  # one interval holds the bounces and the outage
            for campaign_id in list(world.sandbox.world.campaigns):
                before = world.sandbox.world.campaigns[campaign_id].counters.bounced_hard
                await more(world, campaign_id, f"up{day}", 5)
                await world.advance(HOUR_MS)
                bounces = world.sandbox.world.campaigns[campaign_id].counters.bounced_hard - before
                outages.append(world.clock.ms)
                await lose_sends(world, campaign_id, day, bounces)
            world.run_every_ms = 2 * HOUR_MS
            await world.advance(12 * HOUR_MS)
        assert len([reason for _, reason in checks.lost(world) if reason == "drop"]) > 25
        assert (await found(world))["sent"] in (None, "sent", "delivered+bounced")
        intervals = await checks._rows(world, "SELECT from_at, to_at FROM evidence WHERE figure = 'sent'")
        assert not any(row["from_at"] < at < row["to_at"] for row in intervals for at in outages[1:])


async def more(world: World, campaign_id: str, prefix: str, count: int) -> None:
    leads = [{"email": f"{prefix}-{campaign_id}-{number}@example.org"} for number in range(count)]
    await world.leadterra("POST", f"/v1/campaigns/{campaign_id}/leads/bulk", {"leads": leads})


async def lose_sends(world: World, campaign_id: str, day: int, count: int) -> None:
    """An outage of half an hour in which so many messages are sent, and nobody tries them again."""
    if not count:
        return
    from_s = world.sandbox.plan.seconds_at(world.clock.ms)
    rule = Rule("drop", event="message.sent", campaign=campaign_id, from_s=from_s, to_s=from_s + 1800, limit=count)
    world.sandbox.plan.add(rule)
    await world.down()
    await more(world, campaign_id, f"down{day}", count)
    await world.advance(30 * MINUTE_MS)
    await world.up()
