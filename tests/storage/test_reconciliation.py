"""What reconciliation keeps: baselines as exact as the ledger, answers by runs, gaps, runs, evidence, copies."""

import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.storage.sqlite import kept
from receiver.storage.sqlite import reconciliation as rows
from receiver.storage.sqlite.connection import one_moment, open_for_reading
from receiver.storage.sqlite.migrate import steps, version
from tests.storage.conftest import LedgerUnderTest, bounced, ms, replied, sent

MINUTE_MS = 60_000
DAY_MS = 86_400_000
FIGURES = ("sent", "bounced", "bounced_soft", "replied", "replied_human")


def do(ledger: LedgerUnderTest, function: Any, *given_: Any, **more: Any) -> Any:
    """One writing function in a transaction of its own."""
    return ledger.ledger.transact(ledger.conn, lambda conn: function(conn, *given_, **more))


def put_baseline(ledger: LedgerUnderTest, campaign: str, *moments: int) -> int:
    """A first snapshot whose ledger is counted row by row."""
    number: int = do(ledger, rows.add_campaign, campaign)
    ledgers = {moment: naive(ledger, number, moment) for moment in moments}
    do(ledger, rows.put_baseline, number, moments[-1], b"{}", ledgers)
    return number


def naive(ledger: LedgerUnderTest, campaign: int, at: int) -> tuple[int, ...]:
    """The ledger as of a moment, one row after the other."""
    found = dict.fromkeys(FIGURES, 0)
    for sent_at, soft_at, hard_at in ledger.rows(
        "SELECT sent_at, soft_at, hard_at FROM messages WHERE campaign = ?", campaign
    ):
        soft, hard = soft_at is not None and soft_at <= at, hard_at is not None and hard_at <= at
        found["sent"] += sent_at is not None and sent_at <= at
        found["bounced"] += soft or hard
        found["bounced_soft"] += soft and not hard
    for human in (False, True):
        leads = ledger.rows(
            "SELECT DISTINCT lead FROM replies WHERE campaign = ? AND at <= ? AND lead IS NOT NULL"
            + (" AND (class IS NULL OR class NOT IN ('out_of_office', 'bounce'))" if human else ""),
            campaign,
            at,
        )
        found["replied_human" if human else "replied"] = len(leads)
    return tuple(found.values())


# From the first schema to the second.


def test_a_database_of_the_first_schema_keeps_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as old:
        old.executescript(steps()[0][1])
        old.executemany(
            "INSERT INTO minutes VALUES (?, ?, ?, 2, 1, 4, 3)", [(100, 1, 7), (100, 2, 8), (99, 1, 9), (101, 3, 1)]
        )
        old.execute(
            "INSERT INTO journal (seq, received_at, kind, key, campaign, role, copies, body)"
            " VALUES (1, 5, 2, x'01', 1, 1, 3, x'7b7d')"
        )
        old.execute("INSERT INTO campaigns (campaign_id) VALUES ('a')")
        old.execute(
            "INSERT INTO messages (key, campaign, step, sent_at, first_received_at) VALUES (x'01', 1, 4, 7, 5)"
        )
        old.commit()
    with closing(sqlite3.connect(path, isolation_level=None)) as conn:
        conn.executescript(steps()[1][1])
        assert version(conn) == 2
        assert conn.execute("SELECT * FROM minutes ORDER BY campaign, minute").fetchall() == [
            (1, 99, 9, 2, 1, 4, 3),
            (1, 100, 7, 2, 1, 4, 3),
            (2, 100, 8, 2, 1, 4, 3),
            (3, 101, 1, 2, 1, 4, 3),
        ]
        assert conn.execute("SELECT seq, copies, origin FROM journal").fetchall() == [(1, 3, 0)]
        assert conn.execute("SELECT seq, step, occurred_at, origin FROM event_rows").fetchall() == [(1, 4, 7, 0)]


# Answers.


def snapshots(ledger: LedgerUnderTest, number: int) -> list[tuple[object, ...]]:
    return [tuple(row) for row in rows.snapshots(ledger.conn, number)]


def test_folded_answers_go_but_for_the_last(ledger: LedgerUnderTest) -> None:
    number = do(ledger, rows.add_campaign, "a")
    for at in (10, 20, 30):
        do(ledger, kept.put_snapshots, [(number, at, at, str(at))])
    do(ledger, rows.fold_snapshots, number, 10)
    assert [row[0] for row in snapshots(ledger, number)] == [20, 30]
    do(ledger, rows.fold_snapshots, number, 99)
    assert [row[0] for row in snapshots(ledger, number)] == [30]


