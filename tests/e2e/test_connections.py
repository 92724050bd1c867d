"""How many connections may be open, and how long each may keep the server waiting."""

import contextlib
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from receiver.web.connections import ConnectionLimits
from tests.e2e.guarded import Guarded
from tests.e2e.server import Answer, Connection, Server, delivery, ledger, request, sent, until

Start = Callable[..., Guarded]

ALIVE = request("GET", "/livez")
HALF = b"POST /webhooks/leadterra HTTP/1.1\r\nHost: localhost\r\nX-Half"
# Long enough for anything that a test does before it waits.
NEVER_S = 100.0


@pytest.fixture
def start(database: Path) -> Iterator[Start]:
    """Starts a service that loses its patience soon, but for what the test says."""
    with ExitStack() as services:

        def start(**limits: float) -> Guarded:
            quick = {"header_timeout_s": 0.4, "reserve_timeout_s": 0.4, "linger_s": 0.2, "sweep_s": 0.02}
            return services.enter_context(Guarded(database, ConnectionLimits(**{**quick, **limits})))  # type: ignore[arg-type] # counts are given as such

        yield start


def opened(stack: ExitStack, guarded: Guarded, count: int, said: bytes = b"") -> list[Connection]:
    """So many connections that have said no more than this, known to the server in their order."""
    clients = []
    for _ in range(count):
        before = len(guarded.service.connections)
        clients.append(stack.enter_context(guarded.connect()))
        clients[-1].send(said)
        guarded.wait_until_open(before + 1)
    return clients


def assert_refused(client: Connection, status: int, code: str, detail: str) -> None:
    answer = client.answer()
    assert (answer.status, answer.code, answer.json()["detail"]) == (status, code, detail)
    assert answer.headers["connection"] == "close"
    assert client.closed_by_server()


def refused(guarded: Guarded, reason: str) -> int:
    return guarded.service.connections._meters._refusals[reason]


def too_many(client: Connection) -> Answer:
    answer = client.answer()
    assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "unavailable", "5")
    assert answer.json()["detail"] == "Too many connections are open; try again."
    assert client.closed_by_server()
    return answer


TIMED_OUT = (408, "header_timeout", "No whole request header came within 0.4 s.")


@pytest.mark.parametrize("said", [b"", b"\r\n\r\n", b"P", HALF], ids=["nothing", "blank lines", "a byte", "half"])
def test_who_sends_no_whole_header_is_told_and_closed(start: Start, said: bytes) -> None:
    guarded = start()
    with guarded.connect() as client:
        client.send(said)
        assert_refused(client, *TIMED_OUT)
    guarded.wait_until_open(0)
    assert refused(guarded, "header_timeout") == 1


def test_the_last_byte_of_a_header_of_the_limit_may_come_alone(start: Start) -> None:
    guarded = start(header_timeout_s=NEVER_S, header_bytes=100)
    padded = request("GET", "/livez", b"", (f"X: {'x' * (100 - len(request('GET', '/livez', b'', ('X: ',))))}",))
    assert len(padded) == 100
    with guarded.connect() as client:
        client.send(padded[:-1])
        guarded.wait_until_open(1)
        (connection,) = guarded.service.connections._open
        until(lambda: getattr(connection, "_framing_bytes", 0) == 99, "all but one byte to be read")
        assert client.ask(padded[-1:]).status == 200


def test_a_byte_now_and_then_does_not_buy_time(start: Start) -> None:
    guarded = start()
    with guarded.connect() as client:
        client.send(HALF)
        client.socket.settimeout(0.05)
        sent_bytes = 0
        while True:
            with contextlib.suppress(TimeoutError):
                first = client.socket.recv(12)
                break
            client.send(b"x")
            sent_bytes += 1
            assert sent_bytes < 200
    assert first == b"HTTP/1.1 408"


def test_half_of_a_second_header_is_not_waited_for_longer(start: Start) -> None:
    with start(idle_timeout_s=NEVER_S).connect() as client:
        assert client.ask(ALIVE).status == 200
        client.send(HALF)
        assert_refused(client, *TIMED_OUT)


def test_half_of_a_second_header_behind_a_whole_one_is_not_waited_for_longer(start: Start) -> None:
    with start(idle_timeout_s=NEVER_S).connect() as client:
        assert client.ask(ALIVE + HALF).status == 200
        assert_refused(client, *TIMED_OUT)


def test_a_kept_connection_may_be_idle_for_longer_and_is_closed_without_a_word(start: Start) -> None:
    guarded = start(header_timeout_s=0.1, idle_timeout_s=1)
    with guarded.connect() as kept, guarded.connect() as silent:
        assert kept.ask(ALIVE).status == 200
        assert silent.answer().status == 408
        assert kept.ask(ALIVE).status == 200
        assert kept.closed_by_server()
    assert refused(guarded, "header_timeout") == 1


