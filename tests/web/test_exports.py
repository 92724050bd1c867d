"""Exports: all rows of one state, in bounded memory, without a reading transaction during the download."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from io import FileIO
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message

from receiver.errors import QueryTimeoutError, UnavailableError
from receiver.web import tables
from receiver.web.access import Role
from receiver.web.exports import ExportLimits, Exports
from receiver.web.formats import Format
from receiver.web.operation import Call, Table
from receiver.web.paging import PAGE_ROWS, every
from receiver.web.params import EventsParams
from tests.web.conftest import NOW, Api, sent, started, unread

CALL = Call(EventsParams(), None, {}, Role.ANALYST, NOW)


class Client:
    """One who asks over ASGI, and can go away or take nothing."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()
        self.takes = asyncio.Event()
        self.takes.set()
        self.received: list[Message] = []
        self.asked = False
        self._first = True

    async def receive(self) -> Message:
        if self._first:
            self._first = False
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.asked = True
        await self.takes.wait()
        self.received.append(message)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.received)

    @property
    def is_complete(self) -> bool:
        return bool(self.received) and not self.received[-1].get("more_body", False)


def endless(*_: object) -> Iterator[Mapping[str, Any]]:
    """Rows without end."""
    number = 0
    while True:
        number += 1
        yield {"seq": number, "message_id": os.urandom(500).hex()}


def many(count: int) -> Table:
    """A table of so many rows that do not compress."""

    def rows(conn: sqlite3.Connection, call: Call) -> Iterator[Mapping[str, Any]]:
        for row, _ in zip(endless(), range(count), strict=False):
            yield row

    return Table("many", EventsParams, tables.EVENTS.row, rows)


ENDLESS = Table("endless", EventsParams, tables.EVENTS.row, endless)


@pytest.fixture
async def path(api: Api) -> Path:
    await api.post(started(), sent())
    path = api.service.database.store.path
    await finished(Exports(path))  # SQLite keeps one descriptor of a closed connection, for the next
    return path


async def finished(exports: Exports, table: Table = tables.EVENTS, client: Client | None = None) -> Client:
    """Who asked, with the download taken."""
    client = client or Client()
    download = await exports.make(table, CALL, Format.CSV, client.receive)
    try:
        await download.send(client.send, compressed=False)
    finally:
        download.close()
    return client


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


# What is in it.


async def test_an_export_has_all_rows_where_a_page_has_some(api: Api) -> None:
    await api.post(*(sent(f"m{number}") for number in range(150)))
    assert len((await api.json("/v1/events"))["data"]) == 100
    assert (await api.get("/v1/events?format=ndjson")).text.count("\n") == 150
    assert (await api.get("/v1/events?format=ndjson&limit=7")).text.count("\n") == 7


@pytest.mark.parametrize("path", ["/v1/events?", "/v1/quarantine?", "/v1/campaigns?sort=sent&order=asc&",
                                  "/v1/campaigns?sort=campaign_id&"])  # fmt: skip
async def test_a_cursor_is_where_an_export_goes_on(api: Api, path: str) -> None:
    await api.post(*(sent(f"m{number}", campaign=f"c{number}") for number in range(7)), *map(unread, range(7)))
    everything = (await api.get(f"{path}format=csv")).text.splitlines()
    cursor = (await api.json(f"{path}limit=3"))["next_cursor"]
    rest = (await api.get(f"{path}format=csv&cursor={cursor}")).text.splitlines()
    assert (len(everything), rest[1:]) == (8, everything[4:])


@pytest.mark.parametrize("limit", [None, 0, 1, PAGE_ROWS - 1, PAGE_ROWS, PAGE_ROWS + 1, 2 * PAGE_ROWS, 9 * PAGE_ROWS])
@pytest.mark.parametrize("count", [0, 1, PAGE_ROWS, PAGE_ROWS + 1, 3 * PAGE_ROWS])
def test_pages_make_the_whole_list(count: int, limit: int | None) -> None:
    sizes = []

    def read(conn: sqlite3.Connection, after: int, size: int) -> list[dict[str, int]]:
        sizes.append(size)
        return [{"n": number} for number in range(after, min(after + size, count))]

    with closing(sqlite3.connect(":memory:")) as conn:
        rows = [row["n"] for row in every(read, lambda _, last: last["n"] + 1, conn, 0, limit)]
    assert rows == list(range(count if limit is None else min(count, limit)))
    assert max(sizes, default=0) <= PAGE_ROWS


async def test_it_is_of_one_state_however_much_is_taken_in_meanwhile(api: Api, path: Path) -> None:
    """Half of the rows are read, an event is stored, the other half is read."""
    half, more = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def rows(conn: sqlite3.Connection, call: Call) -> Iterator[Mapping[str, Any]]:
        yield from tables.EVENTS.rows(conn, call)
        loop.call_soon_threadsafe(half.set)
        asyncio.run_coroutine_threadsafe(more.wait(), loop).result(30)
        yield from tables.EVENTS.rows(conn, call)

    twice = Table("twice", EventsParams, tables.EVENTS.row, rows)
    making = asyncio.create_task(finished(Exports(path), twice))
    await half.wait()
    assert await api.post(sent("m9")) == ["stored"]
    more.set()
    lines = (await making).body.decode().splitlines()[1:]
    assert lines == [*lines[:2], *lines[:2]]
    assert (await finished(Exports(path))).body.count(b"\n") == 4


