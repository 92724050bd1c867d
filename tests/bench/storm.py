"""`python -m tests.bench.storm`: what signed deliveries notice of thousands of half-open connections."""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

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


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.storm", description=__doc__)
    parser.add_argument("--connections", type=int, default=10_000, help="half-open connections (10000)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="receiver-storm-") as folder, Server(Path(folder) / "storm.db") as server:
        storm = measure(server, options.connections)
    print(f"{options.connections} connections opened in {storm.opened_s:.1f} s, gone {storm.gone_s:.1f} s later")
    for name, latencies_s in (
        ("one kept connection before", storm.calm_s),
        ("one kept connection meanwhile", storm.kept_s),
        ("new connections meanwhile", storm.new_s),
    ):
        p50_ms, longest_ms = statistics.median(latencies_s) * 1000, max(latencies_s) * 1000
        print(
            f"deliveries over {name}: {len(latencies_s)}, p50 {p50_ms:.1f} ms,"
            f" p99 {storm.p99_ms(latencies_s):.1f} ms, longest {longest_ms:.1f} ms"
        )
    print(f"of those over new connections {storm.refused} were answered 503")


if __name__ == "__main__":
    main()