# Campaigns.


def poll(ledger: LedgerUnderTest) -> dict[str, Any]:
    return dict(rows.known_campaigns(ledger.conn)[0])


def test_campaigns_that_differ_in_case_are_two(ledger: LedgerUnderTest) -> None:
    assert do(ledger, rows.add_campaign, "Ab") != do(ledger, rows.add_campaign, "ab")


def test_one_that_is_gone_stays_so_until_it_answers(ledger: LedgerUnderTest) -> None:
    number = do(ledger, rows.add_campaign, "a")
    do(ledger, rows.note_attempt, number, 10, gone_at=10, failure="not found")
    do(ledger, rows.note_attempt, number, 20, failure="broken")
    assert (poll(ledger)["gone_at"], poll(ledger)["asked_at"], poll(ledger)["failure"]) == (10, 20, "broken")
    do(ledger, rows.note_attempt, number, 30, answered=True)
    assert (poll(ledger)["gone_at"], poll(ledger)["failure"]) == (None, None)


def test_when_it_was_answered_and_moved_outlives_a_failure(ledger: LedgerUnderTest) -> None:
    number = do(ledger, rows.add_campaign, "a")
    do(ledger, rows.note_attempt, number, 10, answered=True, moved=True)
    do(ledger, rows.note_attempt, number, 20, failure="broken")
    assert (poll(ledger)["answered_at"], poll(ledger)["moved_at"]) == (10, 10)


def test_the_last_answer_tells_what_is_queued_and_an_open_gap_is_seen(ledger: LedgerUnderTest) -> None:
    number = do(ledger, rows.add_campaign, "a")
    do(ledger, kept.put_snapshots, [(number, 10, 10, '{"queued": 9}'), (number, 20, 20, '{"queued": 4}')])
    assert (poll(ledger)["queued"], poll(ledger)["has_gap"]) == (4, 0)
    do(ledger, rows.replace_open_gaps, number, [gap()])
    assert poll(ledger)["has_gap"] == 1


# The baseline's ledger.


@pytest.mark.parametrize(
    "late",
    [
        (sent("m9", "09:00:29.999"),),
        (sent("m9", "09:00:30.001"),),
        (bounced("m1", "09:00:10", kind="soft"), bounced("m1", "09:00:20")),
        (bounced("m1", "09:00:40"), bounced("m1", "09:00:10", kind="soft")),
        (sent("m1", "08:59", campaign="b"),),
        (bounced("m7", "09:00:01"), sent("m7", "09:00")),
        (replied("r1", "09:10"), replied("r2", "08:10", kind="out_of_office"), replied("r3", "09:00:30")),
        (replied("r4", "08:00", campaign=None, message="m8"), sent("m8", "07:00")),
    ],
)
def test_what_arrives_late_is_counted_in_the_baseline_too(ledger: LedgerUnderTest, late: tuple[bytes, ...]) -> None:
    ledger.deliver(sent("m1", "09:00:00"), sent("m2", "09:00:30"), sent("m3", "09:00:31"))
    moments = [ms("09:00:10"), ms("09:00:30")]
    number = put_baseline(ledger, "a", *moments)
    for raw in late:
        ledger.deliver(raw)
        assert rows.baseline_ledgers(ledger.conn, number) == [naive(ledger, number, moment) for moment in moments]


def test_a_restarted_ledger_knows_its_baselines(ledger: LedgerUnderTest) -> None:
    number = put_baseline(ledger, "a", ms("09:00"))
    ledger.restart()
    ledger.deliver(sent("m1", "08:59"))
    assert rows.baseline_ledgers(ledger.conn, number)[0][0] == 1


def test_a_baseline_that_was_forgotten_is_counted_for_no_longer(ledger: LedgerUnderTest) -> None:
    number = put_baseline(ledger, "a", ms("09:00"))
    do(ledger, rows.forget_baseline, number)
    assert put_baseline(ledger, "a", ms("08:00")) == number
    ledger.deliver(sent("m1", "07:30"), sent("m2", "08:30"))
    assert rows.baseline_ledgers(ledger.conn, number) == [(1, 0, 0, 0, 0)]


def test_a_baseline_that_was_rolled_back_is_none(ledger: LedgerUnderTest) -> None:
    def fails(conn: sqlite3.Connection) -> None:
        number = rows.add_campaign(conn, "a")
        rows.put_baseline(conn, number, ms("09:00"), b"{}", {ms("09:00"): (0, 0, 0, 0, 0)})
        raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        ledger.ledger.transact(ledger.conn, fails)
    ledger.deliver(sent("m1", "08:59"))
    assert ledger.rows("SELECT * FROM baseline_ledgers") == []


