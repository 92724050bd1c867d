"""Which connections may stay: how many at once, and how long each may keep us waiting.

Every connection that waits for its client stands in one queue per kind of waiting. The time that a kind allows is
the same for all, so a queue is in order of its deadlines, and a sweep looks at those alone that are over.
"""

import asyncio
from dataclasses import dataclass
from enum import IntEnum, auto
from time import monotonic
from typing import Protocol

import structlog

from receiver.ingest.meters import Meters
from receiver.web import refusals

log = structlog.get_logger()

# What one sweep ends before others get their turn: a thousand at once would hold everybody's request.
_SWEEP_BATCH = 50


class Wait(IntEnum):
    """What a connection waits for; a number, because it is looked up twice in every request."""

    HEADER = 0  # the rest of a request's header, or its first byte on a new connection
    RESERVE = auto()  # the same, beyond the allowed number of connections
    IDLE = auto()  # the next request
    BODY = auto()  # the rest of a body that nobody reads, as its request has been answered
    TAKING = auto()  # the client to take what was sent
    CLOSING = auto()  # the client to take the last answer
    LINGERING = auto()  # the client to stop sending, after a refusal


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """How many connections, how much header, how much patience in seconds."""

    connections: int = 2000
    # Beyond `connections`, so that a probe is heard when all are taken.
    reserve: int = 64
    header_bytes: int = 32_768
    header_timeout_s: float = 10
    reserve_timeout_s: float = 1
    # Longer than the sender's pause between two bursts, so that its connections are not opened anew each time.
    idle_timeout_s: float = 65
    answer_timeout_s: float = 60
    linger_s: float = 2
    # A connection that has kept us waiting this long gives its place to one that brings a request.
    grace_s: float = 1
    sweep_s: float = 1
    summary_s: float = 60

    def timeout_s(self, wait: Wait) -> float:
        return {
            Wait.HEADER: self.header_timeout_s,
            Wait.RESERVE: self.reserve_timeout_s,
            Wait.IDLE: self.idle_timeout_s,
            Wait.BODY: self.header_timeout_s,
            Wait.TAKING: self.answer_timeout_s,
            Wait.CLOSING: self.answer_timeout_s,
            Wait.LINGERING: self.linger_s,
        }[wait]


class Waiting(Protocol):
    """A connection as it is seen from here; both fields are kept here."""

    wait: Wait | None
    admitted: bool

    def expire(self, wait: Wait) -> None:
        """It has waited too long: end it."""

    def give_way(self) -> None:
        """Its place is needed: end it."""


# Who gives way first, when a request needs a place.
_GIVE_WAY = (Wait.LINGERING, Wait.HEADER, Wait.IDLE)


class Connections:
    """All connections of one server. `start` and `close` it in the loop that serves."""

    def __init__(self, limits: ConnectionLimits, meters: Meters) -> None:
        self.limits = limits
        self.header_timeout = refusals.header_timeout(limits.header_timeout_s)
        self.header_too_large = refusals.header_too_large(limits.header_bytes)
        self._meters = meters
        self._queues: list[dict[Waiting, float]] = [{} for _ in Wait]
        self._timeouts_s = [limits.timeout_s(wait) for wait in Wait]
        self._open: set[Waiting] = set()
        self._admitted = 0
        self._refused: dict[str, int] = {}
        self._next_summary_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        meters.connections.set_function(lambda: len(self._open))

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self.limits.sweep_s, self._tick, loop)

    def close(self) -> None:
        """Stop the sweeps; say what has not been said."""
        if self._timer is not None:
            self._timer.cancel()
        self._next_summary_s = 0.0
        self._summarise(monotonic())

    def __len__(self) -> int:
        return len(self._open)

    @property
    def are_full(self) -> bool:
        return self._admitted >= self.limits.connections

    def open(self, connection: Waiting) -> bool:
        """A new connection. False when there is no place for it, not even to hear what it wants."""
        self._open.add(connection)
        if not self.are_full:
            self._admit(connection)
            self.enter(connection, Wait.HEADER)
            return True
        if len(self._open) - self._admitted > self.limits.reserve:
            oldest = next(iter(self._queues[Wait.RESERVE]), None)
            if oldest is None:
                return False
            oldest.give_way()
        self.enter(connection, Wait.RESERVE)
        return True

    def admit(self, connection: Waiting) -> bool:
        """A place for a connection that has brought a request, if need be that of one that only waits."""
        if not connection.admitted and (not self.are_full or self._make_room()):
            self._admit(connection)
        return connection.admitted

    def forget(self, connection: Waiting) -> None:
        """The connection is gone."""
        self.leave(connection)
        self._release(connection)
        self._open.discard(connection)

    def enter(self, connection: Waiting, wait: Wait) -> None:
        """From now on the connection waits for this, unless it is gone."""
        if connection.wait is not None:
            del self._queues[connection.wait][connection]
        if connection in self._open:
            connection.wait = wait
            self._queues[wait][connection] = monotonic()

    def leave(self, connection: Waiting) -> None:
        """It waits no longer."""
        if connection.wait is not None:
            del self._queues[connection.wait][connection]
            connection.wait = None

    def refused(self, reason: str) -> None:
        """Count a connection that was ended by us."""
        self._meters.refuse_connection(reason)
        self._refused[reason] = self._refused.get(reason, 0) + 1

    def _admit(self, connection: Waiting) -> None:
        connection.admitted = True
        self._admitted += 1

    def _release(self, connection: Waiting) -> None:
        if connection.admitted:
            connection.admitted = False
            self._admitted -= 1

    def _make_room(self) -> bool:
        latest_s = monotonic() - self.limits.grace_s
        for wait in _GIVE_WAY:
            for connection, since_s in self._queues[wait].items():
                if since_s > latest_s:
                    break
                if connection.admitted:
                    self._release(connection)
                    connection.give_way()
                    return True
        return False

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        are_more = False
        try:
            are_more = self._sweep(monotonic())
        finally:  # one that fails must not be the last
            self._timer = loop.call_later(0 if are_more else self.limits.sweep_s, self._tick, loop)

    def _sweep(self, now_s: float) -> bool:
        """End those whose time is over, at most a batch; whether there are more."""
        over: list[tuple[Waiting, Wait]] = []
        for wait in Wait:
            begun_s = now_s - self._timeouts_s[wait]
            for connection, since_s in self._queues[wait].items():
                if since_s > begun_s or len(over) == _SWEEP_BATCH:
                    break
                over.append((connection, wait))
        for connection, wait in over:
            connection.expire(wait)
        self._summarise(now_s)
        return len(over) == _SWEEP_BATCH

    def _summarise(self, now_s: float) -> None:
        if self._refused and now_s >= self._next_summary_s:
            log.warning("connections_refused", **self._refused)
            self._refused.clear()
            self._next_summary_s = now_s + self.limits.summary_s
