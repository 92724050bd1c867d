"""One path of the API: checks every request in the documented order, calls the handler, dresses the answer."""

import asyncio
import gzip
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
import structlog
from starlette.types import Receive, Scope, Send

from receiver.clock import Clock
from receiver.errors import ReceiverError
from receiver.masking import all_masked, may_hold_address
from receiver.reconcile.cases import Pins
from receiver.web.access import Access, Credentials, Role
from receiver.web.body import BodyReader, Refusal
from receiver.web.exports import Download, Exports, file_name
from receiver.web.formats import CONTENT_TYPES, Format, negotiated
from receiver.web.operation import NO_PINS, Answered, Call, Client, Operation, Raw, Refused
from receiver.web.params import NoParams, Params, parse_form, parse_json, parse_query
from receiver.web.problems import HEADERS, headers_of, internal, is_fault, problem, problem_of
from receiver.web.request_id import RequestIds
from receiver.web.times import moment, settled_until

log = structlog.get_logger()

_GZIP_MIN_BYTES = 1000
_GZIP_LEVEL = 5
_GZIP_APART_BYTES = 65_536  # compressing more than this would hold the event loop
_MINUTE_MS = 60_000
_RETRY_AFTER_S = 5
_NO_BODY = NoParams()
_CACHE = (b"cache-control", b"private, no-cache")

Headers = list[tuple[bytes, bytes]]


class Surroundings:
    """What every resource needs: time, access, body limits, request ids, exports, and the data's version."""

    def __init__(
        self,
        clock: Clock,
        access: Access,
        reader: BodyReader,
        request_ids: RequestIds,
        exports: Exports,
        version: Callable[[], str],
        pins: Pins = NO_PINS,
        *,
        show_recipients: bool = False,
    ) -> None:
        self.clock = clock
        self.access = access
        self.reader = reader
        self.request_ids = request_ids
        self.exports = exports
        self.version = version
        self.pins = pins
        self.show_recipients = show_recipients


