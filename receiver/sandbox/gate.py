"""What every API call passes: the key, the rate limit, answers that fail on purpose, and the `Date` header."""

import asyncio
import hmac
from collections import Counter

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from receiver.clock import Clock
from receiver.sandbox.faults import VARYING_S, Plan, Rule
from receiver.sandbox.problems import RefusedError
from receiver.sandbox.shapes import Shapes
from receiver.sandbox.times import http_date

_RETRY_AFTER_S = 2
_SLOW_S = 3.0
_HTML = b"<!doctype html><title>Leadterra</title><p>We are making Leadterra better. Please come back soon.</p>"
# Where a handler leaves the time that its answer is about; the `Date` header says that one.
NOW_KEY = "sandbox.now_ms"
# Where a handler finds what chance knows its call by: path and number.
CALL_KEY = "sandbox.call"

Headers = list[tuple[bytes, bytes]]


class RateLimit:
    """At most `per_s` calls in a real second, in bursts of as many; 0 for no limit."""

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._left = max(per_s, 1.0)
        self._asked_s: float | None = None

    def takes(self, now_s: float) -> bool:
        if self._per_s <= 0:
            return True
        passed_s = 0.0 if self._asked_s is None else now_s - self._asked_s
        self._left = min(max(self._per_s, 1.0), self._left + passed_s * self._per_s)
        self._asked_s = now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Gate:
    """An ASGI application in front of `app`."""

    def __init__(
        self, app: ASGIApp, api_key: str, shapes: Shapes, plan: Plan, clock: Clock, rate_limit: RateLimit
    ) -> None:
        self._app = app
        self._expected = f"Bearer {api_key}".encode()
        self._shapes = shapes
        self._plan = plan
        self._clock = clock
        self._rate_limit = rate_limit
        self._asked: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path: str = scope["path"]
        given = dict(scope["headers"]).get(b"authorization", b"")
        scheme, _, key = given.partition(b" ")
        if not hmac.compare_digest(scheme.capitalize() + b" " + key.strip(), self._expected):
            text = "The key is missing or wrong; send 'Authorization: Bearer …' with the sandbox's API key."
            answer = _Answer(scope, send, self._clock, self._skew_s(path, path))
            await self._refuse(answer, RefusedError(401, "authentication_failed", text), [])
            return
        self._asked[path] += 1
        call = scope[CALL_KEY] = f"{path}#{self._asked[path]}"
        answer = _Answer(scope, send, self._clock, self._skew_s(path, call))
        if path.startswith("/v1/") and await self._failed(path, call, answer):
            return
        await self._app(scope, receive, answer.send)

    async def _failed(self, path: str, call: str, answer: "_Answer") -> bool:
        """Whether the call was answered with a failure."""
        limited = self._rule("rate_limit", path, call)
        if limited is not None or not self._rate_limit.takes(asyncio.get_running_loop().time()):
            await self._refuse_limited(answer, limited)
            return True
        if (slow := self._rule("slow", path, call)) is not None:
            await asyncio.sleep(slow.amount or _SLOW_S)
        if (broken := self._rule("server_error", path, call)) is not None:
            error = RefusedError(int(broken.amount or 503), "internal_error", "Something went wrong on our side.")
            await self._refuse(answer, error, [])
            return True
        if self._rule("html", path, call) is not None:
            await answer.whole(200, [(b"content-type", b"text/html; charset=utf-8")], _HTML)
            return True
        answer.truncated = self._rule("truncated", path, call) is not None
        return False

    async def _refuse_limited(self, answer: "_Answer", rule: Rule | None) -> None:
        wait_s = int(rule.amount) if rule is not None and rule.amount else _RETRY_AFTER_S
        # Beside the answer's own `Date`, so that the difference of the two is the wait.
        as_date = rule is not None and rule.as_date
        value = http_date(answer.dated_ms() + wait_s * 1000) if as_date else str(wait_s)
        error = RefusedError(429, "rate_limited", f"Too many calls; wait {wait_s} s.")
        await self._refuse(answer, error, [(b"retry-after", value.encode())])

    async def _refuse(self, answer: "_Answer", error: RefusedError, headers: Headers) -> None:
        body = orjson.dumps(self._shapes.error(error.code, str(error)))
        await answer.whole(error.status, [(b"content-type", b"application/json"), *headers], body)

    def _rule(self, fault: str, path: str, call: str) -> Rule | None:
        return self._plan.of_answer(fault, path, self._clock.now_ms(), call)

    def _skew_s(self, path: str, call: str) -> float:
        rule = self._rule("clock_skew", path, call)
        if rule is None:
            return 0.0
        return VARYING_S["clock_skew"] if rule.amount is None else rule.amount


class _Answer:
    """Sends one answer, with simulated time as its `Date`."""

    def __init__(self, scope: Scope, send: Send, clock: Clock, skew_s: float) -> None:
        self.truncated = False
        self._scope = scope
        self._send = send
        self._clock = clock
        self._skew_ms = int(skew_s * 1000)
        self._start: Message = {}

    def dated_ms(self) -> int:
        """The answer's `Date`, fixed from now on unless the handler says what time it is about."""
        return int(self._scope.setdefault(NOW_KEY, self._clock.now_ms())) + self._skew_ms

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        length = (b"content-length", b"%d" % len(body))
        await self.send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
        await self.send({"type": "http.response.body", "body": body})

    async def send(self, message: Message) -> None:
        """The application's `send`; holds the start back until the length is known."""
        if message["type"] == "http.response.start":
            date = (b"date", http_date(self.dated_ms()).encode())
            self._start = {**message, "headers": [*message["headers"], date]}
            return
        if self._start:
            body: bytes = message.get("body", b"")
            if self.truncated:
                message = {**message, "body": body[: len(body) // 2]}
                self._start["headers"] = [
                    (name, b"%d" % (len(body) // 2) if name == b"content-length" else value)
                    for name, value in self._start["headers"]
                ]
            await self._send(self._start)
            self._start = {}
        await self._send(message)
