"""HTTP/1.1 on one connection: uvicorn's protocol, with limits for clients that mean harm."""

import asyncio
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from receiver.web.connections import Connections, Wait
from receiver.web.refusals import INVALID, TOO_MANY, ConnectionRefusal

# Parsed at once. More may hold some hundred pipelined requests, of which all would wait in memory.
_PIECE_BYTES = 16_384
_IDLE = Wait.IDLE  # looked up in every request, and an attribute of an enumeration is slow
_PROBES = frozenset({b"/livez", b"/readyz"})
# How many Host fields a request of each version may have (RFC 9112, 3.2).
_HOSTS = {"1.0": (0, 1), "1.1": (1,)}
_EXAMINED = frozenset({b"host", b"content-length", b"transfer-encoding", b"expect"})
# More digits than any length has; Python refuses to read a number of some thousands, leading zeros included.
_LENGTH_DIGITS_MAX = 20


class _AnswerTransport(asyncio.Transport):
    """What one answer is written to: its header goes out with what follows, for every write wakes the client."""

    __slots__ = ("_began", "_cycle", "_header", "_transport")

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle
        self._transport: asyncio.Transport = cycle.transport
        self._header = b""
        self._began = False

    def write(self, data: bytes) -> None:  # type: ignore[override] # it is given nothing else
        if self._began:
            data, self._header = self._header + data, b""
            self._transport.write(data)
        elif self._cycle.response_started:
            self._began, self._header = True, data
        else:  # 100 Continue
            self._transport.write(data)

    def flush(self) -> None:
        """Write the header alone, where nothing follows it."""
        if self._header:
            self.write(b"")

    def end(self) -> None:
        """Leave the answer when it is complete: each would keep the other until the garbage collector comes."""
        self.flush()
        self._cycle.transport = self._transport

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()


