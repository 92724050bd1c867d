"""Group commit: what is refused and when, what a fault stops, and what nothing may stop."""

import asyncio
import json
import sqlite3
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from structlog.testing import capture_logs

from receiver.errors import UnavailableError
from receiver.events import Event, Kind, Unread
from receiver.ingest.writer import Limits
from receiver.storage.deliveries import Delivery, Posted
from tests.ingest.conftest import DAY_MS, FaultyStore, Ingest, Open

FULL_QUEUE = r"^Too many events wait to be stored; send the event again\.$"
TOO_LATE = r"^The event was not stored in time; send it again\.$"
STOPPING = r"^The receiver is shutting down; send the event again\.$"
FAILED = r"^The database failed; the receiver stops\. Send the event again\.$"
PATIENCE_S = 20.0


async def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE_S:g} s for {what}"
        await asyncio.sleep(0.01)


def sent_at(message: str, now_ms: int) -> bytes:
    at = datetime.fromtimestamp(now_ms / 1000, UTC).isoformat()
    return json.dumps(
        {"event": "message.sent", "timestamp": at, "data": {"messageId": message, "campaignId": "c"}}
    ).encode()


def poison() -> Delivery:
    """An event that the parser would never make: its time does not fit into 64 bit."""
    return Delivery(b"{}", 0, Event(Kind.SENT, b"p" * 16, 2**63, "c"))


def fsync_failed() -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
    return error


async def in_flight(ingest: Ingest, body: bytes) -> "asyncio.Task[object]":
    """A delivery that the writer has taken and cannot commit yet."""
    task: asyncio.Task[object] = asyncio.create_task(ingest.deliver(body))
    await asyncio.sleep(0)
    await until(lambda: ingest.writer.queued == 0, "the writer to take it")
    return task


async def waiting(ingest: Ingest, body: bytes) -> "asyncio.Task[object]":
    task: asyncio.Task[object] = asyncio.create_task(ingest.deliver(body))
    await asyncio.sleep(0)
    return task


def body(message: str, size: int = 0) -> bytes:
    return sent_at(message, 1_749_634_200_000).ljust(size)


async def test_a_queue_full_of_events_refuses_the_next_and_stores_the_others(open_ingest: Open) -> None:
    async with open_ingest(Limits(queue_max_events=2)) as ingest:
        with ingest.locked():
            tasks = [await in_flight(ingest, body("m1")), *[await waiting(ingest, body(m)) for m in ("m2", "m3")]]
            with pytest.raises(UnavailableError, match=FULL_QUEUE):
                await ingest.deliver(body("m4"))
        assert await asyncio.gather(*tasks) == ["stored"] * 3
        assert await ingest.deliver(body("m4")) == "stored"


async def test_a_queue_full_of_bytes_refuses_the_next_and_stores_the_others(open_ingest: Open) -> None:
    async with open_ingest(Limits(queue_max_bytes=1000)) as ingest:
        with ingest.locked():
            tasks = [await in_flight(ingest, body("m1", 600)), await waiting(ingest, body("m2", 600))]
            with pytest.raises(UnavailableError, match=FULL_QUEUE):
                await ingest.deliver(body("m3", 600))
        assert await asyncio.gather(*tasks) == ["stored"] * 2
        assert await ingest.deliver(body("m3", 1000)) == "stored"


async def test_what_is_not_stored_in_time_is_refused_and_may_be_sent_again(open_ingest: Open) -> None:
    async with open_ingest(Limits(commit_timeout_s=0.1)) as ingest:
        with ingest.locked():
            begun = time.monotonic()
            with pytest.raises(UnavailableError, match=TOO_LATE) as error:
                await ingest.deliver(body("m1"))
            assert time.monotonic() - begun < 1.9, "it waited for the lock instead"
            assert error.value.retry_after_s == 5
        await until(lambda: ingest.rows("SELECT count(*) FROM messages") == [(1,)], "the commit to go through")
        assert await ingest.deliver(body("m1")) == "duplicate"


async def test_what_nobody_waits_for_any_more_is_left_to_the_next_try(open_ingest: Open) -> None:
    async with open_ingest(Limits(commit_timeout_s=0.1)) as ingest:
        with ingest.locked():
            tasks = [await in_flight(ingest, body("m1")), await waiting(ingest, body("m2"))]
            refusals = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(refusal) for refusal in refusals] == [UnavailableError] * 2
        assert await ingest.deliver(body("m2")) == "stored"


async def test_a_lock_that_somebody_keeps_is_no_reason_to_stop(ingest: Ingest) -> None:
    await ingest.run_sql("PRAGMA busy_timeout = 20")
    with ingest.locked():
        for _ in range(3):
            with pytest.raises(UnavailableError, match=r"^The database is locked; send the event again\.$"):
                await ingest.deliver(body("m1"))
    assert not ingest.writer.failed.is_set()
    assert await ingest.deliver(body("m1")) == "stored"


