"""`export`: what the API gives, in a file that appears whole or not at all, beside a server or without one."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from receiver.cli.export import TABLES
from tests.cli.conftest import Database, Run, Server, environ, starting
from tests.web.conftest import bounced, replied, sent, started, unread

EVENTS = (
    "seq,event,campaign_id,message_id,step,occurred_at,received_at,origin,copies\r\n"
    "2,message.sent,a,m1,1,2025-06-11T09:00:00Z,2025-06-11T09:30:00Z,webhook,1\r\n"
    "1,campaign.started,a,,,2025-06-11T08:00:00Z,2025-06-11T09:30:00Z,webhook,1\r\n"
)
WORDS = re.compile(r"2 rows of events, as of \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z\.\n")


@pytest.fixture
def filled(database: Database) -> Database:
    database.fill(started(), sent(), unread())
    return database


def others(folder: Path) -> list[str]:
    """What lies in a folder beside the database's own files."""
    return sorted(name for name in os.listdir(folder) if not name.startswith("receiver.db"))


def test_it_writes_to_standard_output_unless_told_otherwise(run: Run, filled: Database) -> None:
    result = run("export", "events")
    assert (result.exit_code, result.stdout_bytes.decode()) == (0, EVENTS)
    assert WORDS.fullmatch(result.stderr)


def test_it_writes_a_file_and_leaves_nothing_beside_it(run: Run, filled: Database, tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text("of yesterday")
    before = others(tmp_path)
    result = run("export", "events", "-o", "events.csv")
    assert (result.exit_code, result.stdout) == (0, "")
    assert (tmp_path / "events.csv").read_bytes().decode() == EVENTS
    assert others(tmp_path) == before


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path]]:
    """A server that holds something of everything, and the folder of its database; tests only read there."""
    folder = tmp_path_factory.mktemp("asked")
    with starting(folder) as start:
        server = start()
        server.deliver(started(), sent(), sent("m2", step=2), bounced(), replied(), unread())
        yield server, folder


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
@pytest.mark.parametrize("format_", ["csv", "ndjson"])
def test_it_gives_what_the_api_gives(
    run: Run, asked: tuple[Server, Path], monkeypatch: pytest.MonkeyPatch, table: object, format_: str
) -> None:
    server, folder = asked
    monkeypatch.chdir(folder)
    name = getattr(table, "name", "")
    path = "/v1/campaigns/a/steps" if name == "steps" else f"/v1/{name}"
    params = {"from": "2025-06-10", "to": "2025-06-13", "group_by": "step"} if name == "series" else {}
    chosen = ["--campaign-id", "a"] if name == "steps" else []
    chosen += [text for key, value in params.items() for text in (f"--{key.replace('_', '-')}", value)]
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        expected = client.get(path, params={"format": format_, **params}).content
    result = run("export", name, *chosen, "--format", format_)
    assert result.exit_code == 0
    assert result.stdout_bytes == expected
    assert expected.count(b"\n") > 0 or name == "reconciliations"  # there was none yet


def test_it_takes_the_parameters_of_the_api(run: Run, filled: Database) -> None:
    result = run("export", "events", "--event", "message.sent", "--from", "2025-06-11", "--limit", "1")
    assert result.stdout_bytes.decode() == EVENTS[: EVENTS.index("1,campaign")]


def test_a_parameter_may_be_given_several_times_where_the_api_takes_several(run: Run, filled: Database) -> None:
    filled.fill(sent("m2", campaign="b"), sent("m3", campaign="c"))
    chosen = ("--campaign-id", "a", "--campaign-id", "c", "--from", "2025-06-11", "--to", "2025-06-12")
    result = run("export", "series", *chosen, "--group-by", "campaign", "--figures", "sent")
    lines = [line.split(",")[1:3] for line in result.stdout.splitlines()]
    assert lines == [["campaign_id", "sent"], ["a", "1"], ["c", "1"]]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("events", "--limit", "0"), "'limit' is '0'; use 1 to 2000."),
        (("events", "--from", "never"), "'from' is 'never'; use RFC 3339 with offset, a date, epoch milliseconds, "
         "now, or -30m, -6h, -7d, -2w."),
        (("campaigns", "--sort", "name"), "'sort' is 'name'; use sent, attempted, "),
        (("events", "--cursor", "x"), "'cursor' is 'x'; use a next_cursor of an earlier answer."),
        (("steps",), "Missing option '--campaign-id'."),
        (("events", "--format", "xlsx"), "Invalid value for '--format': 'xlsx' is not one of 'csv', 'ndjson'."),
    ],
)  # fmt: skip
def test_wrong_usage_is_said_in_the_words_of_the_api(
    run: Run, filled: Database, tmp_path: Path, arguments: tuple[str, ...], text: str
) -> None:
    result = run("export", *arguments, "-o", "out")
    assert result.exit_code == 2
    assert text in result.stderr
    assert [name for name in os.listdir(tmp_path) if "out" in name] == []