async def test_no_transaction_is_open_while_a_slow_client_downloads(api: Api, path: Path) -> None:
    """A checkpoint that waits for every reader gets through, and empties the log."""
    client = Client()
    client.takes.clear()
    downloading = asyncio.create_task(finished(Exports(path), many(4000), client))
    await until(lambda: client.asked)
    await api.post(sent("m9"))
    with closing(sqlite3.connect(path)) as conn:
        busy, _, _ = conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    assert busy == 0
    assert not downloading.done()
    client.takes.set()
    assert (await downloading).body.count(b"\n") == 4001


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 # nothing else tells of it
        await asyncio.sleep(0.01)


# What it may take.


async def test_more_at_once_wait_and_then_are_told_to_come_again(path: Path) -> None:
    exports = Exports(path, ExportLimits(at_once=1, wait_s=0.05))
    client = Client()
    first = await exports.make(many(4000), CALL, Format.CSV, client.receive)
    with pytest.raises(UnavailableError) as caught:
        await finished(exports)
    assert str(caught.value) == "1 exports are under way, and no more are made at once; try again later."
    assert caught.value.retry_after_s == 5
    first.close()
    assert (await finished(exports)).is_complete


async def test_only_some_are_read_at_once(path: Path) -> None:
    """One that is on its way to a slow client lets another be read; two are not read together."""
    exports = Exports(path, ExportLimits(read_at_once=1, wait_s=0.05))
    on_disk = await exports.make(many(4000), CALL, Format.CSV, Client().receive)
    begun, more = threading.Event(), threading.Event()

    def rows(conn: sqlite3.Connection, call: Call) -> Iterator[Mapping[str, Any]]:
        begun.set()
        more.wait(30)
        yield from tables.EVENTS.rows(conn, call)

    slow = Table("slow", EventsParams, tables.EVENTS.row, rows)
    reading = asyncio.create_task(finished(exports, slow))
    await asyncio.to_thread(begun.wait, 30)
    with pytest.raises(UnavailableError) as caught:
        await finished(exports)
    assert str(caught.value) == "1 exports are being read, and no more are at once; try again later."
    more.set()
    assert (await reading).is_complete
    assert (await finished(exports)).is_complete
    on_disk.close()
    assert exports._slots._value == ExportLimits().at_once


async def test_small_exports_give_their_place_back_before_the_download(path: Path) -> None:
    exports = Exports(path, ExportLimits(at_once=1, wait_s=0.05))
    downloads = [await exports.make(tables.EVENTS, CALL, Format.CSV, Client().receive) for _ in range(3)]
    for download in downloads:
        download.close()
        download.close()
    assert exports._slots._value == 1


async def test_reading_for_too_long_is_ended(path: Path) -> None:
    exports = Exports(path, ExportLimits(at_once=1, read_s=0.2))
    with pytest.raises(QueryTimeoutError) as caught:
        await finished(exports, ENDLESS)
    assert str(caught.value) == "The export took longer than 0.2 s; ask for less at once."
    assert (await finished(exports)).is_complete


async def test_one_long_query_is_interrupted(path: Path) -> None:
    text = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) AS seq FROM n"
    stuck = Table("stuck", EventsParams, tables.EVENTS.row, lambda conn, _: iter(conn.execute(text)))
    with pytest.raises(QueryTimeoutError):
        await finished(Exports(path, ExportLimits(read_s=0.2)), stuck)


@pytest.mark.parametrize("table", [tables.EVENTS, many(4000), ENDLESS])
async def test_a_full_disk_is_said_and_leaves_nothing(path: Path, table: Table) -> None:
    exports = Exports(path, ExportLimits(at_once=1), lambda: FileIO("/dev/full", "r+"))
    before = open_files()
    if table is tables.EVENTS:
        assert (await finished(exports, table)).is_complete  # small ones need no disk
    else:
        with pytest.raises(UnavailableError) as caught:
            await finished(exports, table)
        assert str(caught.value) == "There is no room for the export now; ask for less, or try later."
    assert open_files() == before
    assert exports._slots._value == 1


async def test_head_of_a_long_export_reads_no_more_than_fits_into_memory(path: Path) -> None:
    exports = Exports(path, ExportLimits(at_once=1), lambda: pytest.fail("a file was opened"))
    before = open_files()
    assert await exports.make_small(ENDLESS, CALL, Format.CSV, Client().receive) is None
    assert (open_files(), exports._slots._value) == (before, 1)


# Those who go.


async def test_a_client_that_goes_while_it_is_read_ends_the_reading(path: Path) -> None:
    exports, client = Exports(path, ExportLimits(at_once=1)), Client()
    before = open_files()
    making = asyncio.create_task(finished(exports, ENDLESS, client))
    await asyncio.sleep(0.1)
    client.gone.set()
    with pytest.raises(UnavailableError, match="The client has gone"):
        await making
    assert (open_files(), exports._slots._value) == (before, 1)


