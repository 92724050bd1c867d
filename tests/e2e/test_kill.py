"""Kills the server under load, again and again: what was acknowledged is there once, whatever was under way.

Three rounds by default, twenty with `-m slow`; `TEST_ROUNDS=200 pytest -m slow …` asks for any number.
`--log-cli-level=INFO` shows how long each restart took, from the start of the process to its first 204.
"""

import json
import logging
import os
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from receiver.storage.sqlite.connection import open_for_reading
from receiver.storage.sqlite.recount import Progress, recount
from tests.e2e.server import Load, Server, ledger, run, sent

log = logging.getLogger(__name__)

ROUNDS = int(os.environ.get("TEST_ROUNDS", "20"))


def start_and_ack(database: Path, round_number: int) -> tuple[Server, float]:
    """A server, and the seconds from its start to its first acknowledgement."""
    server = Server(database)
    assert server.post(sent(f"first-{round_number}")).status == 204
    return server, time.monotonic() - server.started_s


def kill_under_load(database: Path, round_number: int) -> tuple[list[str], float]:
    """One round: what was acknowledged in it, and how long the start took."""
    server, start_s = start_and_ack(database, round_number)
    with server, Load(server.port, f"load-{round_number}") as load:
        load.wait_for_acks(random.randint(1, 150))
        server.process.kill()
    assert load.strange == []
    return [f"first-{round_number}", *load.acked], start_s


def check(database: Path, acked: list[str]) -> None:
    """All of it is held once, and every figure is what the ledger says."""
    with Server(database) as server:
        held = Counter(ledger(database))
        assert set(acked) - set(held) == set()
        assert set(held.values()) == {1}
        assert server.campaign()["sent"] == len(held)
        reader = open_for_reading(database)
        assert recount(reader, Progress()).rows == 0
        reader.close()
        assert server.stop() == 0
    rebuilt = run(database, "rebuild", "--json")
    assert json.loads(rebuilt.stdout) == {"rows": len(held), "rows_changed": 0}
    assert rebuilt.returncode == 0


def rounds(database: Path, count: int) -> list[float]:
    acked: list[str] = []
    starts: list[float] = []
    for number in range(count):
        more, start_s = kill_under_load(database, number)
        acked += more
        starts.append(start_s)
    check(database, acked)
    log.info("%d rounds, %d acked, starts %s", count, len(acked), [round(start_s, 2) for start_s in sorted(starts)])
    return starts


def test_what_was_acknowledged_is_there_once_after_three_kills(database: Path) -> None:
    rounds(database, 3)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_it_survives_many_kills_and_is_back_within_two_seconds(database: Path) -> None:
    starts = rounds(database, ROUNDS)
    # The median is the receiver's own; a single start may have lost its core to somebody else.
    assert sorted(starts)[len(starts) // 2] < 2.0
    assert max(starts) < 6.0


def test_a_copy_of_what_a_killed_server_had_acknowledged_is_a_duplicate(database: Path) -> None:
    body = sent("m1")
    with Server(database) as server:
        assert server.post(body).outcome == "stored"
    with Server(database) as server:
        assert server.post(body).outcome == "duplicate"
        assert server.campaign()["sent"] == 1
