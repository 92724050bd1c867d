"""The benchmarks run: every part with tiny counts, and every figure of a prefilled database is true."""

import json
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from receiver.storage.sqlite.connection import open_for_reading
from receiver.storage.sqlite.recount import Progress, recount
from tests.bench.__main__ import PARTS
from tests.bench.load import Ids
from tests.bench.prefill import prefill
from tests.bench.run import Filled, Part, Scale, missing_space

# One run of all would be one long test.
SHARES = (
    ["ingest", "fsyncs"],
    ["duplicates", "burst", "start", "memory"],
    ["reads", "reads-during-ingest", "queries", "rebuild", "size"],
    ["growth"],
    ["storm", "reconcile", "years"],
)
needs_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tests.bench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@needs_wrk
@pytest.mark.timeout(300)  # nothing of it takes long, but the machine may be busy
@pytest.mark.parametrize("names", SHARES, ids=",".join)
def test_a_quick_run_reports_every_part(names: list[str], tmp_path: Path) -> None:
    done = run("--quick", "--only", ",".join(names), "--json", str(tmp_path / "report.json"))
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "report.json").read_bytes())
    assert sorted(report["parts"]) == sorted(names)
    for part in report["parts"].values():
        assert part["rows"]
        assert part["title"].split()[0] in done.stdout
    assert report["machine"]["sqlite"]


def test_every_part_is_run_quickly() -> None:
    assert sorted(name for names in SHARES for name in names) == sorted(part.name for part in PARTS)


def test_a_part_that_is_not_there_is_named() -> None:
    done = run("--only", "ingest,digest")
    assert done.returncode == 2
    assert "'digest' is none of ingest, fsyncs, " in done.stderr


def test_a_disk_that_is_too_small_is_named(tmp_path: Path) -> None:
    part = Part("vast", lambda _: pytest.fail("not run"), lambda _: [Filled(10**15)])
    said = missing_space(Scale(), [part], tmp_path)
    assert said is not None
    assert said.startswith("The benchmarks take up to 2421438")
    assert said.endswith(" GiB are free; name another folder in TMPDIR, or fewer parts in --only.")


@pytest.mark.parametrize("ids", Ids, ids=lambda ids: ids.value)
def test_every_figure_of_a_prefilled_database_is_true(ids: Ids, tmp_path: Path) -> None:
    prefill(tmp_path / "filled.db", 3000, campaigns=20, ids=ids)
    with closing(open_for_reading(tmp_path / "filled.db")) as conn:
        assert conn.execute("SELECT sum(sent) FROM totals WHERE step = -1").fetchone()[0] == 3000
        assert recount(conn, Progress()).rows == 0
