"""Servers that misbehave on the wire: slow, endless, broken, or not there."""

import asyncio
import gzip
import itertools
import json
import logging
import socket
import tracemalloc
import zlib

import pytest

from receiver.leadterra.exchange import BODY_MAX_BYTES
from tests.leadterra.conftest import KEY, STATS, Play, asking, failure, listening, telling

BODY = json.dumps(STATS).encode()
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def whole(body: bytes, headers: bytes = b"") -> bytes:
    return OK + headers + b"Content-Length: %d\r\n\r\n" % len(body) + body


async def test_an_answer_comes_over_a_socket() -> None:
    async with listening(telling(whole(BODY))) as port, asking(port.url) as client:
        assert (await client.stats("camp_1")).counters.sent == 12
    (head,) = port.heads
    assert head.startswith(b"GET /v1/campaigns/camp_1/stats HTTP/1.1\r\n")
    assert f"\r\nAuthorization: Bearer {KEY}\r\n".encode() in head


@pytest.mark.parametrize("campaign", ["..", "a/b", "%2e%2e"])
async def test_an_id_stays_one_segment_on_the_wire(campaign: str) -> None:
    async with listening(telling(whole(b'{"sent": 1}'))) as port, asking(port.url) as client:
        await client.stats(campaign)
    path = port.heads[0].split()[1]
    assert path.count(b"/") == 4
    assert path.split(b"/")[3] in (b"%2E%2E", b"a%2Fb", b"%252e%252e")


async def test_a_redirect_to_another_host_is_not_followed() -> None:
    async with listening(telling(whole(BODY))) as other:
        answer = b"HTTP/1.1 307 Moved\r\nContent-Length: 0\r\nLocation: " + other.url.encode() + b"/v1\r\n\r\n"
        async with listening(telling(answer)) as port, asking(port.url) as client:
            assert (await failure(client.stats("camp_1"))).reason == "redirected"
    assert (port.connections, other.connections) == (1, 0)


