"""The schema: the same by whatever road, ours or refused."""

import itertools
import os
import re
import shutil
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from receiver import __version__
from receiver.errors import StorageError
from receiver.storage import files
from receiver.storage.sqlite import connection
from receiver.storage.sqlite.connection import open_for_writing
from receiver.storage.sqlite.migrate import APPLICATION_ID, check_current, migrate, steps, version
from receiver.storage.sqlite.recount import Correction
from tests.storage.conftest import LedgerUnderTest, bounced, sent
from tests.storage.earlier import of_version_1
from tests.storage.test_recount import HISTORY

NOW = 1_749_634_200_000


def schema(conn: sqlite3.Connection) -> list[tuple[str, str]]:
    return conn.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name").fetchall()


def test_the_steps_are_numbered_without_a_gap() -> None:
    assert [number for number, _ in steps()] == list(range(1, len(steps()) + 1))


def test_a_fresh_schema_equals_all_steps_one_by_one(tmp_path: Path) -> None:
    with closing(open_for_writing(tmp_path / "a.db")) as fresh, closing(sqlite3.connect(":memory:")) as stepped:
        migrate(fresh, "a.db", NOW)
        for number, script in steps():
            stepped.executescript(script)
            assert version(stepped) == number
        assert schema(fresh) == schema(stepped)
        assert fresh.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)


def test_each_step_is_one_transaction() -> None:
    for number, script in steps():
        statements = [line.partition("--")[0].strip() for line in script.splitlines()]
        lines = [line for line in statements if line]
        assert (lines[0], lines[-1]) == ("BEGIN IMMEDIATE;", "COMMIT;")
        assert f"PRAGMA user_version = {number};" in lines


def test_a_second_start_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with closing(open_for_writing(path)) as conn:
        migrate(conn, "a.db", NOW)
        before = list(conn.iterdump())
    with closing(open_for_writing(path)) as conn:
        migrate(conn, "a.db", NOW + 1)
        assert list(conn.iterdump()) == before


def test_each_database_has_its_own_keys_and_install_time(tmp_path: Path) -> None:
    facts = []
    for name in ("a.db", "b.db"):
        with closing(open_for_writing(tmp_path / name)) as conn:
            migrate(conn, name, NOW)
            facts.append(dict(conn.execute("SELECT name, value FROM meta")))
    assert [fact["installed_at"] for fact in facts] == [NOW, NOW]
    keys = {fact[name] for fact in facts for name in ("lead_key", "session_key")}
    assert [len(key) for key in keys] == [32, 32, 32, 32]


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with closing(open_for_writing(path)) as conn:
        migrate(conn, "a.db", NOW)
        conn.execute("PRAGMA user_version = 99")
    before = path.read_bytes()
    with pytest.raises(StorageError) as refused:
        open_for_writing(path)
    assert str(refused.value) == (
        f"'{path}' has schema 99, newer than the {len(steps())} that this program knows; "
        f"install the version that wrote it ({__version__}), or a later one."
    )
    assert path.read_bytes() == before


def test_a_foreign_database_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "foreign.db"
    with closing(sqlite3.connect(path)) as conn:
        conn.execute("CREATE TABLE theirs (id)")
    before = path.read_bytes()
    with pytest.raises(StorageError) as refused:
        open_for_writing(path)
    text = f"'{path}' is not a leadterra-receiver database; name another file in 'storage.url'."
    assert str(refused.value) == text
    assert [entry.name for entry in tmp_path.iterdir()] == ["foreign.db"]
    assert path.read_bytes() == before


def test_what_is_no_database_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("buy milk\n" * 1000)
    with pytest.raises(StorageError) as refused:
        open_for_writing(path)
    assert str(refused.value) == f"'{path}' is not an SQLite database; name another file in 'storage.url'."
    assert path.read_text() == "buy milk\n" * 1000


