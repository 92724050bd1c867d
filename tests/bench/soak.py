"""`python -m tests.bench.soak --minutes N`: events, kills, questions and reconciliation at once, for any time.

Signed events come doubled and out of order, questions all the time, a run of reconciliation every few seconds; the
server is killed at random moments of the first two thirds and started again. At the end every acknowledged event must
be in the ledger, once, and every figure must be what the ledger says: exit 1 otherwise.
"""

import argparse
import contextlib
import json
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench.provider import running as provider
from tests.bench.traffic import CAMPAIGNS, Traffic, identity_of
from tests.e2e.server import Connection, Server, environment, request, rows, until

_QUESTIONS = (
    "/v1/campaigns?limit=100",
    "/v1/campaigns/camp_1",
    "/v1/campaigns/camp_2/steps",
    "/v1/series?interval=15m&from=-6h",
    "/v1/series?interval=hour&from=-1d&group_by=campaign&basis=send",
    "/v1/summary?from=-1d&compare=previous",
    "/v1/bounces?group_by=reason",
    "/v1/replies",
    "/v1/events?limit=200",
    "/v1/events?format=csv&limit=2000",
    "/v1/campaigns?format=ndjson",
    "/v1/explain?figure=bounced&campaign_id=camp_1&from=-1h",
    "/v1/drift",
    "/v1/reconciliations",
    "/v1/quarantine",
    "/readyz",
    "/metrics",
)
_SAMPLE_S = 1.0
# Before it a process is still getting its memory together.
_WARM_UP_S = 60.0
_PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class Sample:
    """The server at one moment: seconds since the soak began and since its process did, and what it holds then."""

    at_s: float
    age_s: float
    life: int
    rss_mib: float
    descriptors: int
    threads: int
    wal_mib: float


@dataclass(slots=True)
class Soak:
    """What a soak found. `lost` were acknowledged and are not in the ledger; `twice` are in it more than once."""

    seconds: float
    traffic: Traffic
    samples: list[Sample] = field(default_factory=list)
    kills: int = 0
    questions: Counter[str] = field(default_factory=Counter)
    asked_s: list[float] = field(default_factory=list)
    reconciliations: int = 0
    in_ledger: int = 0
    lost: int = 0
    twice: int = 0
    rows_changed: int = 0
    verified: bool = False
    database_mib: float = 0.0
    unanswered: bool = False

    @property
    def is_good(self) -> bool:
        return not (self.lost or self.twice or self.rows_changed or self.unanswered) and self.verified


class Target:
    """The server that runs now; killed and started again on the same database."""

    def __init__(self, database: Path, **settings: Any) -> None:
        self.database = database
        self.lives = 0
        self._settings = settings
        self._server: Server | None = None
        self.start()

    @property
    def server(self) -> Server:
        assert self._server is not None
        return self._server

    def port(self) -> int:
        return self.server.port

    def start(self) -> None:
        server = self._server = Server(self.database, wait=False, **self._settings)
        until(lambda: server.port or server.process.poll() is not None, "the server to listen", _PATIENCE_S)
        server.wait_until_listening()  # says why it did not
        self.lives += 1

    def sample(self, begun_s: float) -> Sample:
        """Raises OSError while there is no process."""
        proc, now = Path(f"/proc/{self.server.pid}"), time.monotonic()
        status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
        wal = self.database.with_name(self.database.name + "-wal")
        return Sample(
            now - begun_s,
            now - self.server.started_s,
            self.lives,
            int(status["VmRSS"].split()[0]) / 1024,
            len(list((proc / "fd").iterdir())),
            int(status["Threads"]),
            wal.stat().st_size / 2**20,
        )


def soak(folder: Path, seconds: float, rate: int = 200, kills: int | None = None, seed: int = 1) -> Soak:
    """Run it on a database in the folder. `kills` is how often, one a minute unless given."""
    chance = random.Random(seed)
    count = max(1, round(seconds / 60)) if kills is None else kills
    with provider() as leadterra:
        target = Target(
            folder / "soak.db",
            leadterra__base_url=f"http://127.0.0.1:{leadterra}",
            leadterra__api_key="sk_test_soak",
            reconcile__interval_s=10,
        )
        begun = time.monotonic()
        found = Soak(seconds, Traffic(target.port, rate, seed=seed))
        moments = sorted(begun + chance.uniform(0.02, 0.67) * seconds for _ in range(count))
        try:
            with found.traffic, _beside(_ask, target, found), _beside(_sample, target, found, begun):
                for moment in moments:
                    time.sleep(max(0.0, moment - time.monotonic()))
                    target.server.kill()
                    found.kills += 1
                    target.start()
                time.sleep(max(0.0, begun + seconds - time.monotonic()))
                found.unanswered = not found.traffic.finish(_PATIENCE_S)
            target.server.stop()
        finally:
            target.server.kill()
    judge(target.database, found)
    return found


@contextlib.contextmanager
def _beside(work: object, *arguments: object) -> Iterator[None]:
    """Something that goes on in a thread of its own until the block ends."""
    over = threading.Event()
    thread = threading.Thread(target=work, args=(over, *arguments))  # type: ignore[arg-type] # a plain callable
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _ask(over: threading.Event, target: Target, found: Soak) -> None:
    """One question after another, with a short pause; each kill costs the connection."""
    while not over.is_set():
        with contextlib.suppress(OSError, ValueError), Connection(target.port()) as connection:
            for question in _QUESTIONS:
                begun = time.monotonic()
                answer = connection.ask(request("GET", question))
                found.asked_s.append(time.monotonic() - begun)
                name = str(answer.status) if answer.status < 400 else f"{answer.status} {answer.code}"
                found.questions[name] += 1
                if over.wait(0.1):
                    return
        over.wait(0.2)


