"""A database of an older version: not read as it is, brought up to date by what may write, and said."""

from collections.abc import Callable

import pytest

from tests.cli.conftest import Database, Run, Server
from tests.storage.earlier import of_version_1
from tests.web.conftest import bounced, sent

OLDER = "older than the"


@pytest.fixture
def old(database: Database) -> Database:
    of_version_1(database.path, sent(), bounced())
    return database


@pytest.mark.parametrize(
    "arguments",
    [("quarantine", "list"), ("quarantine", "show", "1"), ("verify",), ("export", "events"), ("export", "bounces")],
)
def test_reading_says_what_to_run(run: Run, old: Database, arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert OLDER in result.stderr
    assert result.stderr.endswith("start `serve` or run `rebuild` once, which brings it up to date.\n")


def test_an_empty_file_is_not_read_either(run: Run, database: Database) -> None:
    database.path.touch()
    result = run("export", "events")
    assert result.exit_code == 1
    assert f"'{database.path.name}' is empty, which no database ever is;" in result.stderr


def test_rebuild_brings_it_up_to_date_and_says_so(run: Run, old: Database) -> None:
    result = run("rebuild")
    assert result.exit_code == 0, result.stderr
    assert "Bringing the database from schema 1 to 2.\n" in result.stderr
    assert "Counting the ledger into new figures, once; nothing is taken in before that is done.\n" in result.stderr
    assert run("verify").exit_code == 0
    assert "hard,1,1,0,1.0" in run("export", "bounces", "--group-by", "type").stdout


def test_serve_says_what_it_does_before_it_listens(old: Database, start: Callable[..., Server]) -> None:
    log = start().log()
    assert log.index("Bringing the database from schema 1 to 2.") < log.index("Counting the ledger into new figures")
    assert log.index("The ledger is counted;") < log.index("Listening on")
