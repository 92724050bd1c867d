"""Campaigns and steps: the exact answer, every order, paging, filters, and sums that hold."""

import shutil
import sqlite3
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from receiver.figures import OBSERVED, RATES
from receiver.reconcile import cases
from receiver.web.params import SORTS
from tests.cli.conftest import Database
from tests.reconcile.made import counters
from tests.web.conftest import DAY_MS, NOW, Api, Start, bounced, problem, replied, sent, started, unread

Row = dict[str, Any]

NO_RATE = {"value": None, "numerator": 0, "denominator": 0}


async def test_one_campaign_is_answered_exactly(api: Api) -> None:
    await api.post(
        started("camp_1", "08:00", "Spring — Frühling"),
        started("camp_1", "08:30"),
        sent("m1", "09:00", "camp_1"),
        sent("m2", "09:01", "camp_1"),
        sent("m3", "09:02", "camp_1"),
        sent("m4", "2025-06-11T09:02:30.250Z", "camp_1", step=2),
        bounced("m1", "09:05"),
        bounced("m2", "09:06", "soft"),
        replied("r1", "09:10", "camp_1", "jo@example.org", "m3"),
        replied("r2", "09:11", "camp_1", "al@example.org", "m4", "out_of_office"),
        replied("r3", "09:12", "camp_1", "Jo <JO@example.org>", "m3"),
    )
    assert await api.json("/v1/campaigns/camp_1") == {
        "campaign_id": "camp_1",
        "name": "Spring — Frühling",
        "status": "started",
        "activity": "active",
        "started_at": "2025-06-11T08:00:00Z",
        "last_started_at": "2025-06-11T08:30:00Z",
        "first_event_at": "2025-06-11T08:00:00Z",
        "last_event_at": "2025-06-11T09:12:00Z",
        "observed": {
            "sent": 4,
            "attempted": 4,
            "accepted": 2,
            "contacted": 3,
            "bounced": 2,
            "bounced_hard": 1,
            "bounced_soft": 1,
            "replies": 3,
            "replied": 2,
            "replied_human": 1,
            "starts": 2,
        },
        "provider": None,
        "reconciled": None,
        "rates": {
            "bounce_rate": {"value": 0.5, "numerator": 2, "denominator": 4},
            "hard_bounce_rate": {"value": 0.25, "numerator": 1, "denominator": 4},
            "reply_rate": {"value": 1.0, "numerator": 2, "denominator": 2},
            "lead_reply_rate": {"value": 0.666667, "numerator": 2, "denominator": 3},
            "human_reply_rate": {"value": 0.333333, "numerator": 1, "denominator": 3},
        },
        "drift": {"status": "unknown", "sent": None, "bounced": None, "replied": None},
        "as_of": "2025-06-11T09:30:00Z",
        "settled_until": "2025-06-10T22:39:00Z",
    }


async def test_a_campaign_without_a_start_and_without_sends_pretends_nothing(api: Api) -> None:
    await api.post(replied("r1", "09:00", "a", None, None))
    found = await api.json("/v1/campaigns/a")
    assert (found["name"], found["status"], found["started_at"], found["last_started_at"]) == (
        None,
        "unknown",
        None,
        None,
    )
    assert [rate["value"] for rate in found["rates"].values()] == [None] * 5
    assert found["observed"]["replies"] == 1
    assert found["observed"]["replied"] == 0


async def test_the_list_shows_what_the_campaign_shows(api: Api) -> None:
    await api.post(*_world())
    page = await api.json("/v1/campaigns")
    assert len(page["data"]) == len(CAMPAIGNS)
    assert page["next_cursor"] is None
    for row in page["data"]:
        one = await api.json(f"/v1/campaigns/{quote(row['campaign_id'])}")
        assert {**row, "as_of": page["as_of"], "settled_until": page["settled_until"]} == one


async def test_an_empty_database_has_no_campaigns(api: Api) -> None:
    assert await api.json("/v1/campaigns") == {
        "data": [],
        "next_cursor": None,
        "as_of": "2025-06-11T09:30:00Z",
        "settled_until": "2025-06-10T22:39:00Z",
    }


# Order and paging.

