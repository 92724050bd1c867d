"""`verify`: exit 3 when figures, ledger and journal differ; it changes nothing."""

import json

import pytest

from tests.cli.conftest import Database, Run, Server
from tests.web.conftest import replied, sent, started, unread

SINCE = "2025-06-11T09:30:00Z"
DAMAGE = "UPDATE totals SET sent = 7 WHERE step = -1"
GOOD_FIGURES = "Figures: equal to the ledger.\n"


@pytest.fixture
def filled(database: Database) -> Database:
    database.fill(started(), sent("m1"), sent("m2"), replied(), unread())
    return database


def test_a_good_database_ends_with_0_and_says_how_far_it_was_proved(run: Run, filled: Database) -> None:
    result = run("verify")
    text = f"{GOOD_FIGURES}Journal: 4 bodies since {SINCE}; the ledger is what they say.\n"
    assert (result.exit_code, result.stdout, result.stderr) == (0, text, "")


def test_json_is_alone_on_standard_output(run: Run, filled: Database) -> None:
    result = run("verify", "--json")
    nothing = dict.fromkeys(("missing_events", "differing_events", "missing_bodies", "older_events"), 0)
    journal = {"since": SINCE, "bodies": 4, **nothing}
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout) == {"figures": {"rows_differing": 0}, "journal": journal}


def test_an_empty_journal_proves_nothing_and_says_so(run: Run, database: Database) -> None:
    database.fill()
    result = run("verify")
    text = f"{GOOD_FIGURES}Journal: empty; the ledger cannot be compared with it.\n"
    assert (result.exit_code, result.stdout) == (0, text)
    assert json.loads(run("verify", "--json").stdout)["journal"]["since"] is None


def test_what_is_older_than_the_journal_is_said_not_to_be_checked(run: Run, filled: Database) -> None:
    filled.execute("DELETE FROM journal WHERE seq <= 2")
    result = run("verify")
    assert (result.exit_code, result.stdout) == (
        0,
        f"{GOOD_FIGURES}Journal: 2 bodies since {SINCE}; the ledger is what they say.\n"
        "Not checked: 2 events are older than that; their bodies have expired.\n",
    )
    assert json.loads(run("verify", "--json").stdout)["journal"]["older_events"] == 2


def test_wrong_figures_end_with_3_and_stay_wrong(run: Run, filled: Database) -> None:
    filled.execute(DAMAGE)
    result = run("verify")
    assert (result.exit_code, filled.sent()) == (3, 7)
    assert result.stdout.startswith("Figures: 1 rows differ from the ledger; `rebuild` repairs them.\nJournal: 4 ")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("DELETE FROM starts", "1 events are missing in the ledger, 0 differ, 0 have lost their body."),
        ("UPDATE starts SET at = at + 1", "0 events are missing in the ledger, 1 differ, 0 have lost their body."),
        (
            "DELETE FROM journal WHERE seq = 2",
            "0 events are missing in the ledger, 0 differ, 1 have lost their body.",
        ),
    ],
)
def test_a_ledger_that_is_not_what_the_bodies_say_ends_with_3(
    run: Run, filled: Database, damage: str, words: str
) -> None:
    filled.execute(damage)
    result = run("verify")
    bodies = 3 if "journal" in damage else 4
    assert result.exit_code == 3
    assert result.stdout.splitlines()[-1] == f"Journal: {bodies} bodies since {SINCE}; {words}"


def test_it_reads_beside_a_running_server(run: Run, filled: Database, server: Server) -> None:
    assert run("verify").exit_code == 0
    assert server.deliver(sent("m9")) == ["stored"]
    assert json.loads(run("verify", "--json").stdout)["journal"]["bodies"] == 5
    filled.execute(DAMAGE)
    assert run("verify").exit_code == 3
    assert server.stop() == 0