clock_times = st.sampled_from(["08:59:59.9", "09:00:00", "09:00:10", "09:00:10.001", "09:00:30", "09:01:00", "10:00"])
campaigns = st.sampled_from(["a", "b", None])
named = st.sampled_from(["a", "b"])
messages = st.sampled_from(["m1", "m2", "m3"])
bodies = st.one_of(
    st.builds(sent, messages, clock_times, named, st.sampled_from([1, 2, None])),
    st.builds(bounced, messages, clock_times, st.sampled_from(["soft", "hard"]), campaigns),
    st.builds(
        replied,
        st.sampled_from(["r1", "r2", "r3"]),
        clock_times,
        campaigns,
        st.sampled_from(["jo@example.org", "al@example.org"]),
        st.one_of(st.none(), messages),
        st.sampled_from([None, "out_of_office"]),
    ),
)


@settings(deadline=None, max_examples=60)
@given(st.lists(bodies, max_size=6), st.lists(st.lists(bodies, min_size=1, max_size=3), max_size=6))
def test_baselines_are_what_the_ledger_says_in_any_order(before: list[bytes], after: list[list[bytes]]) -> None:
    moments = [ms("09:00:10"), ms("09:00:30")]
    with tempfile.TemporaryDirectory() as folder:
        ledger = LedgerUnderTest(Path(folder) / "a.db")
        ledger.conn.execute("PRAGMA synchronous = OFF")
        ledger.deliver(*before)
        numbers = [put_baseline(ledger, campaign, *moments) for campaign in ("a", "b")]
        for batch in after:
            ledger.deliver(*batch)
            held = [rows.baseline_ledgers(ledger.conn, number) for number in numbers]
            assert held == [[naive(ledger, number, moment) for moment in moments] for number in numbers]
        assert ledger.recount().rows == 0
        ledger.conn.close()


# Within a minute.