def test_a_body_that_nobody_reads_is_not_waited_for_longer(start: Start) -> None:
    guarded = start(idle_timeout_s=NEVER_S)
    with guarded.connect() as client:
        assert client.ask(request("POST", "/nothing", b"", ("Content-Length: 1000",)) + b"half").status == 404
        assert client.closed_by_server()
    assert refused(guarded, "unread_body") == 1


def test_after_a_body_that_nobody_reads_the_connection_is_as_good_as_before(start: Start) -> None:
    with start(idle_timeout_s=NEVER_S).connect() as client:
        assert client.ask(request("POST", "/nothing", b"", ("Content-Length: 8",)) + b"half").status == 404
        assert client.ask(b"half" + ALIVE).status == 200
        client.send(HALF)
        assert_refused(client, *TIMED_OUT)


def test_a_client_that_takes_no_answers_is_cut_off(start: Start) -> None:
    guarded = start(answer_timeout_s=0.4)
    with guarded.connect() as client:
        client.send_aside(request("GET", "/openapi.json") * 1000)
        until(lambda: refused(guarded, "untaken_answer") == 1, "the client to be cut off")
        guarded.wait_until_open(0)


def test_a_client_that_keeps_sending_after_its_refusal_is_cut_off(start: Start) -> None:
    guarded = start()
    with guarded.connect() as client:
        client.send(b"nonsense\r\n\r\n")
        assert client.answer().status == 400
        until(lambda: not is_heard(client), "the client to be cut off")
    guarded.wait_until_open(0)


def is_heard(client: Connection) -> bool:
    """Whether the server still takes what is sent."""
    try:
        client.send(b"x" * 1000)
    except ConnectionError:
        return False
    return True


def test_beyond_the_allowed_number_requests_are_refused_and_probes_answered(start: Start) -> None:
    guarded = start(connections=3, header_timeout_s=NEVER_S, grace_s=NEVER_S)
    with ExitStack() as stack:
        held = opened(stack, guarded, 3)
        for path, status in (("/livez", 200), ("/readyz?", 200), ("/metrics", 503), ("/v1/campaigns", 503)):
            with guarded.connect() as client:
                answer = client.ask(request("GET", path))
                assert (path, answer.status, answer.headers["connection"]) == (path, status, "close")
                assert client.closed_by_server()
        with guarded.connect() as client:
            client.send(delivery(sent("refused")))
            too_many(client)
        assert held[0].ask(ALIVE).status == 200
        assert refused(guarded, "too_many_connections") == 3
        held[1].close()
        guarded.wait_until_open(2)
        with guarded.connect() as client:
            assert client.post(sent("taken")).status == 204


def test_a_head_beyond_the_allowed_number_is_refused_without_a_body(start: Start) -> None:
    guarded = start(connections=1, header_timeout_s=NEVER_S, grace_s=NEVER_S)
    with ExitStack() as stack:
        opened(stack, guarded, 1)
        client = stack.enter_context(guarded.connect())
        client.send(request("HEAD", "/v1/campaigns"))
        assert client.answer(to_head=True).status == 503
        assert client.closed_by_server()


def test_a_silent_newcomer_beyond_the_allowed_number_is_refused(start: Start) -> None:
    guarded = start(connections=1, header_timeout_s=NEVER_S, grace_s=NEVER_S)
    with ExitStack() as stack:
        _, newcomer = opened(stack, guarded, 2)
        too_many(newcomer)


def test_many_silent_newcomers_leave_a_place_for_a_probe(start: Start) -> None:
    forever = {"header_timeout_s": NEVER_S, "reserve_timeout_s": NEVER_S, "grace_s": NEVER_S}
    guarded = start(connections=2, reserve=3, **forever)
    with ExitStack() as stack:
        silent = [stack.enter_context(guarded.connect()) for _ in range(50)]
        with guarded.connect() as probe:
            assert probe.ask(ALIVE).status == 200
        for client in silent[2:-3]:
            too_many(client)
        assert [client.ask(ALIVE).status for client in silent[:2]] == [200, 200]


def test_a_request_takes_the_place_of_who_has_been_silent_longest(start: Start) -> None:
    guarded = start(connections=3, header_timeout_s=NEVER_S, idle_timeout_s=NEVER_S, grace_s=0)
    with ExitStack() as stack:
        kept, silent, half = (*opened(stack, guarded, 2), *opened(stack, guarded, 1, HALF))
        kept.ask(ALIVE)
        first = stack.enter_context(guarded.connect())
        assert first.post(sent("first")).status == 204
        too_many(silent)
        second = stack.enter_context(guarded.connect())
        assert second.post(sent("second")).status == 204
        too_many(half)
        third = stack.enter_context(guarded.connect())
        assert third.post(sent("third")).status == 204
        assert kept.closed_by_server()
        assert first.post(sent("fourth")).status == 204


