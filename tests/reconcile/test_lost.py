"""Events that Leadterra counts and nobody delivers: found, counted exactly, and placed in time.

Small counts by default; `TEST_ROUNDS=1000 pytest -m slow …` asks for more.
"""

import os
import random
from pathlib import Path

import orjson
import pytest

from receiver.sandbox.faults import Rule
from receiver.sandbox.options import Habits
from receiver.sandbox.times import iso
from tests.reconcile import checks
from tests.reconcile.checks import FIGURES, Overseer
from tests.reconcile.world import HOUR_MS, MINUTE_MS, START_MS, World, opened

ROUNDS = int(os.environ.get("TEST_ROUNDS", "12"))
# Undetermined, a message on its way counts for one candidate and not for another, and is placed a snapshot later.
PINS = {"message_sent_means": "sent", "bounced_means": "any"}
NO_REPLIES = Rule("server_error", path="/v1/replies")
# What the campaign must be like for the event to happen to everybody.
HABITS = {
    "message.sent": Habits(0, 0, 0, 0, 0),
    "message.bounced": Habits(1, 0, 0, 0, 0),
    "reply.received": Habits(0, 0, 0, 0, 1),
}
KINDS = {"message.sent": None, "message.bounced": "hard", "reply.received": "first"}


def loss_of(event: str, count: int) -> Rule:
    return Rule("drop", event=event, kind=KINDS[event], limit=count)


async def until_quiet(world: World, figure: str, count: int) -> None:
    """Until a run that finds so many lost, and no event around."""
    happened = world.sandbox.courier.happened
    while True:
        await world.advance(5 * MINUTE_MS)
        planned = world.sandbox.next_ms()
        calm = planned is None or planned > world.clock.ms + 2 * MINUTE_MS
        calm = calm and happened[-1].at_ms < world.clock.ms - 17 * MINUTE_MS
        if calm and checks.count_lost(world)[figure] == count:
            await world.run()
            return


def true_losses(world: World, campaign_id: str) -> dict[str, int]:
    """What the counters hold and nobody can bring, by figure: of replies, leads none of whose replies came."""
    truth = world.sandbox.insight.truth([checks.webhook(world)])
    campaign = next(one for one in truth["campaigns"] if one["campaignId"] == campaign_id)
    return {figure: campaign["figures"][figure] - campaign["expected"][figure] for figure in FIGURES.values()}


async def placed(world: World, figure: str, count: int) -> None:
    """The gaps hold so many, and that many lost events lie in one; of replies, more may once have been a loss."""
    gaps = await checks.gaps(world, figure)
    events = [happening for happening, _ in checks.lost(world) if FIGURES.get(happening.event.value) == figure]
    inside = sum(any(gap["from_at"] <= event.at_ms <= gap["to_at"] for gap in gaps) for event in events)
    assert sum(gap["at_least"] for gap in gaps) == count
    assert inside == len(events) or (figure == "replied" and inside >= count)


async def lose(folder: Path, event: str, count: int, leads: int, pins: dict[str, str] | None = None) -> None:
    figure = FIGURES[event]
    faults = (NO_REPLIES, loss_of(event, count))
    async with opened(folder, habits=HABITS[event], faults=faults, reconcile=pins) as world:
        world.stride_ms = 10_000
        overseer = world.after_run = Overseer(world)
        campaign_id = await world.campaign(leads, asked_first=True)
        await until_quiet(world, figure, count)
        truly = true_losses(world, campaign_id)[figure]
        assert truly == count or (figure == "replied" and truly <= count)  # of whom another reply came
        found = await checks.drift(world, campaign_id, figure)
        assert (found["delta"], found["at_least"]) == (truly, truly)
        await placed(world, figure, truly)
        await world.advance(50 * MINUTE_MS)
        truly = true_losses(world, campaign_id)[figure]
        found = await checks.drift(world, campaign_id, figure)
        assert (found["unexplained"], found["at_least"]) == (truly, truly)
        assert overseer.runs > 12


@pytest.mark.parametrize("event", list(FIGURES))
@pytest.mark.parametrize("count", [1, 7])
async def test_what_was_lost_is_counted_exactly_and_placed_once_it_is_quiet(
    tmp_path: Path, event: str, count: int
) -> None:
    await lose(tmp_path, event, count, 60)