@settings(deadline=None, max_examples=40)
@given(st.lists(bodies, max_size=8), clock_times)
def test_what_came_later_in_the_minute_is_told_to_the_millisecond(given_: list[bytes], at: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ledger = LedgerUnderTest(Path(folder) / "a.db")
        ledger.conn.execute("PRAGMA synchronous = OFF")
        ledger.deliver(*given_)
        for number in (1, 2):
            end = (ms(at) // MINUTE_MS + 1) * MINUTE_MS - 1
            expected = [b - a for a, b in zip(naive(ledger, number, ms(at)), naive(ledger, number, end), strict=True)]
            assert list(rows.later_in_minute(ledger.conn, number, ms(at))) == expected
        ledger.conn.close()


# Gaps.


def gap(state: str = "overdue", to_at: int = 20, **more: object) -> dict[str, object]:
    given_ = {"figure": "sent", "to_at": to_at, "cause": "unexplained", "from_at": 10, "at_least": 3, "state": state}
    return {**given_, **more}


def gaps(ledger: LedgerUnderTest) -> list[tuple[object, ...]]:
    return ledger.rows("SELECT to_at, cause, at_least, state FROM gaps ORDER BY to_at, cause")


def test_open_gaps_are_replaced_and_closed_ones_stay(ledger: LedgerUnderTest) -> None:
    number = do(ledger, rows.add_campaign, "a")
    do(ledger, rows.replace_open_gaps, number, [gap(), gap("missing", 30)])
    do(ledger, rows.replace_open_gaps, number, [gap(at_least=1), gap("healed", 30)])
    do(ledger, rows.replace_open_gaps, number, [gap("superseded")])
    assert gaps(ledger) == [(20, "unexplained", 3, "superseded"), (30, "unexplained", 3, "healed")]
    assert rows.open_gaps(ledger.conn, number) == []


def test_a_gap_with_two_causes_is_two_rows_and_may_open_again(ledger: LedgerUnderTest) -> None:
    number = do(ledger, rows.add_campaign, "a")
    do(ledger, rows.replace_open_gaps, number, [gap("healed"), gap(cause="quarantined", state="settling")])
    do(ledger, rows.replace_open_gaps, number, [gap(at_least=9)])
    assert gaps(ledger) == [(20, "unexplained", 9, "overdue")]


def test_closed_gaps_are_forgotten_and_open_ones_never(ledger: LedgerUnderTest) -> None:
    number = do(ledger, rows.add_campaign, "a")
    closed = [gap("healed", 20), gap("superseded", 29), gap("healed", 30), gap("missing", 21)]
    do(ledger, rows.replace_open_gaps, number, closed)
    do(ledger, rows.forget_gaps, 30)
    assert [row[0] for row in gaps(ledger)] == [21, 30]
    assert rows.oldest_open_gap(ledger.conn) == 10


def test_only_overdue_and_missing_gaps_alarm_with_their_campaigns_now(ledger: LedgerUnderTest) -> None:
    number = do(ledger, rows.add_campaign, "a")
    do(ledger, rows.replace_open_gaps, number, [gap(), gap("missing", 21), gap("settling", 22), gap("healed", 23)])
    assert rows.alarming_gaps(ledger.conn) == []
    do(ledger, kept.put_drifts, [(number, 77, "missing", 3, 0, 0, "[]", "{}")])
    assert sorted((row["to_at"], row["now"]) for row in rows.alarming_gaps(ledger.conn)) == [(20, 77), (21, 77)]


# Runs.


def test_a_killed_run_is_aborted_at_the_next_begin_or_start(ledger: LedgerUnderTest) -> None:
    first = do(ledger, rows.begin_run, "schedule", 10)
    second = do(ledger, rows.begin_run, "request", 20)
    do(ledger, rows.abort_runs, 30)
    found = [(row["id"], row["status"], row["ended_at"]) for row in rows.runs(ledger.conn, None, 10)]
    assert found == [(second, "aborted", 30), (first, "aborted", 20)]
    assert rows.last_scheduled(ledger.conn) == 10


def test_a_run_that_ended_is_left_alone(ledger: LedgerUnderTest) -> None:
    run = do(ledger, rows.begin_run, "schedule", 10)
    do(ledger, rows.end_run, run, 20, "ok", campaigns=5, done=5, failed=0, differing=1, errors="[]")
    do(ledger, rows.abort_runs, 30)
    ended = rows.run(ledger.conn, run)
    assert ended is not None
    assert (ended["status"], ended["ended_at"], ended["campaigns"], ended["differing"]) == ("ok", 20, 5, 1)


# Evidence and copies.


def test_only_the_latest_evidence_of_each_figure_stays(ledger: LedgerUnderTest) -> None:
    for number in range(10):
        for figure in ("sent", "bounced"):
            do(ledger, rows.add_evidence, figure, number, 0, 1, [figure], 4)
    assert rows.evidence(ledger.conn, "sent", 4) == [(number, ["sent"]) for number in (6, 7, 8, 9)]
    assert rows.evidence(ledger.conn, "bounced", 2) == [(8, ["bounced"]), (9, ["bounced"])]
    assert ledger.rows("SELECT count(*) FROM evidence") == [(8,)]


@pytest.fixture
def stamps(ledger: LedgerUnderTest) -> Callable[[bytes, bytes, float], tuple[int, int]]:
    """Delivers a copy so many seconds later; what was noted of equal and restamped copies."""

    def deliver(first: bytes, copy: bytes, seconds: float) -> tuple[int, int]:
        ledger.deliver(first)
        ledger.now += round(seconds * 1000)
        ledger.deliver(copy)
        found = rows.copies(ledger.conn)
        return found["copies_equal"], found["copies_restamped"]

    return deliver


@pytest.mark.parametrize(
    ("copy", "seconds", "noted"),
    [
        (sent(), 30, (1, 0)),
        (sent(), 29.999, (0, 0)),
        (sent(step=1).replace(b"{", b"{ ", 1), 60, (1, 0)),
        (sent(at="09:01"), 60, (0, 1)),
        (sent(at="09:01"), 10, (0, 0)),
        (sent(at="never T"), 60, (0, 0)),
    ],
)
def test_a_retry_tells_whether_timestamps_are_stable(
    stamps: Any, copy: bytes, seconds: float, noted: tuple[int, int]
) -> None:
    assert stamps(sent(), copy, seconds) == noted


def test_a_bounce_may_really_happen_again(stamps: Any) -> None:
    assert stamps(bounced(campaign="a"), bounced(campaign="a", at="09:30"), 3600) == (0, 0)


def test_a_reply_is_received_once(stamps: Any) -> None:
    assert stamps(replied(), replied(), 60) == (1, 0)


# One moment.


def test_reads_of_one_moment_see_nothing_that_comes_in_between(ledger: LedgerUnderTest) -> None:
    count = "SELECT count(*) FROM messages"
    with closing(open_for_reading(ledger.path)) as reader:
        with one_moment(reader), one_moment(reader):
            assert reader.execute(count).fetchone()[0] == 0
            ledger.deliver(sent())
            assert reader.execute(count).fetchone()[0] == 0
        assert not reader.in_transaction
        assert reader.execute(count).fetchone()[0] == 1
