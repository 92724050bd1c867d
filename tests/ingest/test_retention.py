"""Retention beside the running writer: on its schedule, in small turns, again when something stood in the way."""

import asyncio

import pytest
from structlog.testing import capture_logs

from receiver.errors import UnavailableError
from receiver.ingest.retention import EVERY_MS, FIRST_AFTER_MS, Expired, Retention
from tests.ingest.conftest import DAY_MS, NOW_MS, Ingest
from tests.ingest.test_writer import body, until

BODIES = "SELECT count(*) FROM journal"


def retaining(ingest: Ingest, raw_days: int = 1) -> Retention:
    return Retention(ingest.database, ingest.store, ingest.writer, ingest.clock, raw_days)


@pytest.fixture
async def old(ingest: Ingest) -> Ingest:
    """Ten bodies that are a day and a moment old, and a new one."""
    await asyncio.gather(*[ingest.deliver(body(f"m{number}")) for number in range(10)])
    ingest.clock.tick(DAY_MS + 1)
    await ingest.deliver(body("new"))
    return ingest


async def test_it_takes_what_is_older_than_the_setting_says(old: Ingest) -> None:
    assert await retaining(old, 2).run() == Expired(0, 0, 0)
    assert await retaining(old, 1).run() == Expired(10, 0, 0)
    assert old.rows(BODIES) == [(1,)]
    assert old.rows("SELECT sent FROM totals WHERE step = -1") == [(11,)]


async def test_it_runs_ten_minutes_after_the_start_and_every_hour(old: Ingest) -> None:
    retention = retaining(old)
    old.clock.speed = 1000.0
    retention.start()
    await asyncio.sleep(0.05)
    assert old.rows(BODIES) == [(11,)]
    with capture_logs() as lines:
        old.clock.tick(FIRST_AFTER_MS)
        await until(lambda: old.rows(BODIES) == [(1,)], "the first run")
        await until(lambda: lines, "its line")
    assert lines == [{"event": "bodies_expired", "log_level": "info", "bodies": 10, "resolved": 0, "pages": 0}]
    old.clock.tick(DAY_MS + 1)
    await old.deliver(body("newer"))

    def gone_after_an_hour() -> bool:
        old.clock.tick(EVERY_MS)
        return old.rows(BODIES) == [(1,)]

    await until(gone_after_an_hour, "the next runs")
    await retention.close()


async def test_0_days_keep_bodies_for_ever(old: Ingest) -> None:
    retention = retaining(old, 0)
    retention.start()
    old.clock.tick(400 * DAY_MS)
    await asyncio.sleep(0.05)
    await retention.close()
    assert old.rows(BODIES) == [(11,)]


async def test_a_clock_that_has_gone_far_ahead_is_said_once_a_run(old: Ingest) -> None:
    retention = retaining(old)
    await retention.run()
    old.clock.jump(30 * DAY_MS)
    with capture_logs() as lines:
        await retention.run()
    assert [(line["event"], line["behind_s"]) for line in lines] == [("retention_waits", 29 * 86_400)]


async def test_while_nothing_can_be_written_it_waits_for_its_next_turn(old: Ingest) -> None:
    retention = retaining(old)
    await old.run_sql("PRAGMA busy_timeout = 20")
    with old.locked(), pytest.raises(UnavailableError):
        await retention.run()
    old.clock.speed = 1000.0
    with capture_logs() as lines:
        with old.locked():
            retention.start()
            await asyncio.sleep(0)
            old.clock.tick(FIRST_AFTER_MS)
            await until(lambda: any(line["event"] == "retention_postponed" for line in lines), "a line")
        old.clock.tick(EVERY_MS)
        await until(lambda: old.rows(BODIES) == [(1,)], "the next run")
    await retention.close()


async def test_a_defect_is_logged_and_the_next_turn_comes(old: Ingest) -> None:
    retention = retaining(old)
    await old.run_sql("ALTER TABLE journal RENAME TO away")
    old.clock.speed = 1000.0
    with capture_logs() as lines:
        retention.start()
        await asyncio.sleep(0)
        old.clock.tick(FIRST_AFTER_MS)
        await until(lambda: any(line["event"] == "retention_failed" for line in lines), "a line")
        await old.run_sql("ALTER TABLE away RENAME TO journal")
        old.clock.tick(EVERY_MS)
        await until(lambda: old.rows(BODIES) == [(1,)], "the next run")
    await retention.close()


async def test_deliveries_get_their_turns_between_chunks(ingest: Ingest) -> None:
    await asyncio.gather(*[ingest.deliver(body(f"m{number}")) for number in range(1000)])
    ingest.clock.tick(DAY_MS + 1)
    await ingest.deliver(body("new"))
    running = asyncio.create_task(retaining(ingest).run())
    during = 0
    while not running.done():
        await ingest.deliver(body(f"during-{during}"))
        during += 1
    assert (await running).bodies == 1000
    assert during >= 5  # a chunk is 200 bodies at most
    assert ingest.rows(BODIES) == [(during + 1,)]


async def test_closing_ends_a_run_that_can_be_repeated(ingest: Ingest) -> None:
    await asyncio.gather(*[ingest.deliver(body(f"m{number}")) for number in range(1000)])
    ingest.clock.tick(DAY_MS + 1)
    await ingest.deliver(body("new"))
    retention = retaining(ingest)
    ingest.clock.speed = 1000.0
    retention.start()
    await asyncio.sleep(0)
    ingest.clock.tick(FIRST_AFTER_MS)
    await until(lambda: ingest.rows(BODIES) != [(1001,)], "its beginning")
    await retention.close()
    await retaining(ingest).run()
    assert ingest.rows(BODIES) == [(1,)]
    assert ingest.rows(f"SELECT value FROM meta WHERE name = 'retention_at' AND value >= {NOW_MS}") != []