async def test_one_event_that_cannot_be_stored_does_not_stop_the_others(ingest: Ingest) -> None:
    deliveries = [ingest.delivery(body("m1")), poison(), ingest.delivery(body("m2"))]
    tasks = [asyncio.create_task(ingest.writer.submit(delivery)) for delivery in deliveries]
    assert await asyncio.gather(*tasks) == ["stored", "quarantined", "stored"]
    assert ingest.rows("SELECT reason, body FROM quarantine") == [("invalid_field", b"{}")]
    assert await ingest.deliver(body("m3")) == "stored"
    assert not ingest.writer.failed.is_set()


async def test_copies_in_one_batch_are_one_event(ingest: Ingest) -> None:
    before = ingest.writer.version
    outcomes = await asyncio.gather(*[ingest.deliver(body("m1")) for _ in range(4)])
    assert sorted(outcomes) == ["duplicate", "duplicate", "duplicate", "stored"]
    assert ingest.writer.version == before + 1
    assert ingest.rows("SELECT copies FROM journal") == [(4,)]


async def test_a_batch_holds_no_more_than_it_may(open_ingest: Open) -> None:
    async with open_ingest(Limits(batch_max=3)) as ingest:
        await asyncio.gather(*[ingest.deliver(body(f"m{number}")) for number in range(7)])
        assert ingest.writer.version == 3


async def test_closing_stores_what_waits_and_refuses_what_comes(ingest: Ingest) -> None:
    tasks = [asyncio.create_task(ingest.deliver(body(f"m{number}"))) for number in range(5)]
    await asyncio.sleep(0)
    await ingest.writer.close()
    assert [task.result() for task in tasks] == ["stored"] * 5
    with pytest.raises(UnavailableError, match=STOPPING):
        await ingest.deliver(body("m6"))
    assert ingest.rows("SELECT stopped FROM accepting") == [(1,)]


async def test_a_caller_that_is_cancelled_changes_nothing(ingest: Ingest) -> None:
    with ingest.locked():
        task = await in_flight(ingest, body("m1"))
        other = await waiting(ingest, body("m2"))
        task.cancel()
    assert await other == "stored"
    assert await ingest.deliver(body("m1")) == "duplicate"


async def test_the_version_moves_with_answers_and_not_with_heartbeats(ingest: Ingest) -> None:
    before = ingest.writer.version
    ingest.clock.speed = 2.0
    await ingest.deliver(body("m1"))
    last_at = ingest.rows("SELECT last_at FROM accepting")
    ingest.clock.tick(1500)
    await until(lambda: ingest.rows("SELECT last_at FROM accepting") != last_at, "a heartbeat")
    assert ingest.writer.version == before + 1


async def test_simulated_time_gets_a_heartbeat_every_real_second(ingest: Ingest) -> None:
    ingest.clock.speed = 1000.0
    await ingest.deliver(body("m1"))  # the wait that follows is the first at this speed
    started_at = ingest.rows("SELECT started_at FROM accepting")[0][0]
    for beat in range(2):
        ingest.clock.tick(1_000_000)
        expected = [(started_at, started_at + (beat + 1) * 1_000_000)]
        begun = time.monotonic()
        await until(lambda: ingest.rows("SELECT started_at, last_at FROM accepting") == expected, "a heartbeat")  # noqa: B023 # awaited here
        assert time.monotonic() - begun < 8


async def test_a_heartbeat_takes_in_a_body_whose_time_has_come(ingest: Ingest) -> None:
    ahead = sent_at("m1", ingest.clock.now + 3 * DAY_MS)
    assert await ingest.deliver(ahead) == "quarantined"
    version = ingest.writer.version
    ingest.clock.speed = 2.0
    ingest.clock.tick(2 * DAY_MS)
    assert await ingest.deliver(body("m2")) == "stored"
    await until(lambda: ingest.writer.version == version + 2, "the body to be taken in")
    assert ingest.rows("SELECT reason, resolved_at IS NOT NULL FROM quarantine") == [("bad_timestamp", 1)]
    assert await ingest.deliver(ahead) == "duplicate"


async def test_a_body_whose_time_has_come_is_taken_in_however_busy_the_writer_is(ingest: Ingest) -> None:
    await ingest.deliver(sent_at("ahead", ingest.clock.now + 3 * DAY_MS))
    ingest.clock.speed = 2.0
    ingest.clock.tick(2 * DAY_MS)
    deadline = time.monotonic() + 30
    busy = 0
    while ingest.rows("SELECT resolved_at IS NOT NULL FROM quarantine") != [(1,)]:
        assert time.monotonic() < deadline
        busy += 1
        await ingest.deliver(body(f"busy-{busy}"))


@pytest.mark.parametrize("jump_ms", [2 * DAY_MS, -2 * DAY_MS])
async def test_a_clock_that_jumps_neither_ends_nor_stretches_the_acceptance(ingest: Ingest, jump_ms: int) -> None:
    await ingest.deliver(body("m1"))
    ingest.clock.jump(jump_ms)
    ingest.clock.tick(5000)
    assert await ingest.deliver(sent_at("m2", ingest.clock.now)) == "stored"
    assert ingest.rows("SELECT last_at - started_at FROM accepting") == [(5000,)]
    assert ingest.rows("SELECT sent FROM totals WHERE step = -1") == [(2,)]


