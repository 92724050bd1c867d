"""Runs under load with nothing lost: no alarm, and the parts are the whole, whatever clock and lag Leadterra has.

A few by default; `TEST_ROUNDS=100 pytest -m slow …` asks for any number.
"""

import os
import random
from pathlib import Path
from typing import Any

import pytest

from receiver.reconcile.books import Run
from receiver.sandbox.faults import Rule
from receiver.sandbox.options import Habits
from tests.reconcile import checks
from tests.reconcile.world import MINUTE_MS, World, opened

ROUNDS = int(os.environ.get("TEST_ROUNDS", "100"))
LIVELY = Habits(0.1, 0.1, 0.5, 0.3, 0.3)
# Undetermined, the kindest meaning hides what a wrong sum would show.
PINS = {"message_sent_means": "sent", "bounced_means": "any"}
LAGS_S = (0, 20, 61, 150, 300)
SKEWS = (
    (),
    (Rule("clock_skew", amount=45),),
    (Rule("clock_skew", amount=-45),),
    (Rule("clock_skew", amount=45, varies=True),),
)


def lags(seconds: int, *, varies: bool) -> tuple[Rule, ...]:
    return (Rule("stats_lag", amount=seconds, varies=varies),) if seconds else ()


async def watched(world: World, runs: int) -> None:
    """So many runs, each looked at: nothing is missing, nothing alarms."""

    async def look(run: Run) -> None:
        found = (await checks.standings(world)).values()
        checks.add_up(found)
        for standing in found:
            assert [parts and parts["at_least"] for parts in standing.figures.values()] == [0, 0, 0], standing
            assert standing.status == "in_sync", standing
        assert await checks.alarms(world) == []
        assert run.status == "ok"

    world.after_run = look
    world.stride_ms = 3000
    before = len(world.runs)
    while len(world.runs) < before + runs:
        await world.advance(world.run_every_ms)


async def load(folder: Path, seed: int, faults: tuple[Rule, ...], runs: int) -> None:
    """Several campaigns that begin at different times, with bounces, replies and a queue."""
    chance = random.Random(seed)
    pins = PINS if seed % 2 == 0 else None
    options: dict[str, Any] = {"accounts": 3, "daily_capacity": 400, "habits": LIVELY, "faults": faults}
    async with opened(folder, reconcile=pins, seed=seed, **options) as world:
        world.run_every_ms = chance.choice([MINUTE_MS, 5 * MINUTE_MS]) + 17_000  # never at a minute's end alone
        share = runs // 4
        for number in range(3):
            await world.campaign(200, steps=2, name=f"c{number}", prefix=f"c{number}-", asked_first=number == 1)
            await watched(world, share)
        await watched(world, runs - 3 * share)


@pytest.mark.parametrize("skew", SKEWS, ids=["none", "ahead", "behind", "both"])
async def test_no_skew_and_no_lag_raises_an_alarm(tmp_path: Path, skew: tuple[Rule, ...]) -> None:
    await load(tmp_path, 2, (*skew, *lags(300, varies=True)), 16)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("skew", SKEWS, ids=["none", "ahead", "behind", "both"])
@pytest.mark.parametrize("lag_s", LAGS_S)
@pytest.mark.parametrize("varies", [False, True])
async def test_many_runs_raise_no_alarm(tmp_path: Path, skew: tuple[Rule, ...], lag_s: int, varies: bool) -> None:
    await load(tmp_path, lag_s, (*skew, *lags(lag_s, varies=varies)), ROUNDS)