# name: (messages by step, hard bounces, soft bounces, leads that reply, of them out of office, starts)
CAMPAIGNS = {
    "a": ([3, 2], 1, 0, 2, 1, 1),
    "A": ([3, 2], 1, 0, 2, 1, 1),
    "b": ([3], 0, 1, 1, 0, 0),
    "c:1": ([4, 1], 2, 1, 1, 1, 2),
    "d.2": ([1], 1, 0, 0, 0, 0),
    "e_3": ([0], 0, 0, 1, 0, 0),
    "f-4": ([0], 0, 0, 0, 0, 3),
    "g": ([6], 2, 0, 3, 0, 0),
    "h": ([3], 0, 1, 1, 0, 0),
    "Z": ([0, 2], 0, 0, 2, 0, 1),
}


def _world() -> list[bytes]:
    """Events with ties in every figure, and campaigns whose rates are null."""
    bodies = []
    for place, (name, (steps, hard, soft, leads, away, starts)) in enumerate(CAMPAIGNS.items()):
        minute = 10 + place // 2  # pairs tie in their last event
        messages = [(f"{name}/{step}/{n}", step) for step, count in enumerate(steps) for n in range(count)]
        bodies += [started(name, f"0{n}:00") for n in range(starts)]
        bodies += [sent(message, f"08:{minute}", name, step) for message, step in messages]
        bodies += [bounced(message, f"08:{minute}") for message, _ in messages[:hard]]
        bodies += [bounced(message, f"08:{minute}", "soft") for message, _ in messages[hard : hard + soft]]
        for lead in range(leads):
            kind = "out_of_office" if lead < away else "interested"
            bodies.append(replied(f"{name}/{lead}", f"08:{minute}", name, f"{lead}@x.org", None, kind))
    return bodies


def _value(row: Row, sort: str) -> Any:
    if sort in OBSERVED:
        return row["observed"][sort]
    if sort in RATES:
        rate = row["rates"][sort]
        return Fraction(rate["numerator"], rate["denominator"]) if (rate["denominator"] or 0) > 0 else None
    return row[sort]


def _sorted(rows: list[Row], sort: str, order: str) -> list[str]:
    """The ids in naive order: nulls last in both, ties by campaign id ascending."""
    ids = sorted(rows, key=lambda row: str(row["campaign_id"]).encode())
    known = [row for row in ids if _value(row, sort) is not None]
    unknown = [row for row in ids if _value(row, sort) is None]
    values = sorted({_value(row, sort) for row in known}, reverse=order == "desc")
    in_order = [row for value in values for row in known if _value(row, sort) == value]
    return [row["campaign_id"] for row in in_order + unknown]


