"""The soak in small, and that it finds what it looks for."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.bench.soak import Sample, Soak, judge, main, slope_per_hour, soak, table
from tests.bench.traffic import Traffic
from tests.e2e.server import Server, sent


def test_a_short_soak_loses_nothing(tmp_path: Path) -> None:
    found = soak(tmp_path, seconds=5, rate=60, kills=1)
    assert found.is_good, table(found)
    assert (found.kills, found.lost, found.twice, found.rows_changed) == (1, 0, 0, 0)
    assert found.in_ledger == len(found.traffic.acked) > 100
    assert found.reconciliations > 0
    assert found.questions["200"] > 0
    assert {name for name in found.questions if name >= "5"} == set()
    assert len(dict(table(found))) == 17


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_longer_soak_loses_nothing(tmp_path: Path) -> None:
    found = soak(tmp_path, seconds=60, kills=6)
    assert found.is_good, table(found)


@pytest.fixture
def held(tmp_path: Path) -> Path:
    """A database that holds ten sends."""
    with Server(tmp_path / "soak.db") as server, server.connect() as client:
        for number in range(10):
            assert client.post(sent(f"msg_{number}")).status == 204
        assert server.stop() == 0
    return server.database


def judged(database: Path, acked: int) -> Soak:
    """What is found when so many sends were acknowledged."""
    found = Soak(1.0, Traffic(lambda: 0, 1))
    found.traffic.acked = {f"sent msg_{number}" for number in range(acked)}
    judge(database, found)
    return found


def test_what_is_sound_is_good(held: Path) -> None:
    assert judged(held, 10).is_good


def test_a_lost_event_is_found(held: Path) -> None:
    found = judged(held, 11)
    assert (found.lost, found.twice, found.is_good) == (1, 0, False)


@pytest.mark.parametrize(
    "damage",
    [
        "INSERT INTO journal"
        " SELECT seq + 100, received_at, kind, key, campaign, role, copies, secret, peer, body, origin"
        " FROM journal WHERE seq = 1",
        "UPDATE totals SET sent = sent + 1 WHERE step = -1",
    ],
)
def test_an_event_that_counts_twice_is_found(held: Path, damage: str) -> None:
    with closing(sqlite3.connect(held)) as conn, conn:
        conn.execute(damage)
    found = judged(held, 10)
    assert (found.lost, found.twice, found.is_good) == (0, 1, False)


def test_the_slope_is_that_within_the_lives_of_the_server() -> None:
    samples = [Sample(s, s % 200, s // 200, 50 + s % 200 * 0.01 + 5 * (s // 200), 1, 1, 1.0) for s in range(600)]
    assert slope_per_hour(samples) == pytest.approx(36)
    assert slope_per_hour(samples[:80]) is None


def test_its_exit_code_says_whether_it_is_good(
    monkeypatch: pytest.MonkeyPatch, held: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def found(*_: object) -> Soak:
        result = judged(held, 11)
        result.samples = [Sample(1.0, 1.0, 1, 50.0, 9, 4, 0.1)]
        result.traffic.took_s = result.asked_s = [0.001, 0.002]
        return result

    monkeypatch.setattr("tests.bench.soak.soak", found)
    monkeypatch.setattr("sys.argv", ["soak", "--minutes", "0.1"])
    assert main() == 1
    assert "| lost / counted twice | 1 / 0 |\n" in capsys.readouterr().out
