"""The recount: nothing to correct on a healthy ledger, and every kind of damage found, counted, repaired."""

from contextlib import closing

import pytest

from receiver.storage.sqlite.connection import open_for_reading
from receiver.storage.sqlite.recount import Correction, Progress, correct, recount
from tests.storage.conftest import LedgerUnderTest, bounced, ms, replied, sent, started
from tests.storage.test_reconciliation import put_baseline

HISTORY = [
    started(),
    sent("m1"),
    sent("m2", "09:16", step=2),
    sent("m3", "09:01", step=None),
    sent("m4", "2025-06-01T00:00:00Z", campaign="b"),
    bounced("m2", "09:17", kind="soft"),
    bounced("m2", "09:31", reason="550 5.1.1 unknown"),
    bounced("m3", "09:02"),
    bounced("m3", "09:50", kind="soft"),
    bounced("m5", "09:03", campaign="b"),
    bounced("m6"),
    replied("r1", message="m1", kind="out_of_office"),
    replied("r2", "09:40", message="m1"),
    replied("r3", lead=None, campaign="b"),
    replied("r4", campaign=None, message="m7"),
]
Tables = list[list[tuple[object, ...]]]


def figures(ledger: LedgerUnderTest) -> Tables:
    """All that a recount may repair; rows that hold nothing are as good as none."""
    return [
        ledger.rows("SELECT * FROM totals WHERE sent OR attempted OR replies OR replied OR starts ORDER BY 1, 2"),
        ledger.rows(
            "SELECT * FROM series WHERE sent OR attempted OR accepted OR bounced OR bounced_hard OR bounced_soft"
            " OR replies OR replied OR starts ORDER BY 1, 2, 3"
        ),
        ledger.rows(
            "SELECT * FROM days WHERE attempted OR accepted OR replies OR replied OR starts ORDER BY 1, 2, 3"
        ),
        ledger.rows("SELECT * FROM shifts WHERE attempted OR bounced OR bounced_hard OR replied OR bounced_unsent"),
        ledger.rows("SELECT * FROM bounces WHERE bounced_hard OR bounced_soft"),
        ledger.rows("SELECT * FROM minutes WHERE sent OR bounced OR bounced_soft OR replied ORDER BY 1, 2"),
        ledger.rows("SELECT id, first_event_at, last_event_at FROM campaigns ORDER BY 1"),
        ledger.rows("SELECT * FROM baseline_ledgers ORDER BY 1, 2"),
    ]


def found(correction: Correction) -> dict[str, int]:
    names = Correction.__dataclass_fields__
    counts = {name: len(getattr(correction, name)) for name in names}
    return {name: count for name, count in counts.items() if count}


def test_an_empty_ledger_has_nothing_to_correct(ledger: LedgerUnderTest) -> None:
    assert ledger.recount() == Correction()


def test_a_healthy_ledger_has_nothing_to_correct(ledger: LedgerUnderTest) -> None:
    ledger.deliver(*HISTORY)
    assert ledger.recount() == Correction()


def test_it_says_how_far_it_is(ledger: LedgerUnderTest) -> None:
    ledger.deliver(*HISTORY)
    progress = Progress()
    with closing(open_for_reading(ledger.path)) as reader:
        recount(reader, progress)
    assert (progress.done, progress.total) == (11, 11)


def test_it_leaves_no_table_and_no_transaction_behind(ledger: LedgerUnderTest) -> None:
    ledger.deliver(*HISTORY)
    with closing(open_for_reading(ledger.path)) as reader:
        recount(reader, Progress())
        assert recount(reader, Progress()) == Correction()
        assert reader.execute("SELECT count(*) FROM sqlite_temp_schema").fetchone()[0] == 0
        assert not reader.in_transaction


