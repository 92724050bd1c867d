"""All that the service writes, when a process of its own writes it."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from receiver.reconcile.books import Run
from receiver.storage.lock import DatabaseLock
from tests.e2e.server import rows
from tests.storage import jobs
from tests.web.conftest import ADMIN, DAY_MS, KEYS, LEADTERRA, Api, Start, bounced, replied, sent, unread
from tests.web.test_erase import erase
from tests.web.test_rebuild import ended


@pytest.fixture
async def apart(tmp_path: Path, start: Start) -> AsyncIterator[Api]:
    lock = DatabaseLock(tmp_path / "receiver.db")
    assert lock.acquire()
    found: Api = await start(key=ADMIN, lock=lock, **KEYS, **LEADTERRA)
    yield found
    assert not found.service.writer.failed.is_set()
    lock.release()


async def test_deliveries_are_counted_and_noted(apart: Api) -> None:
    assert await apart.post(sent(), sent(), unread(), bounced("m2")) == [
        "stored",
        "duplicate",
        "quarantined",
        "quarantined",
    ]
    assert (await apart.json("/v1/campaigns/a"))["observed"]["sent"] == 1
    metrics = (await apart.get("/metrics")).text
    assert 'receiver_deliveries_total{outcome="stored"} 1.0' in metrics


async def test_a_rebuild_repairs(apart: Api) -> None:
    await apart.post(sent(), sent("m2"))
    with closing(sqlite3.connect(apart.service.database.store.path)) as other, other:
        other.execute("UPDATE totals SET sent = 7 WHERE step = -1")
    await apart.ask("POST", "/v1/rebuild")
    assert (await ended(apart))["rows_changed"] == 1
    assert (await apart.json("/v1/campaigns/a"))["observed"]["sent"] == 2


async def test_an_address_is_erased(apart: Api) -> None:
    await apart.post(replied(lead="jo@example.org"))
    state = await erase(apart)
    assert (state["status"], state["bodies"]) == ("ok", 1)
    assert rows(apart.service.database.store.path, "SELECT count(*) FROM journal WHERE instr(body, 'jo@')") == [(0,)]


async def test_bodies_expire(apart: Api) -> None:
    await apart.post(unread(), sent(), sent("m2"))
    apart.clock.now += 91 * DAY_MS
    await apart.post(sent("m3"))
    with closing(sqlite3.connect(apart.service.database.store.path)) as other, other:
        other.execute("UPDATE quarantine SET resolved_at = received_at")
        other.execute("INSERT OR REPLACE INTO meta VALUES ('retention_at', ?)", (apart.clock.now,))
    expired = await apart.service.retention.run()
    assert (expired.bodies, expired.resolved) == (2, 1)


async def test_quarantine_is_read_again(apart: Api) -> None:
    await apart.post(sent("later", "2025-06-13T09:00:00Z"))
    apart.clock.now += 3 * DAY_MS
    answer = await apart.ask("POST", "/v1/quarantine/retry")
    assert answer.json()["stored"] == 1
    assert (await apart.json("/v1/campaigns/a"))["observed"]["sent"] == 1


async def test_campaigns_and_webhooks_are_remembered(apart: Api) -> None:
    assert (await apart.ask("POST", "/v1/campaigns", json={"campaign_id": "by-hand"})).status_code == 201
    given = {"webhook_id": "w", "url": "https://x.org", "events": ["message.sent"], "leadterra": "https://y.org"}
    assert (await apart.ask("POST", "/v1/webhooks", json=given)).is_success
    assert rows(apart.service.database.store.path, "SELECT count(*) FROM webhooks") == [(1,)]


async def test_a_run_that_gets_no_answer_is_recorded(apart: Api) -> None:
    await apart.post(sent())
    reconciler = apart.service.reconciliation.reconciler
    assert reconciler is not None
    run: Run = await reconciler.run("request")
    assert (run.status, run.failed) == ("failed", 1)
    assert rows(apart.service.database.store.path, "SELECT status, failed FROM runs") == [("failed", 1)]
    assert [alarm["code"] for alarm in (await apart.json("/v1/drift"))["alarms"]] == ["leadterra_unanswered"]


async def test_none_of_it_has_made_the_other_process_large(apart: Api) -> None:
    await test_a_run_that_gets_no_answer_is_recorded(apart)
    modules = await apart.service.database.store._writing.run(jobs.modules)
    assert not modules & {"uvicorn", "starlette", "httpx", "pydantic", "structlog", "prometheus_client"}
