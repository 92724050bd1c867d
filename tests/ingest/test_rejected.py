"""Rejected bodies: written behind, taken in when their secret is known, forgotten after a day, never in the way."""

import asyncio
import sqlite3
import stat
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from typing import Any

import pytest
from structlog.testing import capture_logs

from receiver.errors import StorageError
from receiver.events import Event
from receiver.ingest.erase import Erasing
from receiver.ingest.rejected import RejectedBodies
from receiver.ingest.sample import KEPT_MS, Sample
from receiver.leadterra.signature import sign
from receiver.storage.deliveries import Committed, Outcome
from receiver.storage.sqlite.migrate import APPLICATION_ID
from receiver.storage.sqlite.rejected import rejected_path
from receiver.storage.sqlite.store import Store
from tests.ingest.conftest import Ingest, Open
from tests.web.conftest import bounced, replied, sent

LATE = b"the secret that came late"
PEER = "192.0.2.1"


@asynccontextmanager
async def opened(ingest: Ingest, sample: Sample | None = None) -> AsyncIterator[RejectedBodies]:
    rejected = RejectedBodies(ingest.database, ingest.clock, ingest.meters, sample)
    await rejected.start()
    try:
        yield rejected
    finally:
        await rejected.close()


def offer(rejected: RejectedBodies, ingest: Ingest, *bodies: bytes, secret: bytes = LATE) -> None:
    for body in bodies:
        rejected.offer(body, [b"\0" * 32, sign(secret, body)], ingest.clock.now_ms(), PEER)


async def take_in(ingest: Ingest, secret: bytes = LATE) -> None:
    """As a start with this secret does."""
    number = (await ingest.store.secret_ids([secret], 0))[0]
    rejected = RejectedBodies(ingest.database, ingest.clock, ingest.meters)
    await rejected.start()
    rejected.begin_taking_in([(b"another", 99), (secret, number)], ingest.store.parser, ingest.writer)
    await rejected._tasks[-1]
    await rejected.close()


def kept(ingest: Ingest) -> list[bytes]:
    with closing(sqlite3.connect(rejected_path(ingest.database))) as conn:
        return [body for (body,) in conn.execute("SELECT body FROM rejected ORDER BY id")]


def outcomes(ingest: Ingest) -> dict[str, float]:
    value = ingest.meters.registry.get_sample_value
    names = ("kept", "dropped", "displaced", "expired", "taken_in")
    counts = {name: value("receiver_rejected_bodies_total", {"outcome": name}) or 0 for name in names}
    return {name: count for name, count in counts.items() if count}


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 # what is awaited happens in a file
            await asyncio.sleep(0.005)


async def test_it_keeps_a_body_for_the_owner_alone(ingest: Ingest) -> None:
    async with opened(ingest) as rejected:
        offer(rejected, ingest, sent())
    assert kept(ingest) == [sent()]
    assert stat.S_IMODE(rejected_path(ingest.database).stat().st_mode) == 0o600
    assert outcomes(ingest) == {"kept": 1}


async def test_without_a_rejected_body_there_is_no_file(ingest: Ingest) -> None:
    async with opened(ingest) as rejected:
        offer(rejected, ingest, b"garbage")
    assert not rejected_path(ingest.database).exists()


async def test_a_retry_of_a_kept_body_is_kept_once_but_with_another_signature_again(ingest: Ingest) -> None:
    async with opened(ingest) as rejected:
        offer(rejected, ingest, sent(), sent())
        offer(rejected, ingest, sent(), secret=b"other")
    async with opened(ingest) as rejected:
        offer(rejected, ingest, sent())
    assert kept(ingest) == [sent(), sent()]


async def test_what_a_late_secret_signed_is_taken_in_as_it_came(ingest: Ingest) -> None:
    async with opened(ingest) as rejected:
        offer(rejected, ingest, sent("m1"), replied(), b'{"event":"message.sent","timestamp":1,"data":{}}')
        offer(rejected, ingest, sent("m2"), secret=b"of somebody else")
    came_at = ingest.clock.now_ms()
    ingest.clock.tick(20 * 3_600_000)
    with capture_logs() as lines:
        await take_in(ingest)
    told = [line for line in lines if line["event"] == "rejected_bodies_taken_in"]
    assert [(line["stored"], line["quarantined"], line["left"]) for line in told] == [(2, 1, 1)]
    secret = (await ingest.store.secret_ids([LATE], 0))[0]
    journal = ingest.rows("SELECT body, received_at, secret, peer FROM journal ORDER BY seq")
    assert journal == [(sent("m1"), came_at, secret, PEER), (replied(), came_at, secret, PEER)]
    assert ingest.rows("SELECT received_at, secret, peer FROM quarantine") == [(came_at, secret, PEER)]
    assert ingest.rows("SELECT sum(sent), sum(replies) FROM totals WHERE step = -1") == [(1, 1)]
    assert kept(ingest) == [sent("m2")]
    assert outcomes(ingest) == {"kept": 4, "taken_in": 3}


