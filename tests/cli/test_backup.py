"""`backup`: a whole, checked copy under a new name, or nothing and a clear line."""

import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from receiver.cli import backup as command
from receiver.cli.progress import watched
from receiver.errors import StorageError
from receiver.storage.sqlite import backup as copying
from receiver.storage.sqlite.recount import Progress, StoppedError
from tests.cli.conftest import Database, Run, Server
from tests.web.conftest import sent, unread


@pytest.fixture
def filled(database: Database) -> Database:
    database.fill(sent("m1"), sent("m2"), unread())
    return database


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith("receiver.db")}


def test_the_copy_is_a_database_of_its_own(run: Run, filled: Database, tmp_path: Path) -> None:
    result = run("backup", "copy.db")
    size = (tmp_path / "copy.db").stat().st_size
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"{size:,} bytes in 'copy.db', checked.\n"
    assert names(tmp_path) == {"copy.db"}
    assert (tmp_path / "copy.db").stat().st_mode & 0o777 == 0o600
    copy = run("verify", RECEIVER_STORAGE__URL="sqlite:///copy.db")
    assert (copy.exit_code, Database(tmp_path / "copy.db").sent()) == (0, 2)


def test_json_is_alone_on_standard_output(run: Run, filled: Database, tmp_path: Path) -> None:
    result = run("backup", "--json", "copy.db")
    assert json.loads(result.stdout) == {"file": "copy.db", "size_bytes": (tmp_path / "copy.db").stat().st_size}


@pytest.mark.parametrize(
    "name", ["it's.db", 'a "b" c.db', "per%20cent?mode=ro#x.db", "-.db", "ünï 日.db", "file:x.db"]
)
def test_any_name_will_do(run: Run, filled: Database, tmp_path: Path, name: str) -> None:
    assert run("backup", "--", name).exit_code == 0
    assert names(tmp_path) == {name}


def make_file(path: Path) -> None:
    path.write_bytes(b"mine")


def make_link_to_nothing(path: Path) -> None:
    path.symlink_to("nothing")


@pytest.mark.parametrize("make", [make_file, make_link_to_nothing])
def test_nothing_is_replaced(run: Run, filled: Database, tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "copy.db")
    result = run("backup", "copy.db")
    text = "'copy.db' exists, and no backup replaces a file; name another one.\n"
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", text)
    assert names(tmp_path) == {"copy.db"}
    assert (tmp_path / "copy.db").is_symlink() or (tmp_path / "copy.db").read_bytes() == b"mine"


@pytest.mark.parametrize("links", [True, False], ids=["with links", "without links"])
def test_nor_is_what_appears_meanwhile(
    run: Run, filled: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    def check_and_be_overtaken(path: Path, least: copying.Contents, progress: Progress) -> None:
        copying.check(path, least, progress)
        make_file(tmp_path / "copy.db")

    if not links:
        monkeypatch.setattr(os, "link", no_links)
    monkeypatch.setattr(command, "check", check_and_be_overtaken)
    result = run("backup", "copy.db")
    text = "'copy.db' exists, and no backup replaces a file; name another one.\n"
    assert (result.exit_code, result.stderr) == (1, text)
    assert (names(tmp_path), (tmp_path / "copy.db").read_bytes()) == ({"copy.db"}, b"mine")


def no_links(*_: object) -> None:
    raise PermissionError(1, "Operation not permitted")


def test_a_file_system_without_links_will_do(
    run: Run, filled: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", no_links)
    assert run("backup", "copy.db").exit_code == 0
    assert (names(tmp_path), Database(tmp_path / "copy.db").sent()) == ({"copy.db"}, 2)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("folder", "'folder' is a folder; name a file in it that does not exist.\n"),
        ("none/copy.db", "There is no folder 'none'; make it, or name another file.\n"),
        ("receiver.db", "'receiver.db' belongs to the database itself; name another file.\n"),
        ("receiver.db.rejected", "'receiver.db.rejected' belongs to the database itself; name another file.\n"),
        (
            "folder/../receiver.db-wal",
            "'folder/../receiver.db-wal' belongs to the database itself; name another file.\n",
        ),
    ],
)
def test_a_name_that_cannot_be_is_refused(run: Run, filled: Database, tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / "folder").mkdir()
    result = run("backup", name)
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", text)
    assert names(tmp_path) == {"folder"}


