"""The service lets raw bodies expire by its own clock; what they were counted as stays."""

import json
from pathlib import Path
from typing import Any

from tests.e2e.server import Server, rows, run, until

START = "2025-06-11T09:00:00Z"
SIMULATED: dict[str, Any] = {
    "clock__start": START,
    "clock__speed": 36_000,
    "leadterra__base_url": "http://127.0.0.1:9",
}
BODIES = "SELECT count(*) FROM journal"


def sent(number: int) -> bytes:
    data = {"messageId": f"m{number}", "campaignId": "camp_1", "sequenceStep": 1}
    return json.dumps({"event": "message.sent", "timestamp": START, "data": data}).encode()


def test_a_day_passes_and_the_bodies_with_it(database: Path) -> None:
    with Server(database, retention__raw_days=1, **SIMULATED) as server:
        with server.connect() as client:
            assert {client.post(sent(number)).outcome for number in range(20)} == {"stored"}
        until(lambda: rows(database, BODIES) == [(1,)], "the bodies to expire")
        assert server.campaign()["sent"] == 20
        assert {server.post(sent(number)).outcome for number in range(20)} == {"duplicate"}
        assert server.get("/v1/explain?figure=sent").status == 200
        assert server.get("/v1/events").status == 200
        assert server.stop() == 0
    assert '"event": "bodies_expired"' in server.stderr
    verified = run(database, "verify", "--json")
    assert verified.returncode == 0
    assert json.loads(verified.stdout)["journal"]["older_events"] >= 19
    assert run(database, "rebuild").returncode == 0


def test_bodies_that_are_kept_for_ever_stay(database: Path) -> None:
    with Server(database, retention__raw_days=0, **SIMULATED) as server:
        server.post(sent(1))
        server.post(sent(2))
        first = rows(database, "SELECT max(last_at) FROM accepting")[0][0]
        until(lambda: rows(database, "SELECT max(last_at) FROM accepting")[0][0] > first + 2 * 86_400_000, "two days")
        assert rows(database, BODIES) == [(2,)]
