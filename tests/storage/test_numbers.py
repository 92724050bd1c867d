"""Domains by their numbers, and arrivals as differences: what is stored says what was told."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from receiver.storage.sqlite.numbers import DomainNumbers
from tests.storage.conftest import NOW, LedgerUnderTest, bounced, ms, sent

DOMAIN = "SELECT domains.domain FROM messages LEFT JOIN domains ON domains.id = messages.domain ORDER BY sent_at"
FIRST_ARRIVAL = (
    "SELECT received_after + (SELECT min(at) FROM"
    " (SELECT sent_at AS at UNION ALL SELECT soft_at UNION ALL SELECT hard_at)), received_after FROM messages"
)


def named(*numbers: int) -> set[str]:
    return {f"example{number}.org" for number in numbers}


@contextmanager
def statements(conn: sqlite3.Connection, word: str) -> Iterator[list[str]]:
    """Those with this word that run inside."""
    found: list[str] = []
    conn.set_trace_callback(lambda text: found.append(text) if word in text else None)
    try:
        yield found
    finally:
        conn.set_trace_callback(None)


# Domains.


def test_a_domain_is_kept_once_and_a_message_without_one_has_none(ledger: LedgerUnderTest) -> None:
    ledger.deliver(sent("m1", "09:00", to="al@b.org"), sent("m2", "09:01", to="jo@B.org"), sent("m3", "09:02"))
    ledger.deliver(sent("m4", "09:03", to="jo@b.org"))
    assert ledger.rows(DOMAIN) == [("b.org",), ("b.org",), (None,), ("b.org",)]
    assert ledger.rows("SELECT domain FROM domains") == [("b.org",)]


@pytest.mark.parametrize("order", [("a.org", "b.org"), ("b.org", "a.org")])
def test_the_smaller_text_wins_whichever_number_it_has(ledger: LedgerUnderTest, order: tuple[str, str]) -> None:
    ledger.deliver(sent("m1", "08:00", to="jo@c.org"))
    for domain in order:
        ledger.deliver(sent("m2", to=f"jo@{domain}"))
    ledger.deliver(bounced("m2", to="jo@c.org"))
    assert ledger.rows(DOMAIN) == [("c.org",), ("a.org",)]
    assert ledger.rows("SELECT domain FROM bounces") == [("a.org",)]


@pytest.mark.parametrize("domain", ["a\u0000b.org", "xn--\U0001f600.org", "'); DROP TABLE domains; --"])
def test_any_text_may_be_a_domain(ledger: LedgerUnderTest, domain: str) -> None:
    ledger.each(sent("m1", to=f"jo@{domain}"), bounced("m1"))
    assert ledger.rows("SELECT domain FROM domains") == [(domain.lower(),)]
    assert ledger.check_journal().mismatches == 0


def test_a_domain_made_in_a_failed_transaction_is_made_again(ledger: LedgerUnderTest) -> None:
    failing = [sent("m1", "08:00", to="jo@a.org"), sent("m2", to="jo@b.org")]
    ledger.conn.execute("CREATE TEMP TRIGGER full BEFORE INSERT ON totals BEGIN SELECT RAISE(ABORT, 'full'); END")
    with pytest.raises(sqlite3.IntegrityError, match="full"):
        ledger.deliver(*failing)
    ledger.conn.execute("DROP TRIGGER full")
    assert ledger.rows("SELECT * FROM domains") == []
    ledger.each(sent("m9", "07:00", to="jo@z.org"), *reversed(failing))
    assert ledger.rows(DOMAIN) == [("z.org",), ("a.org",), ("b.org",)]


def test_the_domains_of_a_batch_are_looked_up_and_made_together(ledger: LedgerUnderTest) -> None:
    batch = [sent(f"m{number}", to=f"jo@example{number}.org") for number in range(100)]
    with statements(ledger.conn, " domains") as run:
        ledger.deliver(*batch[:96])
    assert [text.partition(" domains")[0] for text in run] == [
        "/* load_messages */ SELECT key, campaign, step, sent_at, soft_at, hard_at, received_after, sent_seq,",
        "/* load_domains */ SELECT domain, id FROM",
        *["/* insert_domain */ INSERT INTO"] * 3,
    ]
    with statements(ledger.conn, "INTO domains") as made, statements(ledger.conn, "load_domains") as asked:
        ledger.deliver(*(sent(f"n{number}", to=f"jo@example{number}.org") for number in range(96)))
    assert made == asked == [], "what is known is asked no more"


def test_no_more_domains_are_kept_than_were_allowed(ledger: LedgerUnderTest) -> None:
    domains, conn = DomainNumbers(kept_max=3), ledger.conn
    first = domains.numbers(conn, named(1, 2))
    domains.commit()
    second = domains.numbers(conn, named(1, 3, 4))
    domains.commit()
    assert sorted([*first.values(), *(second[text] for text in named(3, 4))]) == [1, 2, 3, 4]
    assert second["example1.org"] == first["example1.org"]
    assert [text for text in sorted(named(1, 2, 3, 4)) if domains.known(text) is not None] == sorted(named(3, 4))
    assert domains.numbers(conn, named(1, 2)) == first


# Arrivals.


def arrival(ledger: LedgerUnderTest) -> tuple[int, int]:
    """Of the one message: its first arrival, and what is stored of it."""
    ((first, stored),) = ledger.rows(FIRST_ARRIVAL)
    return first, stored


def test_the_first_arrival_is_stored_as_a_difference(ledger: LedgerUnderTest) -> None:
    ledger.now = ms("09:00:01.5")
    ledger.deliver(sent("m1", "09:00"))
    assert arrival(ledger) == (ms("09:00:01.5"), 1500)


def test_an_arrival_may_be_before_the_event_where_clocks_differ(ledger: LedgerUnderTest) -> None:
    ledger.now = ms("08:59:59.5")
    ledger.deliver(sent("m1", "09:00"))
    assert arrival(ledger) == (ms("08:59:59.5"), -500)


@pytest.mark.parametrize(
    "bodies",
    [
        [sent(at="09:10"), sent(at="09:00")],
        [sent(at="09:10"), bounced(at="09:00")],
        [sent(at="09:10"), bounced(at="09:00", kind="soft")],
        [bounced(at="09:10"), sent(at="09:00")],
        [bounced(at="09:10"), bounced(at="09:00", kind="soft"), bounced(at="09:05")],
        [bounced(at="09:00", kind="soft"), bounced(at="09:10"), sent(at="09:20"), sent(at="09:15")],
    ],
)
def test_the_first_arrival_stays_when_the_earliest_time_changes(ledger: LedgerUnderTest, bodies: list[bytes]) -> None:
    for raw in bodies:
        ledger.deliver(raw)
        ledger.now += 60_000
        assert arrival(ledger)[0] == NOW
    assert arrival(ledger) == (NOW, NOW - ms("09:00"))


def test_a_bounce_that_waits_for_its_campaign_keeps_its_arrival(ledger: LedgerUnderTest) -> None:
    ledger.deliver(bounced("m1", "09:05"))
    assert ledger.rows("SELECT campaign, received_after FROM messages") == [(None, NOW - ms("09:05"))]
    ledger.restart()
    ledger.now += 60_000
    ledger.deliver(sent("m1", "09:00"))
    assert arrival(ledger) == (NOW, NOW - ms("09:00"))