def test_the_space_that_webhooks_need_is_left(
    run: Run, filled: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "RESERVE_BYTES", 1 << 60)
    result = run("backup", "copy.db")
    assert (result.exit_code, names(tmp_path)) == (1, set())
    assert result.stderr.startswith("'.' has less than 1,099,511,627,776 MiB free, and the database is on the same")


def test_a_copy_that_is_damaged_is_no_backup(
    run: Run, filled: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(conn: sqlite3.Connection, path: Path, progress: Progress) -> None:
        copying.copy(conn, path, progress)
        with closing(sqlite3.connect(path)) as written:
            root = written.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'journal'").fetchone()[0]
        with path.open("r+b") as file:
            file.seek((root - 1) * 4096)
            file.write(b"\xff" * 200)

    monkeypatch.setattr(command, "copy", damaged)
    result = run("backup", "copy.db")
    assert (result.exit_code, names(tmp_path)) == (1, set())
    assert result.stderr.endswith("no backup was made.\n")


def test_a_copy_that_lacks_what_was_there_is_no_backup(filled: Database, tmp_path: Path) -> None:
    with closing(sqlite3.connect(filled.path)) as conn:
        copying.copy(conn, tmp_path / "copy.db", Progress())
    with pytest.raises(StorageError, match=r"^The copy ends at event 2, not at 3; no backup was made\.$"):
        copying.check(tmp_path / "copy.db", copying.Contents(0, 3), Progress())


@pytest.mark.parametrize("step", ["copy", "check"])
def test_ctrl_c_leaves_nothing_behind(
    run: Run, filled: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def interrupted(title: str, work: Callable[[Progress], None]) -> None:
        if title.lower().startswith(f"{step}ing"[:5]):
            raise KeyboardInterrupt
        watched(title, work)

    monkeypatch.setattr(command, "watched", interrupted)
    result = run("backup", "copy.db")
    assert (result.exit_code, names(tmp_path)) == (1, set())
    assert result.stderr.startswith("Stopped; no backup was made.\n")


def test_work_that_is_told_to_stop_does(filled: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "_INSTRUCTIONS", 1)
    stopped, path = Progress(stopped=True), tmp_path / "copy.db"
    with closing(sqlite3.connect(filled.path)) as conn:
        with pytest.raises(StoppedError):
            copying.copy(conn, path, stopped)
        path.unlink()
        copying.copy(conn, path, Progress())
    with pytest.raises(StoppedError):
        copying.check(path, copying.Contents(0, 0), stopped)


def test_it_is_made_beside_the_running_server(run: Run, filled: Database, server: Server, tmp_path: Path) -> None:
    assert server.deliver(sent("m3")) == ["stored"]
    assert run("backup", "copy.db").exit_code == 0
    assert server.deliver(sent("m4")) == ["stored"]
    assert (Database(tmp_path / "copy.db").sent(), filled.sent()) == (3, 4)


def test_a_copy_of_an_older_file_gives_free_pages_back(run: Run, filled: Database, tmp_path: Path) -> None:
    filled.execute("PRAGMA journal_mode = DELETE")
    with closing(sqlite3.connect(filled.path, isolation_level=None)) as conn:
        conn.execute("PRAGMA auto_vacuum = NONE")
        conn.execute("VACUUM")
    assert filled.rows("PRAGMA auto_vacuum") == [(0,)]
    assert run("backup", "copy.db").exit_code == 0
    assert Database(tmp_path / "copy.db").rows("PRAGMA auto_vacuum") == [(2,)]
