"""The demo as a command: it plays, compares, ends as it should, and leaves nothing behind."""

import json
import re
import signal
import socket
import sqlite3
from collections.abc import Callable
from contextlib import closing

import httpx
import pytest
from click.testing import CliRunner

from receiver.cli import cli
from tests.demo.conftest import Demo

Start = Callable[..., Demo]


def test_it_ends_with_figures_that_are_the_truth(start: Start) -> None:
    demo = start("--for", "20")
    url, key = demo.said(r"Receiver: (\S+)"), demo.said(r"Analyst key, for this run: (rcv_\S+)")
    campaigns = httpx.get(f"{url}/v1/campaigns", headers={"Authorization": f"Bearer {key}"}, trust_env=False)
    assert campaigns.status_code == 200
    assert demo.process.wait(110) == 0, demo.err
    assert re.search(r"\d+ deliveries, \d+ duplicates, \d+ quarantined, \d+ refused; \d campaigns: ", demo.err)
    assert re.search(r"^- \d+ events? dropped on purpose \(.*\): missing, as they must be\.$", demo.err, re.MULTILINE)
    assert demo.err.endswith("All 55 figures of 5 campaigns are the truth less what was withheld.\n")
    assert re.search(r"Machine builders +\d+ = \d+ - \d+ ", demo.out)
    assert demo.left_behind() == []
    said = demo.out + demo.err
    assert "Traceback" not in said
    assert "\x1b" not in said
    assert not re.search(r"whsec_|sk_test_", said)


def test_a_figure_that_is_wrong_ends_it_with_3(start: Start) -> None:
    demo = start("--for", "10", "--json")
    demo.said(r"([1-9]\d*) sent")
    with closing(sqlite3.connect(demo.database, timeout=30)) as conn, conn:
        changed = conn.execute("UPDATE totals SET sent = sent + 1 WHERE step = -1 AND campaign = 1")
        assert changed.rowcount == 1
    assert demo.process.wait(110) == 3, demo.err
    result = json.loads(demo.out)
    assert not result["ok"]
    assert [one["differing"] for one in result["campaigns"] if one["differing"]] == [["sent"]]
    assert "The figures differ other than by what was withheld. " in demo.err
    assert demo.left_behind() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_with_0_and_frees_the_ports(start: Start, number: signal.Signals) -> None:
    demo = start()
    port = int(demo.said(r"Receiver: http://127\.0\.0\.1:(\d+)"))
    assert demo.stop(number) == 0, demo.err
    assert demo.err.endswith("Stopped: the ports are free, and the temporary folder is gone.\n")
    assert demo.left_behind() == []
    with socket.create_server(("127.0.0.1", port)):
        pass


@pytest.mark.parametrize("flag", ["--port", "--sandbox-port"])
def test_a_taken_port_exits_1(start: Start, flag: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        demo = start(flag, str(port))
        assert demo.process.wait(60) == 1
    assert demo.err == f"Cannot listen on 127.0.0.1:{port}: Address already in use; use another '{flag}'.\n"
    assert demo.left_behind() == []


def test_too_short_a_run_exits_2() -> None:
    result = CliRunner().invoke(cli, ["demo", "--for", "5"])
    assert result.exit_code == 2
    assert "5.0 is not in the range 10<=x<=3600." in result.stderr


def test_no_number_of_seconds_exits_2() -> None:
    result = CliRunner().invoke(cli, ["demo", "--for", "nan"])
    assert result.exit_code == 2
    assert "'nan' is no finite number." in result.stderr