def test_a_newer_schema_that_names_no_version_is_refused_too(tmp_path: Path) -> None:
    with closing(open_for_writing(tmp_path / "a.db")) as conn:
        conn.execute("DROP TABLE meta")
        conn.execute("PRAGMA user_version = 99")
        with pytest.raises(StorageError, match=r"; install the version that wrote it, or a later one\.$"):
            migrate(conn, "a.db", NOW)


def killed(work: Callable[[], object]) -> bool:
    """Whether a process of its own was killed while it did that."""
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), status
    return status != 0


def watched(conn: sqlite3.Connection, kill_at: int | None = None) -> Iterator[int]:
    """Counts SQLite's instructions over all statements, and ends this process at one of them."""
    steps = itertools.count()

    def step() -> None:
        if next(steps) == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    conn.set_progress_handler(step, 1)
    return steps


def moments(total: int) -> range:
    """A dozen of them, over all of so many instructions."""
    return range(0, total, max(1, total // 12))


def test_a_first_start_that_is_killed_at_any_moment_leaves_no_database_or_a_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real = tmp_path / "a.db", sqlite3.connect
    counts = list[Iterator[int]]()

    def make(file: Path, kill_at: int | None) -> None:
        def connect(*arguments: Any, **named: Any) -> sqlite3.Connection:
            conn: sqlite3.Connection = real(*arguments, **named)
            counts.append(watched(conn, kill_at))
            return conn

        with monkeypatch.context() as patched:
            patched.setattr(connection.sqlite3, "connect", connect)  # type: ignore[attr-defined] # the module's own
            open_for_writing(file).close()

    make(tmp_path / "b.db", None)
    for moment in moments(next(counts[0])):
        assert killed(partial(make, path, moment))
        assert not path.exists()
    open_for_writing(path).close()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.db", "b.db"]
    with closing(open_for_writing(path)) as conn:
        migrate(conn, "a.db", NOW)
        assert version(conn) == len(steps())


def test_a_start_that_is_killed_before_the_name_is_given_leaves_none(tmp_path: Path) -> None:
    path = tmp_path / "a.db"

    def make() -> None:
        connection.publish = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[attr-defined] # in the child
        open_for_writing(path)

    for _ in range(3):
        assert killed(make)
        assert not path.exists()
    assert len(list(tmp_path.iterdir())) == 1, "what an earlier start has left goes with the next"
    open_for_writing(path).close()
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.db"]


def test_a_file_that_comes_meanwhile_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.db"

    def publish(part: Path, final: Path) -> None:
        final.write_text("theirs")
        files.publish(part, final)

    monkeypatch.setattr(connection, "publish", publish)
    with pytest.raises(StorageError, match="cannot be made"):
        open_for_writing(path)
    assert path.read_text() == "theirs"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.db"]


def test_a_database_is_made_where_a_link_leads(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "a.db").symlink_to(tmp_path / "disk" / "real.db")
    open_for_writing(tmp_path / "a.db").close()
    assert (tmp_path / "a.db").is_symlink()
    assert [entry.name for entry in (tmp_path / "disk").iterdir()] == ["real.db"]


@pytest.mark.parametrize("log", [None, b"what was acknowledged"])
def test_an_empty_file_is_refused_untouched(tmp_path: Path, log: bytes | None) -> None:
    path = tmp_path / "a.db"
    path.touch()
    if log is not None:
        path.with_name("a.db-wal").write_bytes(log)  # SQLite would delete it
    before = sorted(tmp_path.iterdir())
    with pytest.raises(StorageError) as refused:
        open_for_writing(path)
    text = f"'{path}' is empty, which no database ever is; restore a backup, or delete it to begin with none."
    assert str(refused.value) == text
    assert sorted(tmp_path.iterdir()) == before
    assert path.stat().st_size == 0


def test_a_database_of_nobody_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path)) as conn:
        conn.execute("VACUUM")
    before = path.read_bytes()
    with pytest.raises(StorageError, match="is not a leadterra-receiver database"):
        open_for_writing(path)
    assert path.read_bytes() == before != b""


