"""What may expire: raw bodies that are old by a clock that can be believed, and nothing that counts."""

from contextlib import closing

import pytest

from receiver.storage.sqlite import retention
from receiver.storage.sqlite.connection import open_for_reading
from receiver.storage.sqlite.retention import DAY_MS, STEP_MS, Expiry
from tests.storage.conftest import NOW, LedgerUnderTest, bounced, replied, sent, started

KEEP = 90 * DAY_MS
YEAR = 365 * DAY_MS
HISTORY = [
    started(),
    sent("m1"),
    sent("m1", "08:59", step=2),
    sent("m2"),
    bounced("m2", "09:06", reason="unknown"),
    replied("r1", message="m1"),
]


def plan(ledger: LedgerUnderTest) -> Expiry:
    with closing(open_for_reading(ledger.path)) as reader:
        return retention.plan(reader, ledger.now, KEEP)


def expire(ledger: LedgerUnderTest) -> int:
    """One whole run: how many bodies have gone."""
    expiry, count = plan(ledger), 0
    while more := ledger.ledger.transact(ledger.conn, lambda conn: retention.expire_bodies(conn, expiry)):
        count += more
    while ledger.ledger.transact(ledger.conn, lambda conn: retention.expire_resolved(conn, expiry)):
        pass
    ledger.ledger.transact(ledger.conn, lambda conn: retention.finish(conn, expiry))
    while ledger.ledger.transact(ledger.conn, lambda conn: retention.give_back(conn, expiry)):
        pass
    return count


def trust(ledger: LedgerUnderTest) -> None:
    """As if runs had always kept up with the clock."""
    ledger.conn.execute("INSERT OR REPLACE INTO meta VALUES ('retention_at', ?)", (ledger.now,))


def kept(ledger: LedgerUnderTest) -> list[int]:
    return [row[0] for row in ledger.rows("SELECT seq FROM journal ORDER BY seq")]


def test_what_is_old_goes_and_the_figures_stay(ledger: LedgerUnderTest) -> None:
    ledger.each(*HISTORY)
    figures = (ledger.totals(), ledger.series(), ledger.rows("SELECT * FROM messages"))
    ledger.now += KEEP
    ledger.deliver(sent("m3"))
    assert (expire(ledger), kept(ledger)) == (0, [1, 2, 3, 4, 5, 6, 7])
    ledger.now += 1
    assert (expire(ledger), kept(ledger)) == (6, [7])
    ledger.conn.execute("DELETE FROM messages WHERE sent_seq = 7")
    ledger.repair()
    assert (ledger.totals(), ledger.series(), ledger.rows("SELECT * FROM messages")) == figures


def test_the_newest_row_stays_however_old(ledger: LedgerUnderTest) -> None:
    ledger.each(*HISTORY)
    ledger.now += YEAR
    trust(ledger)
    assert (expire(ledger), kept(ledger)) == (5, [6])
    ledger.restart()
    ledger.deliver(sent("m3"))
    assert kept(ledger) == [6, 7]
    assert ledger.check_journal().mismatches == 0


def test_a_replay_of_what_has_expired_is_still_a_copy(ledger: LedgerUnderTest) -> None:
    ledger.each(*HISTORY)
    ledger.now += YEAR
    trust(ledger)
    expire(ledger)
    ledger.restart()
    figures = ledger.totals()
    assert ledger.each(*HISTORY, *HISTORY) == ["duplicate"] * 12
    assert ledger.totals() == figures
    assert (ledger.quarantined(), ledger.repair(), ledger.check_journal().mismatches) == (["conflict"], 0, 0)


def test_a_rebuild_needs_no_body(ledger: LedgerUnderTest) -> None:
    ledger.each(*HISTORY)
    ledger.now += YEAR
    trust(ledger)
    expire(ledger)
    assert ledger.repair() == 0
    check = ledger.check_journal()
    assert (check.mismatches, check.bodies, check.older_events) == (0, 1, 4)


def test_what_waits_in_quarantine_stays_and_what_is_resolved_goes(ledger: LedgerUnderTest) -> None:
    ledger.each(b"rubbish", bounced("m9"), bounced("m8"), sent("m8"), sent("m1"), sent("m1", campaign="b"))
    reasons = ledger.quarantined()
    assert reasons == ["not_json", "campaign_unknown", "conflict"]
    ledger.now += YEAR
    trust(ledger)
    expire(ledger)
    assert ledger.rows("SELECT count(*) FROM quarantine") == [(3,)]
    assert ledger.quarantined() == reasons
    assert ledger.each(b"rubbish", sent("m9", campaign="c")) == ["duplicate", "stored"]
    assert ledger.totals("c")["bounced"] == 1


