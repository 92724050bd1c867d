"""An address goes while the server is at work, also when it is killed half-way, and is in no file and no log."""

import json
from pathlib import Path

import pytest

from tests.e2e.server import WEBHOOK, Load, Server, payload, request, rows, run, sent, until

CANARY = "canary.bird@example.org"


def about(number: int) -> bytes:
    kinds = (
        sent(f"m{number}", email=CANARY, padding="x" * (number % 7) * 1000),
        payload("message.bounced", messageId=f"m{number}", bounceType="hard", bounceReason=f"<{CANARY}> is unknown"),
        payload("reply.received", reply={"id": f"r{number}", "email": CANARY.upper(), "campaignId": "camp_1"}),
        f"no json {number} {CANARY}".encode(),
        payload("message.bounced", messageId=f"b{number}", bounceType="soft", bounceReason=CANARY, email=CANARY),
    )
    return kinds[number % len(kinds)]


def occurrences(folder: Path) -> dict[str, int]:
    """In every file beside the database."""
    found = {path.name: path.read_bytes().lower().count(CANARY.encode()) for path in folder.iterdir()}
    return {name: count for name, count in found.items() if count}


def test_it_is_gone_while_webhooks_come_in(database: Path) -> None:
    bodies = [about(number) for number in range(100)]
    with Server(database) as server, server.connect() as client:
        assert {client.post(body).status for body in bodies} == {204}
        assert occurrences(database.parent)
        before = server.campaign()
        with Load(server.port, "load") as load:
            load.wait_for_acks(20)
            erased = run(database, "erase", "--email", CANARY)
            assert (erased.returncode, occurrences(database.parent)) == (0, {})
            load.wait_for_acks(len(load.acked) + 20)
        assert load.strange == []
        assert {client.post(body).outcome for body in bodies} == {"duplicate"}
        assert occurrences(database.parent) == {}
        after = server.campaign()
        assert after["replies"] == before["replies"] == 20
        assert after["sent"] == before["sent"] + len(load.acked)
        assert server.stop() == 0
    assert CANARY not in server.stderr.lower()
    assert occurrences(database.parent) == {}
    assert [run(database, command).returncode for command in ("verify", "rebuild")] == [0, 0]


def test_one_that_a_kill_cut_short_is_done_again(database: Path) -> None:
    bodies = [about(number) for number in range(300)]
    with Server(database) as server, server.connect() as client:
        assert {client.post(body).status for body in bodies} == {204}
        erasing = "SELECT count(*) FROM variants"
        before = rows(database, erasing)
        with server.connect() as other:
            other.send(_start(database))
            until(lambda: rows(database, erasing) != before, "the first bodies to be clean")
            server.process.kill()
    assert occurrences(database.parent)
    assert run(database, "verify").returncode == 0
    with Server(database) as server:
        erased = run(database, "erase", "--email", CANARY)
        # Of a row that moved when its page was split, SQLite may leave bytes: that is done when no server is there.
        assert erased.returncode == (1 if occurrences(database.parent) else 0)
        assert {server.post(body).outcome for body in bodies[:5]} == {"duplicate"}
        assert server.stop() == 0
    commands = (("erase", "--email", CANARY), ("verify",), ("rebuild",))
    assert [run(database, *command).returncode for command in commands] == [0, 0, 0]
    assert occurrences(database.parent) == {}


def _start(database: Path) -> bytes:
    """What the command sends, with the token of the lock file."""
    token = json.loads(database.with_name(database.name + ".lock").read_bytes())["token"]
    body = json.dumps({"email": CANARY}).encode()
    return request("POST", "/v1/erase", body, (f"Authorization: Bearer {token}",))


@pytest.mark.parametrize("beside_server", [True, False])
def test_a_rejected_body_goes_too(database: Path, *, beside_server: bool) -> None:
    rejected = database.with_name(database.name + ".rejected")
    bodies = [about(0), sent("other")]
    with Server(database) as server, server.connect() as client:
        wrong = f"X-Leadterra-Signature: {'0' * 64}"
        for body in bodies:
            assert client.ask(request("POST", WEBHOOK, body, (wrong,))).status == 401
        until(lambda: rejected.exists() and rejected.read_bytes().count(b'"event"') == 2, "both to be kept")
        assert occurrences(database.parent) == {rejected.name: 1}
        if not beside_server:
            assert server.stop() == 0
        erased = run(database, "erase", "--email", CANARY)
        assert erased.stdout == "Erased from 1 raw bodies and 0 other records.\n"
    assert (occurrences(database.parent), len(rows(rejected, "SELECT id FROM rejected"))) == ({}, 1)
