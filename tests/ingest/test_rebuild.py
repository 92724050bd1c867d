"""A rebuild beside the running writer: repairs what is wrong, and only that, all at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import closing

import pytest

from receiver.ingest.rebuild import Rebuilding
from receiver.storage.sqlite.connection import open_for_reading
from receiver.storage.sqlite.recount import Progress, recount
from tests.ingest.conftest import Ingest
from tests.ingest.test_writer import body, until

SENT = "SELECT sent FROM totals WHERE step = -1"
DAMAGE = "UPDATE totals SET sent = sent + 5 WHERE step = -1"


def wrong_rows(ingest: Ingest) -> int:
    with closing(open_for_reading(ingest.database)) as reader:
        return recount(reader, Progress()).rows


async def rebuild(rebuilding: Rebuilding) -> str:
    rebuilding.start()
    await until(lambda: rebuilding.state.ended_at is not None, "the rebuild to end")
    return rebuilding.state.status


@pytest.fixture
async def rebuilding(ingest: Ingest) -> AsyncIterator[Rebuilding]:
    await asyncio.gather(*[ingest.deliver(body(f"m{number}")) for number in range(10)])
    rebuilding = Rebuilding(ingest.database, ingest.store, ingest.writer, ingest.clock)
    yield rebuilding
    await rebuilding.close()


async def test_it_repairs_what_is_wrong(ingest: Ingest, rebuilding: Rebuilding) -> None:
    await ingest.run_sql(DAMAGE)
    assert await rebuild(rebuilding) == "ok"
    assert (rebuilding.state.rows_changed, rebuilding.state.progress.total) == (1, 10)
    assert (ingest.rows(SENT), wrong_rows(ingest)) == ([(10,)], 0)


async def test_it_changes_nothing_that_is_right(ingest: Ingest, rebuilding: Rebuilding) -> None:
    version = ingest.writer.version
    assert await rebuild(rebuilding) == "ok"
    assert rebuilding.state.rows_changed == 0
    assert ingest.writer.version == version


async def test_it_is_right_while_events_come_in(ingest: Ingest, rebuilding: Rebuilding) -> None:
    await ingest.run_sql(DAMAGE)
    rebuilding.start()
    number = 100
    while rebuilding.state.ended_at is None:
        await ingest.deliver(body(f"m{number}"))
        number += 1
    assert rebuilding.state.status == "ok"
    assert ingest.rows(SENT) == [(number - 90,)]
    assert wrong_rows(ingest) == 0


async def test_one_that_fails_leaves_the_figures_and_can_be_repeated(ingest: Ingest, rebuilding: Rebuilding) -> None:
    await ingest.run_sql(DAMAGE)
    await ingest.run_sql("PRAGMA busy_timeout = 20")
    with ingest.locked():
        assert await rebuild(rebuilding) == "failed"
    assert ingest.rows(SENT) == [(15,)]
    await rebuilding.close()
    assert await rebuild(rebuilding) == "ok"
    assert ingest.rows(SENT) == [(10,)]


async def test_a_second_start_joins_the_first(rebuilding: Rebuilding) -> None:
    rebuilding.start()
    state = rebuilding.state
    rebuilding.start()
    assert rebuilding.state is state
    await until(lambda: state.ended_at is not None, "the rebuild to end")


async def test_closing_ends_one_that_is_under_way(ingest: Ingest, rebuilding: Rebuilding) -> None:
    await ingest.run_sql(DAMAGE)
    rebuilding.start()
    await asyncio.sleep(0)
    await rebuilding.close()
    assert rebuilding.state.status == "failed"
    assert ingest.rows(SENT) == [(15,)]
