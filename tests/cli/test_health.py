"""`health`: exit 0 only if the server that holds the database takes webhooks in."""

import json
from pathlib import Path

import pytest

from receiver.storage.lock import DatabaseLock, Holder
from tests.cli.conftest import Database, Run, Server
from tests.cli.test_database import answering, held

TOKEN = "secret-token"


def test_a_server_that_is_ready_ends_with_0(run: Run, server: Server) -> None:
    result = run("health")
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"ready at {server.url}\n", "")
    assert json.loads(run("health", "--json").stdout) == {"status": "ready", "url": server.url}
    assert server.stop() == 0
    assert run("health").stderr == "No server is running on this database.\n"


def test_without_a_server_it_ends_with_1_and_makes_no_file(run: Run, tmp_path: Path) -> None:
    result = run("health")
    text = "No server is running on this database.\n"
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", text)
    assert list(tmp_path.iterdir()) == []


def test_a_command_that_holds_the_database_is_no_server(run: Run, database: Database) -> None:
    with held(database):
        assert run("health").exit_code == 1


def test_a_server_that_died_does_not_answer(run: Run, database: Database) -> None:
    url = "http://127.0.0.1:9"
    DatabaseLock(database.path).path.write_text(json.dumps({"pid": 1, "url": url, "token": TOKEN}))
    result = run("health")
    text = f"The server at {url} does not answer: [Errno 111] Connection refused.\n"
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", text)


@pytest.mark.parametrize(
    ("status", "answer", "words"),
    [
        (503, b'{"status": 503, "detail": "The receiver is shutting down."}', "The receiver is shutting down."),
        (200, b"[]", "it is another program"),
        (404, b"{}", "it is another program"),
    ],
)
def test_a_server_that_is_not_ready_ends_with_1(
    run: Run, database: Database, status: int, answer: bytes, words: str
) -> None:
    with answering(status, answer) as (url, asked), held(database, Holder(1, url, TOKEN)):
        result = run("health")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"The server at {url} is not ready: {words}\n"
    assert asked == [("GET", "/readyz", None)]


def test_an_answer_that_is_no_json_is_no_server_of_ours(run: Run, database: Database) -> None:
    with answering(200, b"<html>") as (url, _), held(database, Holder(1, url, TOKEN)):
        result = run("health")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"The server at {url} does not answer: ")


def test_a_bad_configuration_ends_with_78(run: Run) -> None:
    assert run("health", "--config", "none.toml").exit_code == 78
