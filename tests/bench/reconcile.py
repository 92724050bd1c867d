"""One run over many campaigns beside what its concurrency allows; snapshots.

The provider is a process of its own that answers in 50 ms; the run has the event loop that `serve` has, and as there
a process of its own writes. A snapshot is taken in beside ten events and beside many.
"""

import asyncio
import logging
import statistics
import time
from pathlib import Path

import structlog
import uvloop

from receiver.app import Service
from receiver.clock import SystemClock
from receiver.leadterra.answers import Counters
from receiver.reconcile.cases import Answered, Pins, circumstances, take_in
from receiver.settings import Settings
from receiver.storage.deliveries import Delivery, Stretch
from receiver.storage.lock import DatabaseLock
from receiver.storage.sqlite.connection import open_for_writing
from receiver.storage.sqlite.launch import launched
from receiver.storage.sqlite.ledger import Ledger
from receiver.storage.sqlite.migrate import migrate
from tests.bench.provider import DELAY_S
from tests.bench.provider import running as provider
from tests.bench.report import Cell, Findings, Spread, in_short
from tests.bench.run import Run

CONCURRENCY = 16
NOW = 1_749_634_200_000  # 2025-06-11T09:30:00Z
MINUTE_MS = 60_000


async def run_s(port: int, folder: Path, campaigns: int) -> tuple[float, float]:
    """Seconds that a run over so many campaigns takes, and those in which this process computes."""
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
    lock, clock = DatabaseLock(settings.database_path), SystemClock()
    assert lock.acquire()
    with launched(settings.database_path, clock.now_ms(), lock.share()) as process:
        service = await Service.open(settings, "token", clock=clock, launched=process)
        try:
            return await _timed(service, campaigns)
        finally:
            await service.close()
            lock.release()


async def _timed(service: Service, campaigns: int) -> tuple[float, float]:
    reconciler = service.reconciliation.reconciler
    assert reconciler is not None
    ids = [f"camp_{number}" for number in range(campaigns)]
    await reconciler.run("bench", ids[:50])  # connections are open, files are warm
    begun, computed = time.monotonic(), time.process_time()
    run = await reconciler.run("bench", ids)
    took_s, computed_s = time.monotonic() - begun, time.process_time() - computed
    assert (run.status, run.campaigns) == ("ok", campaigns), run
    return took_s, computed_s


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


def reconcile(run: Run) -> Findings:
    """Runs, and snapshots beside few events and beside many."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    campaigns, events = run.scale.reconcile_campaigns, run.scale.snapshot_events
    ideal_s = campaigns * DELAY_S / CONCURRENCY
    with provider() as port:
        runs = []
        for _ in range(run.scale.rounds):
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runs.append(runner.run(run_s(port, run.empty_folder(), campaigns)))
    folder = run.empty_folder()
    took_s, computed_s = (Spread.of(each) for each in zip(*runs, strict=True))
    rows: list[dict[str, Cell]] = [
        {"": f"{campaigns:,} campaigns, {CONCURRENCY} calls at once, 50 ms each: seconds", "found": took_s},
        {"": f"of the {in_short(ideal_s)} s that these calls take at least", "found": ideal_s / took_s.median},
        {"": "ms that one campaign computes", "found": computed_s.median / campaigns * 1000},
    ]
    for count in (10, events):
        title = f"ms to take a snapshot in beside {count:,} events"
        rows.append({"": title, "found": snapshot_ms(folder, count)})
    return Findings("Reconciliation", rows)