async def test_lateness_is_that_of_when_it_came(ingest: Ingest) -> None:
    async with opened(ingest) as rejected:
        offer(rejected, ingest, sent("m1", at="09:00"), sent("m2", at="2025-06-10T09:00:00Z"))
    ingest.clock.tick(20 * 3_600_000)
    await take_in(ingest)
    assert ingest.meters.late_events == 1


async def test_it_proves_nothing_about_acceptance(ingest: Ingest) -> None:
    async with opened(ingest) as rejected:
        offer(rejected, ingest, sent())
    ingest.writer.heartbeat.refused()
    await take_in(ingest)
    assert ingest.writer.heartbeat.refusals() is not None


async def test_what_was_delivered_meanwhile_is_a_duplicate(ingest: Ingest) -> None:
    async with opened(ingest) as rejected:
        offer(rejected, ingest, sent(), bounced())
    assert await ingest.deliver(sent()) is Outcome.STORED
    await take_in(ingest)
    assert await ingest.deliver(bounced()) is Outcome.DUPLICATE
    assert ingest.rows("SELECT sum(sent), sum(bounced) FROM totals WHERE step = -1") == [(1, 1)]


async def test_taken_in_twice_it_counts_once(ingest: Ingest) -> None:
    """As after a crash between the ledger's commit and the deletion here."""
    async with opened(ingest) as rejected:
        offer(rejected, ingest, sent())
    before = rejected_path(ingest.database).read_bytes()
    await take_in(ingest)
    rejected_path(ingest.database).write_bytes(before)
    await take_in(ingest)
    assert ingest.rows("SELECT sum(sent) FROM totals WHERE step = -1") == [(1,)]


