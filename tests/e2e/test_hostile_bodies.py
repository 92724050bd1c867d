"""Signed bodies made to break a reader: each is kept in quarantine, and none holds the event loop."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.e2e.asgi import BODY_LIMIT, Receiver, opened_receiver, timed
from tests.e2e.server import Connection, Server, payload, rows, sent

# Nobody else's event waits longer for one hostile body.
HELD_MAX_S = 0.05

# Other work on the machine makes one delivery slow, not all of them.
TRIES = 3

TIME = '"timestamp": "2025-06-11T09:00:00Z"'


def with_data(data: str) -> bytes:
    return f'{{"event": "message.sent", {TIME}, "data": {data}}}'.encode()


HOSTILE = {
    "empty": (b"", "not_json"),
    "NUL": (b"\0", "not_json"),
    "not UTF-8": (b"\xff\xfe\xfd", "not_json"),
    "UTF-16": (sent("m1").decode().encode("utf-16"), "not_json"),
    "BOM": (b"\xef\xbb\xbf" + sent("m1"), "not_json"),
    "array": (b"[]", "not_json"),
    "string": (b'"message.sent"', "not_json"),
    "null": (b"null", "not_json"),
    "number": (b"1", "not_json"),
    "two objects": (sent("m1") + sent("m2"), "not_json"),
    "NaN": (with_data('{"messageId": "m", "campaignId": "c", "sequenceStep": NaN}'), "not_json"),
    "infinity": (with_data('{"messageId": "m", "campaignId": "c", "sequenceStep": Infinity}'), "not_json"),
    "1e400": (with_data('{"messageId": "m", "campaignId": "c", "sequenceStep": 1e400}'), None),
    "2^63": (
        with_data('{"messageId": "m", "campaignId": "c", "sequenceStep": 9223372036854775808}'),
        "invalid_field",
    ),
    "2^64": (with_data('{"messageId": "m", "campaignId": "c", "sequenceStep": 18446744073709551616}'), None),
    "minus 2^63": (with_data('{"messageId": "m", "campaignId": "c", "sequenceStep": -9223372036854775808}'), None),
    "2^63 as the id": (with_data('{"messageId": 9223372036854775808, "campaignId": "c"}'), "invalid_field"),
    "lone surrogate": (with_data('{"messageId": "\\ud800", "campaignId": "c"}'), "not_json"),
    "deep array": (b"[" * 100_000, "not_json"),
    "deep closed array": (b"[" * 100_000 + b"]" * 100_000, "not_json"),
    "deep object": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "not_json"),
    "deep inside data": (with_data("[" * 100_000 + "]" * 100_000), "not_json"),
    "1 MiB of arrays": (b"[" * BODY_LIMIT, "not_json"),
    "1 MiB of objects": (b'{"":' * (BODY_LIMIT // 4), "not_json"),
    "1 MiB of commas": (b"[" + b"1," * (BODY_LIMIT // 2 - 1) + b"]", "not_json"),
    "1 MiB of names": (
        b"{" + b",".join(b'"%06x":0' % number for number in range(90_000)) + b"}",
        "missing_field",
    ),
    "1 MiB of one name": (b"{" + b",".join([b'"data":{}'] * 100_000) + b"}", "missing_field"),
    "1 MiB of digits": (b"1" * BODY_LIMIT, "not_json"),
    "1 MiB of escapes": (b'{"event":"' + b"\\u0041" * 170_000 + b'"}', "unknown_event"),
    "1 MiB as the address": (
        payload("reply.received", reply={"id": "r1", "campaignId": "c", "email": "<" * 1_000_000}),
        "invalid_field",
    ),
    "1 MiB as the time": (
        b'{"event":"campaign.started","timestamp":"' + b"1" * 1_000_000 + b'","data":{"id":"c"}}',
        None,
    ),
}


@pytest.fixture
async def receiver(database: Path) -> AsyncIterator[Receiver]:
    async with opened_receiver(database) as receiver:
        yield receiver


async def held(receiver: Receiver, body: bytes, outcome: str) -> float:
    """Seconds for which one of several equal deliveries held the event loop."""
    tries = [await timed(receiver.deliver(body)) for _ in range(TRIES)]
    assert {answer.status for answer, _ in tries} == {204}
    assert [answer.outcome for answer, _ in tries] == [outcome, *["duplicate"] * (TRIES - 1)]
    return min(held_s for _, held_s in tries)


@pytest.mark.parametrize(("body", "reason"), HOSTILE.values(), ids=HOSTILE.keys())
async def test_a_hostile_body_is_kept_and_holds_nobody_up(
    receiver: Receiver, body: bytes, reason: str | None
) -> None:
    assert await held(receiver, body, "quarantined") < HELD_MAX_S
    kept = await receiver.run_sql("SELECT reason, body FROM quarantine")
    assert kept == [(reason or kept[0][0], body)]


async def test_the_last_of_two_equal_names_counts(receiver: Receiver) -> None:
    body = b'{"event": "nonsense", ' + sent("m1").removeprefix(b"{")
    assert (await receiver.deliver(body)).outcome == "stored"


async def test_a_nul_inside_an_id_is_an_id_like_any_other(receiver: Receiver) -> None:
    outcomes = [(await receiver.deliver(sent(message))).outcome for message in ("a\0b", "a\0b", "a\0c", "a")]
    assert outcomes == ["stored", "duplicate", "stored", "stored"]


async def test_an_understood_body_of_the_longest_length_holds_nobody_up(receiver: Receiver) -> None:
    empty = len(sent("m1", padding=[]))
    body = sent("m1", padding=[0] * ((BODY_LIMIT - empty) // 3))
    assert await held(receiver, body, "stored") < HELD_MAX_S


def test_a_server_takes_all_of_them_and_counts_none(server: Server) -> None:
    with server.connect() as client:
        answers = [client.post(body) for body, _ in HOSTILE.values()]
        assert {answer.outcome for answer in answers} == {"quarantined"}
        assert {client.post(body).outcome for body, _ in HOSTILE.values()} == {"duplicate"}
        assert client.post(sent("m1")).outcome == "stored"
    assert rows(server.database, "SELECT count(*), sum(copies) FROM quarantine") == [(len(HOSTILE), 2 * len(HOSTILE))]
    assert server.campaign()["sent"] == 1
    assert '"level": "error"' not in server.stderr


def test_quarantine_lists_hostile_bodies_without_showing_them(client: Connection, shared: Server) -> None:
    client.post(b'{"event": "canary-in-an-unknown-event' + b"x" * 200 + b'"}')
    listed = shared.get("/v1/quarantine?limit=2000").json()["data"]
    assert json.dumps(listed).count("x" * 101) == 0
