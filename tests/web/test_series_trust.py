"""How far the buckets of a series can be trusted, where gaps of several campaigns, figures and states overlap."""

from typing import Any

import pytest

from tests.web.conftest import NOW, Api, sent
from tests.web.test_series import only, rows

HOUR_MS = 3_600_000
BEGIN = NOW - 30 * 60_000  # 2025-06-11T09:00:00Z
DAY = "from=2025-06-11T09:00:00Z&to=2025-06-11T13:00:00Z&interval=hour"


async def gap(api: Api, campaign: int, figure: str, hours: tuple[float, float], at_least: int, state: str) -> None:
    """A gap from so many hours after nine until so many."""
    begin, end = (BEGIN + round(hour * HOUR_MS) for hour in hours)
    text = "INSERT INTO gaps VALUES (?, ?, ?, 'unexplained', ?, ?, ?)"
    values = (campaign, figure, end, begin, at_least, state)
    await api.service.database.store.transact(lambda conn: conn.execute(text, values))


@pytest.fixture
async def torn(api: Api) -> Api:
    """Campaigns a and b, asked since nine, a day ago."""
    await api.post(sent("m1", campaign="a"), sent("m2", campaign="b", step=2))
    text = "INSERT INTO baselines (campaign, at, counters) VALUES (1, :at, '{}'), (2, :at, '{}')"
    await api.service.database.store.transact(lambda conn: conn.execute(text, {"at": BEGIN}))
    api.clock.now += 24 * HOUR_MS
    return api


async def of(api: Api, query: str, *names: str) -> list[tuple[Any, ...]]:
    return only(await rows(api, f"{DAY}&{query}"), *names)


async def test_only_what_is_missing_for_good_is_lost_and_whole_where_it_began(torn: Api) -> None:
    for number, state in enumerate(("settling", "overdue", "healed", "superseded")):
        await gap(torn, 1, "sent", (0.5, 2 + number / 10), 100, state)
    await gap(torn, 1, "sent", (1.5, 3.5), 7, "missing")
    await gap(torn, 2, "sent", (2, 2.5), 5, "missing")
    assert await of(torn, "figures=sent", "lost") == [(0,), (7,), (5,), (0,)]
    assert await of(torn, "campaign_id=a", "lost") == [(0,), (7,), (0,), (0,)]
    assert await of(torn, "group_by=campaign&campaign_id=b", "lost") == [(0,), (0,), (5,), (0,)]
    assert set(await of(torn, "group_by=step", "lost")) == {(None,)}


async def test_what_overlaps_is_uncovered_once(torn: Api) -> None:
    await gap(torn, 1, "sent", (0.25, 0.75), 1, "settling")
    await gap(torn, 1, "bounced", (0.5, 1.25), 1, "overdue")
    await gap(torn, 2, "sent", (0.6, 0.7), 1, "missing")
    await gap(torn, 2, "replied", (3, 4), 1, "missing")
    await gap(torn, 2, "sent", (2, 3), 1, "healed")
    names = ("coverage", "settled")
    whole, clean = (1.0, True), (0.0, False)
    assert await of(torn, "figures=sent", *names) == [(0.5, False), whole, whole, whole]
    assert await of(torn, "figures=sent,bounced", *names) == [(0.25, False), (0.75, False), whole, whole]
    assert await of(torn, "figures=accepted", *names) == [(0.25, False), (0.75, False), whole, whole]
    assert await of(torn, "figures=sent&campaign_id=b", *names) == [(0.9, False), whole, whole, whole]
    assert await of(torn, "figures=sent,replies&campaign_id=b", *names) == [(0.9, False), whole, whole, clean]
    of_all = await of(torn, "figures=sent&group_by=campaign", "campaign_id", "coverage")
    assert of_all[:2] == [("a", 0.5), ("b", 0.9)]


@pytest.mark.parametrize(
    ("begin", "end", "shown"),
    [
        ("09:00", "09:15", ["a", "b"]),  # both were sent at nine
        ("09:15", "10:00", []),
        ("08:45", "09:00", []),
        ("08:45", "09:15", ["a", "b"]),
    ],
)
async def test_a_campaign_is_shown_where_its_life_reaches_into_the_range(
    torn: Api, begin: str, end: str, shown: list[str]
) -> None:
    query = f"from=2025-06-11T{begin}:00Z&to=2025-06-11T{end}:00Z&interval=15m&group_by=campaign"
    assert sorted({row["campaign_id"] for row in await rows(torn, query)}) == shown


async def test_contacts_are_unknown_only_of_campaigns_that_sent_before_the_receiver(torn: Api) -> None:
    figures = '{"sent": {"before_receiver": 4}}'
    text = "INSERT INTO drift VALUES (2, 0, 'in_sync', 0, 4, 0, '[0,0,0,0,0]', ?)"
    await torn.service.database.store.transact(lambda conn: conn.execute(text, (figures,)))
    found = await of(torn, "figures=sent,contacted&group_by=campaign", "campaign_id", "sent", "contacted")
    assert found[:2] == [("a", 1, 1), ("b", 1, None)]
    assert (await of(torn, "figures=sent,contacted", "sent", "contacted"))[0] == (2, None)
    assert (await of(torn, "figures=sent,contacted&campaign_id=a", "sent", "contacted"))[0] == (1, 1)