def test_a_clock_that_jumps_a_year_ahead_takes_a_day_at_a_time(ledger: LedgerUnderTest) -> None:
    for day in range(100):
        ledger.now = NOW + day * DAY_MS
        ledger.deliver(sent(f"m{day}"))
    assert expire(ledger) == 9
    ledger.now += YEAR
    ledger.deliver(sent("wrong"))
    assert [expire(ledger), expire(ledger)] == [1, 1]
    ledger.now -= YEAR
    assert expire(ledger) == 0
    ledger.now += DAY_MS
    assert [expire(ledger), expire(ledger)] == [0, 0]
    assert kept(ledger) == list(range(12, 102))
    ledger.now += DAY_MS
    assert expire(ledger) == 0
    ledger.now += 1
    assert expire(ledger) == 1


def test_after_a_long_pause_it_catches_up_by_a_day_each_time(ledger: LedgerUnderTest) -> None:
    ledger.deliver(sent("m0"))
    expire(ledger)
    ledger.now += YEAR
    assert plan(ledger).behind_ms == YEAR - STEP_MS
    runs = 0
    while plan(ledger).behind_ms:
        expire(ledger)
        runs += 1
    assert runs == 364


def test_a_first_run_believes_the_newest_arrival_not_the_clock(ledger: LedgerUnderTest) -> None:
    ledger.each(*HISTORY)
    ledger.now += YEAR
    assert (expire(ledger), kept(ledger)) == (0, [1, 2, 3, 4, 5, 6])


@pytest.mark.parametrize("wrong", [-9 * YEAR, YEAR], ids=["past", "future"])
def test_rows_that_a_wrong_clock_stamped_go_with_their_neighbours(ledger: LedgerUnderTest, wrong: int) -> None:
    for day, off in enumerate([0, wrong, 0, 60 * DAY_MS]):
        ledger.now = NOW + off
        ledger.deliver(sent(f"m{day}", "2015-06-11T09:00:00Z"))
    trust(ledger)
    assert (expire(ledger), kept(ledger)) == (0, [1, 2, 3, 4])
    ledger.now += 31 * DAY_MS
    trust(ledger)
    ledger.deliver(sent("now"))
    assert (expire(ledger), kept(ledger)) == (3, [4, 5])


def test_a_clock_set_to_the_distant_past_takes_nothing(ledger: LedgerUnderTest) -> None:
    ledger.each(*HISTORY)
    ledger.now = 0
    trust(ledger)
    assert (expire(ledger), len(kept(ledger))) == (0, 6)


def test_a_chunk_is_bounded_in_rows_and_bytes(ledger: LedgerUnderTest) -> None:
    ledger.deliver(*[sent(f"m{number}") for number in range(450)])
    padding = "x" * 1_000_000
    ledger.deliver(
        *[sent(f"big{number}", step=None)[:-2] + f', "p": "{padding}"}}}}'.encode() for number in range(2)]
    )
    ledger.deliver(sent("last"))
    ledger.now += YEAR
    trust(ledger)
    expiry, counts = plan(ledger), []
    while count := ledger.ledger.transact(ledger.conn, lambda conn: retention.expire_bodies(conn, expiry)):
        counts.append(count)
    assert counts == [50] * 9 + [1, 1]


def test_chunks_are_as_large_as_the_machine_is_fast() -> None:
    expiry = Expiry(0, 0)
    sizes = []
    for seconds in [0.03, 0.015, *[0.001] * 20, *[1.0] * 10]:
        expiry.took(seconds)
        sizes.append(expiry.chunk)
    assert (sizes[:4], sizes[21], sizes[-1]) == ([25, 25, 32, 41], 200, 5)


def test_a_killed_run_goes_on_where_it_was(ledger: LedgerUnderTest) -> None:
    ledger.deliver(*[sent(f"m{number}") for number in range(450)])
    ledger.now += KEEP + 1
    trust(ledger)
    ledger.deliver(sent("now"))
    expiry = plan(ledger)
    ledger.ledger.transact(ledger.conn, lambda conn: retention.expire_bodies(conn, expiry))
    ledger.restart()
    assert (expire(ledger), kept(ledger)) == (400, [451])


def test_the_space_is_given_back(ledger: LedgerUnderTest) -> None:
    for number in range(300):
        ledger.deliver(sent(f"m{number}" + "x" * 500, step=None)[:-2] + b', "p": "%s"}}' % (b"x" * 20_000))
    ledger.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = ledger.path.stat().st_size
    ledger.now += YEAR
    trust(ledger)
    assert expire(ledger) == 299
    ledger.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    after = ledger.path.stat().st_size
    free, pages = (ledger.rows(f"PRAGMA {name}")[0][0] for name in ("freelist_count", "page_count"))
    assert after < before / 4
    assert 0 < free <= pages // 10


def test_nothing_of_an_expired_body_is_left_in_the_file(ledger: LedgerUnderTest) -> None:
    ledger.each(*[sent(f"canary-{number}", step=None) for number in range(200)])
    ledger.now += KEEP + 1
    trust(ledger)
    ledger.deliver(sent("now"))
    assert expire(ledger) == 200
    ledger.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert b"canary" not in ledger.path.read_bytes()
