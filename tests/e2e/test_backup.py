"""A backup while the server is at work: what was acknowledged before is in it, and a failed one leaves nothing."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.server import Load, Server, environment, ledger, rows, run, sent

DISK = "1m"
PADDING = "x" * 20_000


def backups(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("receiver.db"))


@pytest.mark.parametrize("killed", [False, True], ids=["alive", "killed right after"])
def test_all_that_was_acknowledged_before_it_began_is_in_it(database: Path, killed: bool) -> None:
    copy = database.with_name("copy.db")
    with Server(database) as server, Load(server.port, "load") as load:
        load.wait_for_acks(100)
        before = list(load.acked)
        assert run(database, "backup", str(copy)).returncode == 0
        if killed:
            server.process.kill()
        else:
            load.wait_for_acks(len(load.acked) + 20)
    held = ledger(copy)
    assert set(before) - set(held) == set()
    assert len(held) == len(set(held))
    verified = run(copy, "verify", "--json")
    assert (verified.returncode, json.loads(verified.stdout)["journal"]["bodies"]) == (0, len(held))
    with Server(copy) as restored:
        assert restored.campaign()["sent"] == len(held)
        assert restored.post(sent(before[0])).outcome == "duplicate"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a megabyte beside the one with the database."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", str(disk)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_another_file_system_that_fills_up_is_said_so_and_left_clean(server: Server, small_disk: Path) -> None:
    with server.connect() as client:
        assert {client.post(sent(f"m{number}", padding=PADDING)).status for number in range(60)} == {204}
        result = run(server.database, "backup", str(small_disk / "copy.db"))
        text = f"There is no space left in '{small_disk}'; no backup was made.\n"
        assert (result.returncode, result.stdout, result.stderr) == (1, "", text)
        assert list(small_disk.iterdir()) == []
        assert client.post(sent("after")).status == 204


def test_another_file_system_will_do(server: Server, small_disk: Path) -> None:
    server.post(sent("m1"))
    assert run(server.database, "backup", str(small_disk / "copy.db")).returncode == 0
    assert ledger(small_disk / "copy.db") == ["m1"]


def test_ctrl_c_ends_it_and_leaves_nothing(server: Server, tmp_path: Path) -> None:
    with server.connect() as client:
        assert {client.post(sent(f"m{number}", padding=PADDING)).status for number in range(300)} == {204}
    code = (
        "import os, signal, receiver.storage.sqlite.backup as b\n"
        "watched = b._watched\n"
        "def slow(conn, look, statement, values):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    while not look(): pass\n"
        "    return watched(conn, look, statement, values)\n"
        "b._watched = slow\n"
        "from receiver.cli import main; main()\n"
    )
    command = [sys.executable, "-c", code, "backup", "copy.db"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(server.database), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "Stopped; no backup was made.\n" in done.stderr
    assert "Traceback" not in done.stderr
    assert backups(tmp_path) == []


def test_what_gets_its_name_is_on_disk(database: Path, serve: Callable[..., Server]) -> None:
    """By strace: the copy is synced before it is linked, and the folder after."""
    if subprocess.run(["which", "strace"], capture_output=True, check=False).returncode:
        pytest.skip("needs strace")
    serve().post(sent("m1"))
    trace = database.with_name("trace")
    calls = "trace=fsync,link,rename,unlink"
    command = [
        "strace",
        "-f",
        "-y",
        "-o",
        str(trace),
        "-e",
        calls,
        sys.executable,
        "-m",
        "receiver",
        "backup",
        "c.db",
    ]
    subprocess.run(command, cwd=database.parent, env=environment(database), capture_output=True, check=True)
    folder = str(database.parent)
    # A call during which another thread calls too has two lines; the second names no file.
    done = [line for line in trace.read_text().splitlines() if " = -1" not in line]
    lines = [line for line in done if ".part" in line or f"<{folder}>" in line]
    found = [re.split(r"\(|\s+", line)[1] for line in lines]
    assert found[-4:] == ["fsync", "link", "unlink", "fsync"], lines


def test_the_copy_holds_the_same_rows(server: Server) -> None:
    with server.connect() as client:
        for number in range(20):
            client.post(sent(f"m{number}"))
    copy = server.database.with_name("copy.db")
    assert run(server.database, "backup", str(copy)).returncode == 0
    for table in ("journal", "messages", "totals", "series", "campaigns"):
        assert rows(copy, f"SELECT * FROM {table}") == rows(server.database, f"SELECT * FROM {table}"), table
