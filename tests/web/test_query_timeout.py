"""A question that takes too long is interrupted, even between its many statements, and leaves nothing behind."""

import asyncio
import sqlite3
import threading
import time
from typing import Any

import pytest

from receiver.errors import QueryTimeoutError
from receiver.storage.sqlite.store import Readers
from receiver.web import series
from receiver.web.operation import Call
from tests.web.conftest import Api, problem, sent

_ENDLESS = "WITH RECURSIVE n(v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM n) SELECT count(*) FROM n"


async def test_a_slow_question_is_interrupted_and_the_next_one_answered(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def endless(conn: sqlite3.Connection, _call: Call) -> None:
        conn.execute(_ENDLESS).fetchone()

    await api.post(sent())
    url = "/v1/series?interval=15m&from=-1d"
    for _ in range(3):
        with monkeypatch.context() as slow:
            slow.setattr(api.service.database.analysts, "_timeout_s", 0.01)
            slow.setattr(series, "_asked", endless)
            found = await api.refused(url, 503)
        text = "The query took longer than 0.01 s; ask for less at once."
        assert found == problem(503, "Service Unavailable", "query_timeout", text)
        assert (await api.get(url)).status_code == 200


async def test_a_question_of_many_short_statements_is_interrupted_too(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(conn: sqlite3.Connection) -> int:
        for _ in range(10_000):
            time.sleep(0.005)
            conn.execute(
                "WITH RECURSIVE n(v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM n WHERE v < 500) SELECT sum(v) FROM n"
            ).fetchone()
        return 1

    readers: Readers = api.service.database.analysts
    monkeypatch.setattr(readers, "_timeout_s", 0.01)
    with pytest.raises(QueryTimeoutError):
        await readers.run(ask)


async def test_long_questions_do_not_make_short_ones_wait(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    more = threading.Event()

    def wait(_conn: sqlite3.Connection, _call: Call) -> dict[str, Any]:
        more.wait(30)
        return {}

    monkeypatch.setattr(series, "_answer", wait)
    await api.post(sent())
    long = [asyncio.create_task(api.get("/v1/series")) for _ in range(5)]
    await asyncio.sleep(0)
    assert (await api.get("/v1/campaigns")).status_code == 200
    assert not any(question.done() for question in long)
    more.set()
    assert [answer.status_code for answer in await asyncio.gather(*long)] == [200] * 5