async def test_while_the_database_takes_nothing_it_waits(ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.ingest.rejected._AGAIN_S", 0.01)
    async with opened(ingest) as rejected:
        offer(rejected, ingest, sent())
        await rejected._write()
        with ingest.locked(), capture_logs() as lines:
            rejected.begin_taking_in([(LATE, 1)], ingest.store.parser, ingest.writer)
            await until(lambda: "database_locked" in [line["event"] for line in lines])
        await rejected._tasks[-1]
    assert ingest.rows("SELECT count(*) FROM journal") == [(1,)]


async def test_a_stop_while_the_database_takes_nothing_leaves_them_to_the_next_start(ingest: Ingest) -> None:
    async with opened(ingest) as rejected:
        offer(rejected, ingest, sent())
        await rejected._write()
        with ingest.locked(), capture_logs() as lines:
            rejected.begin_taking_in([(LATE, 1)], ingest.store.parser, ingest.writer)
            await until(lambda: "database_locked" in [line["event"] for line in lines])
            await rejected.close()
    assert ("rejected_bodies_not_taken_in", "warning") in [(line["event"], line["log_level"]) for line in lines]
    assert kept(ingest) == [sent()]
    await take_in(ingest)
    assert ingest.rows("SELECT sum(sent) FROM totals WHERE step = -1") == [(1,)]


async def test_a_file_that_cannot_be_read_on_the_way_is_told(ingest: Ingest) -> None:
    async with opened(ingest) as rejected:
        offer(rejected, ingest, sent())
        await rejected._write()
        with closing(sqlite3.connect(rejected_path(ingest.database))) as other:
            other.execute("DROP TABLE rejected")
        with capture_logs() as lines:
            rejected.begin_taking_in([(LATE, 1)], ingest.store.parser, ingest.writer)
            await rejected._tasks[-1]
    assert [(line["event"], line["log_level"]) for line in lines] == [("rejected_bodies_not_taken_in", "error")]


class RefusingStore(Store):
    """A real store that cannot take the event of one message."""

    async def take_in(self, deliveries: Any, now_ms: int) -> Committed:
        if any(isinstance(each.parsed, Event) and b'"bad"' in each.body for each in deliveries):
            raise OverflowError("too large for SQLite")
        return await super().take_in(deliveries, now_ms)


async def test_one_that_the_ledger_cannot_take_harms_no_other(open_ingest: Open) -> None:
    async with open_ingest(store_type=RefusingStore) as ingest:
        async with opened(ingest) as rejected:
            offer(rejected, ingest, sent("m1"), sent("bad"), sent("m2"))
        await take_in(ingest)
        assert ingest.rows("SELECT sum(sent) FROM totals WHERE step = -1") == [(2,)]
        assert ingest.rows("SELECT reason FROM quarantine") == [("invalid_field",)]
        assert kept(ingest) == []


async def test_a_day_later_nothing_of_it_is_left_in_the_file(ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.ingest.rejected._EXPIRE_EVERY_S", 0.01)
    path = rejected_path(ingest.database)
    async with opened(ingest) as rejected:
        offer(rejected, ingest, sent("canary"))
        await until(lambda: path.exists() and b"canary" in path.read_bytes())
        ingest.clock.tick(KEPT_MS)
        await until(lambda: b"canary" not in path.read_bytes())
    assert [entry.name for entry in path.parent.glob("*.rejected*")] == [path.name]
    assert outcomes(ingest) == {"kept": 1, "expired": 1}


async def test_what_is_too_old_at_a_start_is_forgotten(ingest: Ingest) -> None:
    async with opened(ingest) as rejected:
        offer(rejected, ingest, sent("old"))
    ingest.clock.tick(KEPT_MS)
    await take_in(ingest)
    assert ingest.rows("SELECT count(*) FROM journal") == [(0,)]
    assert b"old" not in rejected_path(ingest.database).read_bytes()


async def test_erased_bodies_are_gone_from_the_file_and_others_stay(ingest: Ingest) -> None:
    path = rejected_path(ingest.database)
    async with opened(ingest) as rejected:
        offer(rejected, ingest, replied(lead="canary@example.org"), sent(), replied(lead="other@example.org"))
        assert await rejected.erase(lambda body: b"canary@" in body) == 1
        assert b"canary@" not in path.read_bytes()
    assert kept(ingest) == [sent(), replied(lead="other@example.org")]


async def test_a_displaced_body_is_deleted_or_never_written(ingest: Ingest) -> None:
    async with opened(ingest, Sample(bodies_max=2)) as rejected:
        offer(rejected, ingest, sent("m1"), sent("m2"), sent("m3"))
        await rejected._write()
        ingest.clock.tick(3_600_000)
        offer(rejected, ingest, sent("m4"))
    assert kept(ingest) == [sent("m1"), sent("m4")]
    assert outcomes(ingest) == {"kept": 3, "dropped": 1, "displaced": 1}


async def test_more_than_may_wait_is_dropped(ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.ingest.rejected._WAITING_MAX", 2)
    async with opened(ingest) as rejected:
        offer(rejected, ingest, *(sent(f"m{number}") for number in range(5)))
        assert outcomes(ingest) == {"kept": 2, "dropped": 3}
        await rejected._write()
        offer(rejected, ingest, sent("m9"))
    assert kept(ingest) == [sent("m0"), sent("m1"), sent("m9")]


async def test_a_file_that_takes_nothing_is_told_once_and_harms_nobody(ingest: Ingest) -> None:
    path = rejected_path(ingest.database)
    async with opened(ingest) as rejected:
        offer(rejected, ingest, sent("m1"))
        await rejected._write()
        with capture_logs() as lines, closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            for _ in range(2):
                offer(rejected, ingest, sent("m2"))
                await rejected._write()
            assert await ingest.deliver(sent("m2")) is Outcome.STORED
        offer(rejected, ingest, sent("m3"))
    assert [line["event"] for line in lines] == ["rejected_bodies_not_kept"]
    assert outcomes(ingest) == {"kept": 4, "dropped": 2}
    assert kept(ingest) == [sent("m1"), sent("m3")]


async def test_what_cannot_be_erased_is_told(ingest: Ingest) -> None:
    async with opened(ingest) as rejected:
        offer(rejected, ingest, sent())
        await rejected._write()
        with closing(sqlite3.connect(rejected_path(ingest.database), isolation_level=None)) as other:
            other.execute("BEGIN")
            other.execute("SELECT count(*) FROM rejected").fetchall()  # a reader, beside whom nothing is committed
            with pytest.raises(StorageError, match="cannot be used; see the log, and erase again"):
                await rejected.erase(lambda _: True)
    assert kept(ingest) == []


async def test_looking_through_them_holds_nobody_up(ingest: Ingest) -> None:
    """What strangers sent may take long to be read."""
    looked: list[bool] = []

    def is_meant(_: bytes) -> bool:
        looked.append(threading.current_thread() is threading.main_thread())
        return False

    async with opened(ingest) as rejected:
        offer(rejected, ingest, sent())
        await rejected.erase(is_meant)
    assert looked == [False]


async def test_a_file_that_works_again_is_no_reason_not_to_erase(ingest: Ingest) -> None:
    async with opened(ingest) as rejected:
        offer(rejected, ingest, sent("m1"))
        await rejected._write()
        with closing(sqlite3.connect(rejected_path(ingest.database), isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            offer(rejected, ingest, sent("m2"))
            await rejected._write()
        assert await rejected.erase(lambda _: False) == 0


async def test_one_that_was_never_read_may_hold_what_is_to_be_erased(ingest: Ingest) -> None:
    rejected_path(ingest.database).write_bytes(b"precious")
    async with opened(ingest) as rejected:
        with pytest.raises(StorageError, match="cannot be used; see the log, and erase again"):
            await rejected.erase(lambda _: False)


async def test_erasing_lets_those_be_taken_in_that_are_on_their_way(ingest: Ingest) -> None:
    """They are looked for in the database then."""
    async with opened(ingest) as rejected:
        offer(rejected, ingest, sent("m1"), sent("m2"))
        await rejected._write()
        with ingest.locked(), capture_logs() as lines:
            rejected.begin_taking_in([(LATE, 1)], ingest.store.parser, ingest.writer)
            await until(lambda: "database_locked" in [line["event"] for line in lines])
            erasing = asyncio.create_task(rejected.erase(lambda body: b'"m1"' in body))
            await asyncio.wait({erasing}, timeout=0.1)
        assert await erasing == 0
        assert ingest.rows("SELECT count(*) FROM journal") == [(2,)]


async def test_an_erasure_finds_what_was_taken_in_just_before(ingest: Ingest) -> None:
    """Of the body it is one or the other, however near they meet: rejected still, or in the database."""

    class Taking(RejectedBodies):
        async def erase(self, is_meant: Callable[[bytes], bool]) -> int:
            self.begin_taking_in([(LATE, 1)], ingest.store.parser, ingest.writer)
            await self._tasks[-1]
            return await super().erase(is_meant)

    rejected = Taking(ingest.database, ingest.clock, ingest.meters)
    await rejected.start()
    offer(rejected, ingest, replied(lead="canary@example.org"))
    await rejected._write()
    erasing = Erasing(ingest.database, ingest.store, rejected, ingest.page_check, ingest.writer, ingest.clock)
    erasing.start("canary@example.org")
    await until(lambda: erasing.state.status != "running")
    await rejected.close()
    assert (erasing.state.status, erasing.state.erased.bodies) == ("ok", 1)
    assert ingest.rows("SELECT count(*), sum(instr(body, 'canary')) FROM journal") == [(1, 0)]


async def test_another_programs_file_is_left_alone(ingest: Ingest) -> None:
    rejected_path(ingest.database).write_bytes(b"precious")
    with capture_logs() as lines:
        async with opened(ingest) as rejected:
            offer(rejected, ingest, sent())
    assert rejected_path(ingest.database).read_bytes() == b"precious"
    assert [line["event"] for line in lines] == ["rejected_bodies_not_kept"]
    assert lines[0]["error"].endswith("is not a file of this program; move it away.")


async def test_a_file_that_a_kill_left_half_made_is_completed(ingest: Ingest) -> None:
    path = rejected_path(ingest.database)
    with closing(sqlite3.connect(path)) as conn:
        conn.execute(f"PRAGMA application_id={APPLICATION_ID}")
    async with opened(ingest) as rejected:
        offer(rejected, ingest, sent())
    assert kept(ingest) == [sent()]


async def test_a_damaged_file_is_begun_anew(ingest: Ingest) -> None:
    path = rejected_path(ingest.database)
    async with opened(ingest) as rejected:
        offer(rejected, ingest, sent("m1"))
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + b"\xff" * (len(whole) - 100))
    with capture_logs() as lines:
        async with opened(ingest) as rejected:
            offer(rejected, ingest, sent("m2"))
    assert [line["event"] for line in lines] == ["rejected_bodies_lost"]
    assert kept(ingest) == [sent("m2")]