async def _pages(api: Api, url: str, limit: int, key: str = "campaign_id") -> list[Any]:
    """What all pages show, page by page."""
    found: list[Any] = []
    cursor: str | None = None
    while True:
        page = await api.json(f"{url}&limit={limit}" + (f"&cursor={cursor}" if cursor else ""))
        found += [row[key] for row in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            return found
        assert len(page["data"]) == limit


@pytest.fixture(scope="module")
def world_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Taken in once; every test has a copy."""
    database = Database(tmp_path_factory.mktemp("world") / "receiver.db")
    database.fill(*_world())
    return database.path


@pytest.fixture
async def world(world_database: Path, tmp_path: Path, start: Start) -> Api:
    shutil.copy(world_database, tmp_path / "receiver.db")
    api: Api = await start()
    return api


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("sort", SORTS)
async def test_every_order_is_right_and_pages_visit_every_campaign_once(world: Api, sort: str, order: str) -> None:
    url = f"/v1/campaigns?sort={sort}&order={order}"
    rows = (await world.json(url))["data"]
    expected = _sorted(rows, sort, order)
    assert [row["campaign_id"] for row in rows] == expected
    assert sorted(expected) == sorted(CAMPAIGNS)
    for limit in (1, 3, 5):
        assert await _pages(world, url, limit) == expected


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_what_older_sends_leave_unknown_is_sorted_as_it_is_shown(world: Api, order: str) -> None:
    """Of three campaigns Leadterra counts messages from before the receiver."""

    def answer(conn: sqlite3.Connection) -> None:
        around = cases.circumstances(conn, cases.Pins(), NOW)
        for campaign in ("A", "a", "g"):
            told = cases.Answered(campaign, counters(50, replied=1), NOW, NOW, NOW)
            cases.take_in(conn, told, NOW, around)

    await world.service.database.store.transact(answer)
    await world.post(*(bounced(f"unsent{n}", "08:05", "hard", "g", 1) for n in range(9)))  # their sends are older
    for sort in SORTS:
        url = f"/v1/campaigns?sort={sort}&order={order}"
        rows = (await world.json(url))["data"]
        assert [row["campaign_id"] for row in rows] == _sorted(rows, sort, order)
        assert await _pages(world, url, 3) == _sorted(rows, sort, order)
        assert {row["campaign_id"] for row in rows if row["observed"]["contacted"] is None} == {"A", "a", "g"}


async def test_the_world_has_nulls_and_ties_in_every_rate(world: Api) -> None:
    rows = (await world.json("/v1/campaigns"))["data"]
    for sort in RATES:
        values = [_value(row, sort) for row in rows]
        assert values.count(None) >= 2
        assert len(set(values)) < len(values) - 1


async def test_the_latest_event_comes_first_unless_asked_otherwise(world: Api) -> None:
    rows = (await world.json("/v1/campaigns"))["data"]
    assert [row["campaign_id"] for row in rows] == ["Z", "h", "g", "d.2", "e_3", "b", "c:1", "A", "a", "f-4"]


async def test_a_page_goes_on_where_the_last_ended_whatever_arrives_meanwhile(world: Api) -> None:
    first = await world.json("/v1/campaigns?sort=campaign_id&order=asc&limit=4")
    await world.post(sent("new", campaign="B"), sent("newer", campaign="zz"))
    second = await world.json(f"/v1/campaigns?sort=campaign_id&order=asc&cursor={first['next_cursor']}")
    ids = [row["campaign_id"] for row in first["data"] + second["data"]]
    assert ids == ["A", "Z", "a", "b", "c:1", "d.2", "e_3", "f-4", "g", "h", "zz"]


@pytest.mark.parametrize(("limit", "more"), [(9, True), (10, False), (11, False)])
async def test_there_is_a_next_page_only_if_it_has_rows(world: Api, limit: int, more: bool) -> None:
    page = await world.json(f"/v1/campaigns?limit={limit}")
    assert (page["next_cursor"] is not None) is more


# Filters.


async def ids(api: Api, **params: str | int) -> str:
    """The same campaigns whatever they are sorted by, in the order of their ids."""
    by_id, by_value = [
        [row["campaign_id"] for row in (await api.json("/v1/campaigns", sort=sort, order="asc", **params))["data"]]
        for sort in ("campaign_id", "sent")
    ]
    assert sorted(by_value, key=str.encode) == by_id
    return " ".join(by_id)


async def test_status_is_started_once_a_start_was_seen(world: Api) -> None:
    assert await ids(world, status="started") == "A Z a c:1 f-4"
    assert await ids(world, status="unknown") == "b d.2 e_3 g h"
    assert await ids(world, status="gone") == ""


async def test_status_is_gone_after_a_404_whether_or_not_it_was_started(world: Api) -> None:
    number = "SELECT id, 0, 0 FROM campaigns WHERE campaign_id IN ('a', 'b')"
    text = f"INSERT INTO polls (campaign, asked_at, gone_at) {number}"
    await world.service.database.store.transact(lambda conn: conn.execute(text))
    assert await ids(world, status="gone") == "a b"
    assert await ids(world, status="started") == "A Z c:1 f-4"
    assert await ids(world, status="unknown") == "d.2 e_3 g h"
    assert (await world.json("/v1/campaigns/a"))["status"] == "gone"


async def test_a_campaign_is_active_for_a_day_after_its_last_event(api: Api) -> None:
    await api.post(sent("m1", "09:00", "early"), sent("m2", "09:10", "late"))
    api.clock.now += DAY_MS - 30 * 60_000
    assert await ids(api, activity="active") == "early late"
    api.clock.now += 1
    assert (await ids(api, activity="active"), await ids(api, activity="quiet")) == ("late", "early")
    activity = [(await api.json(f"/v1/campaigns/{name}"))["activity"] for name in ("early", "late")]
    assert activity == ["quiet", "active"]


async def test_min_sent_includes_the_number_itself(world: Api) -> None:
    assert await ids(world, min_sent=5) == "A a c:1 g"
    assert await ids(world, min_sent=6) == "g"
    assert await ids(world, min_sent=0) == "A Z a b c:1 d.2 e_3 f-4 g h"


async def test_a_range_takes_campaigns_with_life_in_it(api: Api) -> None:
    await api.post(sent("m1", "08:00", "long"), sent("m2", "09:00", "long"), sent("m3", "08:30", "short"))
    assert await ids(api, active_from="2025-06-11T08:30:00Z") == "long short"
    assert await ids(api, active_from="2025-06-11T08:30:00.001Z") == "long"
    assert await ids(api, active_to="2025-06-11T08:30:00Z") == "long"
    assert await ids(api, active_to="2025-06-11T08:30:00.001Z") == "long short"
    assert await ids(api, active_from="-45m", active_to="now") == "long"
    assert await ids(api, active_from="2025-06-12") == ""


async def test_q_looks_into_id_and_name_in_any_case(api: Api) -> None:
    await api.post(started("camp_1", name="Spring 100%"), sent("m", campaign="CAMP_2"))
    assert await ids(api, q="camp") == "CAMP_2 camp_1"
    assert await ids(api, q="SPRING 1") == "camp_1"
    assert await ids(api, q="") == "CAMP_2 camp_1"


@pytest.mark.parametrize("q", ["%", "_", "' OR 1=1 --", "a\0", "*", '"', "\\", "'; DROP TABLE campaigns; --", "é"])
async def test_q_is_taken_literally(api: Api, q: str) -> None:
    await api.post(sent("m", campaign="abc"))
    assert await ids(api, q=q) == ""
    assert await ids(api) == "abc"


async def test_filters_are_combined_and_kept_over_pages(world: Api) -> None:
    url = "/v1/campaigns?status=unknown&min_sent=1&sort=sent&order=asc"
    assert await _pages(world, url, 1) == ["d.2", "b", "h", "g"]


# One campaign.


@pytest.mark.parametrize("campaign", ["a.b:c-d_e", "A" * 128, "..", "."])
async def test_an_id_may_be_percent_encoded(api: Api, campaign: str) -> None:
    await api.post(sent(campaign=campaign))
    encoded = "".join(f"%{byte:02X}" for byte in campaign.encode())
    for path in (f"/v1/campaigns/{encoded}", f"/v1/campaigns/{encoded}/steps"):
        assert (await api.get(path)).status_code == 200
    assert (await api.json(f"/v1/campaigns/{encoded}"))["campaign_id"] == campaign


@pytest.mark.parametrize("campaign", ["A", "a ", "a'", "' OR 1=1 --", "a\0", "ä", "x" * 300])
async def test_ids_are_compared_byte_for_byte(api: Api, campaign: str) -> None:
    await api.post(sent(campaign="a"))
    text = f"No event of campaign '{campaign[:128]}' has been seen here."
    found = await api.refused(f"/v1/campaigns/{quote(campaign)}", 404)
    assert found == problem(404, "Not Found", "campaign_not_found", text)


async def test_a_slash_in_an_id_is_another_path(api: Api) -> None:
    assert (await api.refused("/v1/campaigns/a%2Fb", 404))["code"] == "not_found"


async def test_a_campaign_that_is_only_quarantined_is_not_known(api: Api) -> None:
    assert await api.post(sent(campaign="a", at="2014-01-01T00:00:00Z"), unread()) == ["quarantined", "quarantined"]
    assert (await api.refused("/v1/campaigns/a", 404))["code"] == "campaign_not_found"
    assert await ids(api) == ""


# Rates.


async def test_every_rate_is_made_of_its_documented_figures(world: Api) -> None:
    for row in (await world.json("/v1/campaigns"))["data"]:
        seen = row["observed"]
        for name, top, bottom in (
            ("bounce_rate", "bounced", "attempted"),
            ("hard_bounce_rate", "bounced_hard", "attempted"),
            ("reply_rate", "replied", "accepted"),
            ("lead_reply_rate", "replied", "contacted"),
            ("human_reply_rate", "replied_human", "contacted"),
        ):
            value = round(seen[top] / seen[bottom], 6) if seen[bottom] > 0 else None
            assert row["rates"][name] == {"value": value, "numerator": seen[top], "denominator": seen[bottom]}
