"""Puts the parts of a sandbox together: usable in-process as an ASGI application, or behind a port."""

import asyncio

import httpx
import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp

from receiver.clock import Clock, SimulatedClock, SystemClock
from receiver.http import SocketPoster, TransportPoster
from receiver.sandbox.api import Api, answer
from receiver.sandbox.courier import Courier
from receiver.sandbox.delivery import Writing
from receiver.sandbox.faults import Plan
from receiver.sandbox.gate import Gate, RateLimit
from receiver.sandbox.happenings import EVENTS, Happening
from receiver.sandbox.insight import Insight
from receiver.sandbox.options import SandboxOptions
from receiver.sandbox.problems import RefusedError
from receiver.sandbox.shapes import shapes_named
from receiver.sandbox.truth import Truth
from receiver.sandbox.world import World

log = structlog.get_logger()

# Events of the world handled in one go: about ten milliseconds in which nothing else runs.
_SLICE = 200
# Real seconds between two looks at the clock; the world may be late by that much.
_POLL_S = 0.02


def clock_of(options: SandboxOptions) -> Clock:
    """The clock that the options ask for."""
    return SystemClock() if options.start_ms is None else SimulatedClock(options.start_ms, options.speed)


class Sandbox:
    """A Leadterra of one workspace. `app` answers; `run` keeps the world moving between the calls.

    `clock` replaces the one of the options (`start_ms`, `speed`); `transport` replaces the network under the
    webhooks, for instance by `httpx.ASGITransport`. A caller with a clock that it moves by hand uses
    `settle` in place of `run`. `plan.add` lets more go wrong meanwhile. Close it in the end.
    """

    def __init__(
        self,
        options: SandboxOptions,
        clock: Clock | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.options = options
        self.clock = clock or clock_of(options)
        start_ms = self.clock.now_ms()
        self.truth = Truth(sent_when_delivered=options.message_sent_means == "delivered")
        self.world = World(options, start_ms, self._announce)
        shapes = shapes_named(options.shapes)
        self.plan = plan = Plan(options.faults, self.world.chance, start_ms)
        poster = TransportPoster(transport) if transport else SocketPoster()
        self.courier = Courier(
            Writing(shapes, plan, options.webhook_secret, restamp=options.restamp),
            plan,
            self.world.chance,
            self.clock,
            poster,
            options.retry_schedule,
            options.connections,
            options.delivery_timeout_s,
        )
        api = Api(
            self.world,
            self.courier,
            shapes,
            plan,
            self.catch_up,
            options.bounced_means,
            options.delivery_timeout_s,
        )
        if options.webhook_url is not None:
            api.add_webhook(options.webhook_url, EVENTS)
        self.insight = Insight(self.world, self.courier, self.truth, self.catch_up, options.bounced_means)
        routed = Starlette(
            routes=[*api.routes(), *self.insight.routes()],
            exception_handlers={
                RefusedError: self._refused,
                HTTPException: self._not_routed,
                ClientDisconnect: self._left,
                Exception: self._failed,
            },
        )
        routed.router.redirect_slashes = False
        self._shapes = shapes
        limit = RateLimit(options.rate_limit)
        self.app: ASGIApp = Gate(routed, options.api_key, shapes, plan, self.clock, limit)

    async def catch_up(self) -> None:
        """Bring the world up to now, and begin the deliveries that are due."""
        now_ms = self.clock.now_ms()
        while not self.world.agenda.advance(now_ms, _SLICE):
            self.courier.start_due(self.world.now_ms)
            await asyncio.sleep(0)
        self.courier.start_due(self.world.now_ms)

    async def settle(self) -> None:
        """Bring the world up to now, and return when every delivery that is due has ended."""
        await self.catch_up()
        await self.courier.settled()

    def next_ms(self) -> int | None:
        """When something happens next, in simulated epoch milliseconds; None if nothing is planned."""
        planned = [at for at in (self.world.agenda.next_ms(), self.courier.next_ms()) if at is not None]
        return min(planned, default=None)

    async def run(self) -> None:
        """Keep the world moving, until cancelled."""
        while True:
            await self.catch_up()
            await asyncio.sleep(_POLL_S)

    async def close(self) -> None:
        """Give up the deliveries under way."""
        await self.courier.close()

    def _announce(self, happening: Happening) -> None:
        self.truth.note(happening)
        self.courier.take(happening)

    async def _refused(self, _request: Request, error: Exception) -> Response:
        refused = error if isinstance(error, RefusedError) else RefusedError(500, "internal_error", str(error))
        body = self._shapes.error(refused.code, str(refused))
        return answer(body if refused.errors is None else {**body, "errors": refused.errors}, refused.status)

    async def _not_routed(self, request: Request, error: Exception) -> Response:
        method, path = request.method, request.url.path[:200]
        if isinstance(error, HTTPException) and error.status_code == 405:
            body = self._shapes.error("method_not_allowed", f"{method} is not allowed at {path!r}.")
            response = answer(body, 405)
            response.headers.update(error.headers or {})
            return response
        return answer(self._shapes.error("not_found", f"There is nothing at {path!r}."), 404)

    async def _left(self, _request: Request, _error: Exception) -> Response:
        return Response(status_code=400)

    async def _failed(self, _request: Request, error: Exception) -> Response:
        log.error("sandbox_failed", error=repr(error))
        return answer(self._shapes.error("internal_error", "Something went wrong in the sandbox; see its log."), 500)