@pytest.mark.parametrize("chunk", [1, 2, 3, 7])
def test_chunks_of_any_size_count_the_same(
    ledger: LedgerUnderTest, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr("receiver.storage.sqlite.recount.CHUNK_ROWS", chunk)
    ledger.deliver(*HISTORY)
    assert ledger.recount() == Correction()


@pytest.mark.parametrize(
    ("damage", "rows"),
    [
        ("UPDATE totals SET sent = sent + 1 WHERE step = -1 AND campaign = 1", {"totals": 1}),
        ("UPDATE totals SET replied_human = 0 WHERE campaign = 1 AND step >= 0", {"totals": 1}),
        ("UPDATE totals SET bounced_soft = -1 WHERE campaign = 2", {"totals": 3}),
        ("INSERT INTO totals VALUES (7, 7, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)", {"totals": 1}),
        ("DELETE FROM totals", {"totals": 7, "unsent": 2}),
        ("UPDATE series SET accepted = accepted + 1 WHERE quarter % 2 AND campaign > 0", {"series": 3}),
        ("DELETE FROM series WHERE campaign = 2", {"series": 3}),
        ("INSERT INTO series VALUES (1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5)", {"series": 1}),
        ("DELETE FROM series WHERE campaign = 0", {"series": 9}),
        ("UPDATE days SET replies = replies + 1 WHERE campaign = 1", {"days": 3}),
        ("UPDATE days SET quarter = quarter + 96 WHERE campaign = 0", {"days": 8}),
        ("DELETE FROM days WHERE campaign = 2", {"days": 2}),
        ("UPDATE totals SET bounced_hard_unsent = 7 WHERE campaign = 2", {"unsent": 3}),
        ("UPDATE shifts SET bounced_unsent = bounced_unsent + 1 WHERE campaign = 2", {"shifts": 3}),
        ("DELETE FROM shifts WHERE campaign = 0", {"shifts": 8}),
        ("INSERT INTO shifts VALUES (1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0)", {"shifts": 1}),
        ("UPDATE bounces SET bounced_soft = 5 WHERE reason = '5.1.1'", {"bounces": 2}),
        ("UPDATE bounces SET reason = 'x' WHERE campaign = 2", {"bounces": 2}),
        ("DELETE FROM bounces", {"bounces": 4}),
        ("UPDATE minutes SET bounced = bounced + 1 WHERE campaign = 2", {"minutes": 2}),
        ("DELETE FROM minutes", {"minutes": 9}),
        ("UPDATE totals SET contacted = 5 WHERE step = -1", {"contacted": 2}),
        ("UPDATE campaigns SET first_event_at = 1", {"spans": 2}),
        ("UPDATE campaigns SET last_event_at = NULL WHERE id = 1", {"spans": 1}),
        (
            "UPDATE totals SET sent = 0; DELETE FROM series; UPDATE minutes SET sent = 9;"
            "UPDATE totals SET contacted = 0; UPDATE campaigns SET last_event_at = 1",
            {"totals": 6, "series": 19, "minutes": 11, "contacted": 2, "spans": 2},
        ),
    ],
)
def test_damage_is_found_counted_and_repaired(ledger: LedgerUnderTest, damage: str, rows: dict[str, int]) -> None:
    ledger.deliver(*HISTORY)
    before = figures(ledger)
    ledger.conn.executescript(damage)
    correction = ledger.recount()
    assert (found(correction), correction.rows) == (rows, sum(rows.values()))
    assert ledger.repair() == sum(rows.values())
    assert figures(ledger) == before
    assert ledger.recount() == Correction()


def test_a_row_taken_out_of_the_ledger_is_taken_out_of_the_figures(ledger: LedgerUnderTest) -> None:
    ledger.deliver(*HISTORY)
    ledger.conn.execute("DELETE FROM messages WHERE sent_at = ?", (ms("09:16"),))
    assert ledger.repair() > 0
    assert ledger.totals("a", 2) == {}


def test_a_correction_may_be_applied_while_ingest_went_on(ledger: LedgerUnderTest) -> None:
    ledger.deliver(*HISTORY[:8])
    ledger.conn.executescript(
        "UPDATE totals SET sent = sent + 7, contacted = 9; UPDATE series SET replied = 3;"
        "UPDATE minutes SET sent = 0; UPDATE campaigns SET last_event_at = 5"
    )
    correction = ledger.recount()
    ledger.each(*HISTORY[8:], sent("m1", "08:50", campaign="c"), sent("m9", step=0))
    correct(ledger.conn, correction)
    assert ledger.recount() == Correction()
    assert ledger.totals("a", 0)["sent"] == ledger.totals("a")["contacted"] == 1


def test_a_recount_sees_one_moment_while_ingest_goes_on(ledger: LedgerUnderTest) -> None:
    ledger.deliver(*HISTORY)
    with closing(open_for_reading(ledger.path)) as reader:
        reader.set_progress_handler(lambda: bool(ledger.deliver(sent(f"x{ledger.now}"))) and False, 1000)
        ledger.now += 1
        assert recount(reader, Progress()) == Correction()


def test_a_recount_begun_before_minutes_were_forgotten_does_not_miss_them(ledger: LedgerUnderTest) -> None:
    ledger.deliver(*HISTORY, sent("m8", "2025-06-10T21:30:00Z"))
    ledger.now += 60_000
    ledger.deliver()
    with closing(open_for_reading(ledger.path)) as reader:
        assert recount(reader, Progress()) == Correction()


def test_a_failed_correction_changes_nothing(ledger: LedgerUnderTest) -> None:
    ledger.deliver(*HISTORY)
    ledger.conn.execute("DELETE FROM totals")
    correction = ledger.recount()
    correction.series.append(("no", "such", "row"))  # type: ignore[arg-type] # on purpose
    with pytest.raises(Exception, match="bindings"):
        correct(ledger.conn, correction)
    assert not ledger.conn.in_transaction
    assert ledger.rows("SELECT * FROM totals") == []
    ledger.repair()


# Baselines.


def with_baselines(ledger: LedgerUnderTest) -> list[int]:
    """A history of which half came before and half after the first snapshots."""
    ledger.deliver(*HISTORY[:8], sent("edge", "09:16"), sent("past", "09:16:00.001"))
    numbers = [put_baseline(ledger, campaign, ms("09:16"), ms("09:17:30")) for campaign in ("a", "b")]
    ledger.deliver(*HISTORY[8:])
    return numbers


@pytest.mark.parametrize("chunk", [1, 3, 50_000])
def test_healthy_baselines_have_nothing_to_correct(
    ledger: LedgerUnderTest, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr("receiver.storage.sqlite.recount.CHUNK_ROWS", chunk)
    with_baselines(ledger)
    assert ledger.recount() == Correction()


@pytest.mark.parametrize(
    ("damage", "count"),
    [
        ("UPDATE baseline_ledgers SET sent = 0", 4),
        ("UPDATE baseline_ledgers SET bounced = bounced + 1 WHERE campaign = 2", 2),
        ("UPDATE baseline_ledgers SET bounced_soft = 9, replied = 7 WHERE at % 60000", 2),
        ("UPDATE baseline_ledgers SET replied_human = -1 WHERE campaign = 1", 2),
    ],
)
def test_damaged_baselines_are_found_and_repaired(ledger: LedgerUnderTest, damage: str, count: int) -> None:
    with_baselines(ledger)
    before = figures(ledger)
    ledger.conn.execute(damage)
    assert found(ledger.recount()) == {"baselines": count}
    assert ledger.repair() == count
    assert figures(ledger) == before


def test_baselines_are_corrected_while_ingest_goes_on_and_new_ones_are_left_alone(ledger: LedgerUnderTest) -> None:
    ledger.deliver(*HISTORY[:8])
    put_baseline(ledger, "a", ms("09:16"))
    ledger.conn.execute("UPDATE baseline_ledgers SET sent = sent + 5")
    correction = ledger.recount()
    put_baseline(ledger, "b", ms("09:16"))
    ledger.each(*HISTORY[8:], sent("x", "09:10"), sent("y", "09:10", campaign="b"))
    correct(ledger.conn, correction)
    assert ledger.recount() == Correction()