class Resource:
    """An ASGI endpoint over the operations of one path."""

    def __init__(self, operations: Sequence[Operation], surroundings: Surroundings) -> None:
        self._operations: Mapping[str, Operation] = {operation.method: operation for operation in operations}
        if "GET" in self._operations:
            self._operations = {**self._operations, "HEAD": self._operations["GET"]}
        self._allow = ", ".join([*self._operations, "OPTIONS"]).encode()
        has_table = any(operation.table for operation in operations)
        self._vary = (b"vary", b"Accept, Accept-Encoding" if has_table else b"Accept-Encoding")
        self._around = surroundings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        request_id = self._around.request_ids.take(headers.get(b"x-request-id"))
        try:
            status, extra, content = await self._answer(scope, headers, receive)
        except ReceiverError as error:
            status, extra, content = self._refuse(error, request_id, scope, headers)
        except Exception as error:
            log.exception("request_failed", request_id=request_id.decode(), exc_info=error)
            status, content = internal()
            extra = list(HEADERS)
        extra += [self._vary, (b"x-request-id", request_id)]
        if content is None or isinstance(content, Download):
            await _send_download(content, headers, extra, send, with_body=scope["method"] != "HEAD")
            return
        content = await _compressed(content, headers, extra)
        if status not in (204, 304):
            extra.append((b"content-length", b"%d" % len(content)))
        await send({"type": "http.response.start", "status": status, "headers": extra})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else content})

    def _refuse(
        self, error: ReceiverError, request_id: bytes, scope: Scope, given: Mapping[bytes, bytes]
    ) -> tuple[int, Headers, bytes]:
        if is_fault(error):
            log.error("request_failed", request_id=request_id.decode(), code=error.code, error=str(error))
        status, content = problem_of(error)
        headers = headers_of(error)
        if isinstance(error, _UnreadError):
            headers.append((b"connection", b"close"))
        page = self._refusal_page(error, status, scope, given)
        if page is None:
            return status, headers, content
        dressed = [(b"content-type", page.content_type), *page.headers]
        return page.status or status, _overridden(headers, dressed), page.content

    def _refusal_page(
        self, error: ReceiverError, status: int, scope: Scope, given: Mapping[bytes, bytes]
    ) -> Raw | None:
        operation = self._operations.get(scope["method"])
        if operation is None or operation.refused is None:
            return None
        wants_page = b"text/html" in given.get(b"accept", b"")
        return operation.refused(Refused(error, status, scope["query_string"], wants_page))

    async def _answer(
        self, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive
    ) -> tuple[int, Headers, "bytes | Download | None"]:
        method = scope["method"]
        if method == "OPTIONS":
            return 204, [(b"allow", self._allow)], b""
        operation = self._operations.get(method)
        if operation is None:
            text = f"{method} is not allowed here; use {self._allow.decode()}."
            status, content = problem("method_not_allowed", text)
            return status, [*HEADERS, (b"allow", self._allow)], content
        around = self._around
        client = _client(scope)
        role = around.access.require(operation.access, _credentials(method, headers, client))
        params = parse_query(operation.params, scope["query_string"])
        body = _NO_BODY if operation.body is None else await self._body(operation, operation.body, headers, receive)
        now = around.clock.now_ms()
        stamped = _Stamps.of(now) if operation.stamped else None
        stamps = [] if stamped is None else stamped.headers()
        format_ = _format(operation, params, scope)
        etag = self._etag(scope, role, now, format_) if operation.cached else None
        if etag is not None and _is_known(etag, headers.get(b"if-none-match")):
            return 304, [_CACHE, (b"etag", etag), *stamps], b""
        path = scope.get("path_params", {})
        call = Call(params, body, path, role, now, around.clock.speed, around.pins, around.show_recipients, client)
        if etag is not None:
            stamps.append((b"etag", etag))
        if operation.table is not None and format_ is not Format.JSON:
            stamps.append(_named(file_name(operation.table, call, format_)))
            exports = self._around.exports
            make = exports.make_small if method == "HEAD" else exports.make
            download = await make(operation.table, call, format_, receive)
            return 200, [(b"content-type", CONTENT_TYPES[format_].encode()), _CACHE, *stamps], download
        answer = await operation.handler(call)
        own = answer.status if isinstance(answer, Answered | Raw) else None
        content, content_type = _rendered(answer, stamped, call)
        dressed = [(b"content-type", content_type), _CACHE, *stamps]
        if isinstance(answer, Raw):
            dressed = _overridden(dressed, answer.headers)
            own_etag = dict(answer.headers).get(b"etag")
            if own_etag is not None and _is_known(own_etag, headers.get(b"if-none-match")):
                return 304, dressed, b""
        return own or operation.status, dressed, content

    async def _body(
        self, operation: Operation, model: type[Params], headers: Mapping[bytes, bytes], receive: Receive
    ) -> Params:
        declared = headers.get(b"content-length")
        body = await self._around.reader.read(receive, None if declared is None else int(declared))
        if isinstance(body, Refusal):
            raise _UnreadError(body, self._around.reader)
        return parse_form(model, body) if operation.form else parse_json(model, body)

    def _etag(self, scope: Scope, role: Role, now_ms: int, format_: Format) -> bytes:
        parts = (self._around.version(), scope["path"], role.name, str(now_ms // _MINUTE_MS), format_)
        digest = hashlib.sha256("\0".join(parts).encode() + b"\0" + scope["query_string"])
        return b'W/"%s"' % digest.hexdigest()[:32].encode()


class _UnreadError(ReceiverError):
    """The request's body could not be read."""

    def __init__(self, refusal: Refusal, reader: BodyReader) -> None:
        texts = {
            Refusal.TOO_LARGE: f"The body is larger than {reader.limit_bytes} bytes.",
            Refusal.TOO_SLOW: f"The body was not complete within {reader.timeout_s:g} s.",
        }
        super().__init__(texts.get(refusal, "The receiver is shutting down; try again."))
        self.code = refusal.value if refusal in texts else "unavailable"
        self.retry_after_s = None if refusal in texts else _RETRY_AFTER_S


class NotFound:
    """Answers every path that is not in the route table."""

    def __init__(self, request_ids: RequestIds) -> None:
        self._request_ids = request_ids

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = dict(scope["headers"]).get(b"x-request-id")
        status, content = problem("not_found", "There is nothing at this path.")
        headers = [
            *HEADERS,
            (b"content-length", b"%d" % len(content)),
            (b"x-request-id", self._request_ids.take(given)),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else content})


def _credentials(method: str, headers: Mapping[bytes, bytes], client: Client) -> Credentials:
    return Credentials(
        headers.get(b"authorization"),
        headers.get(b"host", b"").decode("latin-1"),
        client.peer,
        method,
        headers.get(b"cookie"),
        headers.get(b"sec-fetch-site"),
    )


def _client(scope: Scope) -> Client:
    client = scope["client"]
    return Client(client[0] if client else "", scope.get("scheme") == "https")


def _overridden(headers: Headers, more: Sequence[tuple[bytes, bytes]]) -> Headers:
    """Headers with others, which stand for those of the same name."""
    names = {name for name, _ in more}
    return [*(header for header in headers if header[0] not in names), *more]


def _format(operation: Operation, params: Params, scope: Scope) -> Format:
    """What the parameter says, else what `Accept` likes best."""
    if operation.table is None:
        return Format.JSON
    asked: Format | None = getattr(params, "format", None)
    if asked is not None:
        return asked
    accepts = [value for name, value in scope["headers"] if name == b"accept"]
    return negotiated(b",".join(accepts).decode("latin-1"))


def _named(name: str) -> tuple[bytes, bytes]:
    return b"content-disposition", f'attachment; filename="{name}"'.encode()


async def _send_download(
    download: Download | None, headers: Mapping[bytes, bytes], answer_headers: Headers, send: Send, *, with_body: bool
) -> None:
    """None stands for a long export that nobody wants the body of: its length is not worth making it."""
    worth = download is None or download.is_worth_compressing
    compressed = worth and _takes_gzip(headers.get(b"accept-encoding", b""))
    if compressed:
        answer_headers.append((b"content-encoding", b"gzip"))
    if download is None:
        await send({"type": "http.response.start", "status": 200, "headers": answer_headers})
        await send({"type": "http.response.body", "body": b""})
        return
    answer_headers.append((b"content-length", b"%d" % download.length(compressed=compressed)))
    try:
        await send({"type": "http.response.start", "status": 200, "headers": answer_headers})
        if with_body:
            await download.send(send, compressed=compressed)
        else:
            await send({"type": "http.response.body", "body": b""})
    finally:
        download.close()


class _Stamps(NamedTuple):
    """When an answer was made, and until when no retry can change it any more."""

    as_of: str
    settled_until: str

    @classmethod
    def of(cls, now_ms: int) -> "_Stamps":
        return cls(moment(now_ms), moment(settled_until(now_ms)))

    def headers(self) -> Headers:
        return [
            (b"receiver-as-of", self.as_of.encode()),
            (b"receiver-settled-until", self.settled_until.encode()),
        ]


def _is_known(etag: bytes, if_none_match: bytes | None) -> bool:
    """Whether one of our own was sent back. Not `*`: it would hide that there is nothing (RFC 9110, 13.2.1)."""
    if if_none_match is None:
        return False
    known = [value.strip() for value in if_none_match.split(b",")]
    return etag in known or etag.removeprefix(b"W/") in known


def _rendered(answer: dict[str, Any] | Raw | Answered, stamped: _Stamps | None, call: Call) -> tuple[bytes, bytes]:
    if isinstance(answer, Raw):
        return answer.content, answer.content_type
    if isinstance(answer, Answered):
        answer = answer.json
    if stamped is not None:
        answer["as_of"] = stamped.as_of
        answer["settled_until"] = stamped.settled_until
    content = orjson.dumps(answer)
    if not call.show_recipients and may_hold_address(content):
        content = orjson.dumps(all_masked(answer))
    return content, b"application/json"


async def _compressed(content: bytes, headers: Mapping[bytes, bytes], answer_headers: Headers) -> bytes:
    if len(content) <= _GZIP_MIN_BYTES or not _takes_gzip(headers.get(b"accept-encoding", b"")):
        return content
    answer_headers.append((b"content-encoding", b"gzip"))
    if len(content) < _GZIP_APART_BYTES:
        return gzip.compress(content, _GZIP_LEVEL, mtime=0)
    return await asyncio.to_thread(gzip.compress, content, _GZIP_LEVEL, mtime=0)


def _takes_gzip(accept_encoding: bytes) -> bool:
    for part in accept_encoding.lower().split(b","):
        name, _, quality = part.partition(b";")
        if name.strip() == b"gzip":
            return quality.strip().replace(b" ", b"") not in (b"q=0", b"q=0.0", b"q=0.00", b"q=0.000")
    return False
