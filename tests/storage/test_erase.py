"""An address goes from all tables and from the file's bytes; figures, keys and proofs stay."""

import json
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from receiver.leadterra.erasure import erasable
from receiver.storage.sqlite import erase
from receiver.storage.sqlite.connection import open_for_reading, truncate_wal
from receiver.storage.sqlite.erase import Erased, Eraser
from receiver.storage.sqlite.recount import Progress, StoppedError
from tests.storage.conftest import LedgerUnderTest, body, bounced, replied, sent

JO = "canary.jo@example.org"
OTHER = "xcanary.jo@example.org"
TABLES = ("totals", "series", "shifts", "bounces", "minutes", "starts")


def of(raw: bytes, **data: Any) -> bytes:
    """The same body with more in its data."""
    payload = json.loads(raw)
    payload["data"] |= data
    return json.dumps(payload).encode()


HISTORY = [
    of(sent("m1"), email=JO, firstName="Jo"),
    of(sent("m1", "08:59"), email=JO.upper()),
    of(bounced("m1", kind="soft", reason=f"452 <{JO}> full"), to=f"Jo <{JO}>"),
    of(bounced("m1", "09:07", reason=f"550 5.1.1 <{JO.upper()}>: user unknown, " + "x" * 1100), email=JO),
    bounced("m2", reason="no class: " + "y" * 970 + f" {JO} is gone", campaign="a"),
    bounced("m3", reason=f"user {JO} unknown", campaign="a"),
    of(sent("m4"), email=OTHER),
    sent(f"id-{JO}-5"),
    replied("r1", message="m1", lead=JO),
    replied("r1", "09:19", message="m1", lead=None, kind="interested"),
    replied(JO, message=f"id-{JO}-5", lead=f"Jo <{JO}>"),
    replied(None, "09:21", lead=JO),
    replied("r4", lead=OTHER),
    body("campaign.started", "08:00", campaign={"id": "a", "name": f"for {JO}"}),
    b"rubbish " + JO.encode(),
    json.dumps({"event": JO, "a": JO.replace("@", "%40")}).encode(),
    bounced("m9", reason=JO),
    sent("m1", campaign="b"),
    of(sent("m1"), timestamp="never", email=JO),
]


@pytest.fixture
def told(ledger: LedgerUnderTest) -> LedgerUnderTest:
    for raw in HISTORY:
        ledger.deliver(raw)
        ledger.now += 60_000
    return ledger


def run(ledger: LedgerUnderTest, address: str = JO) -> Erased:
    eraser = Eraser(erasable(address) or "", ledger.ledger.parser)
    with closing(open_for_reading(ledger.path)) as reader:
        for hits in eraser.hits(reader, Progress()):
            eraser.add(ledger.ledger.transact(ledger.conn, partial(eraser.write, hits=hits)))
    assert truncate_wal(ledger.conn)
    return eraser.erased


def occurrences(path: Path, text: str = JO) -> int:
    """In all files of the database; as a part of the other's address it does not count."""
    found = b"".join(each.read_bytes() for each in path.parent.glob("receiver.db*")).lower()
    return found.count(text.encode()) - found.count(b"x" + text.encode())


def figures(ledger: LedgerUnderTest) -> dict[str, list[Any]]:
    return {table: ledger.rows(f"SELECT * FROM {table} ORDER BY 1, 2, 3, 4") for table in TABLES}


def test_it_is_nowhere_afterwards_and_all_else_is_as_it_was(told: LedgerUnderTest) -> None:
    assert occurrences(told.path) > 10
    before = (figures(told), told.quarantined(), told.rows("SELECT * FROM replies"), told.journal_copies())
    erased = run(told)
    assert occurrences(told.path) == 0
    assert (figures(told), told.quarantined(), told.rows("SELECT * FROM replies"), told.journal_copies()) == before
    assert erased.bodies > 10
    assert erased.similar == 2
    assert told.recount().rows == 0
    assert told.check_journal().mismatches == 0


