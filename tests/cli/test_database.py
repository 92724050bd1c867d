"""How commands reach the database: never making one, never behind the back of who holds it."""

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from receiver.storage.lock import DatabaseLock, Holder
from tests.cli.conftest import Database, Run
from tests.web.conftest import sent, unread

READING = [["quarantine", "list"], ["quarantine", "show", "1"], ["verify"]]
WRITING = [["quarantine", "retry", "1"], ["rebuild"], ["erase", "--email", "jo@example.org"]]


@contextmanager
def held(database: Database, holder: Holder | None = None) -> Iterator[DatabaseLock]:
    """The lock as another process would hold it."""
    lock = DatabaseLock(database.path)
    assert lock.acquire()
    if holder is not None:
        lock.describe(holder)
    yield lock
    lock.release()


@contextmanager
def answering(status: int, answer: bytes) -> Iterator[tuple[str, list[tuple[str, str, str | None]]]]:
    """A server that gives one answer to everything: its url, and what it was asked."""
    asked: list[tuple[str, str, str | None]] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            asked.append((self.command, self.path, self.headers["Authorization"]))
            self.rfile.read(int(self.headers["Content-Length"] or 0))
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = answer  # noqa: N815 # the standard library's names

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("command", READING + WRITING, ids=" ".join)
def test_no_command_makes_a_database(run: Run, tmp_path: Path, command: list[str]) -> None:
    result = run(*command)
    text = "There is no database at 'receiver.db'; `serve` creates it, 'storage.url' names another.\n"
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", text)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", READING + WRITING, ids=" ".join)
def test_a_bad_configuration_ends_every_command_with_78(run: Run, command: list[str]) -> None:
    result = run(*command, RECEIVER_INGEST__BATCH_MAX="0")
    assert (result.exit_code, result.stdout) == (78, "")
    assert result.stderr == "Setting 'ingest.batch_max' is 0; use 1 to 5000.\n"


@pytest.mark.parametrize("command", READING + WRITING, ids=" ".join)
def test_a_file_of_another_program_is_left_alone(run: Run, database: Database, command: list[str]) -> None:
    database.execute("CREATE TABLE other (x)")
    before = database.path.read_bytes()
    result = run(*command)
    text = "'receiver.db' is not a leadterra-receiver database; name another file in 'storage.url'.\n"
    assert (result.exit_code, result.stderr) == (1, text)
    assert database.path.read_bytes() == before


@pytest.mark.parametrize("command", READING + WRITING, ids=" ".join)
def test_a_newer_schema_is_refused(run: Run, database: Database, command: list[str]) -> None:
    database.fill()
    database.execute("PRAGMA user_version = 99")
    result = run(*command)
    assert result.exit_code == 1
    assert result.stderr.startswith("'receiver.db' has schema 99, newer than the ")


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_an_older_schema_is_not_read_before_it_is_brought_up_to_date(
    run: Run, database: Database, command: list[str]
) -> None:
    database.fill()
    database.execute("PRAGMA user_version = 1")
    result = run(*command)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("'receiver.db' has schema 1, older than the ")


@pytest.mark.parametrize("command", READING + WRITING, ids=" ".join)
def test_a_file_that_is_no_database_is_said_so_in_one_line(run: Run, database: Database, command: list[str]) -> None:
    database.path.write_bytes(b"no database at all " * 100)
    result = run(*command)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "'receiver.db' is not an SQLite database; name another file in 'storage.url'.\n"


@pytest.mark.parametrize("command", READING + WRITING, ids=" ".join)
def test_a_damaged_table_is_said_so_in_one_line(run: Run, database: Database, command: list[str]) -> None:
    database.fill(sent(), unread())
    for table in ("quarantine", "series"):
        database.execute(f"ALTER TABLE {table} RENAME TO gone_{table}")
    result = run(*command)
    word = "used" if command in WRITING else "read"
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"The database 'receiver.db' cannot be {word}: no such table: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("command", WRITING, ids=" ".join)
def test_a_holder_that_takes_no_commands_is_named(run: Run, database: Database, command: list[str]) -> None:
    database.fill(sent())
    with held(database, Holder(4711)):
        result = run(*command)
    text = "The database is held by process 4711, which answers no commands; stop it first.\n"
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", text)


