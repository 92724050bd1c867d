"""Starting a recount beside the running service, and watching it."""

import asyncio
from typing import Any

from structlog.testing import capture_logs

from tests.web.conftest import Api, Start, sent

STAMPS = {"as_of": "2025-06-11T09:30:00Z", "settled_until": "2025-06-10T22:39:00Z"}
NOTHING = {"started_at": None, "ended_at": None, "rows_done": 0, "rows_total": 0, "rows_changed": None}
AT_NOW = {"started_at": "2025-06-11T09:30:00Z", "ended_at": "2025-06-11T09:30:00Z"}


async def ended(api: Api) -> dict[str, Any]:
    """The state once no rebuild is under way."""
    while (state := await api.json("/v1/rebuild"))["status"] == "running":  # noqa: ASYNC110 # as a client watches it
        await asyncio.sleep(0.001)
    assert isinstance(state, dict)
    return state


async def damage(api: Api) -> None:
    """A figure that the ledger does not bear out."""
    await api.service.database.store._writing.run(
        lambda _, conn: conn.execute("UPDATE totals SET sent = 7 WHERE step = -1")
    )


async def test_before_the_first_one_there_is_nothing_to_tell(admin: Api) -> None:
    assert await admin.json("/v1/rebuild") == {"status": "idle", **NOTHING, **STAMPS}


async def test_a_start_is_answered_202_with_the_state(admin: Api) -> None:
    response = await admin.ask("POST", "/v1/rebuild")
    running = {**NOTHING, "started_at": "2025-06-11T09:30:00Z"}
    assert (response.status_code, response.json()) == (202, {"status": "running", **running, **STAMPS})
    await ended(admin)


async def test_good_figures_stay_as_they_are(admin: Api) -> None:
    await admin.post(sent(), sent("m2"))
    await admin.ask("POST", "/v1/rebuild")
    rows = {"rows_done": 2, "rows_total": 2, "rows_changed": 0}
    assert await ended(admin) == {"status": "ok", **AT_NOW, **rows, **STAMPS}


async def test_wrong_figures_are_repaired_and_the_entity_tag_moves(admin: Api) -> None:
    await admin.post(sent(), sent("m2"))
    await damage(admin)
    before = await admin.get("/v1/campaigns/a")
    assert before.json()["observed"]["sent"] == 7
    await admin.ask("POST", "/v1/rebuild")
    assert (await ended(admin))["rows_changed"] == 1
    after = await admin.get("/v1/campaigns/a", headers={"If-None-Match": before.headers["etag"]})
    assert (after.status_code, after.json()["observed"]["sent"]) == (200, 2)


async def test_a_second_start_joins_the_one_under_way(admin: Api) -> None:
    await admin.ask("POST", "/v1/rebuild")
    first = admin.service.rebuilding.state
    admin.clock.now += 1000
    response = await admin.ask("POST", "/v1/rebuild")
    assert response.json()["started_at"] == "2025-06-11T09:30:00Z"
    assert admin.service.rebuilding.state is first
    await ended(admin)


async def test_after_one_ended_another_can_be_started(admin: Api) -> None:
    await admin.ask("POST", "/v1/rebuild")
    await ended(admin)
    admin.clock.now += 1000
    response = await admin.ask("POST", "/v1/rebuild")
    assert (response.json()["status"], response.json()["started_at"]) == ("running", "2025-06-11T09:30:01Z")
    assert (await ended(admin))["status"] == "ok"


async def test_a_failed_one_says_so_and_tells_the_log_why(admin: Api) -> None:
    await admin.service.database.store._writing.run(
        lambda _, conn: conn.execute("ALTER TABLE replies RENAME TO gone")
    )
    with capture_logs() as lines:
        await admin.ask("POST", "/v1/rebuild")
        state = await ended(admin)
    assert (state["status"], state["rows_changed"]) == ("failed", None)
    assert [line["event"] for line in lines] == ["rebuild_failed"]


async def test_watching_needs_an_admin_too(start: Start) -> None:
    api = await start()
    assert (await api.refused("/v1/rebuild", 403))["code"] == "forbidden"