def mixture(chance: random.Random, most: int) -> tuple[Rule, ...]:
    """Some of everything is lost, sometimes."""
    return tuple(
        Rule("drop", event=event, kind=KINDS[event], limit=chance.randint(1, most), share=chance.uniform(0.05, 1))
        for event in FIGURES
        if chance.random() < 0.8
    )


async def lose_a_mixture(folder: Path, seed: int, most: int, leads: int) -> None:
    chance = random.Random(seed)
    faults = (NO_REPLIES, *mixture(chance, most))
    habits = Habits(chance.uniform(0, 0.5), chance.uniform(0, 0.2), 0.3, 0.3, chance.uniform(0, 0.5))
    async with opened(folder, habits=habits, faults=faults, reconcile=PINS, seed=seed) as world:
        world.stride_ms = 20_000
        world.after_run = Overseer(world)
        campaign_id = await world.campaign(leads, steps=2, asked_first=True)
        await world.advance(3 * HOUR_MS)
        world.run_every_ms = chance.choice([HOUR_MS, 2 * HOUR_MS + 7000])
        while world.sandbox.next_ms() is not None:
            await world.advance(5 * HOUR_MS)
        await world.advance(20 * MINUTE_MS)
        await world.run()
        truly = true_losses(world, campaign_id)
        found = (await checks.standings(world))[campaign_id].figures
        assert {figure: parts and parts["at_least"] for figure, parts in found.items()} == truly
        await world.advance(46 * MINUTE_MS)
        await world.run()
        found = (await checks.standings(world))[campaign_id].figures
        assert {figure: parts and parts["unexplained"] for figure, parts in found.items()} == truly


async def test_a_loss_stays_what_and_where_it_is_when_it_is_long_settled(tmp_path: Path) -> None:
    async with opened(tmp_path, faults=(loss_of("message.sent", 9),), reconcile=PINS) as world:
        world.stride_ms = 10_000
        campaign_id = await world.campaign(60, asked_first=True)
        await world.advance(HOUR_MS)
        before = [(gap["from_at"], gap["to_at"], gap["at_least"]) for gap in await checks.gaps(world)]
        world.run_every_ms = HOUR_MS
        await world.advance(30 * HOUR_MS)
        found = await checks.drift(world, campaign_id)
        assert (found["delta"], found["at_least"], found["unexplained"]) == (9, 9, 9)
        assert [(gap["from_at"], gap["to_at"], gap["at_least"]) for gap in await checks.gaps(world)] == before


async def test_what_waits_in_quarantine_explains_as_many_and_no_more(tmp_path: Path) -> None:
    async with opened(tmp_path, faults=(loss_of("message.sent", 5),), reconcile=PINS) as world:
        world.stride_ms = 10_000
        campaign_id = await world.campaign(60, asked_first=True)
        await world.advance(MINUTE_MS)
        body = orjson.dumps(
            {"event": "message.sent", "timestamp": iso(START_MS), "data": {"campaignId": campaign_id}}
        )
        for number in range(2):
            assert await world.deliver(body + b" " * number) == "quarantined"
        await world.advance(2 * HOUR_MS)
        found = await checks.drift(world, campaign_id)
        assert (found["quarantined"], found["unexplained"], found["at_least"], found["delta"]) == (2, 3, 5, 5)
        assert sum(gap["at_least"] for gap in await checks.gaps(world)) == 5
        checks.add_up((await checks.standings(world)).values())


@pytest.mark.parametrize("seed", [1, 2])
async def test_losses_of_all_kinds_at_once_are_told_apart(tmp_path: Path, seed: int) -> None:
    await lose_a_mixture(tmp_path, seed, 20, 60)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("event", list(FIGURES))
async def test_any_number_from_one_to_a_thousand_is_counted_exactly(tmp_path: Path, event: str) -> None:
    chance = random.Random(event)
    counts = [1, 2, 3, 5, 1000, *(round(10 ** chance.uniform(0, 3)) for _ in range(ROUNDS))][:ROUNDS]
    for number, count in enumerate(counts):
        folder = tmp_path / str(number)
        folder.mkdir()
        await lose(folder, event, count, count + chance.randint(0, 200), PINS)


@pytest.mark.slow
@pytest.mark.timeout(3600)
async def test_mixtures_of_any_size_are_told_apart(tmp_path: Path) -> None:
    for seed in range(ROUNDS):
        folder = tmp_path / str(seed)
        folder.mkdir()
        await lose_a_mixture(folder, seed, 300, 400)
