"""Requests made to be read in two ways, or to be too much: one clean answer each, or a close, and nothing behind."""

import contextlib

import pytest

from tests.e2e.server import WEBHOOK, Answer, Connection, Server, ledger, request, sent, sign, until

HOST = "Host: localhost"
# Were it read as a request of its own, there would be a second answer.
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
HEADER_LIMIT = 32_768


def raw(*lines: str, body: bytes = b"") -> bytes:
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def posted(*headers: str, body: bytes = b"") -> bytes:
    return raw(f"POST {WEBHOOK} HTTP/1.1", HOST, *headers, body=body)


def got(*headers: str, target: str = "/livez", version: str = "HTTP/1.1") -> bytes:
    return raw(f"GET {target} {version}", *headers)


CHUNKED = "Transfer-Encoding: chunked"
INVALID = {
    "two lengths": posted("Content-Length: 5", "Content-Length: 6", body=b"hello"),
    "two equal lengths": posted("Content-Length: 5", "Content-Length: 5", body=b"hello"),
    "a list of lengths": posted("Content-Length: 5, 5", body=b"hello"),
    "length and chunked": posted("Content-Length: 5", CHUNKED, body=b"0\r\n\r\n"),
    "chunked and length": posted(CHUNKED, "Content-Length: 5", body=b"0\r\n\r\n"),
    "plus": posted("Content-Length: +5", body=b"hello"),
    "minus": posted("Content-Length: -5", body=b"hello"),
    "hex": posted("Content-Length: 0x5", body=b"hello"),
    "a fraction": posted("Content-Length: 5.0", body=b"hello"),
    "no length": posted("Content-Length:", body=b"hello"),
    "a length beyond 64 bit": posted("Content-Length: 99999999999999999999999", body=b"hello"),
    "a length of 5,000 digits": posted("Content-Length: " + "0" * 5000 + "5", body=b"hello"),
    "a space before the colon": posted("Content-Length : 5", body=b"hello"),
    "a tab before the colon": posted("Transfer-Encoding\t: chunked", body=b"0\r\n\r\n"),
    "a header without a name": posted(": x"),
    "a header without a colon": posted("nonsense"),
    "a folded header": posted("X-A: b", " c"),
    "a space before the first header": raw("GET /livez HTTP/1.1", " X: y", HOST),
    "bare LF": b"GET /livez HTTP/1.1\nHost: localhost\n\n",
    "a bare LF between headers": b"GET /livez HTTP/1.1\r\nHost: localhost\nX: y\r\n\r\n",
    "a bare CR in a header": got(HOST, "X: a\rb"),
    "NUL in a header": got(HOST, "X: a\0b"),
    "NUL in a header's name": got(HOST, "X\0: a"),
    "NUL in the path": got(HOST, target="/live\0z"),
    "a byte beyond ASCII in the path": got(HOST, target="/live\xffz"),
    "a space in the path": got(HOST, target="/live z"),
    "no path": b"GET HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "no Host": got(),
    "two Hosts": got(HOST, "Host: example.org"),
    "two equal Hosts": got(HOST, HOST),
    "two Hosts in HTTP/1.0": got(HOST, HOST, version="HTTP/1.0"),
    "HTTP/0.9": b"GET /livez\r\n\r\n",
    "HTTP/2.0": got(HOST, version="HTTP/2.0"),
    "HTTP/1.2": got(HOST, version="HTTP/1.2"),
    "HTTP/9.9": got(HOST, version="HTTP/9.9"),
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": bytes.fromhex("16030100a5010000a10303") + b"\0" * 20,
    "a lower-case method": raw("get /livez HTTP/1.1", HOST),
    "an unknown method": raw("BREW /livez HTTP/1.1", HOST),
    "CONNECT": raw("CONNECT example.org:443 HTTP/1.1", "Host: example.org:443"),
    "CONNECT to a path": raw("CONNECT /livez HTTP/1.1", HOST),
    "a target without a path": got(HOST, target="http://localhost"),
    "a target that is a query": got(HOST, target="?x"),
    "another encoding around chunked": posted("Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"),
    "another encoding inside chunked": posted("Transfer-Encoding: chunked, gzip", body=b"0\r\n\r\n"),
    "chunked twice": posted("Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n"),
    "an unknown encoding": posted("Transfer-Encoding: xchunked", body=b"0\r\n\r\n"),
    "identity": posted("Transfer-Encoding: identity", body=b"hello"),
    "chunked in HTTP/1.0": raw(f"POST {WEBHOOK} HTTP/1.0", HOST, CHUNKED, body=b"0\r\n\r\n"),
    "a chunk's size that is no number": posted(CHUNKED, body=b"x\r\nhello\r\n0\r\n\r\n"),
    "a chunk's negative size": posted(CHUNKED, body=b"-5\r\nhello\r\n0\r\n\r\n"),
    "a chunk's size with a prefix": posted(CHUNKED, body=b"0x5\r\nhello\r\n0\r\n\r\n"),
    "a chunk's size beyond 64 bit": posted(CHUNKED, body=b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
    "a chunk longer than its size": posted(CHUNKED, body=b"2\r\nhello\r\n0\r\n\r\n"),
    "bare LF between chunks": posted(CHUNKED, body=b"5\nhello\n0\n\n"),
    "a length in a trailer": posted(CHUNKED, body=b"1\r\nx\r\n0\r\nContent-Length: abc\r\n\r\n"),
    "nonsense": b"\x01\x02\x03\x04\r\n\r\n",
    "an offered upgrade and two Hosts": got(HOST, HOST, "Connection: Upgrade", "Upgrade: h2c"),
}


def send_all(client: Connection, data: bytes) -> None:
    """As much as the server takes: it may have answered and closed before the end."""
    with contextlib.suppress(ConnectionError):
        client.send(data)


def assert_last(client: Connection, answer: Answer, status: int, code: str) -> None:
    """The answer is a problem, and the connection's last word."""
    assert (answer.status, answer.code, answer.headers["connection"]) == (status, code, "close")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["date"]
    assert client.closed_by_server()


@pytest.mark.parametrize("data", INVALID.values(), ids=INVALID.keys())
def test_what_is_no_sound_request_gets_one_400_and_a_close(client: Connection, data: bytes) -> None:
    send_all(client, data + SMUGGLED)
    assert_last(client, client.answer(), 400, "invalid_request")


@pytest.mark.parametrize("data", INVALID.values(), ids=INVALID.keys())
def test_it_does_not_come_before_the_answers_to_what_came_before(client: Connection, data: bytes) -> None:
    body = sent("before", "camp_framing")
    good = request("POST", WEBHOOK, body, (f"X-Leadterra-Signature: {sign(body)}",))
    send_all(client, good + request("GET", "/nothing") + data + SMUGGLED)
    assert [client.answer().status, client.answer().status] == [204, 404]
    assert_last(client, client.answer(), 400, "invalid_request")


@pytest.mark.parametrize("data", INVALID.values(), ids=INVALID.keys())
def test_it_is_the_same_byte_by_byte(client: Connection, data: bytes) -> None:
    for byte in data[:400]:
        send_all(client, bytes([byte]))
    send_all(client, data[400:] + SMUGGLED)
    assert_last(client, client.answer(), 400, "invalid_request")


UNREAD = [raw("GET /livez HTTP/1.1", HOST, CHUNKED), raw("POST /nothing HTTP/1.1", HOST, CHUNKED)]


@pytest.mark.parametrize("head", UNREAD, ids=["a probe", "nothing"])
def test_a_broken_body_that_nobody_reads_gives_no_second_answer(client: Connection, head: bytes) -> None:
    send_all(client, head + b"x\r\n" + SMUGGLED)
    assert_last(client, client.answer(), 400, "invalid_request")


@pytest.mark.parametrize("head", UNREAD, ids=["a probe", "nothing"])
def test_a_body_that_breaks_after_the_answer_ends_the_connection(client: Connection, head: bytes) -> None:
    assert client.ask(head).status in (200, 404)
    send_all(client, b"x\r\n" + SMUGGLED)
    assert client.closed_by_server()


VALID = {
    "HTTP/1.0 without Host": (got(version="HTTP/1.0"), 200),
    "a whole URL": (got(HOST, target="http://localhost/livez"), 200),
    "a whole URL of another host": (got(HOST, target="http://example.org/nothing"), 404),
    "blank lines in front": (b"\r\n\r\n" + got(HOST), 200),
    "an empty Host": (got("Host:", target="/nothing"), 404),
    "*": (raw("OPTIONS * HTTP/1.1", HOST), 404),
    "TRACE": (raw("TRACE /livez HTTP/1.1", HOST), 405),
    "an unknown expectation": (got(HOST, "Expect: tea"), 200),
    "CHUNKED": (posted("Transfer-Encoding: CHUNKED", body=b"0\r\n\r\n"), 401),
    "chunk extensions": (posted(CHUNKED, body=b'1;a=b;c="d"\r\nx\r\n0;e\r\n\r\n'), 401),
    "leading zeros in a chunk's size": (posted(CHUNKED, body=b"00000001\r\nx\r\n0\r\n\r\n"), 401),
    "a NUL that is written out": (got(HOST, target="/%00"), 404),
    "a path that is no UTF-8": (got(HOST, target="/%ff%fe"), 404),
    "a body where none is wanted": (raw("GET /livez HTTP/1.1", HOST, "Content-Length: 5", body=b"hello"), 200),
    "a body for nobody": (raw("POST /nothing HTTP/1.1", HOST, CHUNKED, body=b"5\r\nhello\r\n0\r\n\r\n"), 404),
}


@pytest.mark.parametrize(("data", "status"), VALID.values(), ids=VALID.keys())
def test_what_is_odd_but_sound_is_answered_once(client: Connection, data: bytes, status: int) -> None:
    client.send(data)
    assert client.answer().status == status
    if b"HTTP/1.0" not in data:
        assert client.ask(got(HOST)).json() == {"status": "alive"}
    else:
        assert client.closed_by_server()


def test_a_trailer_is_no_header(client: Connection) -> None:
    body = sent("trailer", "camp_framing")
    chunks = b"%x\r\n%s\r\n0\r\n" % (len(body), body)
    trailer = (
        f"X-Leadterra-Signature: {sign(body)}\r\nContent-Encoding: gzip\r\nX-Request-ID: trailed\r\n\r\n".encode()
    )
    unsigned = client.ask(posted(CHUNKED, body=chunks + trailer))
    assert (unsigned.status, unsigned.headers["x-request-id"] != "trailed") == (401, True)
    signed = client.ask(posted(CHUNKED, f"X-Leadterra-Signature: {sign(body)}", body=chunks + trailer))
    assert signed.outcome == "stored"


def test_a_header_of_the_limit_itself_is_read(client: Connection) -> None:
    padding = "x" * (HEADER_LIMIT - len(got(HOST, "X: ")))
    assert client.ask(got(HOST, f"X: {padding}")).status == 200
    assert client.ask(got(HOST, f"X: {padding}")).status == 200
    client.send(got(HOST, f"X: {padding}x"))
    assert_last(client, client.answer(), 431, "header_too_large")


def test_a_header_too_large_in_small_pieces_is_refused(client: Connection) -> None:
    client.send(f"GET /livez HTTP/1.1\r\n{HOST}\r\n".encode())
    for number in range(HEADER_LIMIT // 100):
        send_all(client, f"X-{number}: {'x' * 100}\r\n".encode())
    assert_last(client, client.answer(), 431, "header_too_large")


ENDLESS = {
    "a value": (got(HOST, "X: ")[:-4], b"x", 431, "header_too_large"),
    "names": (got(HOST)[:-2], b"X: y\r\n", 431, "header_too_large"),
    "a path": (b"GET /", b"x", 431, "header_too_large"),
    "blank lines": (b"", b"\r\n", 431, "header_too_large"),
    "a chunk's extension": (posted(CHUNKED, body=b"1;"), b"x", 400, "invalid_request"),
    "trailers": (posted(CHUNKED, body=b"0\r\n"), b"X: y\r\n", 400, "invalid_request"),
}


@pytest.mark.parametrize(("begun", "more", "status", "code"), ENDLESS.values(), ids=ENDLESS.keys())
def test_fifty_megabytes_of_it_are_refused(
    client: Connection, begun: bytes, more: bytes, status: int, code: str
) -> None:
    send_all(client, begun)
    block = more * (1_000_000 // len(more))
    for _ in range(50):
        send_all(client, block)
    assert_last(client, client.answer(), status, code)


def test_two_hundred_and_sixty_thousand_chunks_of_one_byte_are_one_body(server: Server) -> None:
    body = sent("tiny", padding="x" * 260_000)
    with server.connect() as client:
        chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
        signed = (f"X-Leadterra-Signature: {sign(body)}", CHUNKED)
        assert client.ask(posted(*signed, body=chunks + b"0\r\n\r\n")).outcome == "stored"
    assert ledger(server.database) == ["tiny"]


def test_a_giant_chunk_is_refused_once_it_is_too_long(client: Connection) -> None:
    send_all(client, posted(CHUNKED, body=b"7fffffffffffffff\r\n" + b"x" * 65_537))
    answer = client.answer()
    assert (answer.status, answer.code) == (413, "body_too_large")
    assert client.closed_by_server()


def test_ten_thousand_pipelined_requests_are_answered_in_order(client: Connection) -> None:
    paths = [f"/v1/campaigns/camp_{number}?bad" if number % 7 == 0 else f"/{number}" for number in range(10_000)]
    ids = [f"number-{number}" for number in range(10_000)]
    asked = b"".join(
        request("GET", path, b"", (f"X-Request-ID: {id_}",)) for path, id_ in zip(paths, ids, strict=True)
    )
    client.send_aside(asked)
    answers = [client.answer() for _ in paths]
    assert [answer.headers["x-request-id"] for answer in answers] == ids
    assert [answer.status for answer in answers] == [400 if "?" in path else 404 for path in paths]


def test_pipelined_deliveries_with_long_bodies_are_all_stored(server: Server) -> None:
    bodies = [sent(f"m{number}", padding="x" * (number * 97 % 30_000)) for number in range(200)]
    with server.connect() as client:
        client.send_aside(
            b"".join(request("POST", WEBHOOK, body, (f"X-Leadterra-Signature: {sign(body)}",)) for body in bodies)
        )
        assert [client.answer().outcome for _ in bodies] == ["stored"] * len(bodies)
    assert sorted(ledger(server.database)) == sorted(f"m{number}" for number in range(200))


def test_a_client_that_leaves_inside_pipelined_requests_harms_nobody(server: Server) -> None:
    for number in range(30):
        client = server.connect()
        bodies = [sent(f"left-{number}-{message}") for message in range(5)]
        signed = [request("POST", WEBHOOK, body, (f"X-Leadterra-Signature: {sign(body)}",)) for body in bodies]
        client.send(b"".join(signed) + request("GET", "/v1/campaigns") + posted("Content-Length: 100", body=b"half"))
        client.abort()
    until(lambda: "receiver_connections 1.0" in server.get("/metrics").body.decode(), "the connections to be gone")
    assert server.post(sent("m1")).status == 204
    assert server.stop() == 0
    assert "Traceback" not in server.stderr


def test_none_of_it_is_logged_one_by_one(server: Server) -> None:
    for data in INVALID.values():
        with server.connect() as client:
            send_all(client, data)
            assert client.answer().status == 400
    metrics = server.get("/metrics").body.decode()
    assert f'receiver_connections_refused_total{{reason="invalid_request"}} {len(INVALID)}.0' in metrics
    assert server.stop() == 0
    assert "Traceback" not in server.stderr
    assert server.stderr.count("connections_refused") <= 2
    assert "Invalid HTTP request" not in server.stderr
