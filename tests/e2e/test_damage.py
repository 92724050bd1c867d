"""A start that is killed, a file that is damaged under the service: nothing is half made, nothing half true."""

import json
import random
import sqlite3
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.e2e.asgi import opened_receiver
from tests.e2e.server import Server, ledger, run, sent, until
from tests.storage.conftest import LedgerUnderTest, add_slow_table

WAY_BACK = "restore a backup, then run `reconcile`: README, 'Backup and restore'."
PAGE = 4096


def spoil(database: Path, *tables: str) -> None:
    """Overwrite the first page of tables, or every page but that of the schema."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as conn:
        roots = dict(conn.execute("SELECT name, rootpage FROM sqlite_schema"))
    overwrite(database, [roots[table] for table in tables] or range(2, database.stat().st_size // PAGE + 1))


def overwrite(database: Path, pages: Iterable[int]) -> None:
    with database.open("r+b") as file:
        for page in pages:
            file.seek((page - 1) * PAGE)
            file.write(b"\xa5" * PAGE)


def fill(database: Path, events: int = 100) -> None:
    """Some events, all of them in the file itself and none in its log."""
    under_test = LedgerUnderTest(database)
    under_test.now = time.time_ns() // 1_000_000
    under_test.deliver(*(sent(f"m{number}") for number in range(events)))
    under_test.conn.close()


def test_a_first_start_that_was_killed_at_any_time_is_done_again(database: Path) -> None:
    with Server(database) as server:  # how long a first start takes here
        takes_s = time.monotonic() - server.started_s
    for left in database.parent.iterdir():
        left.unlink()
    chance = random.Random(5)
    for _ in range(6):
        with Server(database, wait=False) as server:
            time.sleep(chance.uniform(0.3, 1.1) * takes_s)
            server.kill()
        assert "Traceback" not in server.stderr
        for made in (database, database.with_name(database.name + "-wal")):
            made.unlink(missing_ok=True)  # each of them is a first start
    with Server(database) as server:
        assert server.post(sent("m1")).outcome == "stored"
        assert server.stop() == 0
    assert sorted(path.name for path in database.parent.iterdir()) == ["receiver.db", "receiver.db.lock"]


def test_an_empty_file_is_left_alone(database: Path) -> None:
    database.touch()
    done = run(database, "serve", "--port", "0")
    words = f"'{database}' is empty, which no database ever is; restore a backup, or delete it to begin with none.\n"
    assert (done.returncode, done.stderr) == (1, words)
    assert database.stat().st_size == 0


@pytest.mark.parametrize("arguments", [("serve", "--port", "0"), ("verify",), ("export", "events"), ("rebuild",)])
def test_every_command_names_damage_and_the_way_back(database: Path, arguments: tuple[str, ...]) -> None:
    fill(database)
    spoil(database)
    done = run(database, *arguments)
    assert done.returncode == 1
    assert done.stderr.endswith(WAY_BACK + "\n")
    assert f"The database '{database}' is damaged (" in done.stderr
    assert "Traceback" not in done.stderr


def test_damage_that_a_start_had_no_time_to_find_is_named_and_ends_the_service(
    database: Path, serve: Callable[..., Server]
) -> None:
    fill(database, 20_000)
    add_slow_table(database, 60)
    middle = database.stat().st_size // PAGE // 2
    with closing(sqlite3.connect(database)) as conn:
        (name,) = conn.execute("SELECT name FROM dbstat WHERE pageno = ?", (middle,)).fetchone()
    assert name in {"messages", "journal"}
    overwrite(database, [middle])
    server = serve()
    assert server.wait() == 1
    assert server.stderr.count("database_damaged") == 1
    assert f"The database '{database}' is damaged (" in server.stderr
    assert server.stderr.count(WAY_BACK) == 1
    assert "database_sound" not in server.stderr
    assert "Traceback" not in server.stderr


def test_a_stop_while_pages_are_looked_at_is_clean(database: Path, serve: Callable[..., Server]) -> None:
    fill(database)
    add_slow_table(database, 100_000)
    for message in ("before", "after"):
        server = serve()
        assert server.post(sent(message)).outcome == "stored"
        assert server.stop() == 0
        said = [json.loads(line)["level"] for line in server.stderr.splitlines() if line.startswith("{")]
        assert "error" not in said
        assert "Traceback" not in server.stderr
        assert "database_sound" not in server.stderr
    assert not database.with_name("receiver.db-wal").exists()
    assert ledger(database)[-2:] == ["before", "after"]


def test_a_start_without_time_says_later_that_all_is_sound(database: Path, serve: Callable[..., Server]) -> None:
    fill(database)
    add_slow_table(database, 20)
    server = serve()
    server.wait_until_said("database_sound")
    assert server.stop() == 0
    assert server.stderr.count("database_sound") == 1


def test_damage_that_a_question_meets_is_no_answer(database: Path, serve: Callable[..., Server]) -> None:
    fill(database)
    server = serve()
    spoil(database)
    for path in ("/v1/campaigns", "/v1/events", "/v1/events?format=csv", "/v1/series"):
        answer = server.get(path)
        assert (path, answer.status, answer.code) == (path, 500, "internal")
    assert server.get("/readyz").status == 503
    assert server.get("/metrics").status == 200
    until(lambda: server.stderr.count(WAY_BACK) >= 5, "the way back, for each of them")
    assert server.get("/livez").status == 200


async def test_damage_that_a_commit_meets_ends_acceptance(database: Path) -> None:
    fill(database)
    with capture_logs() as lines:
        async with opened_receiver(database) as receiver:
            assert (await receiver.deliver(sent("before"))).outcome == "stored"
            await receiver.run_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            await receiver.run_sql("PRAGMA shrink_memory")  # or it would not look at the file for a long time
            spoil(database, "messages")
            answers = [await receiver.deliver(sent(f"after-{number}")) for number in range(3)]
            assert {answer.status for answer in answers} == {503}
            assert receiver.writer.failed.is_set()
    failed = next(line for line in lines if line["event"] == "database_failed")
    assert failed["detail"].startswith(f"The database '{database}' is damaged (")
    assert failed["detail"].endswith(WAY_BACK)
    assert ledger(database)[-1] == "before"