@pytest.mark.parametrize("command", WRITING, ids=" ".join)
def test_a_holder_that_wrote_garbage_is_no_riddle(run: Run, database: Database, command: list[str]) -> None:
    database.fill(sent())
    with held(database) as lock:
        lock.path.write_text("{")
        result = run(*command)
    name = "a process that has not named itself"
    text = f"The database is held by {name}, which answers no commands; stop it first.\n"
    assert (result.exit_code, result.stderr) == (1, text)


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_reading_does_not_ask_who_holds_it(run: Run, database: Database, command: list[str]) -> None:
    database.fill(unread())
    with held(database, Holder(4711)):
        assert run(*command).exit_code == 0


@pytest.mark.parametrize("command", WRITING, ids=" ".join)
def test_a_holder_that_does_not_answer_is_an_error(run: Run, database: Database, command: list[str]) -> None:
    database.fill(sent())
    with held(database, Holder(4711, "http://127.0.0.1:9", "secret-token")):
        result = run(*command)
    text = "The server at http://127.0.0.1:9 does not answer: [Errno 111] Connection refused."
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (1, text)


@pytest.mark.parametrize(
    ("command", "path"),
    [*zip(WRITING, ["/v1/quarantine/retry", "/v1/rebuild", "/v1/erase"], strict=True)],
)
def test_the_holders_own_words_are_passed_on(run: Run, database: Database, command: list[str], path: str) -> None:
    database.fill(sent())
    with (
        answering(503, b'{"detail": "The receiver is shutting down; try again."}') as (url, asked),
        held(database, Holder(4711, url, "secret-token")),
    ):
        result = run(*command)
    last = result.stderr.splitlines()[-1]
    assert (result.exit_code, last) == (1, "The receiver is shutting down; try again.")
    assert asked == [("POST", path, "Bearer secret-token")]
    assert "secret-token" not in result.output


def test_an_answer_that_is_no_json_is_an_error(run: Run, database: Database) -> None:
    database.fill(sent())
    with answering(200, b"<html>") as (url, _), held(database, Holder(4711, url, "t")):
        result = run("quarantine", "retry", "1")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"The server at {url} does not answer: ")


def test_a_refusal_without_words_is_still_a_line(run: Run, database: Database) -> None:
    database.fill(sent())
    with answering(500, b"{}") as (url, _), held(database, Holder(4711, url, "t")):
        assert run("quarantine", "retry", "1").stderr == "The server refused.\n"


def test_a_failed_rebuild_of_the_server_fails_the_command(run: Run, database: Database) -> None:
    database.fill(sent())
    with answering(202, json.dumps({"status": "failed"}).encode()) as (url, _), held(database, Holder(1, url, "t")):
        result = run("rebuild")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "The running server does it; it goes on taking webhooks in.\n"
        "The rebuild failed; the server's log has the details. No figure has changed.\n"
    )


@pytest.mark.parametrize("command", WRITING, ids=" ".join)
def test_a_command_gives_the_database_back(run: Run, database: Database, command: list[str]) -> None:
    database.fill(sent())
    assert run(*command).exit_code == 0
    lock = DatabaseLock(database.path)
    assert (lock.acquire(), lock.path.stat().st_mode & 0o777) == (True, 0o600)
    lock.release()


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_reading_changes_no_byte(run: Run, database: Database, command: list[str]) -> None:
    database.fill(sent(), unread())
    with sqlite3.connect(database.path) as conn:
        conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    conn.close()
    before = database.path.read_bytes()
    assert run(*command).exit_code == 0
    assert database.path.read_bytes() == before
