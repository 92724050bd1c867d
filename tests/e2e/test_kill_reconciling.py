"""Kills the server in the middle of a reconciliation: the run is closed as aborted, and nothing is half true."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.server import Server, rows, sent, until

CAMPAIGNS = 40


class SlowLeadterra(BaseHTTPRequestHandler):
    """Says of every campaign that one message was sent, a moment later."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        time.sleep(0.05)
        body = json.dumps({"sent": 1, "delivered": 1, "queued": 0, "bounced": 0, "replied": 0}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture
def leadterra() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), SlowLeadterra)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def start(database: Path, leadterra: str) -> Server:
    settings: dict[str, Any] = {
        "leadterra__base_url": leadterra,
        "leadterra__api_key": "sk_test_kill",
        "leadterra__concurrency": 2,
    }
    ids = json.dumps([f"camp_{number}" for number in range(CAMPAIGNS)])
    return Server(database, reconcile__campaigns=ids, reconcile__interval_s=1, **settings)


def test_a_killed_run_is_closed_as_aborted_and_leaves_no_half_truth(database: Path, leadterra: str) -> None:
    # Before any run, so that all of it is ours; the second server asks again.
    with Server(database) as server:
        for number in range(CAMPAIGNS):
            assert server.post(sent(f"m{number}", f"camp_{number}")).status == 204
    for kills in range(3):
        with start(database, leadterra) as server:
            until(lambda: rows(database, "SELECT 1 FROM runs WHERE status = 'running'"), "a run")
            time.sleep(0.1 + 0.2 * kills)
            server.kill()
        assert rows(database, "SELECT status FROM runs ORDER BY id DESC LIMIT 1") == [("running",)]
        whole = "SELECT count(*) FROM %s"
        counts = {table: rows(database, whole % table)[0][0] for table in ("baselines", "snapshots", "drift")}
        assert len(set(counts.values())) == 1, counts
        assert counts["drift"] < CAMPAIGNS
        assert rows(database, "SELECT DISTINCT status FROM drift") in ([], [("in_sync",)])
    with start(database, leadterra) as server:
        until(lambda: rows(database, "SELECT 1 FROM runs WHERE status = 'ok'"), "a whole run")
        assert server.stop() == 0
    statuses = [status for (status,) in rows(database, "SELECT status FROM runs ORDER BY id")]
    assert statuses[:4] == ["aborted", "aborted", "aborted", "ok"]
    assert rows(database, "SELECT count(*) FROM runs WHERE ended_at IS NULL") == [(0,)]
    assert rows(database, "SELECT status, count(*) FROM drift GROUP BY status") == [("in_sync", CAMPAIGNS)]
    assert rows(database, "SELECT code FROM alarms") == []
