"""One request to Leadterra's API and its answer: bounded in bytes, every failure named, the key in none of them."""

import asyncio
import re
import socket
import ssl
import zlib
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import httpx
import orjson

from receiver.clock import SystemClock
from receiver.errors import LeadterraError, LeadterraReason
from receiver.events import EARLIEST_MS
from receiver.http import Lanes

BODY_MAX_BYTES = 1_048_576
_SHOWN_MAX = 200
_WAIT_MAX_S = 31_536_000.0  # a year stands for every longer wait that `Retry-After` may name
# Where an error's text is looked through for addresses: enough for what is shown, and no work for a megabyte.
_SEARCHED_MAX = 2000
_ERROR_BODY_S = 1.0  # real seconds; the status says more than the text, and is there already
_ADDRESS = re.compile(r"[^\s<>@]+@[^\s<>@]+")

_REASONS: dict[int, LeadterraReason] = {
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    429: "rate_limited",
}
_ADVICE: dict[LeadterraReason, str] = {
    "unauthorized": "check 'leadterra.api_key'",
    "forbidden": "use a key that may do this",
    "not_found": "check the id, and that the key is of the same workspace",
    "invalid_request": "check what was asked",
    "rate_limited": "ask later, or lower 'leadterra.concurrency'",
    "server_error": "ask later",
}


@dataclass(frozen=True, slots=True)
class Ask:
    """A request: `path` is encoded and may have a query; `content` is a JSON body."""

    method: str
    path: str
    content: bytes | None = None

    def __str__(self) -> str:
        return f"{self.method} {self.path.partition('?')[0]}"[:_SHOWN_MAX]


@dataclass(frozen=True, slots=True)
class Answer:
    """A 2xx answer, complete; `at_ms` is its `Date` header in epoch milliseconds, None without a readable one."""

    ask: Ask
    status: int
    at_ms: int | None
    body: bytes = field(repr=False)


class Exchange:
    """Asks over `lanes`, which are closed with it; `api_key` is taken out of everything that is shown."""

    def __init__(self, lanes: Lanes, base_url: str, api_key: str) -> None:
        self._lanes = lanes
        self._base_url = base_url
        self._host = urlsplit(base_url).hostname or ""
        self._key = re.compile(re.escape(api_key), re.IGNORECASE)  # a host's name comes in lower case

    async def close(self) -> None:
        await self._lanes.close()

    async def send(self, ask: Ask) -> Answer:
        """The answer to one request, asked once. Raises LeadterraError for anything but a complete 2xx."""
        try:
            async with self._lanes.send(ask.method, self._base_url + ask.path, ask.content) as response:
                if not response.is_success:
                    raise await self._refusal(ask, response)
                body = await _body(ask, response)
                return Answer(ask, response.status_code, date_ms(response.headers.get("Date")), body)
        except (httpx.HTTPError, httpx.StreamError, OSError, UnicodeError) as error:
            # Not chained: what the libraries say may quote the answer, and that may quote the key.
            raise self._unreachable(ask, error) from None

    def _unreachable(self, ask: Ask, error: Exception) -> LeadterraError:
        arrived = not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
        if isinstance(error, httpx.TimeoutException):
            return timed_out(ask, arrived=arrived)
        text = f"Leadterra at '{self._host}' could not be asked {ask}: {_fault(error)}; check 'leadterra.base_url'"
        return LeadterraError(f"{text} and the network.", "unreachable", arrived=arrived)

    async def _refusal(self, ask: Ask, response: httpx.Response) -> LeadterraError:
        status = response.status_code
        if 300 <= status < 400:
            return self._redirected(ask, response)
        if not 400 <= status < 600:
            return LeadterraError(
                f"Leadterra answered {ask} with {status}, which is no status; check 'leadterra.base_url'.",
                "invalid_answer",
                status,
            )
        reason = _REASONS.get(status, "invalid_request" if status < 500 else "server_error")
        wait_s = retry_after_s(response)
        said = self._shown(_said(await _error_body(ask, response)))
        waiting = "" if wait_s is None else f" and asks to wait {wait_s:.0f} s"
        text = f"Leadterra answered {ask} with {status}{said and f' ({said})'}{waiting}; {_ADVICE[reason]}."
        return LeadterraError(text, reason, status, retry_after_s=wait_s)

    def _redirected(self, ask: Ask, response: httpx.Response) -> LeadterraError:
        try:
            host = urlsplit(response.headers.get("Location", "")).hostname
        except ValueError:
            host = None
        target = f"'{self._shown(host)}'" if host else "another path"
        text = f"Leadterra answered {ask} with {response.status_code} to {target}, which is not followed"
        return LeadterraError(f"{text}; check 'leadterra.base_url'.", "redirected", response.status_code)

    def _shown(self, text: str) -> str:
        """What a server said, printable and short, without the key and without anybody's address."""
        text = "".join(character if character.isprintable() else "" for character in text)
        return _ADDRESS.sub("[address]", self._key.sub("[key]", text)[:_SEARCHED_MAX])[:_SHOWN_MAX]