def test_an_unknown_campaign_ends_with_1_and_no_file(run: Run, filled: Database, tmp_path: Path) -> None:
    result = run("export", "steps", "--campaign-id", "nobody", "-o", "steps.csv")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "No event of campaign 'nobody' has been seen here.\n"
    assert [name for name in os.listdir(tmp_path) if "steps" in name] == []


@pytest.mark.parametrize(("output", "why"), [("no/such/file", "No such file or directory"), (".", "it is a folder")])
def test_a_file_that_cannot_be_written_is_named(
    run: Run, filled: Database, tmp_path: Path, output: str, why: str
) -> None:
    before = others(tmp_path)
    result = run("export", "events", "-o", output)
    assert (result.exit_code, result.stderr) == (1, f"'{output}' cannot be written: {why}.\n")
    assert others(tmp_path) == before


def test_a_pipe_is_written_to_and_never_replaced(run: Run, filled: Database, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor() as pool:
        reading = pool.submit(pipe.read_bytes)
        result = run("export", "events", "-o", "pipe")
        assert (result.exit_code, reading.result()) == (0, EVENTS.encode())
    assert pipe.is_fifo()


def test_a_link_is_followed_and_a_full_device_is_said(run: Run, filled: Database, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("events.csv")
    assert run("export", "events", "-o", "link").exit_code == 0
    assert ((tmp_path / "link").is_symlink(), (tmp_path / "events.csv").read_bytes()) == (True, EVENTS.encode())
    (tmp_path / "full").symlink_to("/dev/full")
    result = run("export", "events", "-o", "full")
    assert (result.exit_code, result.stderr) == (1, "'full' cannot be written: No space left on device.\n")
    assert (tmp_path / "full").is_char_device()


@pytest.mark.parametrize("suffix", ["", "-wal", ".lock"])
def test_the_database_is_never_replaced(run: Run, filled: Database, tmp_path: Path, suffix: str) -> None:
    (tmp_path / "link").symlink_to(f"receiver.db{suffix}")
    before = (tmp_path / "receiver.db").read_bytes()
    for name in (f"receiver.db{suffix}", "link"):
        result = run("export", "events", "-o", name)
        assert (result.exit_code, result.stderr) == (1, f"'{name}' belongs to the database; name another file.\n")
    assert (tmp_path / "receiver.db").read_bytes() == before


def test_without_a_database_it_says_so(run: Run, database: Database) -> None:
    result = run("export", "events", "-o", "events.csv")
    assert result.exit_code == 1
    assert "There is no database at" in result.stderr


def test_on_a_terminal_there_is_a_bar(filled: Database, run_on_terminal: Callable[..., str]) -> None:
    written = run_on_terminal("export", "events", "-o", "events.csv")
    assert "Exporting events" in written
    assert WORDS.search(written.replace("\r\n", "\n"))


# Writes nothing until it has been asked to stop.
WAITING = """
import sys, time, receiver.cli.export
from receiver.cli import main
export = sys.modules["receiver.cli.export"]
whole = export.write_table
def write_table(conn, table, columns, form, write, progress):
    def wait(data):
        while not progress.stopped:
            time.sleep(0.01)
        write(data)
    whole(conn, table, columns, form, wait, progress)
export.write_table = write_table
main()
"""


def test_ctrl_c_leaves_neither_a_file_nor_a_part(filled: Database, tmp_path: Path) -> None:
    command = [sys.executable, "-c", WAITING, "export", "events", "-o", "events.csv"]
    process = subprocess.Popen(command, cwd=tmp_path, env=environ(), stderr=subprocess.PIPE)
    while not [name for name in os.listdir(tmp_path) if name.endswith(".part")]:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 1
    assert [name for name in os.listdir(tmp_path) if "events" in name] == []