def _sample(over: threading.Event, target: Target, found: Soak, begun_s: float) -> None:
    while not over.wait(_SAMPLE_S):
        with contextlib.suppress(OSError, KeyError):
            found.samples.append(target.sample(begun_s))


def judge(database: Path, found: Soak) -> None:
    """Compare the ledger with what was acknowledged, and the figures with the ledger."""
    bodies = rows(database, "SELECT body FROM journal WHERE role = 1")
    held = Counter(identity_of(body) for (body,) in bodies)
    figures = rows(database, "SELECT sum(sent), sum(bounced), sum(replies) FROM totals WHERE step = -1")[0]
    kinds = Counter(identity.split()[0] for identity in held)
    counted = dict(zip(("sent", "bounced", "replied"), figures, strict=True))
    found.in_ledger = held.total()
    found.lost = len(found.traffic.acked - held.keys()) + sum(max(0, kinds[kind] - counted[kind]) for kind in kinds)
    found.twice = sum(times - 1 for times in held.values())
    found.twice += sum(max(0, counted[kind] - kinds[kind]) for kind in kinds)
    found.reconciliations = rows(database, "SELECT count(*) FROM runs WHERE status = 'ok'")[0][0]
    found.verified = _command(database, "verify").returncode == 0
    rebuilt = _command(database, "rebuild", "--json")
    found.rows_changed = json.loads(rebuilt.stdout)["rows_changed"] if rebuilt.returncode in (0, 3) else -1
    found.database_mib = database.stat().st_size / 2**20


def _command(database: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """A command, for as long as it takes."""
    words = [sys.executable, "-m", "receiver", *arguments]
    return subprocess.run(words, env=environment(database), capture_output=True, text=True, check=False)


def slope_per_hour(samples: Sequence[Sample]) -> float | None:
    """MiB an hour by least squares over each life of the server that is warm; None where that is too short."""
    upper = lower = 0.0
    for life in {sample.life for sample in samples}:
        warm = [sample for sample in samples if sample.life == life and sample.age_s > _WARM_UP_S]
        if len(warm) < 30:
            continue
        mean_s = statistics.fmean(sample.at_s for sample in warm)
        mean_mib = statistics.fmean(sample.rss_mib for sample in warm)
        upper += sum((sample.at_s - mean_s) * (sample.rss_mib - mean_mib) for sample in warm)
        lower += sum((sample.at_s - mean_s) ** 2 for sample in warm)
    return upper / lower * 3600 if lower else None


def table(found: Soak) -> list[tuple[str, str]]:
    """The rows that are printed."""
    traffic, samples = found.traffic, found.samples
    slope, last = slope_per_hour(samples), [sample for sample in samples if sample.life == samples[-1].life]
    refused = [f"{count} × {name}" for name, count in sorted(traffic.refused.items())]
    failed = [f"{count} × {name}" for name, count in sorted(found.questions.items()) if name >= "4"]
    return [
        ("time", f"{found.seconds / 60:.1f} min, {found.kills} kills"),
        ("events acknowledged / in the ledger", f"{len(traffic.acked):,} / {found.in_ledger:,}"),
        ("lost / counted twice", f"{found.lost} / {found.twice}"),
        (
            "`verify` / rows that `rebuild` changed",
            f"{'sound' if found.verified else 'MISMATCH'} / {found.rows_changed}",
        ),
        ("deliveries answered", f"{traffic.deliveries:,}, {traffic.deliveries / found.seconds:.0f} a second"),
        ("delivery p50 / p99", _milliseconds(traffic.took_s)),
        ("refused deliveries", ", ".join(refused) or "none"),
        ("deliveries without an answer", str(traffic.broken)),
        ("questions / p50 / p99", f"{found.questions.total():,} / {_milliseconds(found.asked_s)}"),
        ("questions that failed", ", ".join(failed) or "none"),
        ("runs of reconciliation", f"{found.reconciliations}, {CAMPAIGNS} campaigns each"),
        ("memory (RSS), first / last sample", f"{samples[0].rss_mib:.0f} / {samples[-1].rss_mib:.0f} MiB"),
        ("its slope, warm", "too short to say" if slope is None else f"{slope:+.1f} MiB an hour"),
        ("open files, last process: first / most / last", _course([sample.descriptors for sample in last])),
        ("threads, last process: first / most / last", _course([sample.threads for sample in last])),
        ("write-ahead log, largest", f"{max(sample.wal_mib for sample in samples):.1f} MiB"),
        ("database at the end", f"{found.database_mib:.1f} MiB"),
    ]


def _milliseconds(took_s: Sequence[float]) -> str:
    quantiles = statistics.quantiles(took_s, n=100)
    return f"{quantiles[49] * 1000:.1f} / {quantiles[98] * 1000:.0f} ms"


def _course(values: Sequence[int]) -> str:
    return f"{values[0]} / {max(values)} / {values[-1]}"


def main() -> int:
    """Soak, print the table, and say by the exit code whether it is good."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rate", type=int, default=200, help="new events a second (200)")
    parser.add_argument("--kills", type=int, help="how often the server is killed (once a minute)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="receiver-soak-") as folder:
        found = soak(Path(folder), options.minutes * 60, options.rate, options.kills, options.seed)
    print("| | |\n|---|---|")
    for name, value in table(found):
        print(f"| {name} | {value} |")
    return 0 if found.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
