"""Checks that a URL leads to the running receiver, as Leadterra will post to it, and says why it does not."""

import socket
import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import orjson

from receiver.errors import CommandError
from receiver.http import outside_client
from receiver.ingest.probe import ProbeAnswer, make_probe, real_ms

# Leadterra waits as long.
_TIMEOUT_S = 10.0
_SHOWN_MAX = 200
_ANSWER_MAX_BYTES = 16_384

_UNREACHABLE: dict[type[BaseException], str] = {
    socket.gaierror: "'{host}' has no address ({reason}); check the name",
    ssl.SSLCertVerificationError: "its certificate is not trusted here ({reason}); Leadterra must trust it too",
    ssl.SSLError: "TLS fails ({reason}); check that https is served at this port",
    ConnectionRefusedError: "the connection is refused; check host and port, and that the proxy runs",
    httpx.TimeoutException: f"there is no answer within {_TIMEOUT_S:g} s; check firewall and proxy",
    httpx.RemoteProtocolError: "what answers is not HTTP, or it closes without an answer; check the port",
}
_OF_OURS = {
    "signature_invalid": "a receiver answers there that did not make the probe: it is another one, "
    "or something on the way changed the body beyond recognition",
    "not_found": "a receiver answers there, but not at this path; use '{path}' after its 'server.root_path'",
    "unsupported_encoding": "something on the way compresses the body; the receiver takes it only as it was sent",
    "body_too_large": "'server.body_limit_bytes' is too small even for the probe",
}
_OF_OTHERS = {
    400: "whoever answers there takes no webhook; the URL or the proxy's configuration is wrong",
    401: "something in front of the receiver asks for credentials; it must let this path through",
    403: "something in front of the receiver forbids it; it must let this path through",
    404: "there is nothing at this path; the receiver's is '{path}', and the proxy must pass it on",
    405: "whoever answers there takes no POST; the receiver's path is '{path}'",
    502: "the proxy does not reach the receiver; check where it passes requests on to",
    503: "the receiver, or what is in front of it, takes nothing now",
    504: "the proxy gets no answer from the receiver; check where it passes requests on to",
}


def check_reach(url: str, token: str, webhook_path: str) -> None:
    """Post a probe to `url`. Raises CommandError, unless it arrives unchanged at the process of this token."""
    probe = make_probe(token, real_ms())
    headers = {"X-Leadterra-Signature": probe.signature, "Content-Type": "application/json"}
    try:
        with (
            outside_client(_TIMEOUT_S) as client,
            client.stream("POST", url, content=probe.body, headers=headers) as response,
        ):
            content = _beginning(response)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise CommandError(f"'{url}' cannot be reached: {_unreachable(url, error)}.") from error
    answer = ProbeAnswer.read(content) if response.status_code == 200 else None
    if answer is None:
        words = _refusal(response, content).format(path=webhook_path)
        raise CommandError(f"'{url}' does not lead to this receiver (it answers {response.status_code}): {words}.")
    if not probe.proves(answer):
        raise CommandError(f"'{url}' leads to somebody who cannot prove to be this receiver; check the URL.")
    if not probe.arrived_whole(answer):
        raise CommandError(
            f"'{url}' leads to this receiver, but something on the way changes the body; "
            "switch that off, because the signature is over the bytes as they were sent."
        )
    if not answer.has_signature:
        raise CommandError(
            f"'{url}' leads to this receiver, but something on the way drops the header X-Leadterra-Signature; "
            "let it through."
        )


def _beginning(response: httpx.Response) -> bytes:
    """As much of the answer as ours has at most; another program's may have no end."""
    content = b""
    for chunk in response.iter_bytes(_ANSWER_MAX_BYTES):
        content += chunk
        if len(content) > _ANSWER_MAX_BYTES:
            break
    return content


def _unreachable(url: str, error: Exception) -> str:
    """In words, by the first of its causes that says something."""
    host = urlsplit(url).hostname
    for cause in _causes(error):
        for kind, words in _UNREACHABLE.items():
            if isinstance(cause, kind):
                reason = getattr(cause, "verify_message", None) or getattr(cause, "strerror", None) or str(cause)
                return words.format(host=host, reason=reason)
    return str(error) or type(error).__name__


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it came from, the origin first."""
    if error is not None:
        yield from _causes(error.__cause__ or error.__context__)
        yield error


def _refusal(response: httpx.Response, content: bytes) -> str:
    if response.is_redirect:
        place = "".join(char for char in response.headers.get("location", "")[:_SHOWN_MAX] if char.isprintable())
        return f"it redirects to '{_literal(place)}'; Leadterra may not follow, so register the URL that answers"
    try:
        code = orjson.loads(content)["code"]
    except (ValueError, TypeError, KeyError):
        code = None
    if isinstance(code, str) and code in _OF_OURS:
        return _OF_OURS[code]
    if response.is_success:
        return "it is another program, which takes whatever comes; check host and path"
    return _OF_OTHERS.get(response.status_code, "what answers there is not this receiver")


def _literal(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