def dripping(head: bytes) -> Play:
    """A byte a second: never complete within a test's patience, never silent for longer than a second."""

    async def play(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        for byte in itertools.cycle(b" "):
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(1)

    return play


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 ", OK + b"X: ", OK + b"Content-Length: 5000\r\n\r\n"])
async def test_an_answer_of_a_byte_a_second_ends_with_the_time_of_the_call(head: bytes) -> None:
    async with listening(dripping(head)) as port, asking(port.url, timeout_s=0.5) as client:
        error = await failure(client.stats("camp_1"))
    assert error.reason == "timeout"
    assert str(error) == (
        "Leadterra did not answer GET /v1/campaigns/camp_1/stats completely in time; "
        "ask later, or raise 'leadterra.timeout_s'."
    )


async def test_drops_that_come_faster_than_any_timeout_end_too() -> None:
    async def play(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"Content-Length: 1000000\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with listening(play) as port, asking(port.url, timeout_s=0.3) as client:
        assert (await failure(client.stats("camp_1"))).reason == "timeout"


async def test_a_refusal_whose_body_never_ends_is_still_that_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.leadterra.exchange._ERROR_BODY_S", 0.05)
    head = b"HTTP/1.1 401 No\r\nContent-Length: 5000\r\n\r\n"
    async with listening(dripping(head)) as port, asking(port.url) as client:
        error = await failure(client.stats("camp_1"))
    assert (error.reason, error.status) == ("unauthorized", 401)


def framed(chunk: bytes) -> bytes:
    return b"%x\r\n" % len(chunk) + chunk + b"\r\n"


class Endless:
    """Chunks for ever; counts the bytes that went out."""

    def __init__(self, head: bytes, chunk: bytes, first: bytes = b" ") -> None:
        self._head = head + b"Transfer-Encoding: chunked\r\n\r\n" + framed(first)
        self._chunk = framed(chunk)
        self.written = 0

    async def __call__(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self._head)
        while True:
            writer.write(self._chunk)
            await writer.drain()
            self.written += len(self._chunk)


@pytest.mark.parametrize("status", [200, 401])
async def test_an_endless_body_is_cut(status: int) -> None:
    endless = Endless(b"HTTP/1.1 %d X\r\n" % status, b" " * 65_536)
    async with listening(endless) as port, asking(port.url) as client:
        error = await failure(client.stats("camp_1"))
    assert error.reason == ("too_large" if status == 200 else "unauthorized")
    assert port.connections == 1
    # What was read, and what the sockets of both sides hold.
    assert endless.written < 40 * BODY_MAX_BYTES


async def test_the_limit_itself_is_taken() -> None:
    for size, fits in ((BODY_MAX_BYTES, True), (BODY_MAX_BYTES + 1, False)):
        async with listening(telling(whole(BODY.ljust(size)))) as port, asking(port.url) as client:
            if fits:
                assert (await client.stats("camp_1")).counters.sent == 12
            else:
                error = await failure(client.stats("camp_1"))
                assert str(error) == (
                    "Leadterra answered GET /v1/campaigns/camp_1/stats with more than 1048576 bytes; "
                    "check 'leadterra.base_url'."
                )


@pytest.mark.parametrize("name", [b"gzip", b"x-gzip", b"GZIP"])
async def test_a_compressed_answer_is_read(name: bytes) -> None:
    answer = whole(gzip.compress(BODY), b"Content-Encoding: " + name + b"\r\n")
    async with listening(telling(answer)) as port, asking(port.url) as client:
        assert (await client.stats("camp_1")).counters.sent == 12
    assert b"\r\nAccept-Encoding: gzip\r\n" in port.heads[0]


def bomb() -> bytes:
    """128 MiB of blanks in 128 KiB: two reads of a socket."""
    packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    block = b" " * (1 << 20)
    return b"".join(packer.compress(block) for _ in range(128)) + packer.flush()


async def test_a_bomb_is_not_unpacked_further_than_the_limit() -> None:
    packed = bomb()
    answer = whole(packed, b"Content-Encoding: gzip\r\n")
    async with listening(telling(answer)) as port, asking(port.url) as client:
        tracemalloc.start()
        try:
            error = await failure(client.stats("camp_1"))
            most = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert error.reason == "too_large"
    assert most < len(packed) + 8 * BODY_MAX_BYTES


async def test_endless_compressed_nothing_is_cut_as_well() -> None:
    empty_block = b"\0\0\0\xff\xff"
    endless = Endless(OK + b"Content-Encoding: gzip\r\n", empty_block * 13_000, gzip.compress(b"")[:10])
    async with listening(endless) as port, asking(port.url) as client:
        assert (await failure(client.stats("camp_1"))).reason == "too_large"


@pytest.mark.parametrize(
    ("encoding", "body", "fault"),
    [
        (b"gzip", b"not gzip", "cannot be decompressed"),
        (b"gzip", gzip.compress(BODY, mtime=0)[:-9], "cannot be decompressed"),
        (b"gzip", b"", "cannot be decompressed"),
        (b"br", BODY, "has an encoding that was not asked for"),
        (b"gzip, gzip", BODY, "has an encoding that was not asked for"),
    ],
)
async def test_what_cannot_be_unpacked_is_refused(encoding: bytes, body: bytes, fault: str) -> None:
    answer = whole(body, b"Content-Encoding: " + encoding + b"\r\n")
    async with listening(telling(answer)) as port, asking(port.url) as client:
        error = await failure(client.stats("camp_1"))
    assert error.reason == "not_json"
    assert f"with a body that {fault}; check" in str(error)


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (b"", "the answer ended early or is not HTTP"),
        (OK + b"Content-Length: 5000\r\n\r\n" + BODY, "the answer ended early or is not HTTP"),
        (CHUNKED + b"zz\r\n", "the answer ended early or is not HTTP"),
        (CHUNKED + b"ffffffffffffffffffffffff\r\n", "the answer ended early or is not HTTP"),
        (b"SSH-2.0-" + KEY.encode() + b"\r\n\r\n", "the answer ended early or is not HTTP"),
        (OK + b"X: " + b"x" * 200_000 + b"\r\n\r\n", "the answer ended early or is not HTTP"),
    ],
)
async def test_an_answer_that_is_broken_is_asked_for_again(answer: bytes, fault: str) -> None:
    async with listening(telling(answer)) as port, asking(port.url) as client:
        error = await failure(client.stats("camp_1"))
    assert (error.reason, error.status, error.arrived, port.connections) == ("unreachable", None, True, 3)
    assert str(error) == (
        f"Leadterra at '127.0.0.1' could not be asked GET /v1/campaigns/camp_1/stats: {fault}; "
        "check 'leadterra.base_url' and the network."
    )


