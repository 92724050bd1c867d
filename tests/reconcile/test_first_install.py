"""The receiver is installed while a campaign runs: what was before it is no loss, what is lost after it is.

A small campaign by default; `-m slow` tries one of 50,000 messages.
"""

from pathlib import Path

import pytest

from receiver.sandbox.faults import Rule
from receiver.sandbox.options import Habits
from tests.reconcile import checks
from tests.reconcile.checks import Overseer
from tests.reconcile.world import DAY_MS, HOUR_MS, World, opened

PINS = {"message_sent_means": "sent", "bounced_means": "any"}
HABITS = Habits(0.02, 0.01, 0.5, 0, 0.01)


async def old_campaign(world: World, leads: int) -> str:
    """A campaign that was long under way, and had its last message days ago, when the receiver comes up."""
    world.stride_ms = HOUR_MS
    campaign_id = await world.campaign(leads)
    await world.advance(4 * DAY_MS)
    world.sandbox.courier._later.clear()  # what may still be tried has nothing to do with this
    await world.up()
    world.stride_ms = 10_000
    return campaign_id


async def more(world: World, campaign_id: str, count: int, prefix: str) -> None:
    leads = [{"email": f"{prefix}{number}@example.org"} for number in range(count)]
    await world.leadterra("POST", f"/v1/campaigns/{campaign_id}/leads/bulk", {"leads": leads})


async def install(folder: Path, old: int) -> None:
    async with opened(folder, accounts=40, habits=HABITS, reconcile=PINS, installed=False) as world:
        campaign_id = await old_campaign(world, old)
        counters = world.sandbox.world.campaigns[campaign_id].counters
        before = counters.sent
        assert before >= old * 0.99
        world.after_run = look = Overseer(world)
        await world.run([campaign_id])
        assert (await checks.drift(world, campaign_id))["before_receiver"] == before
        await more(world, campaign_id, 300, "new")
        await world.advance(2 * HOUR_MS)
        found = await checks.drift(world, campaign_id)
        assert (found["before_receiver"], found["at_least"], found["unexplained"]) == (before, 0, 0)
        answer = await world.get(f"/v1/campaigns/{campaign_id}")
        assert answer["observed"]["sent"] == counters.sent - before > 250
        assert await checks.codes(world) == set()
        world.sandbox.plan.add(Rule("drop", event="message.sent", limit=11))
        await more(world, campaign_id, 50, "last")
        await world.advance(2 * HOUR_MS)
        found = await checks.drift(world, campaign_id)
        assert (found["before_receiver"], found["at_least"], found["unexplained"]) == (before, 11, 11)
        assert await checks.codes(world) == {"overdue"}
        assert look.runs > 40


async def test_old_messages_are_no_loss_and_later_ones_are(tmp_path: Path) -> None:
    await install(tmp_path, 400)


@pytest.mark.slow
@pytest.mark.timeout(3600)
async def test_fifty_thousand_old_messages_are_no_loss(tmp_path: Path) -> None:
    await install(tmp_path, 50_000)


async def test_installed_in_the_middle_of_sending_it_is_off_by_what_was_under_way(tmp_path: Path) -> None:
    async with opened(tmp_path, accounts=3, reconcile=PINS, installed=False) as world:
        world.stride_ms = 1000
        campaign_id = await world.campaign(1500)
        await world.advance(HOUR_MS)
        sent = world.sandbox.world.campaigns[campaign_id].counters.sent
        await world.up()
        await world.run([campaign_id])
        await world.advance(14 * HOUR_MS)
        found = await checks.drift(world, campaign_id)
        # What was refused while nobody was there comes by retry and was before us no more.
        given_up = len(checks.lost(world))
        assert given_up <= found["before_receiver"] <= given_up + 3
        assert sent > 400
        assert (found["at_least"], found["unexplained"]) == (0, 0)
        assert await checks.codes(world) == set()
