"""What tests look at in a world: how campaigns stand, gaps, alarms, and what truly was lost."""

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from receiver.reconcile.books import Run
from receiver.reconcile.standings import Standing
from receiver.reconcile.standings import standings as standings_of
from receiver.sandbox.delivery import Webhook
from receiver.sandbox.happenings import Happening
from tests.reconcile.world import World

PARTS = ("before_receiver", "definition", "skew", "quarantined", "settling", "not_accepting", "unexplained")
FIGURES = {"message.sent": "sent", "message.bounced": "bounced", "reply.received": "replied"}


async def standings(world: World) -> dict[str, Standing]:
    """How every campaign stands, by its id."""
    assert world.service is not None
    pins, now = world.service.reconciliation.pins, world.clock.now_ms()
    speed = world.clock.speed
    found = await world.service.database.readers.run(lambda conn: standings_of(conn, pins, now, speed))
    return {standing.campaign_id: standing for standing in found}


async def drift(world: World, campaign_id: str, figure: str = "sent") -> Mapping[str, int]:
    """One figure's parts."""
    found = (await standings(world))[campaign_id].figures[figure]
    assert found is not None
    return found


async def gaps(world: World, figure: str | None = None, *, closed: bool = False) -> list[dict[str, Any]]:
    """Gaps as stored, those still open unless `closed`; in order of their end."""
    found = await _rows(world, "SELECT * FROM gaps ORDER BY to_at")
    return [
        gap
        for gap in found
        if figure in (None, gap["figure"]) and (gap["state"] in ("healed", "superseded")) == closed
    ]


async def alarms(world: World) -> list[dict[str, Any]]:
    return await _rows(world, "SELECT * FROM alarms ORDER BY code, subject")


async def codes(world: World) -> set[str]:
    return {alarm["code"] for alarm in await alarms(world)}


async def _rows(world: World, sql: str) -> list[dict[str, Any]]:
    assert world.service is not None

    def read(conn: sqlite3.Connection) -> list[dict[str, Any]]:
        cursor = conn.execute(sql)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    return await world.service.database.readers.run(read)


def add_up(found: Iterable[Standing]) -> None:
    """The parts are the whole, for every figure of every campaign."""
    for standing in found:
        for figure, parts in standing.figures.items():
            if parts is not None:
                assert sum(parts[part] for part in PARTS) == parts["delta"], (standing.campaign_id, figure, parts)


def webhook(world: World) -> Webhook:
    return world.sandbox.courier.webhooks[0]


def lost(world: World) -> list[tuple[Happening, str]]:
    """Events that no try can bring any more, and why."""
    book = webhook(world).book
    found = ((happening, book.entry(happening)) for happening in world.sandbox.courier.happened)
    return [(happening, entry[0]) for happening, entry in found if entry is not None]


def count_lost(world: World) -> dict[str, int]:
    """How many of them a counter tells of, by figure."""
    counts = dict.fromkeys(FIGURES.values(), 0)
    for happening, _ in lost(world):
        if happening.event.value in FIGURES:
            counts[FIGURES[happening.event.value]] += 1
    return counts


@dataclass
class Overseer:
    """Looks after every run: the parts add up, and never is more missing than was lost."""

    world: World
    runs: int = 0

    async def __call__(self, run: Run) -> None:
        self.runs += 1
        found = (await standings(self.world)).values()
        add_up(found)
        truly = count_lost(self.world)
        for figure, count in truly.items():
            held = [parts for standing in found if (parts := standing.figures[figure]) is not None]
            assert sum(max(0, parts["unexplained"]) for parts in held) <= count
            assert sum(parts["at_least"] for parts in held) <= count