async def test_what_a_broken_answer_quotes_is_in_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with listening(telling(b"SSH-2.0-" + KEY.encode() + b"\r\n\r\n")) as port, asking(port.url) as client:
        error = await failure(client.stats("camp_1"))
    logging.getLogger("x").error("failed", exc_info=error)
    assert "LeadterraError" in caplog.text
    assert KEY not in caplog.text


async def test_a_reset_in_the_middle_of_an_answer_is_a_lost_connection() -> None:
    async def play(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"Content-Length: 5000\r\n\r\n" + BODY)
        await writer.drain()
        # Closed with a zero time to linger, a socket sends a reset.
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.transport.abort()

    async with listening(play) as port, asking(port.url) as client:
        error = await failure(client.stats("camp_1"))
    assert (error.reason, error.arrived, port.connections) == ("unreachable", True, 3)
    assert "could not be asked GET /v1/campaigns/camp_1/stats: the " in str(error)


async def test_nobody_listening_is_a_refused_connection() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))  # held, so that no other process listens there
        async with asking(f"http://127.0.0.1:{deaf.getsockname()[1]}") as client:
            error = await failure(client.stats("camp_1"))
    assert (error.reason, error.arrived) == ("unreachable", False)
    assert ": the connection was refused; check" in str(error)


async def test_a_port_without_tls_is_no_secure_connection() -> None:
    connections = 0

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        assert KEY.encode() not in await reader.read(65_536)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    async with asking(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}") as client:
        error = await failure(client.stats("camp_1"))
    server.close()
    assert (error.reason, error.arrived, connections) == ("unreachable", False, 3)
    assert ": no secure connection can be made; check" in str(error)


async def test_a_name_that_does_not_exist_cannot_be_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    async with asking("https://no-such-host.invalid") as client:
        error = await failure(client.stats("camp_1"))
    assert (error.reason, error.arrived) == ("unreachable", False)
    assert "Leadterra at 'no-such-host.invalid' could not be asked" in str(error)
    assert ": its name cannot be resolved; check" in str(error)


async def test_the_connection_stays_open_between_calls() -> None:
    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(whole(BODY))
            await reader.readuntil(b"\r\n\r\n")

    async with listening(play) as port, asking(port.url) as client:
        for _ in range(5):
            await client.stats("camp_1")
        assert port.connections == 1


async def test_calls_that_ran_out_of_time_leave_every_connection_to_the_next_ones() -> None:
    async def play(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if port.connections <= 8:
            await asyncio.Event().wait()
        writer.write(whole(BODY))

    async with listening(play) as port, asking(port.url, timeout_s=0.1) as hasty:
        errors = await asyncio.gather(*[failure(hasty.stats("camp_1")) for _ in range(8)])
        assert {error.reason for error in errors} == {"timeout"}
        lanes = hasty._exchange._lanes
        assert len(lanes._idle) == len(lanes._all) == 8
        assert [lane._pool.connections for lane in lanes._all] == [[]] * 8  # type: ignore[attr-defined] # of sockets
        hasty._timeout_s = 15
        assert len(await asyncio.gather(*[hasty.stats("camp_1") for _ in range(8)])) == 8


async def test_the_key_is_in_no_log_of_the_libraries(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("httpcore", "httpx"):
        caplog.set_level(logging.DEBUG, logger=name)  # whatever another test has set
    async with listening(telling(whole(BODY))) as port, asking(port.url) as client:
        await client.stats("camp_1")
    assert "httpcore" in caplog.text
    assert KEY not in caplog.text
