"""Reads request bodies: within a size, within a time, and not beyond a shutdown."""

import asyncio
import types
from collections.abc import Coroutine, Generator
from enum import Enum
from typing import Any, TypeVar

from starlette.types import Receive

T = TypeVar("T")


class Refusal(Enum):
    """Why a body was not read to its end."""

    TOO_LARGE = "body_too_large"
    TOO_SLOW = "body_timeout"
    DRAINING = "unavailable"
    GONE = "gone"  # the client left


class BodyReader:
    """Reads bodies of at most `limit_bytes` (included) within `timeout_s`; `drain` ends those under way."""

    def __init__(self, limit_bytes: int, timeout_s: float) -> None:
        self.limit_bytes = limit_bytes
        self.timeout_s = timeout_s
        self.draining = False
        self._under_way: set[asyncio.Timeout] = set()

    def drain(self) -> None:
        """Refuse bodies from now on; those that still arrive are given up at once."""
        self.draining = True
        now = asyncio.get_running_loop().time()
        for timeout in self._under_way:
            if not timeout.expired():  # one that has just run out cannot be moved any more, and ends by itself
                timeout.reschedule(now)

    async def read(self, receive: Receive, declared: int | None) -> bytes | Refusal:
        """The whole body, or why there is none. `declared` is the Content-Length."""
        if declared is not None and declared > self.limit_bytes:
            return Refusal.TOO_LARGE
        if self.draining:
            return Refusal.DRAINING
        reading = self._read(receive)
        try:
            # Most bodies came with their header: setting up a timeout would cost more than reading them.
            waits_for = reading.send(None)
        except StopIteration as ended:
            found: bytes | Refusal = ended.value
            return found
        timeout = asyncio.timeout(self.timeout_s)
        try:
            async with timeout:
                self._under_way.add(timeout)
                return await _go_on(reading, waits_for)
        except TimeoutError:
            return Refusal.DRAINING if self.draining else Refusal.TOO_SLOW
        finally:
            self._under_way.discard(timeout)

    async def _read(self, receive: Receive) -> bytes | Refusal:
        message = await receive()
        if message["type"] == "http.request" and not message.get("more_body", False):
            body: bytes = message.get("body", b"")
            return body if len(body) <= self.limit_bytes else Refusal.TOO_LARGE
        chunks = bytearray()
        while message["type"] == "http.request":
            chunks += message.get("body", b"")
            if len(chunks) > self.limit_bytes:
                return Refusal.TOO_LARGE
            if not message.get("more_body", False):
                return bytes(chunks)
            message = await receive()
        return Refusal.GONE


@types.coroutine
def _go_on(begun: Coroutine[Any, Any, T], waits_for: object) -> Generator[Any, Any, T]:
    """The rest of a coroutine that was begun by hand, as if all of it had been awaited."""
    try:
        yield waits_for
    except BaseException:
        begun.close()
        raise
    result: T = yield from begun
    return result
