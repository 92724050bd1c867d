"""`python -m tests.bench`: the report, as a table and, with `--json FILE`, as JSON."""

import argparse
import json
import os
import platform
import shutil
import sqlite3
import statistics
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench.ingest import measure


def main() -> None:
    """Run the benchmarks and report; exits 1 where wrk, the load generator, is not installed."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (5)")
    parser.add_argument("--seconds", type=int, default=5, help="seconds of load a round (5)")
    parser.add_argument("--campaigns", type=int, default=50, help="campaigns that events belong to (50)")
    parser.add_argument("--json", type=Path, help="also write the report to this file")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("The load generator 'wrk' is not installed; on Debian: apt-get install wrk strace")
    report = {"machine": machine(), "ingest": measure(options.rounds, options.seconds, options.campaigns)}
    show(report["ingest"])
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    packages = ("starlette", "uvicorn", "uvloop", "httptools", "aiosqlite", "orjson")
    return {
        "cpus": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "packages": {name: version(name) for name in packages},
    }


def show(ingest: dict[str, Any]) -> None:
    """The report as a table."""
    rows = Table("", "requests/s", "spread", "p50 ms", "p99 ms", title="Ingest, 64 kept-alive connections")
    for name, title in (("empty_route", "empty Starlette route"), ("receiver", "receiver")):
        each = ingest[name]
        low, high = each["spread"]
        rows.add_row(
            title,
            f"{each['requests_per_second']:,.0f}",
            f"{low:,.0f} - {high:,.0f}",
            f"{each['p50_ms']:.1f}",
            f"{each['p99_ms']:.1f}",
        )
    console = Console()
    console.print(rows)
    ratios = ingest["ratios"]
    spread = f"{min(ratios):.2f} - {max(ratios):.2f}"
    console.print(f"ratio, median of {len(ratios)} pairs: {statistics.median(ratios):.2f} ({spread})")
    fsyncs = ingest["fsyncs_per_event"]
    console.print("fsyncs per event: " + ("not measured (no strace)" if fsyncs is None else f"{fsyncs:.3f}"))


if __name__ == "__main__":
    main()