def timed_out(ask: Ask, *, arrived: bool = True) -> LeadterraError:
    """The error for an answer that was not complete in time."""
    text = f"Leadterra did not answer {ask} completely in time; ask later, or raise 'leadterra.timeout_s'."
    return LeadterraError(text, "timeout", arrived=arrived)


def date_ms(text: str | None) -> int | None:
    """Epoch milliseconds of a date as HTTP writes them (RFC 9110, section 5.6.7); None if it is not one."""
    try:
        moment = parsedate_to_datetime(text or "")
        # Without a zone it is UTC, as always in HTTP.
        at_ms = int(moment.timestamp() if moment.tzinfo else moment.replace(tzinfo=UTC).timestamp()) * 1000
    except (ValueError, OverflowError, IndexError, TypeError):
        return None
    return at_ms if at_ms >= EARLIEST_MS else None


def retry_after_s(response: httpx.Response) -> float | None:
    """The seconds that `Retry-After` asks to wait, a date being compared with the answer's own.

    None when it is absent, unreadable, or not ahead.
    """
    text = response.headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        wait_s = float(text)
    else:
        until_ms = date_ms(text)
        if until_ms is None:
            return None
        now_ms = date_ms(response.headers.get("Date")) or SystemClock().now_ms()
        wait_s = (until_ms - now_ms) / 1000
    return min(wait_s, _WAIT_MAX_S) if wait_s > 0 else None


async def _body(ask: Ask, response: httpx.Response) -> bytes:
    """The whole body, decompressed, of at most `BODY_MAX_BYTES`.

    By hand, because httpx inflates each chunk to whatever size it has: 64 KiB may become 64 MiB.
    """
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    inflater = zlib.decompressobj(zlib.MAX_WBITS | 16) if encoding in ("gzip", "x-gzip") else None
    if inflater is None and encoding not in ("", "identity"):
        raise _unreadable(ask, response, "has an encoding that was not asked for")
    assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101 # an asynchronous client's always is
    body, received = bytearray(), 0
    async for chunk in response.stream:
        received += len(chunk)
        try:
            body += inflater.decompress(chunk, BODY_MAX_BYTES + 1 - len(body)) if inflater else chunk
        except zlib.error:
            raise _unreadable(ask, response, "cannot be decompressed") from None
        if max(len(body), received) > BODY_MAX_BYTES:
            text = f"Leadterra answered {ask} with more than {BODY_MAX_BYTES} bytes; check 'leadterra.base_url'."
            raise LeadterraError(text, "too_large", response.status_code)
    if inflater and not inflater.eof:
        raise _unreadable(ask, response, "cannot be decompressed")
    return bytes(body)


def _unreadable(ask: Ask, response: httpx.Response, fault: str) -> LeadterraError:
    text = f"Leadterra answered {ask} with a body that {fault}; check 'leadterra.base_url'."
    return LeadterraError(text, "not_json", response.status_code)


async def _error_body(ask: Ask, response: httpx.Response) -> bytes:
    """The body of an error, for its code; the status counts even if the body cannot be had."""
    try:
        async with asyncio.timeout(_ERROR_BODY_S):
            return await _body(ask, response)
    except (httpx.HTTPError, OSError, LeadterraError):
        return b""


def _said(body: bytes) -> str:
    """The code and message of an error body; Leadterra does not document its shape."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    if not isinstance(found, dict):
        return ""
    inner = found.get("error")
    places = [inner, found] if isinstance(inner, dict) else [found]
    texts = [inner] + [place.get(name) for name in ("code", "message") for place in places]
    return ": ".join(dict.fromkeys(text for text in texts if isinstance(text, str) and text))


def _fault(error: BaseException) -> str:
    """What went wrong, in our words, by the most telling of an error's causes."""
    causes = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None and cause not in causes:
        causes.append(cause)
    for kind, words in _FAULTS:
        if any(isinstance(cause, kind) for cause in causes):
            return words
    return "the connection failed"


_FAULTS: tuple[tuple[type[BaseException], str], ...] = (
    (socket.gaierror, "its name cannot be resolved"),
    (UnicodeError, "its name cannot be resolved"),
    (ssl.SSLCertVerificationError, "its certificate is not trusted"),
    (ssl.SSLError, "no secure connection can be made"),
    (ConnectionRefusedError, "the connection was refused"),
    (httpx.RemoteProtocolError, "the answer ended early or is not HTTP"),
    (ConnectionError, "the connection was lost"),
    (httpx.ReadError, "the connection was lost"),
)
