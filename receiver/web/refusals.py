"""Answers to connections and requests that never reach an endpoint; each closes its connection."""

from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus

from starlette.types import Receive, Scope, Send

from receiver.web.problems import HEADERS, problem

_RETRY_AFTER_S = 5


@dataclass(frozen=True, slots=True)
class ConnectionRefusal:
    """Why a connection is ended by us, and what it is told: an ASGI application that answers every request alike.

    `reason` names it in metrics and logs.
    """

    reason: str
    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    _status_line: bytes
    _rest: bytes

    @classmethod
    def of(cls, reason: str, code: str, detail: str) -> "ConnectionRefusal":
        status, body = problem(code, detail)
        length = (b"content-length", b"%d" % len(body))
        retry_after = ((b"retry-after", b"%d" % _RETRY_AFTER_S),) if status == HTTPStatus.SERVICE_UNAVAILABLE else ()
        headers = (*HEADERS, length, *retry_after, (b"connection", b"close"))
        status_line = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()
        return cls(reason, status, headers, body, status_line, _lines(headers) + b"\r\n" + body)

    def raw(self, more_headers: list[tuple[bytes, bytes]]) -> bytes:
        """The whole answer as bytes, for a connection on which no request could be read."""
        return self._status_line + _lines(more_headers) + self._rest

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status, "headers": list(self.headers)})
        await send({"type": "http.response.body", "body": self.body})


def _lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"".join([b"%s: %s\r\n" % header for header in headers])


def header_timeout(timeout_s: float) -> ConnectionRefusal:
    detail = f"No whole request header came within {timeout_s:g} s."
    return ConnectionRefusal.of("header_timeout", "header_timeout", detail)


def header_too_large(limit_bytes: int) -> ConnectionRefusal:
    detail = f"The request header is larger than {limit_bytes} bytes."
    return ConnectionRefusal.of("header_too_large", "header_too_large", detail)


INVALID = ConnectionRefusal.of(
    "invalid_request", "invalid_request", "This is no valid HTTP/1.1 request (RFC 9112); send one."
)
TOO_MANY = ConnectionRefusal.of("too_many_connections", "unavailable", "Too many connections are open; try again.")
