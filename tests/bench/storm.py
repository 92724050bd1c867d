"""What signed deliveries notice of thousands of half-open connections."""

import statistics
import subprocess
import sys
import time
from dataclasses import dataclass

from tests.bench.report import Cell, Findings
from tests.bench.run import Run
from tests.e2e.server import Connection, Server, sent

_CALM = 300


@dataclass(frozen=True, slots=True)
class Storm:
    """Times in seconds; `kept` and `new` are the latencies of deliveries over one kept and over new connections.

    `calm` are those over the kept one before the storm: what the machine takes by itself.
    """

    opened_s: float
    gone_s: float
    calm_s: list[float]
    kept_s: list[float]
    new_s: list[float]
    refused: int

    def p99_ms(self, latencies_s: list[float]) -> float:
        return statistics.quantiles(latencies_s, n=100)[98] * 1000


def measure(server: Server, count: int) -> Storm:
    """Deliver from before the first of `count` connections is opened until the last is gone.

    `refused` counts deliveries over new connections that were answered 503.
    """
    command = [sys.executable, "-m", "tests.bench.half_open", str(server.port), str(count)]
    kept_s: list[float] = []
    new_s: list[float] = []
    refused = 0
    with server.connect() as kept:
        calm_s = [_deliver(kept, f"calm-{number}")[1] for number in range(_CALM)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as hostile:
            while hostile.poll() is None:
                status, latency_s = _deliver(kept, f"kept-{len(kept_s)}")
                if status != 204:
                    raise RuntimeError(f"A delivery over the kept connection was answered {status}.")
                kept_s.append(latency_s)
                begun_s = time.perf_counter()
                with server.connect() as new:
                    status, _ = _deliver(new, f"new-{len(new_s)}")
                new_s.append(time.perf_counter() - begun_s)
                refused += status != 204
                time.sleep(0.005)
            assert hostile.stdout is not None
            said = dict(line.split() for line in hostile.stdout)
    if hostile.returncode:
        raise RuntimeError("The half-open connections are not gone.")
    return Storm(float(said["opened"]), float(said["gone"]), calm_s, kept_s, new_s, refused)


def _deliver(client: Connection, message: str) -> tuple[int, float]:
    begun_s = time.perf_counter()
    status = client.post(sent(message)).status
    return status, time.perf_counter() - begun_s


def storm(run: Run) -> Findings:
    """One storm: latencies before it and meanwhile."""
    count = run.scale.storm_connections
    with Server(run.empty_folder() / "storm.db") as server:
        found = measure(server, count)
    rows: list[dict[str, Cell]] = [
        {
            "deliveries over": title,
            "": len(latencies_s),
            "p50 ms": statistics.median(latencies_s) * 1000,
            "p99 ms": found.p99_ms(latencies_s),
            "longest ms": max(latencies_s) * 1000,
            "answered 503": refused,
        }
        for title, latencies_s, refused in (
            ("one kept connection before", found.calm_s, 0),
            ("one kept connection meanwhile", found.kept_s, 0),
            ("new connections meanwhile", found.new_s, found.refused),
        )
    ]
    took = f"opened in {found.opened_s:.1f} s, gone {found.gone_s:.1f} s later"
    return Findings(f"{count:,} half-open connections, {took}", rows)