async def test_a_client_that_goes_during_the_download_ends_it(path: Path) -> None:
    exports, client = Exports(path, ExportLimits(at_once=1)), Client()
    before = open_files()
    download = await exports.make(many(4000), CALL, Format.CSV, client.receive)
    client.gone.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await download.send(client.send, compressed=False)
    download.close()
    assert not client.is_complete
    assert len(client.received) == 0
    assert (open_files(), exports._slots._value) == (before, 1)


async def test_a_client_that_takes_nothing_is_given_up(path: Path) -> None:
    exports, client = Exports(path, ExportLimits(at_once=1, stall_s=0.05)), Client()
    client.takes.clear()
    assert not (await finished(exports, many(4000), client)).is_complete
    assert exports._slots._value == 1


async def test_a_cancelled_request_leaves_nothing(path: Path) -> None:
    exports = Exports(path, ExportLimits(at_once=1))
    before = open_files()
    making = asyncio.create_task(finished(exports, ENDLESS))
    await asyncio.sleep(0.1)
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    assert (open_files(), exports._slots._value) == (before, 1)


async def test_a_shutdown_ends_reading_and_downloads_and_takes_no_more(path: Path) -> None:
    exports, slow = Exports(path), Client()
    slow.takes.clear()
    download = await exports.make(many(4000), CALL, Format.CSV, slow.receive)
    downloading = asyncio.create_task(download.send(slow.send, compressed=False))
    reading = asyncio.create_task(finished(exports, ENDLESS))
    await until(lambda: slow.asked)
    exports.drain()
    await downloading
    download.close()
    assert not slow.is_complete
    for attempt in (reading, finished(exports)):
        with pytest.raises(UnavailableError, match=r"^The receiver is shutting down; try again\.$"):
            await attempt


async def test_a_draining_service_refuses_exports_and_answers_json(api: Api) -> None:
    api.service.exports.drain()
    assert (await api.refused("/v1/events?format=csv", 503))["code"] == "unavailable"
    assert (await api.get("/v1/events")).status_code == 200


# Memory.

_MEASURE = """
import pathlib, sys
from receiver.storage.sqlite.recount import Progress
from receiver.web import tables
from receiver.web.access import Role
from receiver.web.exports import write_table
from receiver.web.formats import Format
from receiver.web.operation import Call
from receiver.web.params import EventsParams
from receiver.storage.sqlite.connection import open_for_reading
from receiver.web.spool import Spool, unnamed_file
path, rows = pathlib.Path(sys.argv[1]), int(sys.argv[2])
conn = open_for_reading(path)
call = Call(EventsParams(), None, {}, Role.ANALYST, 0)
def peak_kib():  # of this process alone; `ru_maxrss` begins with what the parent had
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])
def export():
    spool = Spool(unnamed_file(path.parent), 0)
    progress = Progress()
    write_table(conn, tables.EVENTS, call, Format.CSV, spool.write, progress)
    spool.finish()
    sizes = sum(len(chunk) for chunk in spool.chunks(compressed=False))
    return progress.done, sizes, spool.stored_bytes
conn.execute("SELECT count(*) FROM journal").fetchone()
before = peak_kib()
done, plain, stored = export()
print(done, (peak_kib() - before) // 1024, plain, stored)
"""


def fill(path: Path, count: int, id_bytes: int = 16) -> None:
    """Sends of distinct messages, in bulk; their ids are that many random bytes, in hex."""
    with closing(sqlite3.connect(path)) as conn, conn:
        conn.execute("DELETE FROM journal")
        conn.execute("DELETE FROM messages")
        conn.execute(
            "WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < :n) "
            "INSERT INTO journal (seq, received_at, kind, key, campaign, role, copies, secret, peer, body, origin) "
            "SELECT value, 1749634200000, 2, CAST(printf('%016d', value) AS BLOB), 1, 1, 1, 1, "
            """NULL, CAST(printf('{"event":"message.sent","data":{"messageId":"%s"}}', hex(randomblob(:size))) """
            "AS BLOB), 0 FROM n",
            {"n": count, "size": id_bytes},
        )
        conn.execute(
            "INSERT INTO messages (key, campaign, step, sent_at, received_after, sent_seq) "
            "SELECT key, 1, 1, received_at, 0, seq FROM journal"
        )


def measured(path: Path, count: int) -> list[int]:
    """Rows, growth of the peak in MiB, bytes, compressed bytes."""
    fill(path, count)
    command = [sys.executable, "-c", _MEASURE, str(path), str(count)]
    output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600).stdout
    return [int(part) for part in output.split()]


@pytest.mark.parametrize(
    "count", [50_000, pytest.param(1_000_000, marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
)
async def test_memory_stays_bounded(path: Path, count: int) -> None:
    rows, grown_mib, *_ = measured(path, count)
    assert rows == count
    assert grown_mib < 64
