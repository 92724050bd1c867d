"""All that looks after the database at once, while webhooks come in: each does its part, and no figure moves."""

import asyncio
import json
from contextlib import closing
from pathlib import Path

from receiver.ingest.erase import Erasing
from receiver.ingest.rebuild import Rebuilding
from receiver.ingest.rejected import RejectedBodies
from receiver.ingest.retention import Retention
from receiver.storage.deliveries import Outcome
from receiver.storage.sqlite import backup
from receiver.storage.sqlite.connection import open_for_reading
from receiver.storage.sqlite.recount import Progress, recount
from receiver.storage.sqlite.verify import check_journal
from tests.ingest.conftest import DAY_MS, Ingest
from tests.ingest.test_rejected import LATE, offer, opened, until
from tests.web.conftest import bounced, replied, sent

CANARY = "canary@example.org"
SENT = "SELECT sum(sent), sum(bounced), sum(replies), sum(replied) FROM totals WHERE step = -1"


def about(number: int) -> bytes:
    payload = json.loads((sent, bounced)[number % 2](f"m{number // 2}"))
    payload["data"] |= {"email": CANARY, "more": "x" * (number % 5) * 2000}
    return json.dumps(payload).encode()


def checked(database: Path) -> tuple[int, int]:
    """Rows of figures and events that differ from what they were made from."""
    with closing(open_for_reading(database)) as reader:
        return recount(reader, Progress()).rows, check_journal(reader, Progress()).mismatches


def copied(database: Path, copy: Path) -> tuple[int, int]:
    with closing(open_for_reading(database)) as reader:
        least = backup.contents(reader)
        backup.copy(reader, copy, Progress())
    backup.check(copy, least, Progress())
    return checked(copy)


async def test_all_at_once(ingest: Ingest, tmp_path: Path) -> None:
    async with opened(ingest) as rejected:
        await _all_at_once(ingest, rejected, tmp_path)
    for suffix in ("", "-wal", ".rejected"):
        assert CANARY.encode() not in ingest.database.with_name(ingest.database.name + suffix).read_bytes()


async def _all_at_once(ingest: Ingest, rejected: RejectedBodies, tmp_path: Path) -> None:
    erasing = Erasing(ingest.database, ingest.store, rejected, ingest.page_check, ingest.writer, ingest.clock)
    rebuilding = Rebuilding(ingest.database, ingest.store, ingest.writer, ingest.clock)
    retention = Retention(ingest.database, ingest.store, ingest.writer, ingest.clock, 1)
    bodies = [about(number) for number in range(400)]
    await asyncio.gather(*[ingest.deliver(body) for body in bodies[:200]])
    ingest.clock.tick(DAY_MS + 1)
    await asyncio.gather(*[ingest.deliver(body) for body in bodies[200:]])
    offer(rejected, ingest, *[replied(f"r{number}", lead=CANARY) for number in range(250)])
    await rejected._write()

    rejected.begin_taking_in([(LATE, 1)], ingest.store.parser, ingest.writer)
    rebuilding.start()
    erasing.start(CANARY)
    expired, copy, found, outcomes = await asyncio.gather(
        retention.run(),
        asyncio.to_thread(copied, ingest.database, tmp_path / "copy.db"),
        asyncio.to_thread(checked, ingest.database),
        asyncio.gather(*[ingest.deliver(sent(f"new{number}")) for number in range(200)]),
    )
    await rejected._tasks[-1]
    await until(lambda: "running" not in (erasing.state.status, rebuilding.state.status))

    assert (copy, found, set(outcomes)) == ((0, 0), (0, 0), {Outcome.STORED})
    assert (erasing.state.status, rebuilding.state.status, rebuilding.state.rows_changed) == ("ok", "ok", 0)
    assert expired.bodies == 200
    assert ingest.rows(SENT) == [(400, 200, 250, 1)]
    assert ingest.rows(f"SELECT count(*), sum(instr(body, '{CANARY}') > 0) FROM journal") == [(650, 0)]
    assert checked(ingest.database) == (0, 0)
    again = await asyncio.gather(*[ingest.deliver(body) for body in bodies[200:]])
    assert (set(again), ingest.rows(SENT)) == ({Outcome.DUPLICATE}, [(400, 200, 250, 1)])