def test_a_replay_of_the_same_webhooks_is_a_copy_and_brings_nothing_back(told: LedgerUnderTest) -> None:
    run(told)
    before = (figures(told), told.rows("SELECT count(*) FROM journal"), told.rows("SELECT count(*) FROM quarantine"))
    assert set(told.each(*HISTORY)) == {"duplicate"}
    assert set(told.deliver(*HISTORY)) == {"duplicate"}
    truncate_wal(told.conn)
    assert occurrences(told.path) == 0
    after = (figures(told), told.rows("SELECT count(*) FROM journal"), told.rows("SELECT count(*) FROM quarantine"))
    assert after == before
    assert told.check_journal().mismatches == 0


def test_a_lead_is_still_one_lead(told: LedgerUnderTest) -> None:
    run(told)
    replied_before = told.totals()["replied"]
    told.deliver(replied("r9", lead=JO))
    assert told.totals()["replied"] == replied_before


def test_a_copy_that_comes_later_contradicts_nothing(told: LedgerUnderTest) -> None:
    run(told)
    conflicts = told.quarantined().count("conflict")
    told.deliver(of(replied("r1", message="m1", lead=JO), more=1))
    assert told.quarantined().count("conflict") == conflicts


def test_a_second_time_there_is_nothing(told: LedgerUnderTest) -> None:
    run(told)
    assert run(told) == Erased(0, 0, 2)


def test_an_address_that_is_not_there_changes_nothing(told: LedgerUnderTest) -> None:
    before = told.rows("SELECT * FROM journal")
    assert run(told, "nobody@example.org") == Erased()
    assert told.rows("SELECT * FROM journal") == before


def test_the_other_can_be_erased_by_itself(told: LedgerUnderTest) -> None:
    assert run(told, OTHER) == Erased(2, 0, 0)
    assert occurrences(told.path, OTHER) == 0
    assert occurrences(told.path) > 10


def test_reasons_whose_bodies_have_expired_lose_it_too(told: LedgerUnderTest) -> None:
    told.conn.execute("DELETE FROM journal WHERE seq < (SELECT max(seq) FROM journal)")
    before = figures(told)
    erased = run(told)
    assert erased.records == 4  # three messages and a campaign; in a fourth reason it was cut off before its end
    assert (occurrences(told.path), figures(told), told.recount().rows) == (0, before, 0)


def test_a_class_that_held_it_gives_way_to_another_one(ledger: LedgerUnderTest) -> None:
    """A local part that reads as a status code."""
    address = "5.1.1@example.org"
    ledger.each(bounced("m1", reason=f"no such {address} here", campaign="a", to=address))
    assert ledger.rows("SELECT reason FROM bounces") == [("5.1.1",)]
    run(ledger, address)
    found = ledger.rows("SELECT reason, domain, bounced_hard FROM bounces")
    assert found == [("no such <address> here", "example.org", 1)]
    assert (ledger.recount().rows, ledger.check_journal().mismatches) == (0, 0)


def test_what_is_understood_later_is_not_counted_twice(ledger: LedgerUnderTest) -> None:
    """A quarantined body whose id holds the address keeps the identity that it came with."""
    raw = body("message.sent", "09:00", messageId=f"id-{JO}", email=JO)
    assert ledger.each(raw) == ["quarantined"]
    run(ledger)
    assert ledger.each(of(raw, campaignId="a")) == ["stored"]
    assert ledger.quarantined() == []
    assert ledger.totals()["sent"] == 1


@pytest.mark.parametrize("understood_after", range(3))
def test_what_is_understood_meanwhile_is_found_too(ledger: LedgerUnderTest, understood_after: int) -> None:
    """A body that was ahead of its time, beside an erasure that has got so far."""
    ahead = of(body("message.sent", "2025-06-13T09:00:00Z", messageId="m2", campaignId="a"), email=JO)
    ledger.each(of(sent("m1"), email=JO), ahead)
    assert ledger.quarantined() == ["bad_timestamp"]
    ledger.now += 3 * 86_400_000
    eraser = Eraser(JO, ledger.ledger.parser)
    with closing(open_for_reading(ledger.path)) as reader:
        for number, hits in enumerate(eraser.hits(reader, Progress())):
            if number == understood_after:
                ledger.ledger.retry_due(ledger.conn, ledger.now)
            eraser.add(ledger.ledger.transact(ledger.conn, partial(eraser.write, hits=hits)))
    ledger.ledger.retry_due(ledger.conn, ledger.now)
    assert truncate_wal(ledger.conn)
    assert occurrences(ledger.path) == 0
    assert ledger.totals()["sent"] == 2
    assert ledger.each(ahead) == ["duplicate"]
    truncate_wal(ledger.conn)
    assert occurrences(ledger.path) == 0
    assert (ledger.recount().rows, ledger.check_journal().mismatches) == (0, 0)


