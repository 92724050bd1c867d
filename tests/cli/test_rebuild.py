"""`rebuild`: exit 3 when a row had to change, 0 when none had to, with and without a running server."""

import json

import pytest

from tests.cli.conftest import Database, Run, Server
from tests.web.conftest import sent, unread

DAMAGE = "UPDATE totals SET sent = 7 WHERE step = -1"


@pytest.fixture
def filled(database: Database) -> Database:
    database.fill(sent("m1"), sent("m2"), unread())
    return database


def test_good_figures_end_with_0(run: Run, filled: Database) -> None:
    result = run("rebuild")
    text = "2 rows of the ledger counted, 0 rows of figures changed.\n"
    assert (result.exit_code, result.stdout, result.stderr) == (0, text, "")


def test_wrong_figures_end_with_3_and_are_right_the_second_time(run: Run, filled: Database) -> None:
    filled.execute(DAMAGE)
    first, second = run("rebuild"), run("rebuild")
    assert (first.exit_code, second.exit_code, filled.sent()) == (3, 0, 2)
    assert first.stdout == "2 rows of the ledger counted, 1 rows of figures changed.\n"


def test_json_is_alone_on_standard_output(run: Run, filled: Database) -> None:
    filled.execute(DAMAGE)
    result = run("rebuild", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (3, {"rows": 2, "rows_changed": 1})


def test_the_running_server_does_it(run: Run, filled: Database, server: Server) -> None:
    filled.execute(DAMAGE)
    first, second = run("rebuild"), run("rebuild", "--json")
    assert (first.exit_code, second.exit_code, filled.sent()) == (3, 0, 2)
    assert first.stdout == "2 rows of the ledger counted, 1 rows of figures changed.\n"
    assert first.stderr == "The running server does it; it goes on taking webhooks in.\n"
    assert json.loads(second.stdout) == {"rows": 2, "rows_changed": 0}
    assert server.deliver(sent("m3")) == ["stored"]
    assert server.stop() == 0
