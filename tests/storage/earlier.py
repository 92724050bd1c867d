"""Databases as earlier versions of the schema held them."""

import sqlite3
from contextlib import closing
from pathlib import Path

from receiver.storage.sqlite.migrate import steps
from tests.storage.conftest import LedgerUnderTest

# Today's messages with the columns that they had up to version 5.
_MESSAGES = """
    CREATE TEMP VIEW messages_before AS
    SELECT key, campaign, step, sent_at, soft_at, hard_at, sent_seq, soft_seq, hard_seq, soft_reason, hard_reason,
           (SELECT min(at) FROM (SELECT sent_at AS at UNION ALL SELECT soft_at UNION ALL SELECT hard_at))
           + received_after AS first_received_at,
           (SELECT domains.domain FROM new.domains WHERE domains.id = messages.domain) AS domain
    FROM new.messages
"""


def of_version(number: int, path: Path, *bodies: bytes) -> None:
    """A database as that version left it: today's, without what came later."""
    ledger = LedgerUnderTest(path)
    ledger.each(*bodies)
    ledger.conn.close()
    with closing(sqlite3.connect(f"{path}.old", isolation_level=None)) as old:
        for _, script in steps()[:number]:
            old.executescript(script)
        old.execute(f"ATTACH '{path}' AS new")
        old.execute(_MESSAGES)
        for (table,) in old.execute("SELECT name FROM main.sqlite_schema WHERE type = 'table'").fetchall():
            # Columns that are computed are not listed.
            columns = ", ".join(row[1] for row in old.execute(f"PRAGMA main.table_info({table})"))
            source = "messages_before" if table == "messages" else f"new.{table}"
            old.execute(f"DELETE FROM main.{table}")
            old.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM {source}")
    Path(f"{path}.old").replace(path)


def of_version_1(path: Path, *bodies: bytes) -> None:
    """The same of the first version, which had no figures of the whole workspace."""
    of_version(1, path, *bodies)
    with closing(sqlite3.connect(path, isolation_level=None)) as old:
        old.execute("DELETE FROM series WHERE campaign = 0")