@pytest.mark.parametrize("stop_after", range(0, 9, 2))
def test_a_half_one_is_proved_too_and_can_be_ended(
    told: LedgerUnderTest, stop_after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erase, "_CHUNK_ROWS", 2)
    eraser = Eraser(JO, told.ledger.parser)
    with closing(open_for_reading(told.path)) as reader:
        for number, hits in enumerate(eraser.hits(reader, Progress())):
            if number == stop_after:
                break
            told.ledger.transact(told.conn, partial(eraser.write, hits=hits))
    assert (told.recount().rows, told.check_journal().mismatches) == (0, 0)
    told.restart()
    run(told)
    assert (occurrences(told.path), told.recount().rows, told.check_journal().mismatches) == (0, 0, 0)


def test_it_can_be_told_to_stop(told: LedgerUnderTest) -> None:
    with closing(open_for_reading(told.path)) as reader, pytest.raises(StoppedError):
        list(Eraser(JO, told.ledger.parser).hits(reader, Progress(stopped=True)))


@pytest.mark.parametrize(
    "written",
    [
        JO.upper(),
        JO.replace("@", "&commat;"),
        JO.replace("@", "\uff20"),
        "%63%61%6e%61%72%79%2e%6a%6f%40example.org",
        "canary.jo&#x40;&#101;&#120;&#97;&#109;&#112;&#108;&#101;.org",
        "".join(f"\\u{ord(sign):04x}" for sign in JO),
    ],
)
def test_in_whatever_way_it_is_written_the_journal_is_clean(ledger: LedgerUnderTest, written: str) -> None:
    """Letters that are escaped are none that a search for bytes would find."""
    ledger.each(sent("m1"), raw := of(sent("m2"), text="WRITTEN").replace(b"WRITTEN", written.encode()), sent("m3"))
    assert run(ledger).bodies == 1
    ((left,),) = ledger.rows("SELECT body FROM journal WHERE seq = 2")
    assert (json.loads(left)["data"]["text"], ledger.each(raw)) == ("***@example.org", ["duplicate"])
    assert ledger.rows("SELECT count(*) FROM journal") == [(3,)]


def test_chunks_are_bounded_in_bytes(ledger: LedgerUnderTest) -> None:
    ledger.deliver(*[of(sent(f"m{number}"), email=JO, p="x" * 200_000) for number in range(3)])
    ledger.deliver(*[of(sent(f"n{number}"), email=JO) for number in range(60)])
    with closing(open_for_reading(ledger.path)) as reader:
        chunks = list(Eraser(JO, ledger.ledger.parser).hits(reader, Progress()))
    assert [len(chunk) for chunk in chunks] == [1, 1, 50, 11]


def test_rows_that_went_meanwhile_are_no_trouble(told: LedgerUnderTest) -> None:
    eraser = Eraser(JO, told.ledger.parser)
    with closing(open_for_reading(told.path)) as reader:
        chunks = list(eraser.hits(reader, Progress()))
    told.conn.execute("DELETE FROM journal WHERE seq < (SELECT max(seq) FROM journal)")
    told.conn.execute("DELETE FROM quarantine")
    for hits in chunks:
        eraser.add(told.ledger.transact(told.conn, partial(eraser.write, hits=hits)))
    assert eraser.erased.bodies == 1


def test_the_log_is_not_emptied_under_a_reader(told: LedgerUnderTest) -> None:
    with closing(open_for_reading(told.path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM journal").fetchone()
        told.deliver(sent("more"))
        assert not truncate_wal(told.conn)
        reader.execute("ROLLBACK")
        assert truncate_wal(told.conn)
    assert told.path.with_name("receiver.db-wal").stat().st_size == 0
