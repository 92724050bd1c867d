"""`sandbox`: listens, plays, and ends well."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from receiver.cli import cli

HEADERS = {"Authorization": "Bearer k"}


class Endpoint(BaseHTTPRequestHandler):
    """Takes every webhook and tells the test."""

    taken: threading.Event

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.taken.set()
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def endpoint() -> Iterator[tuple[str, threading.Event]]:
    Endpoint.taken = threading.Event()
    with HTTPServer(("127.0.0.1", 0), Endpoint) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/", Endpoint.taken
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def running(folder: Path, *flags: str) -> Iterator[tuple[str, subprocess.Popen[bytes], Path]]:
    """A sandbox that listens: its address, process and log."""
    log = folder / "sandbox.log"
    command = [sys.executable, "-m", "receiver", "sandbox", "--port", "0", *flags]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stderr=output, env={**os.environ}, cwd=folder)
    try:
        deadline = time.monotonic() + 30
        while not (found := re.search(r"Listening on (http://\S+)", log.read_text())):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield found[1], process, log
    finally:
        process.kill()
        process.wait()


def test_it_plays_a_campaign_over_sockets_and_stops_with_0(tmp_path: Path) -> None:
    with (
        endpoint() as (url, taken),
        running(tmp_path, "--api-key", "k", "--speed", "3600", "--webhook-url", url) as (base, process, log),
        httpx.Client(base_url=base, headers=HEADERS) as client,
    ):
        steps = [{"subject": "Hi", "bodyHtml": "x"}]
        campaign = client.post("/v1/campaigns", json={"name": "x", "sequenceSteps": steps}).json()["id"]
        client.post(f"/v1/campaigns/{campaign}/leads/bulk", json={"leads": [{"email": "jo@x.org"}]})
        client.post(f"/v1/campaigns/{campaign}/start")
        assert taken.wait(20)
        stats = client.get(f"/v1/campaigns/{campaign}/stats")
        assert stats.json()["totalEnrolled"] == 1
        assert stats.headers.get_list("date")[1:] == []
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert "Webhook secret: whsec_" in log.read_text()


def test_it_makes_up_a_key_and_stops_at_ctrl_c(tmp_path: Path) -> None:
    with running(tmp_path) as (base, process, log):
        found = re.search(r"API key: (sk_test_\S+)", log.read_text())
        assert found
        headers = {"Authorization": f"Bearer {found[1]}"}
        assert httpx.get(f"{base}/_sandbox/truth", headers=headers).json()["campaigns"] == []
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


def test_a_taken_port_exits_1(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "receiver", "sandbox", "--port", str(port), "--api-key", "k"]
        result = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 1
    reason = f"Cannot listen on 127.0.0.1:{port}: Address already in use"
    assert result.stderr == f"{reason}; use another '--port' or '--host'.\n"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--fault", "drop=7"], "The share of fault 'drop' is '7'; use 0 to 1."),
        (["--start", "yesterday"], "'yesterday' is not a time; use RFC 3339 with offset"),
        (["--start", "2999-01-01T00:00:00Z"], "'--start': '2999-01-01T00:00:00Z' is not between 2015 and now; use "),
        (["--start", "9999-12-31T23:59:59Z"], "'--start': '9999-12-31T23:59:59Z' is not between 2015 and now; use "),
        (["--start", "0001-01-01T00:00:00Z"], "'--start': '0001-01-01T00:00:00Z' is not between 2015 and now; use "),
        (["--webhook-url", "ftp://x"], "'--webhook-url' is not an http or https URL."),
        (["--shapes", "other"], "'other' is not one of 'reference', 'guide', 'concepts'."),
        (["--speed", "0"], "0.0 is not in the range"),
        (["--api-key", ""], "'--api-key': it is empty, or not plain ASCII; use what fits into a header."),
        (["--api-key", "\udcff"], "'--api-key': it is empty, or not plain ASCII; use what fits into a header."),
        (["--speed", "nan"], "'--speed': 'nan' is no finite number."),
        (["--rate-limit", "inf"], "'--rate-limit': 'inf' is no finite number."),
        (["--reply-rate", "nan"], "'--reply-rate': 'nan' is no finite number."),
    ],
)
def test_wrong_flags_exit_2(flags: list[str], words: str) -> None:
    # A flag that were taken would meet a script that does not exist, and not start a server.
    result = CliRunner().invoke(cli, ["sandbox", *flags, "--faults", "/none"])
    assert result.exit_code == 2
    assert words in result.stderr


def test_a_bad_script_exits_78(tmp_path: Path) -> None:
    path = tmp_path / "faults.toml"
    path.write_text('[[fault]]\nfault = "silence"\n')
    result = CliRunner().invoke(cli, ["sandbox", "--faults", str(path), "--api-key", "k"])
    assert result.exit_code == 78
    assert result.stderr == (
        f"Fault script '{path}': fault 1: 'to' is missing; 'silence' needs the end of its stretch.\n"
    )
