"""Connections beyond the allowed number: heard at little cost, until they have sent a whole header or must go."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from uvicorn.config import Config
from uvicorn.server import ServerState

from receiver.web.connections import Connections, Wait
from receiver.web.protocol import GuardedProtocol
from receiver.web.refusals import TOO_MANY

_HEADER_END = b"\r\n\r\n"


class Newcomer(asyncio.Protocol):
    """Stands in for a GuardedProtocol, which costs several times as much, until there is something to parse."""

    def __init__(
        self, connections: Connections, server_state: ServerState, successor: Callable[[], GuardedProtocol]
    ) -> None:
        self.wait: Wait | None = None
        self.admitted = False
        self._book = connections
        self._server_state = server_state
        self._successor = successor
        self._transport: asyncio.Transport
        self._said = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # of a stream
        self._transport = transport
        self._server_state.connections.add(self)  # type: ignore[arg-type] # of which only shutdown() is called
        if not self._book.open(self):
            self.give_way()

    def data_received(self, data: bytes) -> None:
        self._said += data
        if _HEADER_END in self._said or len(self._said) >= self._book.limits.header_bytes:
            self._step_in()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()

    def expire(self, wait: Wait) -> None:
        self.give_way()

    def give_way(self) -> None:
        self._book.refused(TOO_MANY.reason)
        self._book.leave(self)
        self._transport.write(TOO_MANY.raw(self._server_state.default_headers))
        self._transport.close()

    def shutdown(self) -> None:
        """What uvicorn calls when it stops."""
        self._transport.close()

    def _step_in(self) -> None:
        self._forget()
        successor = self._successor()
        self._transport.set_protocol(successor)
        successor.connection_made(self._transport)
        successor.data_received(self._said)

    def _forget(self) -> None:
        self._book.forget(self)
        self._server_state.connections.discard(self)


def protocols(connections: Connections) -> Callable[..., asyncio.Protocol]:
    """What uvicorn calls, with what it calls its own protocols with, for every new connection."""

    def protocol(
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> asyncio.Protocol:
        guarded = partial(GuardedProtocol, connections, config, server_state, app_state, _loop)
        return Newcomer(connections, server_state, guarded) if connections.are_full else guarded()

    return protocol
