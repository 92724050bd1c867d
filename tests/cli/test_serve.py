"""`serve`: its exit codes, its one line of its own, and what it refuses to start with."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from receiver.storage.lock import DatabaseLock
from tests.cli.conftest import Database, Run, Server, environ
from tests.cli.test_database import held
from tests.web.conftest import KEYS, sent

WILDCARD = "0.0.0.0"  # noqa: S104 # the address that is to be tested
SECRETS = {"RECEIVER_WEBHOOK__SECRETS": '["cli-secret"]'}


def log_events(server: Server) -> list[str]:
    return [json.loads(line)["event"] for line in server.log().splitlines() if line.startswith("{")]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_being_stopped_is_how_it_ends_well(server: Server, database: Database, number: signal.Signals) -> None:
    assert server.url.startswith("http://127.0.0.1:")
    assert server.deliver(sent()) == ["stored"]
    assert server.stop(number) == 0
    assert DatabaseLock(database.path).path.read_text() == ""
    assert database.sent() == 1


def test_it_says_where_it_listens_once_and_warns_without_a_key(server: Server) -> None:
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        assert client.get("/readyz").json() == {"status": "ready"}
    server.stop()
    assert server.log().count("Listening on ") == 1
    assert "no_access_key" in log_events(server)
    assert "Traceback" not in server.log()


def test_flags_and_keys_and_a_wildcard_host(start: Callable[..., Server], database: Database, run: Run) -> None:
    server = start("--host", WILDCARD, **KEYS)
    assert server.url.startswith(f"http://{WILDCARD}:")
    holder = DatabaseLock(database.path).holder()
    assert (holder.pid, holder.url) == (server.process.pid, server.url.replace(WILDCARD, "127.0.0.1"))
    assert run("quarantine", "retry").exit_code == 0
    assert server.stop() == 0
    assert "no_access_key" not in log_events(server)
    assert (holder.token or "?") not in server.log()


def test_the_lock_file_can_be_read_by_its_owner_only(server: Server, database: Database) -> None:
    path = DatabaseLock(database.path).path
    assert path.stat().st_mode & 0o777 == 0o600
    assert set(json.loads(path.read_text())) == {"pid", "url", "token", "writer"}


def test_every_start_has_another_token(start: Callable[..., Server], database: Database) -> None:
    tokens = []
    for _ in range(2):
        server = start()
        tokens.append(DatabaseLock(database.path).holder().token)
        server.stop()
    assert tokens[0] != tokens[1]
    assert all(token and len(token) == 43 for token in tokens)


def test_a_port_that_is_taken_ends_with_1(run: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = run("serve", "--port", str(port), **SECRETS)
    text = f"Cannot listen on 127.0.0.1:{port}: Address already in use; use another 'server.port'.\n"
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", text)


def test_an_address_that_is_not_ours_ends_with_1(run: Run) -> None:
    result = run("serve", "--host", "192.0.2.77", "--port", "0", **SECRETS, **KEYS)
    text = "Cannot listen on 192.0.2.77:0: Cannot assign requested address; use another 'server.port'.\n"
    assert (result.exit_code, result.stderr) == (1, text)


def test_a_file_of_another_program_ends_with_1(run: Run, database: Database) -> None:
    database.execute("CREATE TABLE other (x)")
    result = run("serve", "--port", "0", **SECRETS)
    text = "'receiver.db' is not a leadterra-receiver database; name another file in 'storage.url'.\n"
    assert (result.exit_code, result.stderr) == (1, text)


@pytest.mark.parametrize(
    ("arguments", "given", "words"),
    [
        ([], {}, "Setting 'webhook.secrets' is empty; use "),
        (["--host", WILDCARD], SECRETS, "Setting 'server.host' is '0.0.0.0' and no access key is configured; use "),
        (["--port", "65536"], SECRETS, "Setting 'server.port' is 65536; use "),
        ([], {**SECRETS, "RECEIVER_STORAGE__URL": "sqlite:///no/r.db"}, "Setting 'storage.url' is 'sqlite:///no/r.db'"),
        (["--config", "none.toml"], SECRETS, "Configuration file 'none.toml' does not exist; "),
    ],
)  # fmt: skip
def test_a_bad_configuration_ends_with_78_and_makes_no_file(
    run: Run, tmp_path: Path, arguments: list[str], given: dict[str, str], words: str
) -> None:
    result = run("serve", *arguments, **given)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (78, "", 1)
    assert result.stderr.startswith(words)
    assert list(tmp_path.iterdir()) == []


def test_stopped_while_it_waits_for_the_lock_it_ends_with_0(database: Database, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with held(database), log.open("wb") as stream:
        command = [sys.executable, "-m", "receiver", "serve", "--port", "0"]
        process = subprocess.Popen(command, cwd=tmp_path, env=environ(), stderr=stream)
        while not (found := [line for line in log.read_text().splitlines() if "waiting_for_lock" in line]):
            assert process.poll() is None, log.read_text()
            time.sleep(0.01)
        process.terminate()
        assert process.wait(60) == 0
    assert json.loads(found[0])["holder"] == os.getpid()
    assert not database.path.exists()
