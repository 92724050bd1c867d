"""Ingest beside an empty Starlette route: interleaved rounds, medians and ratios of one run."""

import hashlib
import hmac
import json
import random
import re
import shutil
import sqlite3
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson

from tests.bench.servers import SECRET, Running, empty_route, receiver

CONNECTIONS = 64
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LUA = Path(__file__).with_name("load.lua")
_STRACE = ("strace", "-f", "--seccomp-bpf", "-c", "-e", "trace=fsync,fdatasync", "-o")


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
    def per_second(self) -> float:
        return self.requests / self.seconds


def write_requests(path: Path, count: int, campaigns: int, seed: int) -> None:
    """Raw signed `message.sent` requests with ULID ids, each with its length in front, ready to be sent."""
    chance = random.Random(seed)
    begun = datetime.now(UTC) - timedelta(hours=1)
    with path.open("wb") as file:
        for number in range(count):
            at = begun + timedelta(milliseconds=20 * number)
            data = {
                "messageId": f"msg_{_ulid(int(at.timestamp() * 1000), chance)}",
                "campaignId": f"camp_{chance.randrange(campaigns):05d}",
                "sequenceStep": chance.randrange(1, 4),
                "email": f"lead{number}@example{chance.randrange(500)}.org",
            }
            payload = {"event": "message.sent", "timestamp": at.isoformat(), "data": data}
            file.write(_framed(orjson.dumps(payload)))


def _framed(body: bytes) -> bytes:
    signature = hmac.new(SECRET, body, hashlib.sha256).hexdigest()
    head = (
        f"POST /webhooks/leadterra HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"X-Leadterra-Signature: {signature}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    request = head.encode() + body
    return b"%08d" % len(request) + request


def _ulid(at_ms: int, chance: random.Random) -> str:
    value = at_ms << 80 | chance.getrandbits(80)
    return "".join(_ALPHABET[value >> shift & 31] for shift in range(125, -1, -5))


def load(running: Running, requests: Path, seconds: int) -> Round:
    """One round of load against a running server."""
    url = f"http://127.0.0.1:{running.port}"
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(_LUA), url, "--", str(requests)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = re.search(r"^RESULT (.*)$", output, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"wrk printed no result:\n{output}")
    return Round(**json.loads(found[1]))


def measure(rounds: int, seconds: int, campaigns: int) -> dict[str, object]:
    """The whole comparison."""
    with tempfile.TemporaryDirectory(prefix="receiver-bench-") as name:
        folder = Path(name)
        requests = folder / "requests"
        write_requests(requests, count=20_000 * seconds, campaigns=campaigns, seed=1)
        empty = []
        ours = []
        for _ in range(rounds):
            empty.append(_round(empty_route, folder, requests, seconds))
            ours.append(_round(receiver, folder, requests, seconds))
        return {
            "connections": CONNECTIONS,
            "campaigns": campaigns,
            "empty_route": _summary(empty),
            "receiver": _summary(ours),
            "ratios": [mine.per_second / theirs.per_second for mine, theirs in zip(ours, empty, strict=True)],
            "fsyncs_per_event": _fsyncs(folder, requests, seconds),
        }


def _round(
    server: Callable[[Path], AbstractContextManager[Running]], parent: Path, requests: Path, seconds: int
) -> Round:
    folder = Path(tempfile.mkdtemp(dir=parent))
    with server(folder) as running:
        result = load(running, requests, seconds)
    if server is receiver:
        _check_counted(folder, result)
    shutil.rmtree(folder)
    return result


def _check_counted(folder: Path, result: Round) -> None:
    """A fast answer counts only when the event does."""
    conn = sqlite3.connect(f"file:{folder / 'bench.db'}?mode=ro", uri=True)
    sent = conn.execute("SELECT sum(sent) FROM totals WHERE step = -1").fetchone()[0]
    conn.close()
    if sent < result.requests or result.not_2xx or result.broken:
        raise RuntimeError(f"{result} was answered, {sent} events are counted.")


def _fsyncs(folder: Path, requests: Path, seconds: int) -> float | None:
    """Forced writes per event, counted by the kernel's own trace; None where strace cannot run."""
    if shutil.which("strace") is None:
        return None
    traced = Path(tempfile.mkdtemp(dir=folder))
    trace = traced / "trace"
    with receiver(traced, (*_STRACE, str(trace))) as running:
        result = load(running, requests, seconds)
    calls = re.findall(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+).*\b(?:fsync|fdatasync)$", trace.read_text(), re.MULTILINE)
    return sum(map(int, calls)) / result.requests


def _summary(rounds: list[Round]) -> dict[str, object]:
    rates = [each.per_second for each in rounds]
    return {
        "requests_per_second": statistics.median(rates),
        "spread": [min(rates), max(rates)],
        "p50_ms": statistics.median(each.p50_ms for each in rounds),
        "p99_ms": statistics.median(each.p99_ms for each in rounds),
        "rounds": [asdict(each) for each in rounds],
    }
