"""The ledger against its journal: what was changed, taken out or made up is found."""

import pytest

from receiver.storage.sqlite.verify import JournalCheck
from tests.storage.conftest import NOW, LedgerUnderTest, bounced, replied, sent, started

HISTORY = [
    started(),
    sent("m1", to="al@example.net"),
    sent("m1", "08:59", step=2),
    sent("m1", at="never T"),
    sent("m2", to="jo@example.org"),
    bounced("m2", kind="soft", reason="full"),
    bounced("m2", "09:06", reason="unknown"),
    bounced("m3"),
    replied("r1", message="m1"),
    replied("r1", "09:10", message="m1", lead=None),
    replied("r2", campaign=None, message="m9"),
    replied(None, "09:11"),
    b"rubbish",
]


@pytest.fixture
def told(ledger: LedgerUnderTest) -> LedgerUnderTest:
    for raw in HISTORY:
        ledger.deliver(raw)
        ledger.now += 1
    return ledger


def test_an_empty_ledger_has_no_journal_to_differ_from(ledger: LedgerUnderTest) -> None:
    assert ledger.check_journal() == JournalCheck(None, 0, 0, 0, 0)


def test_a_healthy_ledger_is_the_join_of_its_bodies(told: LedgerUnderTest) -> None:
    check = told.check_journal()
    assert check == JournalCheck(NOW, 12, 0, 0, 0)
    assert check.mismatches == 0


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE messages SET sent_at = sent_at + 1 WHERE hard_at IS NOT NULL AND sent_at IS NOT NULL",
        "UPDATE messages SET soft_at = NULL WHERE soft_at IS NOT NULL",
        "UPDATE messages SET hard_at = hard_at - 1 WHERE soft_at IS NOT NULL",
        "UPDATE messages SET step = 9 WHERE soft_at IS NOT NULL",
        "UPDATE messages SET soft_reason = 'x' WHERE soft_at IS NOT NULL",
        "UPDATE messages SET domain = (SELECT min(id) FROM domains) WHERE soft_at IS NOT NULL",
        "UPDATE messages SET campaign = NULL WHERE soft_at IS NOT NULL",
        "UPDATE replies SET at = at - 1 WHERE best_campaign IS NULL",
        "UPDATE replies SET best_lead = NULL, other_lead = NULL WHERE best_campaign IS NULL",
        "UPDATE replies SET message = x'00' WHERE best_campaign IS NULL",
        "UPDATE replies SET message_sent_at = 1 WHERE best_campaign IS NULL",
        "UPDATE starts SET at = at + 1",
    ],
)
def test_a_changed_event_is_found(told: LedgerUnderTest, change: str) -> None:
    told.conn.execute(change)
    check = told.check_journal()
    assert (check.missing_events, check.missing_bodies) == (0, 0)
    assert check.differing_events == check.mismatches == 1
    told.repair()


@pytest.mark.parametrize(
    ("removal", "missing"),
    [
        ("DELETE FROM messages WHERE hard_at IS NOT NULL AND sent_at IS NULL", 1),
        ("DELETE FROM replies", 3),
        ("DELETE FROM starts", 1),
    ],
)
def test_a_missing_event_is_found(told: LedgerUnderTest, removal: str, missing: int) -> None:
    told.conn.execute(removal)
    assert told.check_journal().missing_events == told.check_journal().mismatches == missing
    told.repair()


@pytest.mark.parametrize("seq", ["5", "99", "NULL"])
def test_an_invented_event_is_found(told: LedgerUnderTest, seq: str) -> None:
    told.conn.execute(
        "INSERT INTO messages (key, campaign, step, sent_at, received_after, sent_seq)"
        f" VALUES (x'00112233445566778899aabbccddeeff', 1, 1, {NOW}, 0, {seq})"
    )
    assert told.check_journal() == JournalCheck(NOW, 12, 0, 0, 1)
    told.repair()


def test_an_invented_bounce_reply_or_start_is_found(told: LedgerUnderTest) -> None:
    told.conn.execute("UPDATE messages SET soft_at = 5, soft_seq = NULL WHERE sent_at IS NULL")
    told.conn.execute(f"INSERT INTO starts VALUES (x'01', 1, {NOW}, {NOW}, NULL)")
    told.conn.execute(
        "INSERT INTO replies (key, campaign, step, at, origin, first_received_at)"
        f" VALUES (x'02', 1, 1, {NOW}, 0, {NOW})"
    )
    assert told.check_journal().missing_bodies == 3
    told.repair()


def test_a_reply_fetched_from_the_api_needs_no_body(told: LedgerUnderTest) -> None:
    told.conn.execute(
        "INSERT INTO replies (key, campaign, step, at, origin, first_received_at)"
        f" VALUES (x'02', 1, 1, {NOW - 900_000}, 1, {NOW})"
    )
    assert told.check_journal().mismatches == 0
    told.repair()


def test_a_body_that_should_still_be_there_is_missed(told: LedgerUnderTest) -> None:
    told.conn.execute("DELETE FROM journal WHERE seq = 5")
    assert told.check_journal() == JournalCheck(NOW, 11, 0, 1, 1)


def test_a_journal_that_is_gone_altogether_is_missed(told: LedgerUnderTest) -> None:
    told.conn.execute("DELETE FROM journal")
    assert told.check_journal() == JournalCheck(None, 0, 0, 0, 9)


@pytest.mark.parametrize("upto", range(1, 12))
def test_bodies_that_have_expired_are_not_missed(told: LedgerUnderTest, upto: int) -> None:
    told.conn.execute("DELETE FROM journal WHERE seq <= ?", (upto,))
    arrived = [NOW + index for index in range(12)]
    firsts = told.rows("SELECT count(*) FROM journal WHERE role = 1")[0][0]
    assert told.check_journal() == JournalCheck(arrived[upto], 12 - upto, 0, 0, 0, 9 - firsts)


def test_a_change_is_found_as_far_as_the_journal_reaches(told: LedgerUnderTest) -> None:
    told.conn.execute("DELETE FROM journal WHERE seq <= 6")
    told.conn.execute("UPDATE messages SET hard_at = hard_at + 1 WHERE soft_at IS NOT NULL")
    assert told.check_journal().differing_events == 1
    told.repair()
