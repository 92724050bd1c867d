"""Damaged files: named with the way back before anything is taken in, and no start waits for a long look."""

import random
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from receiver.errors import StorageError
from receiver.storage.faults import DamagedError
from receiver.storage.sqlite.connection import open_for_reading, open_for_writing
from receiver.storage.sqlite.soundness import check_pages, check_table
from receiver.storage.sqlite.store import Readers, Store
from receiver.storage.sqlite.threads import connect_to_read
from tests.e2e.test_fsync import strace
from tests.storage.conftest import NOW, LedgerUnderTest, bounced, replied, sent, started

__all__ = ["strace"]  # a fixture

WAY_BACK = "; restore a backup, then run `reconcile`: README, 'Backup and restore'."
EVENTS = 3000


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A sound database, every table and index of some pages."""
    path = tmp_path_factory.mktemp("whole") / "receiver.db"
    ledger = LedgerUnderTest(path)
    messages = [f"m{number}" for number in range(EVENTS)]
    ledger.deliver(started(), *(sent(message) for message in messages))
    ledger.deliver(
        *(bounced(message) for message in messages[::10]), *(replied(message) for message in messages[::9])
    )
    ledger.conn.close()
    return path.read_bytes()


@pytest.fixture
def path(tmp_path: Path, whole: bytes) -> Path:
    path = tmp_path / "receiver.db"
    path.write_bytes(whole)
    return path


async def refusal(path: Path) -> str | None:
    """What a start says of a file, before it is used or of what there was no time for; None when all is sound."""
    try:
        store = await Store.open(path, NOW)
    except StorageError as error:
        return str(error)
    reader = await connect_to_read(path)
    try:
        for table in store.unchecked:
            await reader.run(check_table, path, table)
    except DamagedError as error:
        return str(error)
    finally:
        await reader.close()
        await store.close()
    return None


def is_named(path: Path, said: str | None) -> bool:
    """Whether it is said that this file is damaged, and what to do."""
    return said is not None and said.startswith(f"The database '{path}' is damaged (") and said.endswith(WAY_BACK)


def pages_of(path: Path) -> Iterator[tuple[str, int, int]]:
    """Name and root page of every table and index, and whether it is an index."""
    with closing(sqlite3.connect(path)) as conn:
        yield from conn.execute("SELECT name, rootpage, type = 'index' FROM sqlite_schema WHERE rootpage > 0")


def spoil(path: Path, offset: int, junk: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(junk)


async def test_a_sound_database_is_taken(path: Path) -> None:
    assert await refusal(path) is None


async def test_every_table_and_every_index_is_looked_at(path: Path, whole: bytes) -> None:
    objects = list(pages_of(path))
    assert len(objects) > 20
    for name, page, _ in objects:
        path.write_bytes(whole)
        spoil(path, (page - 1) * 4096, b"\xa5" * 4096)
        assert is_named(path, await refusal(path)), name


async def test_a_page_in_the_middle_of_a_table_is_looked_at(path: Path, whole: bytes) -> None:
    pages = len(whole) // 4096
    for page in range(pages // 4, pages, pages // 7):
        path.write_bytes(whole)
        spoil(path, page * 4096, b"\xa5" * 4096)
        assert is_named(path, await refusal(path)), page


@pytest.mark.parametrize("seed", range(8))
async def test_flipped_bytes_end_in_a_sound_start_or_in_words(path: Path, whole: bytes, seed: int) -> None:
    chance = random.Random(seed)
    for low, high in [(0, 100), (100, 4096), (4096, len(whole))]:
        path.write_bytes(whole)
        for _ in range(8):
            spoil(path, chance.randrange(low, high), bytes([chance.randrange(256)]))
        said = await refusal(path)
        named = [
            WAY_BACK,
            "cannot be opened for writing: ",
            "; name another file in 'storage.url'.",
            "that wrote it, or a later one.",
            "older than the",
        ]
        assert said is None or (str(path) in said and any(words in said for words in named)), (seed, low, said)


@pytest.mark.parametrize("at", [0, 5, 15])
async def test_a_torn_header_of_ours_is_no_foreign_file(path: Path, at: int) -> None:
    spoil(path, at, b"\0")
    spoil(path, at, b"\xff")
    said = await refusal(path)
    assert said == f"The database '{path}' is damaged (file is not a database){WAY_BACK}"


async def test_a_schema_that_cannot_be_read_is_damage(path: Path) -> None:
    spoil(path, 100, b"\xa5" * 2000)
    assert is_named(path, await refusal(path))


@pytest.mark.parametrize("share", [0.01, 0.3, 0.9, 0.999])
async def test_a_file_cut_short_is_damage(path: Path, whole: bytes, share: float) -> None:
    path.write_bytes(whole[: int(len(whole) * share)])
    assert is_named(path, await refusal(path))


async def test_without_its_log_a_database_is_as_old_as_its_file(path: Path) -> None:
    with closing(open_for_writing(path)) as conn:
        conn.execute("INSERT INTO meta VALUES ('later', 1)")
        part = path.read_bytes()  # the row is in the log
    path.write_bytes(part)
    store = await Store.open(path, NOW)
    await store.close()
    with closing(open_for_reading(path)) as conn:
        assert conn.execute("SELECT count(*) FROM messages").fetchone()[0] == EVENTS
        assert conn.execute("SELECT count(*) FROM meta WHERE name = 'later'").fetchone()[0] == 0


def test_a_long_look_is_cut_short_and_told(path: Path) -> None:
    with closing(open_for_writing(path)) as conn:
        assert check_pages(conn, path) == []
        tables = check_pages(conn, path, 0)
        assert tables[-1] == "journal"
        assert len(tables) >= 24
        assert conn.execute("SELECT count(*) FROM journal").fetchone()[0] > 0, "nothing is interrupted later"


@pytest.mark.parametrize("when", ["15", "20", "25", "15..19"])
def test_a_page_that_the_system_does_not_give_is_no_damage(strace: str, path: Path, when: str) -> None:
    look = "import sys; from tests.storage.jobs import look_at; look_at(sys.argv[1], 'messages')"
    faults = ["-f", "-P", str(path), "-e", "trace=pread64", "-e", f"inject=pread64:error=EIO:when={when}"]
    command = [strace, "-o", "/dev/null", *faults, sys.executable, "-c", look, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("OperationalError *** in database main ***"), done.stdout
    assert "get page" in done.stdout or "get the page" in done.stdout


async def test_a_page_that_says_where_pages_belong_is_looked_at(path: Path) -> None:
    spoil(path, 4096, b"\xa5" * 4096)
    assert is_named(path, await refusal(path))


async def test_damage_that_a_question_meets_is_named(path: Path) -> None:
    roots = {name: page for name, page, _ in pages_of(path)}
    readers = await Readers.open(path, count=1)
    try:
        spoil(path, (roots["messages"] - 1) * 4096, b"\xa5" * 4096)
        with pytest.raises(StorageError) as met:
            await readers.run(lambda conn: conn.execute("SELECT sum(step) FROM messages").fetchone())
        assert str(met.value).endswith(WAY_BACK)
    finally:
        await readers.close()
