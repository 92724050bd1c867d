"""What stands in the way of a start: one clear line and the documented exit code, never a traceback."""

import json
import os
import socket
import sqlite3
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from receiver import __version__
from receiver.errors import CommandError
from receiver.server import serve as serve_in_process
from receiver.settings import load
from tests.e2e.server import Server, ledger, run, sent


def refused(database: Path, *arguments: str, **settings: object) -> tuple[int, str]:
    """Exit code and standard error of a `serve` that cannot start."""
    done = run(database, "serve", "--port", "0", *arguments, **settings)
    assert done.stdout == ""
    return done.returncode, done.stderr


def test_a_second_server_waits_and_goes_on_when_the_first_ends(serve: Callable[..., Server]) -> None:
    first = serve()
    assert first.post(sent("m1")).status == 204
    second = serve(wait=False)
    second.wait_until_said('"event": "waiting_for_lock"')
    assert f'"holder": {first.pid}' in second.stderr
    assert first.stop() == 0
    second.wait_until_listening()
    assert second.post(sent("m1")).outcome == "duplicate"


def test_a_second_server_takes_over_from_one_that_crashed(serve: Callable[..., Server]) -> None:
    first = serve()
    second = serve(wait=False)
    second.wait_until_said('"event": "waiting_for_lock"')
    first.kill()
    second.wait_until_listening()
    assert second.post(sent("m1")).outcome == "stored"


async def test_a_second_server_gives_up_and_names_the_holder(server: Server) -> None:
    environ = {"RECEIVER_WEBHOOK__SECRETS": '["x"]', "RECEIVER_STORAGE__URL": f"sqlite:///{server.database}"}
    settings = load(None, environ, {"server.port": 0}).settings
    with pytest.raises(CommandError) as error:
        await serve_in_process(settings, lock_wait_s=0.2)
    words = f"The database is held by process {server.pid}; stop that one, or name another database."
    assert str(error.value) == words


def test_the_lock_file_is_private_and_says_how_to_reach_the_server(server: Server) -> None:
    path = server.database.with_name("receiver.db.lock")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    holder = json.loads(path.read_text())
    assert (holder["pid"], holder["url"]) == (server.pid, server.url)
    assert len(holder["token"]) >= 32
    assert server.stop() == 0
    assert path.read_bytes() == b""


def test_a_taken_port_is_one_clear_line(database: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        found = refused(database, "--port", str(port))
    words = f"Cannot listen on 127.0.0.1:{port}: Address already in use; use another 'server.port'.\n"
    assert found == (1, words)


def test_a_host_that_is_no_address_is_one_clear_line(database: Path) -> None:
    code, said = refused(database, "--host", "::2", "--port", "0", access__admin_keys=json.dumps(["0" * 64]))
    assert code == 1
    assert said.startswith("Cannot listen on ::2:0: ")
    assert said.count("\n") == 1


def test_a_folder_that_does_not_exist_is_a_bad_setting(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/none/receiver.db"
    words = f"Setting 'storage.url' is '{url}'; use a folder that exists, or create '{tmp_path}/none'.\n"
    assert refused(tmp_path / "receiver.db", storage__url=url) == (78, words)


def test_a_folder_in_place_of_the_database_is_a_bad_setting(database: Path) -> None:
    database.mkdir()
    words = f"Setting 'storage.url' is 'sqlite:///{database}', which is a folder; use the path of a file.\n"
    assert refused(database) == (78, words)


def test_a_file_that_is_no_database_is_left_alone(database: Path) -> None:
    database.write_bytes(b"not a database, but somebody's letters\n" * 100)
    before = database.read_bytes()
    words = f"'{database}' is not an SQLite database; name another file in 'storage.url'.\n"
    assert refused(database) == (1, words)
    assert database.read_bytes() == before


def test_somebody_elses_database_is_left_alone(database: Path) -> None:
    with closing(sqlite3.connect(database)) as conn:
        conn.execute("CREATE TABLE letters (text)")
    before = database.read_bytes()
    words = f"'{database}' is not a leadterra-receiver database; name another file in 'storage.url'.\n"
    assert refused(database) == (1, words)
    assert database.read_bytes() == before


def test_a_newer_schema_is_left_alone(server: Server) -> None:
    assert server.stop() == 0
    with closing(sqlite3.connect(server.database)) as conn:
        conn.execute("PRAGMA user_version = 999")
    code, said = refused(server.database)
    assert code == 1
    assert said.startswith(f"'{server.database}' has schema 999, newer than the ")
    version = f"the version that wrote it ({__version__})"
    assert said.endswith(f" that this program knows; install {version}, or a later one.\n")
    assert said.count("\n") == 1


def test_a_database_cut_short_is_one_clear_line(server: Server) -> None:
    assert server.stop() == 0
    os.truncate(server.database, 5000)
    code, said = refused(server.database)
    assert code == 1
    assert "malformed" in said
    assert said.count("\n") == 1


def test_a_database_that_another_program_locks_is_one_clear_line(server: Server) -> None:
    assert server.stop() == 0
    with closing(sqlite3.connect(server.database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        code, said = refused(server.database)
    assert code == 1
    assert "database is locked" in said
    assert said.count("\n") == 1


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A file system that takes no writes, with a database on it; root ignores permissions, so it is a mount."""
    disk = tmp_path / "read-only"
    disk.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "none", str(disk)], check=False).returncode:
        pytest.skip("a read-only file system cannot be mounted here")
    with Server(disk / "receiver.db") as server:
        assert server.post(sent("m1")).status == 204
        assert server.stop() == 0
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_read_only_folder_is_one_clear_line(read_only: Path) -> None:
    lock = read_only / "receiver.db.lock"
    assert refused(read_only / "receiver.db") == (
        1,
        f"The lock file '{lock}' cannot be opened: Read-only file system.\n",
    )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"ingest__batch_max": 0}, "Setting 'ingest.batch_max' is 0; use 1 to 5000.\n"),
        (
            {"server__hots": "x"},
            "Unknown setting in variable 'RECEIVER_SERVER__HOTS'; use RECEIVER_SERVER__HOST.\n",
        ),
        (
            {"webhook__secrets": "[]"},
            "Setting 'webhook.secrets' is empty; "
            "use a list with the signing secret that Leadterra gave when the webhook was registered.\n",
        ),
        (
            {"server__host": "0.0.0.0"},  # noqa: S104 # what is refused
            "Setting 'server.host' is '0.0.0.0' and no access key is configured; "
            "use a loopback address such as 127.0.0.1, or add a key (`keys new` makes one).\n",
        ),
    ],
)
def test_a_bad_setting_is_one_clear_line(database: Path, settings: dict[str, object], words: str) -> None:
    assert refused(database, **settings) == (78, words)
    assert not database.exists()


def test_a_secret_in_a_bad_setting_is_not_shown(database: Path) -> None:
    code, said = refused(database, access__admin_keys='["canary-5d1c"]', webhook__secrets='["", "canary-9e2f"]')
    assert code == 78
    assert "canary" not in said


def test_a_restart_keeps_what_was_there(database: Path) -> None:
    for number in range(3):
        with Server(database) as server:
            assert server.post(sent(f"m{number}")).outcome == "stored"
            assert server.stop() == 0
    assert ledger(database) == ["m0", "m1", "m2"]
