"""The load: prepared signed requests, sent by wrk over kept-alive connections."""

import hashlib
import hmac
import json
import math
import random
import re
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path

import orjson

from tests.bench.servers import SECRET, Running

CONNECTIONS = 64
_PER_SECOND = 20_000  # prepared; far more than anything here answers
# Leadterra's own patience.
_TIMEOUT_S = 10
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LUA = Path(__file__).with_name("load.lua")


class Ids(Enum):
    """How the ids of messages are made."""

    ULID = "ULID"
    RANDOM = "random"


@dataclass(frozen=True, slots=True)
class Round:
    """What the load generator saw."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    not_2xx: int
    broken: int

    @property
    def acknowledged(self) -> int:
        return self.requests - self.not_2xx

    @property
    def per_second(self) -> float:
        """Requests with a good answer."""
        return self.acknowledged / self.seconds

    @property
    def refused(self) -> int:
        return self.not_2xx + self.broken


def signed_requests(count: int, campaigns: int, seed: int, ids: Ids = Ids.ULID) -> Iterator[bytes]:
    """Raw signed `message.sent` requests; other seeds give other messages."""
    chance = random.Random(seed)
    begun = datetime.now(UTC) - timedelta(hours=1)
    for number in range(count):
        at = begun + timedelta(milliseconds=20 * number)
        data = {
            "messageId": f"msg_{_message_id(ids, int(at.timestamp() * 1000), chance)}",
            "campaignId": f"camp_{chance.randrange(campaigns):05d}",
            "sequenceStep": chance.randrange(1, 4),
            "email": f"lead{number}@example{chance.randrange(500)}.org",
        }
        yield _signed(orjson.dumps({"event": "message.sent", "timestamp": at.isoformat(), "data": data}))


def _message_id(ids: Ids, at_ms: int, chance: random.Random) -> str:
    tail = chance.getrandbits(80)
    if ids is Ids.RANDOM:
        return f"{tail:020x}"
    value = at_ms << 80 | tail
    return "".join(_ALPHABET[value >> shift & 31] for shift in range(125, -1, -5))


def _signed(body: bytes) -> bytes:
    signature = hmac.new(SECRET, body, hashlib.sha256).hexdigest()
    head = (
        f"POST /webhooks/leadterra HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"X-Leadterra-Signature: {signature}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def write_requests(path: Path, seconds: float, seed: int, campaigns: int = 2000, ids: Ids = Ids.ULID) -> Path:
    """The file, filled with more events than any server takes in so many seconds."""
    return write_framed(path, signed_requests(math.ceil(_PER_SECOND * seconds), campaigns, seed, ids))


def write_question(path: Path, url: str) -> Path:
    """The file, with one GET that is sent again and again."""
    return write_framed(path, [f"GET {url} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()])


def write_framed(path: Path, requests: Iterable[bytes]) -> Path:
    """The file, with these raw requests."""
    with path.open("wb") as file:
        for request in requests:
            file.write(b"%08d" % len(request) + request)
    return path


def load(running: Running, requests: Path, seconds: float) -> Round:
    """One round of load against a running server; requests that have all been sent are sent again."""
    url = f"http://127.0.0.1:{running.port}"
    duration = ("--duration", f"{math.ceil(seconds)}s", "--timeout", f"{_TIMEOUT_S}s")
    command = [
        "stdbuf",
        "-oL",
        "wrk",
        "-t1",
        f"-c{CONNECTIONS}",
        *duration,
        "-s",
        str(_LUA),
        url,
        "--",
        str(requests),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as wrk:
        assert wrk.stdout is not None
        said = wrk.stdout.readline()  # once it runs
        if seconds != math.ceil(seconds):  # it takes whole ones only, and reports when it is interrupted
            time.sleep(seconds)
            wrk.send_signal(signal.SIGINT)
        output = said + wrk.communicate()[0]
    found = re.search(r"^RESULT (.*)$", output, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"wrk printed no result:\n{output}")
    return Round(**json.loads(found[1]))
