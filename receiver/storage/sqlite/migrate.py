"""Brings a database to this version's schema, one numbered file and one transaction at a time."""

import re
import secrets
import sqlite3
import time
from collections.abc import Callable
from importlib import resources

from receiver import __version__
from receiver.errors import StorageError
from receiver.storage.sqlite.queries import queries
from receiver.storage.sqlite.recount import Progress, correct, recount

APPLICATION_ID = 0x4C545256  # "LTRV"; set by the first migration

_FILE_NAME = re.compile(r"(\d{4})_\w+\.sql")
_KEY_BYTES = 32
_BEHIND = {"name": "figures_behind"}
_WRITTEN_BY = {"name": "written_by", "value": __version__}
_TELL_EVERY_S = 3.0
_UPGRADE = "start `serve` or run `rebuild` once, which brings it up to date"

Tell = Callable[[str], object]


def in_silence(_: str) -> None:
    """For whoever need not be told."""


def steps() -> list[tuple[int, str]]:
    """All migrations as (version, script), in order."""
    folder = resources.files(__package__).joinpath("migrations")
    found = [(match, entry) for entry in folder.iterdir() if (match := _FILE_NAME.fullmatch(entry.name))]
    return sorted((int(match[1]), entry.read_text("utf-8")) for match, entry in found)


def version(conn: sqlite3.Connection) -> int:
    return int(conn.execute("PRAGMA user_version").fetchone()[0])


def check(conn: sqlite3.Connection, name: str) -> int:
    """The schema's version. Raises StorageError for a database that is not ours or is too new."""
    found = version(conn)
    conn.execute(queries("meta.sql")["count_objects"])  # reads the schema, which a damaged file may not have
    application_id = conn.execute("PRAGMA application_id").fetchone()[0]
    if application_id != APPLICATION_ID:
        raise StorageError(f"'{name}' is not a leadterra-receiver database; name another file in 'storage.url'.")
    newest = steps()[-1][0]
    if found > newest:
        raise StorageError(
            f"'{name}' has schema {found}, newer than the {newest} that this program knows; "
            f"install the version that wrote it{_writer(conn)}, or a later one."
        )
    return found


def _writer(conn: sqlite3.Connection) -> str:
    """The version that last brought the schema up to date, as far as it is told."""
    try:
        row = conn.execute(queries("meta.sql")["load_fact"], {"name": _WRITTEN_BY["name"]}).fetchone()
    except sqlite3.OperationalError:  # a later schema may keep its facts elsewhere
        return ""
    return "" if row is None else f" ({row[0]})"


def check_current(conn: sqlite3.Connection, name: str) -> None:
    """Raises StorageError for a database that cannot be read as it is: not ours, too new, or not yet up to date."""
    found, newest = check(conn, name), steps()[-1][0]
    if found < newest:
        raise StorageError(
            f"'{name}' has schema {found}, older than the {newest} that this program reads; {_UPGRADE}."
        )
    if conn.execute(queries("meta.sql")["load_fact"], _BEHIND).fetchone() is not None:
        raise StorageError(f"'{name}' is not yet counted into the figures of this program; {_UPGRADE}.")


def make(conn: sqlite3.Connection) -> None:
    """Give an empty file the whole schema."""
    for _, script in steps():
        conn.executescript(script)


def migrate(conn: sqlite3.Connection, name: str, now_ms: int, tell: Tell = in_silence) -> None:
    """Bring the schema up to date. Each step is one transaction, so a killed one is simply done again.

    `tell` gets a sentence at the beginning of what may take long, and now and then how far it is.
    """
    found = check(conn, name)
    missing = [(number, script) for number, script in steps() if number > found]
    for number, script in missing:
        tell(f"Bringing the database from schema {number - 1} to {number}.")
        conn.executescript(script)
    _note_facts(conn, now_ms)
    _catch_up(conn, tell)
    if missing:
        # The log has grown to what the largest step wrote, and would not shrink while the program runs.
        conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _catch_up(conn: sqlite3.Connection, tell: Tell) -> None:
    """Count an older ledger into figures that it did not have; a killed count is simply done again."""
    if conn.execute(queries("meta.sql")["load_fact"], _BEHIND).fetchone() is None:
        return
    tell("Counting the ledger into new figures, once; nothing is taken in before that is done.")
    correction = recount(conn, _ToldProgress(tell))
    tell(f"The ledger is counted; {correction.rows:,} rows of figures are written.")
    correct(conn, correction)
    conn.execute(queries("meta.sql")["delete_fact"], _BEHIND)


class _ToldProgress(Progress):
    """Tells every few seconds how far it is."""

    def __init__(self, tell: Tell) -> None:
        super().__init__()
        self._tell = tell
        self._told_s = time.monotonic()

    def check(self) -> None:
        super().check()
        if time.monotonic() - self._told_s >= _TELL_EVERY_S:
            self._told_s = time.monotonic()
            self._tell(f"Counting the ledger: {min(self.done, self.total):,} of {self.total:,} rows.")


def _note_facts(conn: sqlite3.Connection, now_ms: int) -> None:
    """Facts that are made once, with the database: its install time and its own keys; and which version writes."""
    facts = {
        "installed_at": now_ms,
        "lead_key": secrets.token_bytes(_KEY_BYTES),
        "session_key": secrets.token_bytes(_KEY_BYTES),
    }
    conn.execute("BEGIN IMMEDIATE")
    conn.executemany(queries("meta.sql")["insert_fact"], facts.items())
    conn.execute(queries("meta.sql")["set_fact"], _WRITTEN_BY)
    conn.execute("COMMIT")
