"""`python -m tests.bench.reconcile`: one run over 2,000 campaigns beside what its concurrency allows; snapshots.

The provider is a process of its own that answers in 50 ms; the run has the event loop that `serve` has. A snapshot
is taken in beside ten events and beside many.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path

import structlog
import uvloop

from receiver.app import Service
from receiver.leadterra.answers import Counters
from receiver.reconcile.cases import Answered, Pins, circumstances, take_in
from receiver.settings import Settings
from receiver.storage.deliveries import Delivery, Stretch
from receiver.storage.sqlite.connection import open_for_writing
from receiver.storage.sqlite.ledger import Ledger
from receiver.storage.sqlite.migrate import migrate
from tests.bench.provider import DELAY_S
from tests.bench.provider import running as provider

CAMPAIGNS = 2000
CONCURRENCY = 16
NOW = 1_749_634_200_000  # 2025-06-11T09:30:00Z
MINUTE_MS = 60_000


async def run_s(port: int, folder: Path) -> tuple[float, float]:
    """Seconds that a run over all campaigns takes, and those in which this process computes."""
    settings = Settings.model_validate(
        {
            "webhook": {"secrets": ("whsec",)},
            "storage": {"url": f"sqlite:///{folder / 'bench.db'}"},
            "leadterra": {
                "base_url": f"http://127.0.0.1:{port}",
                "api_key": "sk_test_bench",
                "concurrency": CONCURRENCY,
            },
            "reconcile": {"interval_s": 0},
        }
    )
    service = await Service.open(settings, "token")
    try:
        reconciler = service.reconciliation.reconciler
        assert reconciler is not None
        ids = [f"camp_{number}" for number in range(CAMPAIGNS)]
        await reconciler.run("bench", ids[:50])  # connections are open, files are warm
        begun, computed = time.monotonic(), time.process_time()
        run = await reconciler.run("bench", ids)
        took_s, computed_s = time.monotonic() - begun, time.process_time() - computed
        assert (run.status, run.campaigns) == ("ok", CAMPAIGNS), run
        return took_s, computed_s
    finally:
        await service.close()


def snapshot_ms(folder: Path, events: int, count: int = 200) -> float:
    """The median time to take one snapshot in, beside so many events of its campaign over half a year."""
    conn = open_for_writing(folder / f"{events}.db")
    migrate(conn, "bench", NOW)
    ledger = Ledger(conn)
    for begin in range(0, events, 5000):
        chunk = []
        for number in range(begin, min(begin + 5000, events)):
            at = NOW - (events - number) * 15_000_000 // max(events, 1) * 1000
            body = b'{"event":"message.sent","timestamp":"%s","data":{"messageId":"m%d","campaignId":"c"}}' % (
                time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at // 1000)).encode(),
                number,
            )
            chunk.append(Delivery(body, NOW, ledger.parser.parse(body, NOW)))
        ledger.commit(conn, chunk, NOW, Stretch(NOW, NOW), None)
    around = circumstances(conn, Pins(), NOW)
    times = []
    for number in range(count):
        at = NOW + number * 5 * MINUTE_MS
        answer = Answered("c", Counters(events, events, 0, 0, number, None, None, None), at, at, at)
        begun = time.perf_counter()
        ledger.transact(conn, lambda conn, answer=answer: take_in(conn, answer, answer.at, around))  # type: ignore[misc] # bound
        times.append((time.perf_counter() - begun) * 1000)
    conn.close()
    return statistics.median(times)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.reconcile", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000, help="events beside which a snapshot is taken in")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    with tempfile.TemporaryDirectory() as name, provider() as port:
        ideal_s = CAMPAIGNS * DELAY_S / CONCURRENCY
        runs = []
        for _ in range(3):
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runs.append(runner.run(run_s(port, Path(tempfile.mkdtemp(dir=name)))))
        few, many = snapshot_ms(Path(name), 10), snapshot_ms(Path(name), options.events)
    took_s, computed_s = (statistics.median(each) for each in zip(*runs, strict=True))
    report = {
        "run": {
            "seconds": [round(each, 2) for each, _ in runs],
            "ideal_s": ideal_s,
            "of_ideal": round(ideal_s / took_s, 3),
            "computed_ms_per_campaign": round(computed_s / CAMPAIGNS * 1000, 2),
        },
        "snapshot_ms": {"events_10": few, f"events_{options.events}": many, "ratio": round(many / few, 2)},
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
