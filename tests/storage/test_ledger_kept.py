"""What every store keeps: bodies, quarantine, stretches, and all of a batch or nothing."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from receiver.events import Kind
from receiver.storage.deliveries import Delivery, Refusals, Stretch
from tests.storage.conftest import (
    NOW,
    STRETCH,
    LedgerUnderTest,
    bounced,
    replied,
    sent,
)
from tests.storage.test_ledger import RUBBISH

DAY_MS = 86_400_000
AHEAD = "2025-06-12T09:31:00Z"  # a day and a minute after NOW


# The journal.


def test_the_journal_counts_deliveries_and_keeps_each_body_once(ledger: LedgerUnderTest) -> None:
    ledger.each(sent(), bounced(campaign="a"), sent(), sent())
    ledger.deliver(sent(), sent("m2"), sent("m2"))
    assert ledger.journal_copies() == [4, 1, 2]
    assert ledger.rows("SELECT count(*) FROM journal") == [(3,)]


def test_a_spoilt_copy_is_kept_and_counted_and_never_joined(ledger: LedgerUnderTest) -> None:
    ledger.each(sent(), sent(at="never T"), sent(at="never T"))
    assert ledger.journal_copies() == [3]
    assert ledger.rows("SELECT role, body FROM journal") == [(1, sent()), (3, sent(at="never T"))]


def test_the_journal_knows_the_campaign_that_an_event_has_now(ledger: LedgerUnderTest) -> None:
    ledger.each(bounced(), replied(message="m1", campaign="c"), sent(campaign="b"), sent(campaign="a", at="08:00"))
    number = ledger.rows("SELECT id FROM campaigns WHERE campaign_id = 'a'")[0][0]
    assert ledger.rows("SELECT kind, campaign FROM journal WHERE role = 1 ORDER BY seq") == [
        (Kind.HARD_BOUNCE, number),
        (Kind.REPLY, number),
        (Kind.SENT, number),
    ]


def test_the_journal_keeps_secret_peer_and_arrival(ledger: LedgerUnderTest) -> None:
    secret = ledger.ledger.secret_id(ledger.conn, b"whsec_1", NOW)
    delivery = Delivery(sent(), NOW - 5, ledger.ledger.parser.parse(sent(), NOW), secret, "203.0.113.9")
    ledger.commit([delivery], STRETCH)
    assert ledger.rows("SELECT received_at, secret, peer FROM journal") == [(NOW - 5, secret, "203.0.113.9")]


def test_a_secret_keeps_its_number_and_is_not_stored(ledger: LedgerUnderTest) -> None:
    numbers = [ledger.ledger.secret_id(ledger.conn, secret, NOW) for secret in (b"one", b"two", b"one")]
    assert numbers[0] == numbers[2] != numbers[1]
    assert ledger.rows("SELECT count(*), max(length(fingerprint)) FROM secrets") == [(2, 16)]


def test_row_numbers_go_on_after_a_restart(ledger: LedgerUnderTest) -> None:
    ledger.each(sent("m1"), sent("m1", at="09:01"))
    ledger.restart()
    ledger.deliver(sent("m2"))
    assert [row[0] for row in ledger.rows("SELECT seq FROM journal ORDER BY seq")] == [1, 2, 3]


# Quarantine.


def test_an_understood_body_resolves_what_is_quarantined_of_its_identity(ledger: LedgerUnderTest) -> None:
    spoilt = [sent(at="never T"), sent(at="nowhere T"), sent("m2", at="never T"), bounced(at="never T")]
    assert ledger.each(*spoilt) == ["quarantined"] * 4
    assert ledger.deliver(sent()) == ["stored"]
    open_rows = ledger.rows("SELECT id FROM quarantine WHERE resolved_at IS NULL")
    assert open_rows == [(3,), (4,)]
    assert ledger.rows("SELECT resolved_at FROM quarantine WHERE id = 1") == [(NOW,)]


def test_a_duplicate_resolves_nothing_that_is_still_wrong_with_others(ledger: LedgerUnderTest) -> None:
    ledger.each(RUBBISH, sent(), sent())
    assert ledger.quarantined() == ["not_json"]


def test_a_byte_equal_body_is_a_duplicate_even_of_a_resolved_row(ledger: LedgerUnderTest) -> None:
    ledger.each(sent(at="never T"), sent())
    assert ledger.deliver(sent(at="never T")) == ["duplicate"]
    assert ledger.quarantined() == []


def test_a_body_ahead_is_taken_in_by_itself_when_it_is_due(ledger: LedgerUnderTest) -> None:
    assert ledger.deliver(sent(at=AHEAD)) == ["quarantined"]
    none = {"retried": 0, "stored": 0, "duplicate": 0, "still_quarantined": 0}
    assert ledger.ledger.retry_due(ledger.conn, NOW + 59_999) == none
    ledger.now = NOW + 60_000
    assert ledger.ledger.retry_due(ledger.conn, ledger.now) == {**none, "retried": 1, "stored": 1}
    assert (ledger.quarantined(), ledger.totals()["sent"]) == ([], 1)
    assert ledger.ledger.retry_due(ledger.conn, ledger.now) == none


def test_a_body_ahead_is_taken_in_by_any_copy_that_comes_when_it_is_due(ledger: LedgerUnderTest) -> None:
    ledger.deliver(sent(at=AHEAD))
    ledger.now = NOW + 60_000
    assert ledger.deliver(sent(at=AHEAD)) == ["stored"]
    assert ledger.quarantined() == []


def test_a_body_taken_in_late_keeps_when_it_arrived(ledger: LedgerUnderTest) -> None:
    ledger.deliver(sent(at=AHEAD))
    ledger.now = NOW + 60_000
    ledger.ledger.retry_due(ledger.conn, ledger.now)
    assert ledger.rows("SELECT received_at FROM journal") == [(NOW,)]


def test_two_unequal_bodies_that_are_due_together_are_one_event(ledger: LedgerUnderTest) -> None:
    ledger.each(sent(at=AHEAD), sent(at="2025-06-12T09:30:30Z"))
    ledger.now = NOW + 60_000
    counts = ledger.ledger.retry_due(ledger.conn, ledger.now)
    assert counts == {"retried": 2, "stored": 1, "duplicate": 1, "still_quarantined": 0}
    assert ledger.quarantined() == []


def test_a_due_bounce_without_campaign_goes_on_waiting_for_its_send(ledger: LedgerUnderTest) -> None:
    ledger.deliver(bounced(at=AHEAD))
    ledger.now = NOW + 60_000
    assert ledger.ledger.retry_due(ledger.conn, ledger.now)["still_quarantined"] == 1
    assert ledger.quarantined() == ["campaign_unknown"]
    ledger.deliver(sent())
    assert (ledger.quarantined(), ledger.totals()["bounced"]) == ([], 1)


def test_retry_leaves_what_is_still_not_understood(ledger: LedgerUnderTest) -> None:
    ledger.each(RUBBISH, bounced(), sent("m2", campaign="a"), sent("m2", campaign="b"))
    counts = ledger.ledger.retry(ledger.conn, [1, 2, 3, 99], NOW)
    assert counts == {"retried": 3, "stored": 0, "duplicate": 0, "still_quarantined": 3}
    assert ledger.quarantined() == ["not_json", "campaign_unknown", "conflict"]


def test_retry_takes_in_what_a_newer_version_understands(ledger: LedgerUnderTest) -> None:
    ledger.deliver(RUBBISH)
    ledger.conn.execute("UPDATE quarantine SET body = ?", (sent(),))
    assert ledger.ledger.retry(ledger.conn, [1], NOW)["stored"] == 1
    assert (ledger.quarantined(), ledger.totals()["sent"]) == ([], 1)


def test_retry_says_anew_why_a_body_is_not_understood(ledger: LedgerUnderTest) -> None:
    ledger.deliver(RUBBISH)
    ledger.conn.execute("UPDATE quarantine SET body = ?", (b"{}",))
    ledger.ledger.retry(ledger.conn, [1], NOW)
    assert ledger.rows("SELECT reason, detail FROM quarantine") == [("missing_field", "Field 'event' is missing.")]


# Stretches of acceptance and refusals.


def test_a_stretch_grows_with_each_commit_and_ends_with_a_clean_stop(ledger: LedgerUnderTest) -> None:
    ledger.commit([], Stretch(NOW, NOW))
    ledger.commit([], Stretch(NOW, NOW + 10_000))
    assert ledger.rows("SELECT started_at, last_at, stopped FROM accepting") == [(NOW, NOW + 10_000, 0)]
    ledger.commit([], Stretch(NOW, NOW + 12_000, stopped=True))
    assert ledger.rows("SELECT started_at, last_at, stopped FROM accepting") == [(NOW, NOW + 12_000, 1)]


def test_another_stretch_and_another_process_are_rows_of_their_own(ledger: LedgerUnderTest) -> None:
    ledger.commit([], Stretch(NOW, NOW + 1))
    ledger.commit([], Stretch(NOW + 5, NOW + 6))
    ledger.restart()
    ledger.commit([], Stretch(NOW + 5, NOW + 9))
    rows = ledger.rows("SELECT started_at, last_at FROM accepting ORDER BY id")
    assert rows == [(NOW, NOW + 1), (NOW + 5, NOW + 6), (NOW + 5, NOW + 9)]


def test_a_run_of_refusals_is_one_row_that_grows(ledger: LedgerUnderTest) -> None:
    ledger.commit([], STRETCH, Refusals(NOW, NOW, 1))
    ledger.commit([], STRETCH, Refusals(NOW, NOW + 9, 4))
    ledger.commit([], STRETCH, None)
    ledger.commit([], STRETCH, Refusals(NOW + 20, NOW + 20, 1))
    rows = ledger.rows("SELECT started_at, last_at, refusals FROM refusing ORDER BY id")
    assert rows == [(NOW, NOW + 9, 4), (NOW + 20, NOW + 20, 1)]


# All or nothing.


def broken(ledger: LedgerUnderTest, raw: bytes) -> Delivery:
    """A delivery that the journal will not take: its body is no bytes."""
    return Delivery({"not": "bytes"}, NOW, ledger.ledger.parser.parse(raw, NOW))  # type: ignore[arg-type] # on purpose


@contextmanager
def locked(ledger: LedgerUnderTest) -> Iterator[None]:
    """Another connection holds the database's lock."""
    with closing(sqlite3.connect(ledger.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


def everything(ledger: LedgerUnderTest) -> list[str]:
    return [line for line in ledger.conn.iterdump() if "sqlite_" not in line]


def test_a_failure_in_the_middle_leaves_nothing_behind(ledger: LedgerUnderTest) -> None:
    ledger.each(sent("m1"), RUBBISH, bounced("m2"))
    before = everything(ledger)
    batch = [ledger.delivery(raw) for raw in (sent("m2"), sent("m3", campaign="new"), b"{}")]
    with pytest.raises(sqlite3.Error):
        ledger.commit([*batch, broken(ledger, sent("m4"))], Stretch(NOW + 1, NOW + 2), Refusals(NOW, NOW, 1))
    assert not ledger.conn.in_transaction
    assert everything(ledger) == before


def test_memory_is_as_before_after_a_failure_at_the_very_end(ledger: LedgerUnderTest) -> None:
    ledger.commit([ledger.delivery(sent("m1"))], STRETCH, Refusals(NOW, NOW, 1))
    impossible = Refusals("never", NOW, 1)  # type: ignore[arg-type] # the table takes integers only
    with pytest.raises(sqlite3.IntegrityError, match="cannot store TEXT value"):
        ledger.commit([ledger.delivery(sent("m2", campaign="lost"))], Stretch(NOW + 1, NOW + 2), impossible)
    ledger.commit([ledger.delivery(sent("m2", campaign="b"))], Stretch(NOW + 1, NOW + 3), Refusals(NOW, NOW + 7, 2))
    assert ledger.rows("SELECT seq FROM journal ORDER BY seq") == [(1,), (2,)]
    assert ledger.rows("SELECT started_at, last_at FROM accepting") == [(NOW, NOW), (NOW + 1, NOW + 3)]
    assert ledger.rows("SELECT started_at, refusals FROM refusing") == [(NOW, 2)]
    assert ledger.rows("SELECT campaign_id FROM campaigns ORDER BY id") == [("a",), ("b",)]
    assert ledger.totals("b")["sent"] == 1


def test_a_campaign_made_in_a_failed_transaction_is_made_again(ledger: LedgerUnderTest) -> None:
    failing = [ledger.delivery(replied("r1", campaign="x")), broken(ledger, sent("m3", campaign="y"))]
    with pytest.raises(sqlite3.Error):
        ledger.commit(failing, STRETCH)
    ledger.each(sent("m1", campaign="y"), bounced("m1"), replied("r1", campaign="x"))
    assert ledger.totals("y")["bounced"] == 1
    assert ledger.totals("x") == {"replies": 1, "replied": 1, "replied_human": 1}


def test_a_failing_commit_rolls_back(ledger: LedgerUnderTest) -> None:
    ledger.conn.execute("CREATE TEMP TRIGGER full BEFORE INSERT ON totals BEGIN SELECT RAISE(FAIL, 'full'); END")
    with pytest.raises(sqlite3.IntegrityError, match="full"):
        ledger.deliver(sent(), sent("m2", campaign="b"))
    ledger.conn.execute("DROP TRIGGER full")
    assert ledger.rows("SELECT * FROM journal") == ledger.rows("SELECT * FROM campaigns") == []
    assert ledger.deliver(sent(), sent("m2", campaign="b")) == ["stored", "stored"]


def test_a_held_lock_fails_the_commit_and_changes_nothing(ledger: LedgerUnderTest) -> None:
    ledger.conn.execute("PRAGMA busy_timeout = 0")
    with pytest.raises(sqlite3.OperationalError, match="database is locked"), locked(ledger):
        ledger.deliver(sent())
    assert ledger.deliver(sent()) == ["stored"]


def test_a_failed_retry_leaves_the_row_open(ledger: LedgerUnderTest) -> None:
    ledger.deliver(sent(at=AHEAD))
    ledger.conn.execute("CREATE TEMP TRIGGER full BEFORE INSERT ON totals BEGIN SELECT RAISE(ABORT, 'full'); END")
    with pytest.raises(sqlite3.IntegrityError, match="full"):
        ledger.ledger.retry_due(ledger.conn, NOW + DAY_MS)
    ledger.conn.execute("DROP TRIGGER full")
    assert ledger.quarantined() == ["bad_timestamp"]
