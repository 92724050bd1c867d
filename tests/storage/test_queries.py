"""Every named query compiles against a fresh schema and says what it is for."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from importlib import resources

import pytest

from receiver.figures import OBSERVED
from receiver.storage.sqlite.migrate import make
from receiver.storage.sqlite.queries import Queries, queries, select_by_keys
from receiver.storage.sqlite.reads import CampaignRow

FOLDER = resources.files("receiver.storage.sqlite").joinpath("sql")
FILES = sorted(entry.name for entry in FOLDER.iterdir() if entry.name.endswith(".sql"))
NAMED = [(file, name) for file in FILES for name in queries(file).names()]
# They make the tables that others of their file need.
TEMPORARY = [
    (file, name)
    for file in ("recount.sql", "fingerprints.sql")
    for name in queries(file).names()
    if name.startswith("create_")
]


@pytest.fixture(scope="module")
def conn() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as conn:
        make(conn)
        for file, name in TEMPORARY:
            conn.execute(queries(file)[name])
        conn.create_function("reason_class", 1, str)
        conn.execute(queries("rejected.sql")["create"])  # in real life in a file of its own
        yield conn


def text_of(file: str, name: str) -> str:
    text = queries(file).with_list(name, 2)
    return re.sub("CREATE TEMP (TABLE|VIEW) ", r"CREATE TEMP \1 other_", text)


def compiles(conn: sqlite3.Connection, text: str) -> None:
    names = re.findall(r":(\w+)", text)
    values: object = dict.fromkeys(names) if names else (None,) * text.count("?")
    conn.execute(f"EXPLAIN {text}", values).fetchall()  # type: ignore[arg-type] # either way of binding


def test_the_files_are_found() -> None:
    assert {"ingest.sql", "meta.sql", "quarantine.sql", "recount.sql", "verify.sql"} <= set(FILES)
    assert len(NAMED) > 60


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_every_named_query_compiles(conn: sqlite3.Connection, file: str, name: str) -> None:
    compiles(conn, text_of(file, name))


def test_a_query_on_a_table_that_is_not_there_would_be_found(conn: sqlite3.Connection) -> None:
    with pytest.raises(sqlite3.OperationalError, match="no such column: nowhere"):
        compiles(conn, "SELECT nowhere FROM messages WHERE key = :key")


PER_DELIVERY = [
    *(("ingest.sql", name) for name in ("load_messages", "load_replies", "load_replies_to", "load_starts")),
    *(("ingest.sql", name) for name in ("load_campaign", "load_bodies", "load_variant", "load_variant_bodies")),
    *(("ingest.sql", name) for name in ("replies_of_lead", "set_contacted", "last_seq", "load_span")),
    *(("ingest.sql", name) for name in ("widen_too_far", "narrow_span")),
    *(("quarantine.sql", name) for name in ("find_equal", "find_conflict", "open_of_keys", "due", "take")),
]


@pytest.mark.parametrize(("file", "name"), PER_DELIVERY)
def test_no_delivery_makes_the_store_scan_a_table(conn: sqlite3.Connection, file: str, name: str) -> None:
    text = text_of(file, name)
    values: object = dict.fromkeys(re.findall(r":(\w+)", text)) or (None,) * text.count("?")
    plan = conn.execute(f"EXPLAIN QUERY PLAN {text}", values).fetchall()  # type: ignore[arg-type] # either way
    assert [row[3] for row in plan if row[3].startswith("SCAN")] == []


# Of these tables reconciliation reads little at a time, and as much of the others as there are campaigns.
LARGE = ("journal", "messages", "replies", "minutes", "series", "quarantine", "snapshots", "gaps", "runs", "evidence")
# Backwards until the first row that fits, or a page of all.
NOT_WHOLE = ("last_received", "last_scheduled", "runs")


@pytest.mark.parametrize("name", [name for name in queries("reconciliation.sql").names() if name not in NOT_WHOLE])
def test_no_query_of_reconciliation_scans_a_large_table(conn: sqlite3.Connection, name: str) -> None:
    text = text_of("reconciliation.sql", name)
    plan = [row[3] for row in conn.execute(f"EXPLAIN QUERY PLAN {text}", dict.fromkeys(re.findall(r":(\w+)", text)))]
    partial = ("gaps_open", "gaps_closed", "runs_open", "quarantine_unattributed", "messages_without_campaign")
    scans = [step for step in plan if re.match(rf"SCAN ({'|'.join(LARGE)})\b", step)]
    assert [step for step in scans if step.split()[-1] not in partial] == []


CASES = [name for name in queries("cases.sql").names() if not name.startswith("watch_")]


@pytest.mark.parametrize("name", CASES)
def test_what_is_asked_of_some_campaigns_scans_nothing(conn: sqlite3.Connection, name: str) -> None:
    text = text_of("cases.sql", name)
    plan = conn.execute(f"EXPLAIN QUERY PLAN {text}", (None,) * text.count("?")).fetchall()
    assert [row[3] for row in plan if row[3].startswith("SCAN")] == []
    assert [row[3] for row in plan if "minutes_by_minute" in row[3]] == []


@pytest.mark.parametrize("name", ["snapshots", "minutes", "quarters", "open_gaps", "quarantined"])
def test_what_is_asked_of_one_campaign_scans_nothing(conn: sqlite3.Connection, name: str) -> None:
    text = text_of("reconciliation.sql", name)
    plan = conn.execute(f"EXPLAIN QUERY PLAN {text}", dict.fromkeys(re.findall(r":(\w+)", text))).fetchall()
    assert [row[3] for row in plan if row[3].startswith("SCAN")] == []


@pytest.mark.parametrize("file", FILES)
def test_every_query_has_a_line_of_purpose_and_a_name_of_its_own(file: str) -> None:
    text = FOLDER.joinpath(file).read_text("utf-8")
    blocks = re.findall(r"^-- name: (\w+)\n(.*)$", text, re.MULTILINE)
    assert len(blocks) == text.count("-- name:")
    assert len({name for name, _ in blocks}) == len(blocks)
    assert [purpose for _, purpose in blocks if not re.fullmatch(r"-- \S.*\.", purpose)] == []


def test_a_query_carries_its_name_and_no_other_comment() -> None:
    text = queries("ingest.sql")["last_seq"]
    assert text == "/* last_seq */ SELECT max(seq) FROM journal"


def test_a_list_is_opened_to_as_many_marks() -> None:
    text = Queries("ingest.sql").with_list("load_starts", 3)
    assert text == "/* load_starts */ SELECT key, seq FROM starts WHERE key IN (?,?,?)"


def test_a_list_and_rows_of_one_query_are_two_texts() -> None:
    text = Queries("ingest.sql")
    assert text.with_list("write_start", 2) != text.with_rows("write_start", 2)


def test_sums_that_are_not_asked_are_left_out() -> None:
    sql = queries("series.sql")
    text = sql.with_sums("series", frozenset({"attempted", "starts"}))
    assert text.startswith("/* series */ SELECT NULL, sum(attempted), sum(starts)\nFROM series\nWHERE campaign IN (")


def test_only_the_value_that_is_asked_is_read() -> None:
    text = queries("reads.sql").with_value("campaigns_by_value", "bounce_rate")
    assert "SELECT *, bounce_rate AS value FROM (" in text
    assert "sent AS value" not in text


def test_a_value_that_is_no_column_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^'1; --' is no column\.$"):
        queries("reads.sql").with_value("campaigns_by_value", "1; --")


def test_rows_of_campaigns_are_named_as_their_columns(conn: sqlite3.Connection) -> None:
    for name in ("campaign", "campaigns_by_value", "campaigns_by_id"):
        text = queries("reads.sql")[name]
        found = conn.execute(text, dict.fromkeys(re.findall(r":(\w+)", text)) | {"limit": 1})
        assert tuple(column[0] for column in found.description) == CampaignRow._fields
    row = CampaignRow(*range(len(CampaignRow._fields)))
    assert list(row.observed) == list(OBSERVED)
    assert [CampaignRow._fields[place or 0] for place in row.observed.values()] == list(OBSERVED)


def test_a_row_for_each_quarter_begins_with_it() -> None:
    sql = queries("series.sql")
    alone = sql.by_quarter(sql.with_sums("series", frozenset({"sent"}), of_one=True))
    assert alone.startswith("/* series */ SELECT quarter, NULL, sum(sent)\nFROM series\nWHERE campaign = :campaigns")
    assert alone.endswith("quarter < :last\nGROUP BY quarter")
    by_step = sql.by_quarter(sql.with_sums("shifts_by_step", frozenset({"replied"}), of_one=True))
    assert by_step.startswith("/* shifts_by_step */ SELECT quarter, step,\n       sum(replied)\n")
    assert by_step.endswith("quarter < :last\nGROUP BY quarter, step")


@pytest.mark.parametrize("count", [0, 1, 3, 512, 513, 1500])
def test_rows_of_many_keys_are_each_found_once(conn: sqlite3.Connection, count: int) -> None:
    keys = [index.to_bytes(16, "big") for index in range(count)]
    conn.execute("SAVEPOINT here")
    conn.executemany("INSERT INTO starts VALUES (?, 1, 1, 1, 1)", [(key,) for key in keys])
    found = [row[0] for row in select_by_keys(conn, "load_starts", keys)]
    conn.execute("ROLLBACK TO here")
    conn.execute("RELEASE here")
    assert sorted(found) == keys


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("window", "SEARCH journal USING INTEGER PRIMARY KEY (rowid>?)"),
        ("window_back", "SEARCH journal USING INTEGER PRIMARY KEY (rowid<?)"),
        ("window_of_campaign", "SEARCH journal USING INDEX journal_by_campaign (campaign=? AND seq>?)"),
        ("window_back_of_campaign", "SEARCH journal USING INDEX journal_by_campaign (campaign=? AND seq<?)"),
        ("events_of_campaign", "SEARCH journal USING INDEX journal_by_campaign (campaign=? AND seq>? AND seq<?)"),
        ("arrival", "SEARCH journal USING INTEGER PRIMARY KEY (rowid>?)"),
        ("not_counted", "SCAN quarantine USING INDEX quarantine_open"),
        ("not_counted_of_campaign", "SEARCH quarantine USING INDEX quarantine_of_campaign "
         "(campaign_id=? AND received_at>? AND received_at<?)"),
    ],
)  # fmt: skip
def test_what_explains_a_figure_is_found_by_an_index(conn: sqlite3.Connection, name: str, index: str) -> None:
    text = text_of("explain.sql", name)
    plan = conn.execute(f"EXPLAIN QUERY PLAN {text}", dict.fromkeys(re.findall(r":(\w+)", text))).fetchall()
    assert index in [row[3] for row in plan]
    assert not [row[3] for row in plan if "TEMP B-TREE" in row[3]]
