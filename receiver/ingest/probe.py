"""A signed question to our own webhook: does a URL lead to this process, and does a body arrive as it was sent?

Both sides know a key that only this process and its lock file hold. The question carries proof that it was made
with it, and its own time; the answer proves that it comes from here, and says what arrived. Neither is of use twice,
and nothing is ever signed that somebody else chose.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import orjson

from receiver.leadterra.signature import sign

EVENT = "receiver.probe"

_MARK = EVENT.encode()
_VALID_MS = 30_000
_BODY_MAX_BYTES = 4096
# What a proxy that reads JSON and writes it again, or that knows one character set only, would not leave alone.
_TEXT = r'"text":  "\u00fc <b>&amp;</b> \/ 1.0e2'
_END = ' ü"}}\r\n'


@dataclass(frozen=True, slots=True)
class Probe:
    """A question: its body, the value of the signature header, and what only the right answer can prove."""

    body: bytes
    signature: str
    nonce: str
    key: bytes

    def proves(self, answer: "ProbeAnswer") -> bool:
        """Whether an answer comes from the process that was asked."""
        return hmac.compare_digest(_proof(self.key, self.nonce, answer), answer.proof)

    def arrived_whole(self, answer: "ProbeAnswer") -> bool:
        """Whether the body is byte for byte the one that was sent."""
        return answer.body_sha256 == hashlib.sha256(self.body).digest()


@dataclass(frozen=True, slots=True)
class ProbeAnswer:
    """What arrived: the hash of the body, whether a signature came with it; and the proof of both."""

    body_sha256: bytes
    has_signature: bool
    proof: bytes

    @classmethod
    def read(cls, content: bytes) -> "ProbeAnswer | None":
        """The answer in a response's body; None when it is something else."""
        try:
            found = orjson.loads(content)[EVENT]
            return cls(
                bytes.fromhex(found["body_sha256"]), found["has_signature"] is True, bytes.fromhex(found["proof"])
            )
        except (ValueError, TypeError, KeyError):
            return None


def real_ms() -> int:
    """Epoch milliseconds of the machine, which both sides run on, whatever time is simulated."""
    return time.time_ns() // 1_000_000


def make_probe(token: str, now_ms: int) -> Probe:
    """A question to the process whose token this is."""
    key, nonce, expires_at = _key(token), secrets.token_hex(16), now_ms + _VALID_MS
    facts = f'"nonce": "{nonce}", "expires_at": {expires_at}, "mac": "{_mac(key, nonce, expires_at).hex()}"'
    body = f'{{"event": "{EVENT}",  "data": {{{facts},  {_TEXT}{_END}'.encode()
    return Probe(body, sign(key, body).hex(), nonce, key)


class Probes:
    """Recognises questions to this process, and answers each once."""

    def __init__(self, token: str, now_ms: Callable[[], int] = real_ms) -> None:
        self._key = _key(token)
        self._now_ms = now_ms
        self._answered: dict[str, int] = {}

    def answer(self, body: bytes, digests: Sequence[bytes]) -> bytes | None:
        """The JSON of the answer; None for whatever is no question of ours, is too old, or was answered already."""
        if len(body) > _BODY_MAX_BYTES or _MARK not in body:
            return None
        nonce = self._nonce(body)
        if nonce is None:
            return None
        found = ProbeAnswer(hashlib.sha256(body).digest(), bool(digests), b"")
        proof = _proof(self._key, nonce, found)
        shown = {
            "body_sha256": found.body_sha256.hex(),
            "has_signature": found.has_signature,
            "proof": proof.hex(),
        }
        return orjson.dumps({EVENT: shown})

    def _nonce(self, body: bytes) -> str | None:
        """The nonce of a question that is ours, is in time and is new."""
        try:
            data = orjson.loads(body)["data"]
            nonce, expires_at, mac = str(data["nonce"]), int(data["expires_at"]), bytes.fromhex(data["mac"])
        except (ValueError, TypeError, KeyError, OverflowError):
            return None
        if not hmac.compare_digest(_mac(self._key, nonce, expires_at), mac):
            return None
        now = self._now_ms()
        if not now < expires_at <= now + _VALID_MS:
            return None
        self._answered = {each: until for each, until in self._answered.items() if until > now}
        if nonce in self._answered:
            return None
        self._answered[nonce] = expires_at
        return nonce


def _key(token: str) -> bytes:
    return hmac.digest(token.encode(), b"leadterra-receiver probe", "sha256")


def _mac(key: bytes, nonce: str, expires_at: int) -> bytes:
    return hmac.digest(key, f"question\0{nonce}\0{expires_at}".encode("utf-8", "replace"), "sha256")


def _proof(key: bytes, nonce: str, answer: ProbeAnswer) -> bytes:
    text = f"answer\0{nonce}\0{answer.body_sha256.hex()}\0{answer.has_signature}"
    return hmac.digest(key, text.encode(), "sha256")