class GuardedProtocol(HttpToolsProtocol):
    """Ends connections that keep us waiting or send no sound HTTP/1.1; answers every request once, and in order.

    What it takes from uvicorn and replaces is listed in a test: it is no public interface there.
    """

    def __init__(
        self,
        connections: Connections,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.wait: Wait | None = None
        self.admitted = False
        self._book = connections
        self._limit_bytes = connections.limits.header_bytes
        self._piece_bytes = min(_PIECE_BYTES, self._limit_bytes)
        self._in_header = False
        self._hosts = 0
        self._in_body = False
        self._upgrading = False
        # Bytes since the last one that was of use: of a header, a trailer or the framing of chunks.
        self._framing_bytes = 0
        self._was_of_use = False
        self._held = bytearray()
        self._answering: RequestResponseCycle | None = None
        self._writing: _AnswerTransport | None = None
        self._deaf = False
        self._last_words: ConnectionRefusal | None = None

    @property
    def _is_busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    # What the transport tells

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        super().connection_made(transport)
        if not self._book.open(self):
            self._say(TOO_MANY)

    def connection_lost(self, exc: Exception | None) -> None:
        self._deaf = True
        self._book.forget(self)
        super().connection_lost(exc)
        if self._answering is not None:
            self._answering.disconnected = True
            self._answering.message_event.set()

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        if self._held:
            self._hold(data)
            return
        if self.wait is _IDLE:
            self._book.leave(self)
        self._read(data)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self.wait is None:
            self._book.enter(self, Wait.TAKING)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.wait is Wait.TAKING:
            self._book.leave(self)

    def shutdown(self) -> None:
        if self.wait in (Wait.CLOSING, Wait.LINGERING):
            self._abort()
        else:
            super().shutdown()

    # What the parser tells

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_header = True
        self._hosts = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """In place of uvicorn's, which lets the fields of a trailer join those of the header."""
        if self._in_header:
            name = name.lower()
            if name in _EXAMINED:
                self._examine(name, value)
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._in_header = False
        self._was_of_use = True
        parser = self.parser
        if parser.should_upgrade():
            if parser.get_method() == b"CONNECT":
                raise httptools.HttpParserError("CONNECT is for proxies.")
            self._upgrading = True
            return
        if self.wait is not None and self.wait is not Wait.TAKING:
            self._book.leave(self)
        if self._hosts != 1 or not self.admitted or parser.get_http_version() != "1.1":
            self._look_closer()
        super().on_headers_complete()
        self._in_body = True
        if not self.admitted:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        self._was_of_use = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._upgrading:
            return
        self._in_body = False
        self._was_of_use = True
        super().on_message_complete()
        if self.wait is Wait.BODY:
            self._book.enter(self, Wait.IDLE)

    def on_response_complete(self) -> None:
        """In place of uvicorn's, which has a timer of its own for every request."""
        self.server_state.total_requests += 1
        if self._writing is not None:
            self._writing.end()
            self._writing = None
        if self.transport.is_closing():
            self._book.enter(self, Wait.CLOSING)
        elif self.pipeline or self._held or self._last_words is not None:
            self._go_on()
        else:
            self.flow.resume_reading()
            self._book.enter(self, self._next_wait(_IDLE))

    def _go_on(self) -> None:
        """With what came before its turn."""
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        if self.pipeline:
            return
        if self._held:
            held, self._held = bytes(self._held), bytearray()
            self._read(held)
        if not self._held:
            self.flow.resume_reading()
        if self._is_busy or self.wait is Wait.LINGERING:
            return
        if self._last_words is not None:
            self._say(self._last_words, linger=True)
        else:
            self._book.enter(self, self._next_wait(_IDLE))

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        # Of pipelined requests uvicorn knows the last only, and would write for another to a client that is gone.
        self._answering = cycle
        cycle.transport = self._writing = _AnswerTransport(cycle)
        super()._start_asgi_task(cycle, app)

    # What the sweep tells

    def expire(self, wait: Wait) -> None:
        if wait is Wait.HEADER:
            self._say(self._book.header_timeout)
        elif wait is Wait.RESERVE:
            self._say(TOO_MANY)
        elif wait is Wait.IDLE:
            self._close()
        elif wait is Wait.BODY:
            self._book.refused("unread_body")
            self._close()
        elif wait is Wait.LINGERING:
            self._abort()
        else:
            self._book.refused("untaken_answer")
            self._abort()

    def give_way(self) -> None:
        if self.wait in (Wait.HEADER, Wait.RESERVE):
            self._say(TOO_MANY)
        elif self.wait is Wait.IDLE and not self.transport.get_write_buffer_size():
            self._close()
        else:
            self._abort()

    # Reading

    def _hold(self, data: bytes) -> None:
        self._held += data
        self.flow.pause_reading()

    def _read(self, data: bytes) -> None:
        if len(data) <= self._piece_bytes and not self._framing_bytes and not self.pipeline:
            read = self._parse(data)
        else:
            read = 0
        if read < len(data):
            self._read_in_pieces(data, read)
        cycle = self.cycle
        if self._deaf or (cycle is not None and not cycle.response_complete):
            return
        if self.wait is None or (self.wait is _IDLE and self._in_header):
            self._book.enter(self, self._next_wait(Wait.HEADER))

    def _read_in_pieces(self, data: bytes, at: int) -> None:
        while at < len(data) and not self._deaf:
            if self.pipeline:
                self._hold(data[at:])
                return
            size = min(self._piece_bytes, self._limit_bytes - self._framing_bytes)
            at += self._parse(data[at : at + size])

    def _next_wait(self, otherwise: Wait) -> Wait:
        if self._in_body:
            return Wait.BODY
        return Wait.HEADER if self._in_header else otherwise

    def _parse(self, data: bytes) -> int:
        """How many bytes were read; less than all where an upgrade was offered."""
        self._was_of_use = False
        read = len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offered:
            read = offered.args[0]
            self._ignore_upgrade()
        except httptools.HttpParserError:
            self._refuse(INVALID)
            return read
        self._framing_bytes = 0 if self._was_of_use else self._framing_bytes + read
        if self._framing_bytes >= self._limit_bytes:
            self._refuse(INVALID if self._in_body else self._book.header_too_large)
        return read

    def _ignore_upgrade(self) -> None:
        """Read the header again without the offer, as whoever knows no other protocol may (RFC 9110, 7.8).

        The parser would take what follows for the new protocol's.
        """
        self._upgrading = False
        line = b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        fields = [name + b": " + value for name, value in self.headers if name != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
        try:
            self.parser.feed_data(b"\r\n".join([line, *fields, b"", b""]))
        except httptools.HttpParserError:
            self._refuse(INVALID)

    # Refusing

    def _examine(self, name: bytes, value: bytes) -> None:
        """What the parser lets pass although RFC 9112 forbids it, or two readers may read it in two ways."""
        if name == b"host":
            self._hosts += 1
        elif name == b"content-length":
            if len(value) > _LENGTH_DIGITS_MAX:
                raise httptools.HttpParserError("The Content-Length is too long.")
        elif name == b"expect":
            self.expect_100_continue |= value.lower() == b"100-continue"
        elif value.lower() != b"chunked" or self.parser.get_http_version() != "1.1":
            raise httptools.HttpParserError("The Transfer-Encoding is not understood.")

    def _look_closer(self) -> None:
        """Let a request reach no endpoint unless it may; most need no look."""
        version = self.parser.get_http_version()
        refusal: ConnectionRefusal | None = None
        if version not in _HOSTS or self._hosts not in _HOSTS[version]:
            refusal = INVALID
        elif not self._book.admit(self) and self.url.partition(b"?")[0] not in _PROBES:
            refusal = TOO_MANY
        if refusal is not None:
            self._deaf = True
            self._book.refused(refusal.reason)
            self.app = refusal

    def _refuse(self, refusal: ConnectionRefusal) -> None:
        """What is being read cannot be: answer it, after all that came before it."""
        if self._deaf:
            return
        self._deaf = True
        self._held.clear()
        if self._is_busy and not self._in_body:
            self._last_words = refusal
        elif not self._is_busy and not self._in_body:
            self._say(refusal, linger=True)
        elif self.pipeline:
            self._book.refused(refusal.reason)
            self.pipeline[0] = (self.cycle, refusal)  # type: ignore[assignment] # uvicorn's own types
        elif self.cycle.response_started:
            # Its answer has begun, or been given: there is no second one.
            self._book.refused(refusal.reason)
            self._abort()
        else:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            self._say(refusal, linger=True)

    def _say(self, refusal: ConnectionRefusal, *, linger: bool = False) -> None:
        """The last answer of a connection. `linger`: its client may still be sending, and would miss the answer."""
        self._deaf = True
        self._book.refused(refusal.reason)
        self.transport.write(refusal.raw(self.server_state.default_headers))
        if not linger:
            self._close()
            return
        self.transport.write_eof()
        self.flow.resume_reading()
        self._book.enter(self, Wait.LINGERING)

    def _close(self) -> None:
        self._deaf = True
        self._book.enter(self, Wait.CLOSING)
        self.transport.close()

    def _abort(self) -> None:
        self._deaf = True
        self._book.leave(self)
        self.transport.abort()
