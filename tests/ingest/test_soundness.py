"""The look at the pages that a start had no time for, beside the running writer."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from receiver.errors import UnavailableError
from receiver.ingest.erase import Erasing
from receiver.ingest.rejected import RejectedBodies
from receiver.ingest.soundness import PageCheck
from receiver.storage.sqlite.connection import open_for_reading
from receiver.storage.sqlite.soundness import tables
from tests.e2e.test_damage import WAY_BACK, spoil
from tests.ingest.conftest import Ingest
from tests.ingest.test_writer import body, until
from tests.storage.conftest import add_slow_table

LONG = 100_000


def all_tables(path: Path) -> list[str]:
    with closing(open_for_reading(path)) as conn:
        return tables(conn)


def left(check: PageCheck) -> set[str]:
    return check._unchecked


def events(lines: list[Any]) -> list[str]:
    return [line["event"] for line in lines]


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    with capture_logs() as lines:
        yield lines


async def test_what_is_sound_is_said_to_be(ingest: Ingest, lines: list[Any]) -> None:
    await ingest.deliver(body("m1"))
    check = PageCheck(ingest.database, [*all_tables(ingest.database), "made_anew_by_a_migration"], ingest.writer)
    check.start()
    await until(lambda: lines, "the look to end")
    assert [(line["event"], line["log_level"]) for line in lines] == [("database_sound", "info")]
    assert lines[0]["seconds"] >= 0
    assert left(check) == set()
    check.start()
    await check.close()
    assert len(lines) == 1


async def test_where_nothing_is_left_nothing_is_said(ingest: Ingest, lines: list[Any]) -> None:
    ingest.page_check.start()
    await ingest.deliver(body("m1"))
    await ingest.page_check.close()
    assert lines == []


@pytest.mark.parametrize("table", ["messages", "journal", "meta"])
async def test_damage_is_said_once_and_ends_acceptance(ingest: Ingest, lines: list[Any], table: str) -> None:
    await asyncio.gather(*[ingest.deliver(body(f"m{number}")) for number in range(200)])
    await ingest.run_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    spoil(ingest.database, table)
    check = PageCheck(ingest.database, all_tables(ingest.database), ingest.writer, confirm_s=0.01)
    check.start()
    await asyncio.wait_for(ingest.writer.failed.wait(), 30)
    assert not ingest.writer.accepting
    assert not ingest.writer.heartbeat.is_beating()
    with pytest.raises(UnavailableError):
        await ingest.deliver(body("after"))
    async with check.paused():
        pass
    await check.close()
    said = [(line["event"], line["log_level"]) for line in lines]
    assert said == [("damage_suspected", "warning"), ("database_damaged", "error")]
    assert lines[1]["detail"].startswith(f"The database '{ingest.database}' is damaged (")
    assert lines[1]["detail"].endswith(WAY_BACK)


async def test_what_a_second_look_does_not_find_is_no_damage(ingest: Ingest, lines: list[Any]) -> None:
    await asyncio.gather(*[ingest.deliver(body(f"m{number}")) for number in range(200)])
    await ingest.run_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    sound = ingest.database.read_bytes()
    spoil(ingest.database, "messages")
    check = PageCheck(ingest.database, ["messages"], ingest.writer, confirm_s=0.2)
    check.start()
    await until(lambda: lines, "a first finding")
    with ingest.database.open("r+b") as file:
        file.write(sound)
    await until(lambda: events(lines) == ["damage_suspected", "database_sound"], "the second look")
    assert await ingest.deliver(body("later")) == "stored"


async def test_a_stop_in_the_middle_of_a_table_leaves_it_unchecked(ingest: Ingest, lines: list[Any]) -> None:
    add_slow_table(ingest.database, LONG)
    check = PageCheck(ingest.database, ["meta", "slow"], ingest.writer)
    check.start()
    await until(lambda: left(check) == {"slow"}, "the first table")
    await check.close()
    assert left(check) == {"slow"}
    assert lines == []
    assert await ingest.deliver(body("m1")) == "stored"


async def test_what_cannot_be_read_now_is_looked_at_later(ingest: Ingest, lines: list[Any]) -> None:
    await ingest.deliver(body("m1"))
    await ingest.run_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    elsewhere = ingest.database.with_name("elsewhere.db")
    check = PageCheck(elsewhere, all_tables(ingest.database), ingest.writer, again_s=0.01)
    check.start()
    await until(lambda: len(lines) > 1, "two attempts")
    assert set(events(lines)) == {"pages_not_read"}
    assert not ingest.writer.failed.is_set()
    os.link(ingest.database, elsewhere)
    await until(lambda: events(lines)[-1] == "database_sound", "the one that succeeds")
    await check.close()


async def test_an_erasure_does_not_wait_for_it(ingest: Ingest) -> None:
    add_slow_table(ingest.database, LONG)
    check = PageCheck(ingest.database, ["meta", "slow"], ingest.writer)
    rejected = RejectedBodies(ingest.database, ingest.clock, ingest.meters)
    erasing = Erasing(ingest.database, ingest.store, rejected, check, ingest.writer, ingest.clock, readers_wait_s=0)
    check.start()
    await until(lambda: left(check) == {"slow"}, "the first table")
    await ingest.deliver(body("m1"))
    erasing.start("jo@example.org")
    await until(lambda: erasing.state.status != "running", "the erasure")
    assert erasing.state.status == "ok"
    assert check._task is not None
    assert not check._task.done(), "it goes on"
    await check.close()
    await rejected.close()
