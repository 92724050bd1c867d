"""A full disk: 503 while it lasts, nothing acknowledged is lost, and it heals by itself."""

import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.asgi import opened_receiver
from tests.e2e.server import Connection, Server, ledger, rows, sent, until

PADDING = "x" * 20_000
DISK = "4m"
BALLAST_BYTES = 2_500_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few megabytes, with ballast to throw off."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", str(disk)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    (disk / "ballast").write_bytes(b"x" * BALLAST_BYTES)
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(client: Connection) -> list[str]:
    """Post until it is refused for want of space; what was acknowledged."""
    acked: list[str] = []
    for number in range(100):
        answer = client.post(sent(f"m{number}", padding=PADDING))
        if answer.status == 503:
            assert answer.json()["detail"] == "The disk is full; send the event again."
            assert answer.headers["retry-after"] == "5"
            return acked
        acked.append(f"m{number}")
    raise AssertionError("the disk does not fill up")


def test_a_full_disk_refuses_and_heals_by_itself(small_disk: Path) -> None:
    with Server(small_disk / "receiver.db") as server, server.connect() as client:
        acked = fill(client)
        assert len(acked) > 3
        assert server.get("/readyz").status == 503
        assert server.get("/livez").status == 200
        assert client.post(sent("refused", padding=PADDING)).status == 503
        (small_disk / "ballast").unlink()
        until(lambda: server.get("/readyz").status == 200, "it to be ready again")
        assert client.post(sent("healed", padding=PADDING)).status == 204
        assert ledger(server.database) == [*acked, "healed"]
        assert server.campaign()["sent"] == len(acked) + 1
        assert server.stop() == 0
    assert server.stderr.count('"event": "disk_full"') == 1
    assert "Traceback" not in server.stderr


def test_the_stretches_of_acceptance_show_the_time_of_the_full_disk(small_disk: Path) -> None:
    with Server(small_disk / "receiver.db") as server, server.connect() as client:
        fill(client)
        (small_disk / "ballast").unlink()
        until(lambda: server.get("/readyz").status == 200, "it to be ready again")
        client.post(sent("healed"))
        (before, after) = rows(server.database, "SELECT started_at, last_at FROM accepting ORDER BY id")
        assert before[1] < after[0]
        ((first_refusal, last_refusal, count),) = rows(
            server.database, "SELECT started_at, last_at, refusals FROM refusing"
        )
        assert before[1] <= first_refusal <= last_refusal <= after[0]
        assert count == 1


def test_it_stops_cleanly_while_the_disk_is_full_and_loses_nothing(small_disk: Path) -> None:
    with Server(small_disk / "receiver.db") as server, server.connect() as client:
        acked = fill(client)
        assert server.stop() == 0
    (small_disk / "ballast").unlink()
    with Server(small_disk / "receiver.db") as server:
        assert ledger(server.database) == acked
        assert server.campaign()["sent"] == len(acked)


def test_a_kill_while_the_disk_is_full_loses_nothing(small_disk: Path) -> None:
    with Server(small_disk / "receiver.db") as server, server.connect() as client:
        acked = fill(client)
        server.kill()
    (small_disk / "ballast").unlink()
    with Server(small_disk / "receiver.db") as server:
        assert set(acked) <= set(ledger(server.database))
        assert server.post(sent("m0", padding=PADDING)).outcome == "duplicate"


def test_a_start_without_any_space_says_so_and_ends(small_disk: Path) -> None:
    with (small_disk / "more").open("wb", buffering=0) as more:
        while os.statvfs(small_disk).f_bavail:
            more.write(b"x" * 4096)
    with Server(small_disk / "receiver.db", wait=False) as server:
        assert server.wait() == 1
    lock = small_disk / "receiver.db.lock"
    assert server.stderr == f"The lock file '{lock}' cannot be written: No space left on device.\n"


def test_a_quota_that_is_used_up_refuses_and_heals(database: Path) -> None:
    """To SQLite a write that the system refuses is one, whether for a quota or for a bound on the file's size."""
    with Server(database) as server, server.connect() as client:
        most = database.with_name("receiver.db-wal").stat().st_size + 1_000_000
        resource.prlimit(server.writer_pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
        acked = fill(client)
        assert len(acked) > 1
        assert server.get("/readyz").status == 503
        resource.prlimit(server.writer_pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        until(lambda: server.get("/readyz").status == 200, "it to be ready again")
        assert client.post(sent("healed", padding=PADDING)).status == 204
        assert ledger(server.database) == [*acked, "healed"]
        assert server.stop() == 0
    assert server.stderr.count('"event": "disk_full"') == 1


async def test_a_database_that_may_not_grow_refuses_and_heals(database: Path) -> None:
    """The same without a file system of its own: SQLite's own bound on its pages."""
    async with opened_receiver(database) as receiver:
        assert (await receiver.deliver(sent("before"))).status == 204
        await receiver.run_sql("PRAGMA max_page_count = 1")  # SQLite takes the present size instead
        answers = [await receiver.deliver(sent(f"m{number}", padding=PADDING)) for number in range(3)]
        assert {(answer.status, answer.headers["retry-after"]) for answer in answers} == {(503, "5")}
        assert not receiver.writer.accepting
        await receiver.run_sql("PRAGMA max_page_count = 1000000")
        assert (await receiver.deliver(sent("after", padding=PADDING))).outcome == "stored"
        assert receiver.writer.accepting
        assert not receiver.writer.failed.is_set()
    assert ledger(database) == ["before", "after"]
