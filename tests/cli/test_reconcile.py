"""`reconcile`: exit 0 in sync, 3 when events are missing, 1 when Leadterra could not be asked; offline and online."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.cli.conftest import Database, Run, Server
from tests.web.conftest import sent

KEY = "sk_test_cli"


class Leadterra:
    """Answers `/stats` of every campaign with the same counters, at a time of its own."""

    def __init__(self) -> None:
        self.sent = 2
        self.status = 200
        self.date = "Wed, 11 Jun 2025 09:30:00 GMT"
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                counters = {"sent": outer.sent, "delivered": outer.sent, "bounced": 0, "replied": 0, "queued": 0}
                content = json.dumps(counters).encode()
                self.send_response_only(outer.status)
                self.send_header("Date", outer.date)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def settings(self) -> dict[str, str]:
        return {
            "RECEIVER_LEADTERRA__BASE_URL": f"http://127.0.0.1:{self.server.server_port}",
            "RECEIVER_LEADTERRA__API_KEY": KEY,
            "RECEIVER_RECONCILE__INTERVAL_S": "0",
        }


@pytest.fixture
def leadterra() -> Iterator[Leadterra]:
    found = Leadterra()
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.fixture
def filled(database: Database) -> Database:
    database.fill(sent("m1"), sent("m2"))
    return database


def lose(leadterra: Leadterra) -> None:
    """More is counted from then on, a day later, than ever came."""
    leadterra.sent = 7
    leadterra.date = "Thu, 12 Jun 2025 09:30:00 GMT"


def test_in_sync_ends_with_0(run: Run, filled: Database, leadterra: Leadterra) -> None:
    result = run("reconcile", **leadterra.settings)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "1 campaigns asked, 0 failed; 0 differ." in result.stderr


def test_missing_events_end_with_3_and_are_shown(run: Run, filled: Database, leadterra: Leadterra) -> None:
    assert run("reconcile", **leadterra.settings).exit_code == 0
    lose(leadterra)
    assert run("reconcile", **leadterra.settings).exit_code == 0  # it may still settle
    leadterra.date = "Fri, 13 Jun 2025 09:30:00 GMT"
    result = run("reconcile", **leadterra.settings)
    assert result.exit_code == 3
    head, row = result.stdout.splitlines()
    assert head.split() == ["campaign_id", "status", "figure", "delta", "missing", "settling", "snapshot_at"]
    assert row.split() == ["a", "missing", "sent", "5", "5", "0", "2025-06-13T09:30:00.999Z"]


def test_json_has_the_run_and_what_differs(run: Run, filled: Database, leadterra: Leadterra) -> None:
    run("reconcile", **leadterra.settings)
    lose(leadterra)
    found = json.loads(run("reconcile", "--json", "--campaign", "a", **leadterra.settings).stdout)
    assert (found["run"]["status"], found["run"]["trigger"], found["run"]["campaigns"]) == ("ok", "command", 1)
    assert [(row["campaign_id"], row["status"], row["sent"]["settling"]) for row in found["data"]] == [
        ("a", "settling", 5)
    ]


def test_of_one_campaign_it_says_what_differs_there(run: Run, filled: Database, leadterra: Leadterra) -> None:
    run("reconcile", **leadterra.settings)
    lose(leadterra)
    run("reconcile", **leadterra.settings)
    run("campaigns", "add", "other")
    leadterra.sent = 0
    result = run("reconcile", "--campaign", "other", **leadterra.settings)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "1 campaigns asked, 0 failed; 0 differ.\n"


def test_an_unreachable_leadterra_ends_with_1(run: Run, filled: Database, leadterra: Leadterra) -> None:
    leadterra.status = 403
    result = run("reconcile", **leadterra.settings)
    assert result.exit_code == 1
    assert "nothing could be compared" in result.stderr
    assert KEY not in result.stderr


def test_without_a_key_it_ends_with_1_and_says_what_to_do(run: Run, filled: Database) -> None:
    result = run("reconcile")
    text = "Setting 'leadterra.api_key' is not set, so Leadterra cannot be asked; set it.\n"
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", text)


def test_an_unknown_campaign_ends_with_1(run: Run, filled: Database, leadterra: Leadterra) -> None:
    result = run("reconcile", "--campaign", "nobody", **leadterra.settings)
    assert (result.exit_code, result.stderr) == (1, "No event of campaign 'nobody' has been seen here.\n")


def test_a_command_claims_no_acceptance(run: Run, filled: Database, leadterra: Leadterra) -> None:
    stretches = filled.rows("SELECT started_at, last_at FROM accepting")
    run("reconcile", **leadterra.settings)
    assert filled.rows("SELECT started_at, last_at FROM accepting") == stretches


def test_the_running_server_does_it(
    run: Run, filled: Database, start: Callable[..., Server], leadterra: Leadterra
) -> None:
    server: Server = start(**leadterra.settings)
    first = run("reconcile", **leadterra.settings)
    assert first.exit_code == 0
    assert first.stderr.startswith("The running server does it; it goes on taking webhooks in.\n")
    lose(leadterra)
    run("reconcile", **leadterra.settings)
    leadterra.date = "Fri, 13 Jun 2025 09:30:00 GMT"
    assert run("reconcile", "--json", **leadterra.settings).exit_code == 3
    leadterra.status = 403
    assert run("reconcile", "--campaign", "a", **leadterra.settings).exit_code == 1
    assert server.deliver(sent("m3")) == ["stored"]
    assert server.stop() == 0


def test_the_running_server_without_a_key_refuses(run: Run, filled: Database, server: Server) -> None:
    result = run("reconcile")
    assert result.exit_code == 1
    assert "Setting 'leadterra.api_key' is not set" in result.stderr


def test_campaigns_are_added_and_listed(run: Run, filled: Database) -> None:
    added = run("campaigns", "add", "by-hand", "--name", "By hand")
    assert (added.exit_code, added.stdout) == (
        0,
        "Campaign by-hand is compared with Leadterra's counters from now on.\n",
    )
    assert run("campaigns", "add", "by-hand").exit_code == 0
    rows = json.loads(run("campaigns", "list", "--json").stdout)["data"]
    shown = [(row["campaign_id"], row["name"], row["observed"]["sent"]) for row in rows]
    assert shown == [("a", None, 2), ("by-hand", "By hand", None)]
    lines = run("campaigns", "list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["campaign_id", "a", "by-hand"]


def test_campaigns_are_added_through_the_running_server(run: Run, filled: Database, server: Server) -> None:
    found = json.loads(run("campaigns", "add", "by-hand", "--json").stdout)
    assert (found["campaign_id"], found["observed"]["sent"]) == ("by-hand", None)
    rows = json.loads(run("campaigns", "list", "--json").stdout)["data"]
    assert [row["campaign_id"] for row in rows] == ["a", "by-hand"]
    assert server.stop() == 0


def test_a_wrong_campaign_id_is_wrong_usage(run: Run, filled: Database) -> None:
    result = run("campaigns", "add", "no spaces")
    assert result.exit_code == 2
    assert "'no spaces' is no campaign id; use 1 to 128 letters, digits and _ . : -." in result.stderr
