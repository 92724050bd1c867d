"""What an operator is told while things go wrong, and when it is over."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from receiver.sandbox.faults import Rule
from receiver.sandbox.options import Habits
from tests.reconcile import checks
from tests.reconcile.checks import FIGURES
from tests.reconcile.world import DAY_MS, HOUR_MS, MINUTE_MS, SECRET, World, opened

LIVELY = Habits(0.3, 0, 0, 0, 1)
PINS = {"message_sent_means": "sent", "bounced_means": "any"}


async def alarm(world: World, code: str) -> dict[str, Any] | None:
    return next((found for found in await checks.alarms(world) if found["code"] == code), None)


def until(world: World, minutes: float) -> float:
    """A time from now, as rules have it."""
    return world.sandbox.plan.seconds_at(world.clock.ms) + 60 * minutes


async def secret_is(world: World, secret: str) -> None:
    """From now on Leadterra signs with this one."""
    world.sandbox.plan.add(Rule("rotate_secret", from_s=until(world, 0), secret=secret))


@pytest.mark.parametrize("dead", list(FIGURES))
async def test_a_type_of_event_that_never_comes_is_told_within_an_interval(tmp_path: Path, dead: str) -> None:
    async with opened(tmp_path, habits=LIVELY, reconcile=PINS, accounts=5) as world:
        webhook = checks.webhook(world)
        webhook.events = tuple(event for event in webhook.events if event != dead)
        world.stride_ms = 5000
        campaign_id = await world.campaign(400, asked_first=True)
        while sum(h.event.value == dead for h in world.sandbox.courier.happened) < 3:
            await world.advance(MINUTE_MS)
        await world.advance(5 * MINUTE_MS)
        await world.run()
        await world.advance(MINUTE_MS)
        await world.tick()
        told = [found for found in await checks.alarms(world) if found["code"] == "dead_subscription"]
        assert [found["subject"] for found in told] == [dead]
        assert f"no '{dead}' webhook came" in told[0]["detail"]
        webhook.events = (*webhook.events, dead)
        await world.leadterra("POST", f"/v1/campaigns/{campaign_id}/leads/bulk", {"leads": leads(300)})
        await world.advance(90 * MINUTE_MS)
        assert await alarm(world, "dead_subscription") is None


def leads(count: int) -> list[dict[str, str]]:
    return [{"email": f"late{number}@example.org"} for number in range(count)]


async def test_quiet_campaigns_tell_of_no_dead_subscription(tmp_path: Path) -> None:
    async with opened(tmp_path, accounts=5) as world:
        world.stride_ms = 20_000
        await world.campaign(30, asked_first=True)
        world.run_every_ms = HOUR_MS
        await world.advance(3 * DAY_MS)
        await world.tick()
        assert await checks.alarms(world) == []


async def test_a_wrong_secret_is_told_and_over_after_three_clean_runs(tmp_path: Path) -> None:
    async with opened(tmp_path, accounts=2, reconcile=PINS) as world:
        world.stride_ms = 1000
        await world.campaign(600, asked_first=True)
        await world.advance(10 * MINUTE_MS)
        assert await checks.alarms(world) == []
        await secret_is(world, "whsec_other")
        await world.advance(5 * MINUTE_MS)
        await world.run()
        assert await alarm(world, "wrong_secret") is not None
        await secret_is(world, SECRET)
        await world.advance(30_000)
        for clean in (1, 2):
            await world.run()
            found = await alarm(world, "wrong_secret")
            assert found is not None
            assert found["clean_runs"] == clean
        await world.run()
        assert await alarm(world, "wrong_secret") is None


async def test_while_everything_is_refused_the_loss_is_counted_down(tmp_path: Path) -> None:
    async with opened(tmp_path, accounts=2, reconcile=PINS) as world:
        world.stride_ms = 1000
        await world.campaign(2000, asked_first=True)
        await world.advance(2 * MINUTE_MS)
        await secret_is(world, "whsec_other")
        begun = world.clock.ms
        await world.advance(12 * MINUTE_MS)
        await world.tick()
        found = await alarm(world, "not_accepting")
        assert found is not None
        assert found["detail"] == (
            "Nothing is accepted since 2025-06-11 00:02: "
            "events from 00:02 are lost from 08:02 on, at the latest 10:38."
        )
        assert 0 <= found["deadline"] - begun - 8 * HOUR_MS < MINUTE_MS
        assert await alarm(world, "still_expected") is None
        await secret_is(world, SECRET)
        await world.advance(30 * MINUTE_MS)
        assert await alarm(world, "not_accepting") is None
        assert await alarm(world, "still_expected") is not None


async def test_what_cannot_be_stored_is_told_all_the_same_and_once(tmp_path: Path) -> None:
    async with opened(tmp_path, accounts=2, reconcile=PINS) as world:
        world.run_every_ms = 0
        await world.campaign(100, asked_first=True)
        await secret_is(world, "whsec_other")
        await world.advance(2 * MINUTE_MS)
        with (
            closing(sqlite3.connect(world.settings.database_path, isolation_level=None)) as other,
            capture_logs() as logs,
        ):
            other.execute("BEGIN IMMEDIATE")
            await world.tick()
            await world.tick()
            other.execute("ROLLBACK")
            assert await checks.codes(world) == set()
            await world.tick()
        assert await checks.codes(world) >= {"wrong_secret", "not_accepting"}
        assert sorted(entry["code"] for entry in logs if entry["event"] == "alarm") == [
            "not_accepting",
            "wrong_secret",
        ]


async def test_after_a_restart_it_says_what_is_still_expected_until_when(tmp_path: Path) -> None:
    async with opened(tmp_path, accounts=2, reconcile=PINS) as world:
        world.stride_ms = 1000
        await world.campaign(100, asked_first=True)
        await world.advance(2 * MINUTE_MS)
        await world.down()
        await world.advance(10 * MINUTE_MS)
        await world.up()
        await world.run()
        found = await alarm(world, "still_expected")
        assert found is not None
        assert found["detail"] == (
            "Nothing was accepted between 2025-06-11 00:02 and 2025-06-11 00:12; "
            "what was refused may still come until 2025-06-11 00:42."
        )
        await world.advance(2 * HOUR_MS)
        assert await checks.alarms(world) == []


async def test_an_alarm_of_missing_events_is_over_after_three_clean_runs(tmp_path: Path) -> None:
    async with opened(tmp_path, reconcile=PINS) as world:
        world.sandbox.plan.add(Rule("delay", event="message.sent", amount=3 * 3600, limit=4))
        world.stride_ms = 5000
        await world.campaign(30, asked_first=True)
        await world.advance(2 * HOUR_MS)
        assert await checks.codes(world) == {"overdue"}
        await world.advance(HOUR_MS)
        seen = [(await alarm(world, "overdue") or {}).get("clean_runs")]
        for _ in range(4):
            await world.run()
            seen.append((await alarm(world, "overdue") or {}).get("clean_runs"))
        assert seen[-4:] == [1, 2, None, None] or seen[-4:] == [2, None, None, None]
        assert {gap["state"] for gap in await checks.gaps(world, closed=True)} == {"healed"}