def test_a_ledger_of_the_first_version_is_counted_into_the_new_figures(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    of_version_1(path, *HISTORY)
    with closing(sqlite3.connect(path)) as old:
        assert version(old) == 1
    ledger = LedgerUnderTest(path)
    assert version(ledger.conn) == len(steps())
    assert ledger.recount() == Correction()
    assert ledger.check_journal().mismatches == 0
    counts = [ledger.rows(f"SELECT count(*) FROM {table}")[0][0] for table in ("shifts", "bounces")]
    assert counts == [16, 4]
    assert ledger.rows("SELECT count(*) FROM meta WHERE name = 'figures_behind'") == [(0,)]
    ledger.each(sent("m5", "08:00", campaign="c"), bounced("m1"))
    assert ledger.recount() == Correction()
    ledger.conn.close()


def test_a_count_that_was_killed_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "old.db"
    of_version_1(path, *HISTORY)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("receiver.storage.sqlite.migrate.correct", killed)
        with closing(open_for_writing(path)) as conn, pytest.raises(KeyboardInterrupt):
            migrate(conn, "old.db", NOW)
    ledger = LedgerUnderTest(path)
    assert ledger.recount() == Correction()
    ledger.conn.close()


def test_an_upgrade_that_is_killed_at_any_moment_is_done_again(tmp_path: Path) -> None:
    path, old = tmp_path / "old.db", tmp_path / "older.db"
    of_version_1(old, *HISTORY)
    with closing(open_for_writing(tmp_path / "fresh.db")) as fresh:
        whole = schema(fresh)

    def upgrade(kill_at: int | None) -> int:
        shutil.copyfile(old, path)
        with closing(open_for_writing(path)) as conn:
            count = watched(conn, kill_at)
            migrate(conn, "old.db", NOW)
            return next(count)

    stops = []
    for moment in moments(upgrade(None)):
        assert killed(partial(upgrade, moment))
        with closing(sqlite3.connect(path)) as conn:
            stops.append(version(conn))
        ledger = LedgerUnderTest(path)
        assert schema(ledger.conn) == whole
        assert ledger.recount() == Correction()
        ledger.conn.close()
    assert stops == sorted(stops)
    assert (stops[0], stops[-1]) == (1, len(steps())), "from before the first step to after the last"


def test_it_tells_what_it_does_to_an_old_database_and_nothing_of_a_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("receiver.storage.sqlite.migrate._TELL_EVERY_S", 0.0)
    path, told = tmp_path / "old.db", list[str]()
    of_version_1(path, *HISTORY)
    with closing(open_for_writing(path)) as conn:
        migrate(conn, "old.db", NOW, told.append)
        assert told[: len(steps())] == [
            *(f"Bringing the database from schema {n} to {n + 1}." for n in range(1, len(steps()))),
            "Counting the ledger into new figures, once; nothing is taken in before that is done.",
        ]
        assert told[len(steps())].startswith("Counting the ledger: ")
        assert told[-2] == "Counting the ledger: 6 of 11 rows."
        assert re.fullmatch(r"The ledger is counted; \d+ rows of figures are written\.", told[-1])
        told.clear()
        migrate(conn, "old.db", NOW, told.append)
    with closing(open_for_writing(tmp_path / "new.db")) as conn:
        migrate(conn, "new.db", NOW, told.append)
    assert told == []


def test_what_is_not_up_to_date_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    of_version_1(path, *HISTORY)
    advice = "start `serve` or run `rebuild` once, which brings it up to date."
    with closing(sqlite3.connect(path)) as conn:
        with pytest.raises(StorageError) as refused:
            check_current(conn, "old.db")
        text = f"'old.db' has schema 1, older than the {len(steps())} that this program reads; {advice}"
        assert str(refused.value) == text
    with closing(open_for_writing(path)) as conn:
        migrate(conn, "old.db", NOW)
        check_current(conn, "old.db")
        conn.execute("INSERT INTO meta VALUES ('figures_behind', 1)")
        with pytest.raises(StorageError) as refused:
            check_current(conn, "old.db")
        assert str(refused.value) == f"'old.db' is not yet counted into the figures of this program; {advice}"