def test_requests_under_way_give_no_place_away(start: Start) -> None:
    guarded = start(connections=2, grace_s=0)
    bodies = [sent("slow-0"), sent("slow-1")]
    with ExitStack() as stack:
        slow = [stack.enter_context(guarded.connect()) for _ in bodies]
        for client, body in zip(slow, bodies, strict=True):
            head = delivery(body, "Expect: 100-continue").removesuffix(body)
            assert client.ask(head).status == 100
        with guarded.connect() as client:
            client.send(delivery(sent("refused")))
            too_many(client)
        with guarded.connect() as probe:
            assert probe.ask(request("GET", "/readyz")).status == 200
        for client, body in zip(slow, bodies, strict=True):
            assert client.ask(body).outcome == "stored"


def test_the_number_of_open_connections_and_why_others_were_ended_are_metrics(start: Start) -> None:
    guarded = start()
    with guarded.connect() as client, guarded.connect() as other:
        other.send(b"nonsense\r\n\r\n")
        assert other.answer().status == 400
        guarded.wait_until_open(1)
        metrics = client.ask(request("GET", "/metrics")).body.decode()
    assert "receiver_connections 1.0" in metrics
    reasons = [
        line.partition("} ") for line in metrics.splitlines() if line.startswith("receiver_connections_refused")
    ]
    assert {name.partition('"')[2][:-1]: value for name, _, value in reasons if "_total" in name} == {
        "header_timeout": "0.0",
        "header_too_large": "0.0",
        "invalid_request": "1.0",
        "too_many_connections": "0.0",
        "unread_body": "0.0",
        "untaken_answer": "0.0",
    }


def test_refusals_are_logged_in_sums(serve: Callable[..., Server]) -> None:
    server = serve()
    for _ in range(200):
        with server.connect() as client:
            client.send(b"nonsense\r\n\r\n")
            assert client.answer().status == 400
    assert server.stop() == 0
    lines = [json.loads(line) for line in server.stderr.splitlines() if '"connections_refused"' in line]
    assert sum(line["invalid_request"] for line in lines) == 200
    assert len(lines) <= 2
    assert {line["level"] for line in lines} == {"warning"}


def test_half_open_connections_do_not_delay_a_stop(serve: Callable[..., Server]) -> None:
    server = serve()
    with ExitStack() as stack:
        for said in (
            b"",
            HALF,
            ALIVE,
            ALIVE + HALF,
            request("POST", "/nothing", b"", ("Content-Length: 9",)),
            b"?\r\n",
        ):
            stack.enter_context(server.connect()).send(said)
        until(lambda: "receiver_connections 7.0" in server.get("/metrics").body.decode(), "all to be known")
        assert server.stop() == 0
    assert "graceful shutdown exceeded" not in server.stderr
    assert '"level": "error"' not in server.stderr


@pytest.mark.parametrize("said", [b"", HALF], ids=["silent", "half a header"])
def test_three_hundred_half_open_connections_are_gone_soon_and_keep_nobody_out(start: Start, said: bytes) -> None:
    guarded = start(connections=100, header_timeout_s=1, grace_s=0)
    with ExitStack() as stack:
        legitimate = stack.enter_context(guarded.connect())
        assert legitimate.post(sent("m0")).status == 204
        for _ in range(300):
            stack.enter_context(guarded.connect()).send(said)
        answers = []
        for number in range(1, 50):
            answers.append(legitimate.post(sent(f"m{number}")).status)
            with guarded.connect() as newcomer:
                answers.append(newcomer.post(sent(f"n{number}")).status)
        assert set(answers) == {204}
        guarded.wait_until_open(1)
        assert legitimate.post(sent("last")).status == 204
    ended = refused(guarded, "header_timeout") + refused(guarded, "too_many_connections")
    assert ended == 300


def test_five_hundred_slow_bodies_harm_nobody(serve: Callable[..., Server]) -> None:
    server = serve(server__body_timeout_s=2)
    body = sent("slow")
    with ExitStack() as stack:
        slow = [stack.enter_context(server.connect()) for _ in range(500)]
        for client in slow:
            client.send(delivery(body)[:-1])
        legitimate = stack.enter_context(server.connect())
        assert {legitimate.post(sent(f"m{number}")).status for number in range(50)} == {204}
        assert server.post(sent("newcomer")).status == 204
        answers = [client.answer() for client in slow]
        assert {(answer.status, answer.code) for answer in answers} == {(408, "body_timeout")}
    assert len(ledger(server.database)) == 51
