"""A receiver that was down for twenty hours says so: in what is lost, covered and settled, bucket by bucket."""

from pathlib import Path
from typing import Any

import pytest

from tests.reconcile.world import DAY_MS, HOUR_MS, START_MS, World, opened

LEADS = 40
BEGIN = "2025-06-11T00:00:00Z"


async def rows(world: World, query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await world.get(f"/v1/series?from={BEGIN}&{query}"))["data"]
    return found


def only(found: list[dict[str, Any]], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in names) for row in found]


async def outage(world: World, begin_ms: int, length_ms: int) -> str:
    """A campaign of two steps, a day apart, and a stretch without a receiver."""
    campaign = await world.campaign(LEADS, steps=2)
    await world.advance(begin_ms)
    await world.down()
    await world.advance(length_ms)
    await world.up()
    return campaign


async def explained(world: World, campaign: str) -> None:
    """The numbers that are explained are those that are shown."""
    shown = await world.get(f"/v1/campaigns/{campaign}")
    for figure in ("sent", "bounced", "replied"):
        found = await world.get(f"/v1/explain?figure={figure}&campaign_id={campaign}")
        assert found["counted"] == shown["observed"][figure]
        assert found["provider"] == {
            "value": shown["provider"][figure],
            "fetched_at": shown["provider"]["fetched_at"],
        }
        assert found["reconciled"] == shown["reconciled"][figure]


async def test_an_outage_of_twenty_hours_is_seen_in_every_bucket(tmp_path: Path) -> None:
    async with opened(tmp_path) as world:
        hit = await outage(world, 20 * HOUR_MS, 20 * HOUR_MS)
        await world.advance(HOUR_MS)
        other = await world.campaign(LEADS, prefix="other")
        await world.advance(START_MS + 3 * DAY_MS - world.clock.ms)

        days = await rows(world, f"campaign_id={hit}")
        assert only(days, "sent", "lost", "ended", "settled", "receiver_up", "coverage") == [
            (40, 40, True, False, 0.833333, 0.833333),
            (0, 0, True, False, 0.333333, 0.333333),
            (0, 0, True, False, 1.0, 1.0),
        ]
        truth = await world.leadterra("GET", f"/v1/campaigns/{hit}/stats")
        assert sum(row["sent"] + row["lost"] for row in days) == truth.get("stats", truth)["sent"] == 80

        hours = await rows(world, f"campaign_id={hit}&interval=hour")
        for number, row in enumerate(hours):
            down = 20 <= number < 40
            # A start takes a millisecond in this world, and shares are rounded down.
            assert row["receiver_up"] == pytest.approx(0.0 if down else 1.0, abs=2e-6)
            assert row["coverage"] == pytest.approx(0.0 if down else 1.0, abs=2e-6)
            assert row["settled"] is (number < 61 and not 20 <= number <= 40)
            assert row["lost"] == (40 if number == 20 else 0)

        apart = await rows(world, "group_by=campaign")
        spared = [row for row in apart if row["campaign_id"] == other]
        assert only(spared, "lost", "coverage", "receiver_up") == [
            (0, None, 0.833333), (0, 1.0, 0.333333), (0, 1.0, 1.0),
        ]  # fmt: skip
        assert [row for row in apart if row["campaign_id"] == hit] == [{**row, "campaign_id": hit} for row in days]
        together = await rows(world, "")
        assert only(together, "lost", "coverage") == only(days, "lost", "coverage")
        assert only(await rows(world, "group_by=step&figures=sent"), "lost", "coverage")[0] == (None, 0.833333)


async def test_a_gap_counts_for_the_figures_that_it_is_of(tmp_path: Path) -> None:
    async with opened(tmp_path) as world:
        await outage(world, 20 * HOUR_MS, 20 * HOUR_MS)
        await world.advance(30 * HOUR_MS)
        for figures, expected in (
            ("sent", 0.833333), ("contacted", 0.833333), ("accepted,replied", 0.833333), ("attempted", 0.833333),
            ("bounced,bounced_soft", 1.0), ("replied_human,replies", 1.0), ("starts", None),
        ):  # fmt: skip
            found = (await rows(world, f"figures={figures}"))[0]
            assert (found["coverage"], found["lost"]) == (expected, 40)
        found = (await rows(world, "figures=bounced,replied"))[0]
        assert (found["lost"], found["lost_bounced"], found["lost_replied"]) == (40, 0, 0)


async def test_what_a_retry_brings_is_never_lost_and_closes_its_gap_at_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as world:
        hit = await outage(world, 23 * HOUR_MS, 2 * HOUR_MS)
        await world.run()
        before = await rows(world, "interval=hour")
        assert only(before[23:25], "sent", "lost", "settled", "coverage") == [(0, 0, False, 0.0)] * 2
        await explained(world, hit)
        world.run_every_ms = 0
        await world.advance(6 * HOUR_MS)
        await explained(world, hit)
        after = await rows(world, "interval=hour")
        assert sum(row["sent"] for row in after) == 80
        assert {row["coverage"] for row in after} == {1.0}
