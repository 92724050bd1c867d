"""Erasing an address beside the running service, and watching it."""

import asyncio
import sqlite3
from contextlib import closing
from typing import Any

from structlog.testing import capture_logs

from receiver.ingest.erase import Erasing
from tests.web.conftest import Api, invalid, replied, sent

JO = "jo@example.org"
STAMPS = {"as_of": "2025-06-11T09:30:00Z", "settled_until": "2025-06-10T22:39:00Z"}
NOTHING = {"ended_at": None, "rows_done": 0, "rows_total": 0, "bodies": 0, "records": 0, "similar": 0}
AT = "2025-06-11T09:30:00Z"


async def erase(api: Api, email: object = JO) -> dict[str, Any]:
    """The state once it is over."""
    response = await api.ask("POST", "/v1/erase", json={"email": email})
    assert response.status_code == 202, response.text
    return await ended(api)


async def ended(api: Api) -> dict[str, Any]:
    while (state := await api.json("/v1/erase"))["status"] == "running":  # noqa: ASYNC110 # as a client watches it
        await asyncio.sleep(0.001)
    assert isinstance(state, dict)
    return state


async def test_before_the_first_one_there_is_nothing_to_tell(admin: Api) -> None:
    assert await admin.json("/v1/erase") == {"status": "idle", "started_at": None, **NOTHING, **STAMPS}


async def test_a_start_is_answered_202_with_the_state(admin: Api) -> None:
    response = await admin.ask("POST", "/v1/erase", json={"email": JO})
    assert (response.status_code, response.json()) == (
        202,
        {"status": "running", "started_at": AT, **NOTHING, **STAMPS},
    )
    await ended(admin)


async def test_what_was_found_is_told_and_the_address_never(admin: Api) -> None:
    await admin.post(sent(), replied(lead=JO), replied("r2", lead=f"x{JO}"))
    with capture_logs() as lines:
        state = await erase(admin, f" Jo <{JO.upper()}> ")
    counts = {"rows_done": 3, "rows_total": 3, "bodies": 1, "records": 0, "similar": 1}
    assert state == {"status": "ok", "started_at": AT, "ended_at": AT, **counts, **STAMPS}
    assert lines == [{"event": "erased", "log_level": "info", "status": "ok", "bodies": 1, "records": 0}]


async def test_what_is_no_address_is_refused_without_repeating_it(admin: Api) -> None:
    response = await admin.ask("POST", "/v1/erase", json={"email": "not-an-address"})
    detail = "'email' is no address; give one like jo@example.org."
    assert (response.status_code, response.json()) == (400, invalid("email", detail))


async def test_it_is_for_admins(keyed: Api, api: Api) -> None:
    assert (await keyed.ask("POST", "/v1/erase", json={"email": JO})).status_code == 401
    assert (await keyed.get("/v1/erase")).status_code == 401
    assert (await api.ask("POST", "/v1/erase", json={"email": JO})).status_code == 403


async def test_a_second_one_follows_the_first(admin: Api) -> None:
    await admin.post(replied(lead=JO), replied("r2", lead="other@example.org"))
    for email in (JO, "other@example.org", JO):
        assert (await admin.ask("POST", "/v1/erase", json={"email": email})).status_code == 202
    state = await ended(admin)
    assert (state["status"], state["bodies"]) == ("ok", 2)


async def test_a_reader_in_the_way_is_said(admin: Api) -> None:
    await admin.post(replied(lead=JO))
    service = admin.service
    erasing = Erasing(
        service.database.store.path,
        service.database.store,
        service.rejected,
        service.page_check,
        service.writer,
        admin.clock,
        readers_wait_s=0.2,
    )
    with closing(sqlite3.connect(service.database.store.path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM journal").fetchone()
        erasing.start(JO)
        while erasing.state.status == "running":  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        assert erasing.state.status == "blocked"
        assert await admin.post(sent()) == ["stored"]
    assert (await erase(admin))["status"] == "ok"


async def test_one_that_fails_is_said_in_the_log_without_the_address(admin: Api) -> None:
    await admin.post(replied(lead=JO))
    await admin.service.database.store._writing.run(
        lambda _, conn: conn.execute(
            "CREATE TEMP TRIGGER no BEFORE UPDATE ON main.journal BEGIN SELECT RAISE(FAIL, 'no'); END"
        )
    )
    with capture_logs() as lines:
        assert (await erase(admin))["status"] == "failed"
    assert [line["event"] for line in lines] == ["erasure_failed"]
    assert JO not in str(lines)


async def test_closing_ends_one_that_is_under_way(admin: Api) -> None:
    await admin.post(*[replied(f"r{number}", lead=JO) for number in range(5)])
    erasing = admin.service.erasing
    erasing.start(JO)
    await asyncio.sleep(0)
    await erasing.close()
    assert erasing.state.status == "failed"
    assert (await erase(admin))["status"] == "ok"
