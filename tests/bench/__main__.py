"""`python -m tests.bench`: every benchmark, as tables and, with `--json FILE`, as JSON. Reports, never tests."""

import argparse
import os
import platform
import resource
import shutil
import sqlite3
import sys
import tempfile
import time
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import orjson
from rich.console import Console

from tests.bench import asking, burst, growth, ingest, reading, reconcile, storm, upkeep, years
from tests.bench.report import Findings, Goal, as_json, goals_table, table
from tests.bench.run import QUICK, Part, Run, Scale, missing_space
from tests.bench.servers import PEERS

PARTS = (
    Part("ingest", ingest.ingest),
    Part("fsyncs", ingest.fsyncs),
    Part("duplicates", ingest.duplicates),
    Part("burst", burst.burst),
    Part("storm", storm.storm),
    Part("start", upkeep.start, asking.needs_large),
    Part("memory", upkeep.memory, asking.needs_large),
    Part("reads", asking.reads, asking.needs_both),
    Part("reads-during-ingest", asking.reads_during_ingest, asking.needs_large),
    Part("queries", reading.queries, asking.needs_both),
    Part("rebuild", upkeep.rebuild, asking.needs_both),
    Part("size", upkeep.size, growth.needs),
    Part("growth", growth.growth, growth.needs),
    Part("reconcile", reconcile.reconcile),
    Part("years", years.years),
)
_WIDTH = 150  # of a table in a file
_PACKAGES = ("starlette", "uvicorn", "uvloop", "httptools", "orjson", "structlog")


def main() -> None:
    """Run the parts that are asked for and report; exits 1 where the load generator or disk space is missing."""
    options = _options()
    scale = QUICK if options.quick else Scale()
    scale = replace(scale, rounds=options.rounds or scale.rounds, seconds=options.seconds or scale.seconds)
    parts = [part for part in PARTS if not options.only or part.name in options.only]
    if shutil.which("wrk") is None:
        sys.exit("The load generator 'wrk' is not installed; on Debian: apt-get install wrk strace")
    if said := missing_space(scale, parts, Path(tempfile.gettempdir())):
        sys.exit(said)
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    console, errors = Console(width=None if sys.stdout.isatty() else _WIDTH), Console(stderr=True)
    for peer in PEERS:
        if peer.missing:
            errors.print(f"{peer.title} is not measured: pip install -e '.[bench]'", markup=False)
    report: dict[str, dict[str, object]] = {"machine": machine(), "scale": asdict(scale), "parts": {}}
    goals: list[Goal] = []
    with tempfile.TemporaryDirectory(prefix="receiver-bench-") as folder:
        run = Run(scale, Path(folder), lambda text: errors.print(text, style="dim", highlight=False))
        for part in parts:
            errors.print(f"measuring {part.name}", style="dim")
            findings, around = measured(part, run, console)
            goals += findings.goals
            report["parts"][part.name] = as_json(findings) | around
            if options.json is not None:  # after each: what is measured is not lost when the next part fails
                options.json.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    if options.quick:
        console.print("A quick run: none of these figures says anything.", style="bold")
    if goals:
        console.print(goals_table(goals))
    console.print(" · ".join(f"{name} {value}" for name, value in report["machine"].items()), highlight=False)


def _options() -> argparse.Namespace:
    names = [part.name for part in PARTS]
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--only", metavar="PART,...", type=_parts, help=f"of {', '.join(names)}")
    parser.add_argument("--rounds", type=int, help=f"interleaved rounds ({Scale().rounds})")
    parser.add_argument("--seconds", type=float, help=f"seconds of load in a round ({Scale().seconds:g})")
    parser.add_argument(
        "--json", metavar="FILE", type=Path, help="also write the report, every round of it, to this file"
    )
    parser.add_argument("--quick", action="store_true", help="tiny counts: whether everything runs, not how fast")
    return parser.parse_args()


def _parts(text: str) -> list[str]:
    names = [part.name for part in PARTS]
    wanted = text.split(",")
    if unknown := [name for name in wanted if name not in names]:
        raise argparse.ArgumentTypeError(f"'{unknown[0]}' is none of {', '.join(names)}")
    return wanted


def measured(part: Part, run: Run, console: Console) -> tuple[Findings, dict[str, object]]:
    """What a part finds, shown at once, and the machine's load before and after it."""
    before, begun = os.getloadavg()[0], time.monotonic()
    findings = part.measure(run)
    load, took_s = [before, os.getloadavg()[0]], time.monotonic() - begun
    console.print(table(findings))
    console.print(
        f"load of the machine {load[0]:.1f} before, {load[1]:.1f} after; took {took_s:.0f} s\n", style="dim"
    )
    return findings, {"load": load, "took_s": took_s}


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    return {
        "processors": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        **{
            name: _version(name)
            for name in dict.fromkeys((*_PACKAGES, *(name for peer in PEERS for name in peer.packages)))
        },
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


if __name__ == "__main__":
    main()