async def test_an_event_that_a_clock_gone_back_takes_for_future_is_counted_later(ingest: Ingest) -> None:
    now_body = sent_at("m1", ingest.clock.now)
    ingest.clock.jump(-2 * DAY_MS)
    assert await ingest.deliver(now_body) == "quarantined"
    ingest.clock.jump(2 * DAY_MS)
    assert await ingest.deliver(now_body) == "stored"
    assert ingest.rows("SELECT count(*) FROM quarantine WHERE resolved_at IS NULL") == [(0,)]


async def test_other_work_waits_for_its_turn_and_moves_the_version(ingest: Ingest) -> None:
    before = ingest.writer.version

    async def work() -> str:
        return "done"

    assert await ingest.writer.exclusively(work) == "done"
    assert ingest.writer.version == before + 1


async def test_other_work_that_fails_for_good_stops_what_waits(ingest: Ingest) -> None:
    tasks: list[asyncio.Task[object]] = []

    async def work() -> None:
        tasks.append(await waiting(ingest, body("m1")))
        raise fsync_failed()

    with pytest.raises(UnavailableError, match=r"^The database takes nothing now; try again\.$"):
        await ingest.writer.exclusively(work)
    with pytest.raises(UnavailableError, match=FAILED):
        await tasks[0]
    assert ingest.writer.failed.is_set()
    assert ingest.rows("SELECT count(*) FROM journal") == [(0,)]


async def test_after_a_failed_fsync_nothing_more_is_stored(open_ingest: Open) -> None:
    async with open_ingest(store_type=FaultyStore) as ingest:
        assert isinstance(ingest.store, FaultyStore)
        ingest.store.faults = [ValueError("one of them is bad"), None, fsync_failed()]
        tasks = [asyncio.create_task(ingest.deliver(body(f"m{number}"))) for number in range(4)]
        answers = [str(answer) for answer in await asyncio.gather(*tasks, return_exceptions=True)]
        assert answers == [
            "stored",
            "The event could not be stored; send it again.",
            *[FAILED[1:-1].replace("\\", "")] * 2,
        ]
        with pytest.raises(UnavailableError, match=STOPPING):
            await ingest.deliver(body("m9"))
        assert ingest.rows("SELECT count(*) FROM journal") == [(1,)]


async def test_a_full_disk_is_healed_by_a_heartbeat_alone(ingest: Ingest) -> None:
    await ingest.run_sql("PRAGMA max_page_count = 1")
    with pytest.raises(UnavailableError, match=r"^The disk is full; send the event again\.$"):
        await ingest.deliver(body("m1", 50_000))
    assert not ingest.writer.accepting
    await ingest.run_sql("PRAGMA max_page_count = 1000000")
    await until(lambda: ingest.writer.accepting, "a heartbeat to go through")
    assert await ingest.deliver(body("m1", 50_000)) == "stored"


async def test_an_event_later_than_any_retry_is_counted_as_late(ingest: Ingest) -> None:
    await ingest.deliver(sent_at("m1", ingest.clock.now - DAY_MS))
    await ingest.deliver(sent_at("m1", ingest.clock.now - DAY_MS))
    await ingest.deliver(sent_at("m2", ingest.clock.now))
    assert b"receiver_late_deliveries_total 1.0" in ingest.meters.render()


async def test_a_side_that_writes_which_ends_is_the_end_of_accepting(ingest: Ingest) -> None:
    assert ingest.writer.accepting
    ingest.store.ended.set()
    await until(ingest.writer.failed.is_set, "the writer to notice")
    with pytest.raises(UnavailableError, match=STOPPING):
        await ingest.deliver(body("m1"))


async def test_a_body_that_cannot_be_read_is_kept_all_the_same(ingest: Ingest) -> None:
    def broken(body: bytes, now_ms: int | None) -> Event | Unread:
        raise ZeroDivisionError(len(body), now_ms)

    ingest.store.parser.parse = broken  # type: ignore[method-assign] # as a defect of ours would
    with capture_logs() as lines:
        tasks = [asyncio.create_task(ingest.writer.submit(Posted(body(f"m{number}"), 0))) for number in range(2)]
        assert await asyncio.gather(*tasks) == ["quarantined", "quarantined"]
    assert [line["event"] for line in lines] == ["delivery_not_stored", "body_not_read"] * 2
    assert ingest.rows("SELECT reason, count(*) FROM quarantine GROUP BY reason") == [("invalid_field", 2)]
    assert not ingest.writer.failed.is_set()


async def test_a_batch_is_bounded_in_bytes(ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.ingest.writer._BATCH_BYTES", 10_000)
    await asyncio.gather(*[ingest.deliver(body(f"m{number}", 4000)) for number in range(9)])
    assert b'receiver_batch_events_bucket{le="2.0"} 0.0' in ingest.meters.render()
    assert b"receiver_batch_events_count 3.0" in ingest.meters.render()
