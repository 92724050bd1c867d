"""`erase`: an address is gone from every byte of the database's files, or the command says why not."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from receiver.cli import erase as command
from receiver.storage.lock import Holder
from receiver.storage.sqlite.connection import open_for_writing
from tests.cli.conftest import Database, Run, Server
from tests.cli.test_database import answering, held
from tests.web.conftest import body, replied, sent

JO = "canary@example.org"
THROUGH = "The running server does it; it goes on taking webhooks in.\n"


def bounced(message: str, reason: str) -> bytes:
    return body("message.bounced", "09:05", messageId=message, bounceType="hard", bounceReason=reason, campaignId="a")


HISTORY = [sent("m1"), replied(lead=JO), bounced("m1", f"<{JO}> unknown"), b"rubbish of CANARY@example.org"]


@pytest.fixture
def filled(database: Database) -> Database:
    database.fill(*HISTORY)
    return database


def occurrences(folder: Path) -> int:
    files = [path for path in folder.iterdir() if path.is_file()]
    return sum(path.read_bytes().lower().count(JO.encode()) for path in files)


def test_it_is_in_no_file_afterwards(run: Run, filled: Database, tmp_path: Path) -> None:
    assert occurrences(tmp_path) > 3
    result = run("erase", "--email", "Canary@Example.ORG")
    text = "Erased from 3 raw bodies and 0 other records.\n"
    assert (result.exit_code, result.stdout, result.stderr) == (0, text, "")
    assert (occurrences(tmp_path), filled.sent(), run("verify").exit_code, run("rebuild").exit_code) == (0, 1, 0, 0)


def test_json_is_alone_on_standard_output(run: Run, filled: Database) -> None:
    result = run("erase", "--json", "--email", JO)
    assert json.loads(result.stdout) == {"bodies": 3, "records": 0}


def test_an_unknown_address_is_no_failure(run: Run, filled: Database) -> None:
    result = run("erase", "--email", "nobody@example.org")
    text = "Nothing found: the address is in nothing that is kept.\n"
    assert (result.exit_code, result.stdout, result.stderr) == (0, text, "")


@pytest.mark.parametrize("email", ["jo", "", "@example.org", "jo@"])
def test_what_is_no_address_is_a_wrong_usage(run: Run, filled: Database, email: str) -> None:
    result = run("erase", "--email", email)
    assert result.exit_code == 2
    assert result.stderr.endswith("Error: '--email' is no address; give one like jo@example.org.\n")


def test_the_running_server_does_it(run: Run, server: Server, tmp_path: Path) -> None:
    assert server.deliver(*HISTORY) == ["stored"] * 3 + ["quarantined"]
    result = run("erase", "--email", JO)
    text = "Erased from 3 raw bodies and 0 other records.\n"
    assert (result.exit_code, result.stdout, result.stderr) == (0, text, THROUGH)
    assert occurrences(tmp_path) == 0
    assert server.deliver(*HISTORY) == ["duplicate"] * 4
    assert occurrences(tmp_path) == 0
    assert run("verify").exit_code == 0
    assert server.stop() == 0
    assert occurrences(tmp_path) == 0


def test_a_reader_that_is_in_the_way_fails_it_and_a_second_time_it_works(
    run: Run, filled: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_READERS_WAIT_S", 0.2)
    with closing(sqlite3.connect(filled.path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM journal").fetchone()
        result = run("erase", "--email", JO)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Something that reads the database needs its write-ahead log, which still holds")
    assert run("erase", "--email", JO).exit_code == 0
    assert occurrences(tmp_path) == 0


def fill_without_overwriting(database: Database) -> None:
    """As an older version did it: what was deleted is still in the file."""
    database.fill(sent("m1"))
    with closing(open_for_writing(database.path)) as conn:
        conn.execute("PRAGMA secure_delete = OFF")
        conn.execute("CREATE TABLE t (x)")
        conn.execute("INSERT INTO t VALUES (?)", (f"{JO} " * 2000,))
        conn.execute("DROP TABLE t")


def test_what_is_in_unused_parts_is_written_over(run: Run, database: Database, tmp_path: Path) -> None:
    fill_without_overwriting(database)
    result = run("erase", "--email", JO)
    assert (result.exit_code, result.stdout) == (0, "Nothing found: the address is in nothing that is kept.\n")
    assert result.stderr == "The address is in unused parts of the file; the file is written anew.\n"
    assert (occurrences(tmp_path), database.sent()) == (0, 1)


def test_through_the_server_that_is_said_and_fails(
    run: Run, database: Database, start: Callable[..., Server], tmp_path: Path
) -> None:
    fill_without_overwriting(database)
    server = start()
    result = run("erase", "--email", JO)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines()[-1].startswith("The address is still in the database's files, ")
    assert server.stop() == 0
    assert run("erase", "--email", JO).exit_code == 0
    assert occurrences(tmp_path) == 0


@pytest.mark.parametrize("other", [f"x{JO}", f"é{JO}", f"日.{JO}", f"{JO}.일"])
def test_somebody_elses_longer_address_is_no_leftover(run: Run, database: Database, other: str) -> None:
    theirs = json.dumps(json.loads(replied(lead=other)), ensure_ascii=False).encode()
    database.fill(theirs, replied("r2", lead=JO))
    result = run("erase", "--email", JO)
    assert (result.exit_code, result.stdout) == (0, "Erased from 1 raw bodies and 0 other records.\n")
    assert (theirs,) in database.rows("SELECT body FROM journal")


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("blocked", "Something that reads the database needs its write-ahead log"),
        ("failed", "The erasure failed half-way; the server's log has the details. Run this again."),
    ],
)
def test_a_server_that_could_not_fails_the_command(run: Run, filled: Database, status: str, words: str) -> None:
    with answering(202, json.dumps({"status": status}).encode()) as (url, _), held(filled, Holder(1, url, "t")):
        result = run("erase", "--email", JO)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines()[-1].startswith(words)
