"""How a body may come: within a size and a time, unencoded; and what becomes of clients that leave half-way."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from receiver.web.body import BodyReader, Refusal
from tests.e2e.conftest import BODY_LIMIT
from tests.e2e.server import WEBHOOK, Answer, Connection, Server, delivery, ledger, request, rows, sent, sign, until

CHUNKED = "Transfer-Encoding: chunked"


def sized(length: int, message: str, campaign: str = "camp_sized") -> bytes:
    """An event of exactly this many bytes."""
    empty = len(sent(message, campaign, padding=""))
    return sent(message, campaign, padding="x" * (length - empty))


def in_chunks(body: bytes, size: int = 1000) -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def head_of(body: bytes, *headers: str) -> bytes:
    """The head of a signed POST whose body is still to come."""
    return request("POST", WEBHOOK, b"", (f"X-Leadterra-Signature: {sign(body)}", *headers))


def post_chunked(client: Connection, body: bytes) -> Answer:
    client.send(head_of(body, CHUNKED))
    return client.ask(in_chunks(body))


def test_a_body_of_the_limit_itself_is_accepted(client: Connection) -> None:
    assert client.post(sized(BODY_LIMIT, "limit-declared")).outcome == "stored"


def test_a_chunked_body_of_the_limit_itself_is_accepted(client: Connection) -> None:
    assert post_chunked(client, sized(BODY_LIMIT, "limit-chunked")).outcome == "stored"


def test_a_chunked_copy_equals_a_whole_one(client: Connection) -> None:
    body = sized(5000, "chunked-copy")
    assert [post_chunked(client, body).outcome, client.post(body).outcome] == ["stored", "duplicate"]


def test_a_body_in_chunks_of_one_byte_is_accepted(client: Connection) -> None:
    body = sent("tiny-chunks", "camp_sized")
    client.send(head_of(body, CHUNKED))
    assert client.ask(in_chunks(body, 1)).outcome == "stored"


def test_a_declared_length_beyond_the_limit_is_refused_before_the_body_comes(client: Connection) -> None:
    answer = client.ask(head_of(b"", f"Content-Length: {BODY_LIMIT + 1}"))
    assert (answer.status, answer.code, answer.headers["connection"]) == (413, "body_too_large", "close")
    assert answer.json()["detail"] == f"The body is larger than {BODY_LIMIT} bytes."
    assert client.closed_by_server()


def test_a_chunked_body_beyond_the_limit_is_refused_although_it_is_signed(client: Connection) -> None:
    body = sized(BODY_LIMIT + 1, "too-large")
    client.send(head_of(body, CHUNKED))
    # All but the end: nothing must be unread when the server closes, or its answer would be lost.
    answer = client.ask(in_chunks(body, BODY_LIMIT + 1)[:-7])
    assert (answer.status, answer.code, answer.headers["connection"]) == (413, "body_too_large", "close")
    assert client.closed_by_server()


def test_a_client_that_asks_first_is_told_before_it_sends(client: Connection) -> None:
    refused = client.ask(head_of(b"", f"Content-Length: {BODY_LIMIT + 1}", "Expect: 100-continue"))
    assert refused.status == 413


def test_a_client_that_asks_first_and_may_go_on_is_answered_twice(client: Connection) -> None:
    body = sent("expected", "camp_sized")
    go_on = client.ask(head_of(body, f"Content-Length: {len(body)}", "Expect: 100-continue"))
    assert (go_on.status, client.ask(body).outcome) == (100, "stored")


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "identity, gzip", "x"])
def test_an_encoded_body_is_refused_although_it_is_signed(client: Connection, encoding: str) -> None:
    answer = client.post(sent("encoded", "camp_sized"), f"Content-Encoding: {encoding}")
    assert (answer.status, answer.code) == (415, "unsupported_encoding")


@pytest.mark.parametrize("encoding", ["identity", "IDENTITY", " identity ", ""])
def test_identity_is_no_encoding(client: Connection, encoding: str) -> None:
    assert client.post(sent("plain", "camp_sized"), f"Content-Encoding: {encoding}").status == 204


def test_a_body_that_is_not_complete_in_time_is_refused(serve: Callable[..., Server]) -> None:
    server = serve(server__body_timeout_s=0.3)
    with server.connect() as client:
        body = sent("slow")
        answer = client.ask(head_of(body, f"Content-Length: {len(body)}") + body[:-1])
        assert (answer.status, answer.code, answer.headers["connection"]) == (408, "body_timeout", "close")
        assert answer.json()["detail"] == "The body was not complete within 0.3 s."
        assert client.closed_by_server()
    assert server.post(sent("quick")).status == 204
    assert ledger(server.database) == ["quick"]


def test_refused_bodies_are_counted(serve: Callable[..., Server]) -> None:
    server = serve(server__body_limit_bytes=1000)
    with server.connect() as client:
        client.post(sent("m1"), "Content-Encoding: gzip")
        client.ask(request("POST", WEBHOOK, sent("m1")))
        client.ask(head_of(b"", "Content-Length: 1001"))
    metrics = server.get("/metrics").body.decode()
    for outcome in ("unsupported_encoding", "signature_invalid", "body_too_large"):
        assert f'receiver_deliveries_total{{outcome="{outcome}"}} 1.0' in metrics


BODY = sent("left", "camp_left", padding="x" * 500)
WHOLE = delivery(BODY)
STAGES = {
    "after connecting": b"",
    "inside the request line": b"POST /webhooks/lea",
    "inside the headers": WHOLE[:60],
    "after the headers": WHOLE[: WHOLE.index(b"\r\n\r\n") + 4],
    "inside the body": WHOLE[:-100],
    "inside a chunk": head_of(BODY, CHUNKED) + in_chunks(BODY, 100)[:250],
}


@pytest.mark.parametrize("leave", ["close", "abort"])
@pytest.mark.parametrize("sent_before", STAGES.values(), ids=STAGES.keys())
def test_a_client_that_leaves_too_early_leaves_nothing(shared: Server, sent_before: bytes, leave: str) -> None:
    with shared.connect() as client:
        client.send(sent_before)
        getattr(client, leave)()
    assert shared.post(sent("still here", "camp_sized")).status == 204
    assert "left" not in ledger(shared.database)


def test_whole_bodies_of_clients_that_do_not_wait_are_counted(server: Server) -> None:
    messages = {f"left-{number}" for number in range(50)}
    for message in messages:
        with server.connect() as client:
            client.send(delivery(sent(message)))
    until(lambda: set(ledger(server.database)) == messages, "the events of clients that have left")
    assert server.campaign()["sent"] == 50
    assert '"level": "error"' not in server.stderr


def test_clients_that_reset_the_connection_never_break_the_server(server: Server) -> None:
    for number in range(50):
        with server.connect() as client:
            client.send(delivery(sent(f"reset-{number}")))
            client.abort()
    assert server.post(sent("after")).status == 204
    held = ledger(server.database)
    assert len(held) == len(set(held)) == server.campaign()["sent"]
    assert '"level": "error"' not in server.stderr


def test_pipelined_deliveries_are_answered_in_order(client: Connection) -> None:
    bodies = [sent(f"piped-{number}", "camp_piped") for number in range(5)]
    good = [delivery(body) for body in bodies]
    client.send(good[0] + request("POST", WEBHOOK, b"{}") + good[1] + good[0] + b"".join(good[2:]))
    answers = [client.answer() for _ in range(7)]
    assert [answer.outcome or answer.status for answer in answers] == [
        "stored", 401, "stored", "duplicate", "stored", "stored", "stored",
    ]  # fmt: skip


@pytest.mark.parametrize("lines", [("Content-Length: 5", CHUNKED), ("Content-Length: 5", "Content-Length: 6")])
def test_a_request_whose_end_is_in_doubt_is_not_taken(client: Connection, lines: tuple[str, ...]) -> None:
    answer = client.ask(head_of(b"", *lines) + b"0\r\n\r\n")
    assert answer.status == 400
    assert client.closed_by_server()


@pytest.mark.parametrize("length", ["-1", "x", "1e3", "99999999999999999999999999"])
def test_a_length_that_is_no_length_is_not_taken(client: Connection, length: str) -> None:
    assert client.ask(head_of(b"", f"Content-Length: {length}")).status in (400, 413)


def test_content_length_zero_is_an_empty_body(client: Connection, shared: Server) -> None:
    assert client.post(b"").outcome in ("quarantined", "duplicate")
    reasons = rows(shared.database, "SELECT reason FROM quarantine WHERE body = x''")
    assert reasons == [("not_json",)]


async def test_draining_at_the_moment_a_body_runs_out_of_time_is_quiet() -> None:
    reader = BodyReader(1000, 60)
    reading = asyncio.create_task(reader.read(asyncio.get_running_loop().create_future, None))
    await asyncio.sleep(0)
    reader.drain()
    await asyncio.sleep(0)  # its time is up now, but the task has not run yet
    reader.drain()
    assert await reading is Refusal.DRAINING


def test_the_database_folder_holds_nothing_but_the_database(server: Server) -> None:
    server.post(sent("m1"))
    assert server.stop() == 0
    names = {path.name for path in Path(server.database.parent).iterdir()}
    assert names == {"receiver.db", "receiver.db.lock"}
