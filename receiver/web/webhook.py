"""`POST /webhooks/leadterra`: verify, parse, submit, answer. One pass over headers and body, for speed."""

from collections.abc import Sequence

import structlog
from starlette.types import Receive, Scope, Send

from receiver.clock import Clock
from receiver.errors import UnavailableError
from receiver.ingest.meters import Meters
from receiver.ingest.probe import Probes
from receiver.ingest.rejected import RejectedBodies
from receiver.ingest.writer import Writer
from receiver.leadterra import signature
from receiver.leadterra.payloads import Parser
from receiver.storage.deliveries import Delivery
from receiver.web.body import BodyReader, Refusal
from receiver.web.problems import HEADERS, internal, problem
from receiver.web.request_id import RequestIds

log = structlog.get_logger()

_ALLOW = (b"allow", b"POST, OPTIONS")
_CLOSE = (b"connection", b"close")
_JSON = (b"content-type", b"application/json")
_RETRY_AFTER_S = 5

_REFUSALS = {
    Refusal.TOO_LARGE: "The body is larger than {limit} bytes.",
    Refusal.TOO_SLOW: "The body was not complete within {timeout:g} s.",
    Refusal.DRAINING: "The receiver is shutting down; send the event again.",
}


class Webhook:
    """The ASGI endpoint that Leadterra posts to.

    `secrets` are pairs of HMAC key and the number under which the journal knows it.
    """

    def __init__(
        self,
        secrets: Sequence[tuple[bytes, int]],
        parser: Parser,
        writer: Writer,
        reader: BodyReader,
        clock: Clock,
        meters: Meters,
        request_ids: RequestIds,
        rejected: RejectedBodies,
        probes: Probes,
    ) -> None:
        self._secrets = [secret for secret, _ in secrets]
        self._secret_ids = [number for _, number in secrets]
        self._parser = parser
        self._writer = writer
        self._reader = reader
        self._clock = clock
        self._meters = meters
        self._request_ids = request_ids
        self._rejected = rejected
        self._probes = probes
        self._unsigned = problem("signature_invalid", "The signature is missing or matches no secret.")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"]
        signatures: list[bytes] = []
        declared = encoding = given_id = None
        for name, value in scope["headers"]:
            if name == signature.HEADER:
                signatures.append(value)
            elif name == b"content-length":
                declared = int(value)
            elif name == b"content-encoding":
                encoding = value
            elif name == b"x-request-id":
                given_id = value
        request_id = self._request_ids.take(given_id)
        answer = _Answer(send, (b"x-request-id", request_id), with_body=method != "HEAD")
        if method != "POST":
            await self._answer_other(method, answer)
            return
        digests = signature.decode(signatures)
        body = await self._reader.read(receive, declared)
        if not isinstance(body, bytes):
            await self._refuse_unread(body, answer, shaped=bool(digests))
        elif encoding is not None and encoding.strip().lower() not in (b"", b"identity"):
            self._count_refusal("unsupported_encoding", shaped=bool(digests))
            await answer.problem(*problem("unsupported_encoding", "Send the body without Content-Encoding."))
        else:
            try:
                await self._take_in(scope, body, digests, answer)
            except Exception as error:
                log.exception("delivery_failed", request_id=request_id.decode(), exc_info=error)
                self._count_refusal("internal", shaped=bool(digests))
                await answer.problem(*internal())

    async def _take_in(self, scope: Scope, body: bytes, digests: list[bytes], answer: "_Answer") -> None:
        index = signature.matching_secret(self._secrets, body, digests)
        client = scope["client"]
        peer = client[0] if client else None
        if index is None:
            await self._reject(body, digests, peer, answer)
            return
        now = self._clock.now_ms()
        parsed = self._parser.parse(body, now)
        try:
            outcome = await self._writer.submit(Delivery(body, now, parsed, self._secret_ids[index], peer))
        except UnavailableError as error:
            self._count_refusal("unavailable", shaped=True)
            await answer.unavailable(str(error), error.retry_after_s)
            return
        self._meters.delivered(outcome, now)
        await answer.send(204, [(b"receiver-outcome", outcome.encode())], b"")

    async def _reject(self, body: bytes, digests: list[bytes], peer: str | None, answer: "_Answer") -> None:
        """Nothing that is signed, unless it is our own probe, which is answered and not counted."""
        proof = self._probes.answer(body, digests)
        if proof is not None:
            await answer.send(200, [_JSON, (b"content-length", b"%d" % len(proof))], proof)
            return
        self._count_refusal("signature_invalid", shaped=bool(digests))
        if digests:
            self._rejected.offer(body, digests, self._clock.now_ms(), peer)
        await answer.problem(*self._unsigned)

    async def _refuse_unread(self, refusal: Refusal, answer: "_Answer", *, shaped: bool) -> None:
        if refusal is Refusal.GONE:
            self._meters.delivery("gone")
            return
        self._count_refusal(refusal.value, shaped=shaped)
        reader = self._reader
        text = _REFUSALS[refusal].format(limit=reader.limit_bytes, timeout=reader.timeout_s)
        if refusal is Refusal.DRAINING:
            await answer.unavailable(text, _RETRY_AFTER_S, _CLOSE)
        else:
            await answer.problem(*problem(refusal.value, text), _CLOSE)

    def _count_refusal(self, code: str, *, shaped: bool) -> None:
        self._meters.refuse(code, self._clock.now_ms(), shaped=shaped)
        if shaped:
            self._writer.heartbeat.refused()

    async def _answer_other(self, method: str, answer: "_Answer") -> None:
        if method == "OPTIONS":
            await answer.send(204, [_ALLOW], b"")
        else:
            text = f"{method} is not allowed here; use POST."
            await answer.problem(*problem("method_not_allowed", text), _ALLOW)


class _Answer:
    """Sends one response, with the request's id."""

    __slots__ = ("_request_id", "_send", "_with_body")

    def __init__(self, send: Send, request_id: tuple[bytes, bytes], *, with_body: bool) -> None:
        self._send = send
        self._request_id = request_id
        self._with_body = with_body

    async def send(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        headers.append(self._request_id)
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body if self._with_body else b""})

    async def problem(self, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
        length = (b"content-length", b"%d" % len(body))
        await self.send(status, [*HEADERS, length, *headers], body)

    async def unavailable(self, text: str, retry_after_s: int, *headers: tuple[bytes, bytes]) -> None:
        status, body = problem("unavailable", text)
        await self.problem(status, body, (b"retry-after", b"%d" % retry_after_s), *headers)
