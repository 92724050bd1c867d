"""Answers taken in over a real ledger: what is kept, what is folded, what heals, and what an answer shows at once."""

import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.figures import MINUTE_MS
from receiver.reconcile import cases, settled
from receiver.reconcile.cases import Answered, Pins, Taken
from receiver.reconcile.drift import Status
from receiver.reconcile.standings import Standing, standings
from receiver.storage.sqlite import reconciliation as rows
from receiver.storage.sqlite.connection import open_for_reading
from tests.reconcile.made import HOUR_MS, at, counters
from tests.storage.conftest import LedgerUnderTest, replied, sent

PINS = Pins("sent", "any", "all")


def iso(moment: int) -> str:
    return datetime.fromtimestamp(moment / 1000, UTC).isoformat()


class Desk(LedgerUnderTest):
    """A ledger with counters to compare; times are minutes after midnight. Acceptance is without a break."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.conn.execute("PRAGMA synchronous = OFF")
        self.conn.execute("INSERT INTO accepting VALUES (1, 0, ?, 1)", (at(9999),))
        self.now = at(0)

    def arrive(self, *events: tuple[str, float]) -> None:
        """Sends, each with its own time, arrive."""
        self.deliver(*(sent(message, iso(at(minute))) for message, minute in events))

    def answer(self, minute: float, sends: int, replies: int = 0, pins: Pins = PINS) -> Taken:
        when = at(minute)
        answer = Answered("a", counters(sends, replied=replies), when, when, when)

        def work(conn: object) -> Taken:
            return cases.take_in(self.conn, answer, when, cases.circumstances(self.conn, pins, when))

        return self.ledger.transact(self.conn, work)

    def standing(self, minute: float) -> Standing:
        with closing(open_for_reading(self.path)) as reader:
            (found,) = standings(reader, PINS, at(minute))
            assert not reader.in_transaction
        return found

    def gaps(self) -> list[tuple[object, ...]]:
        return self.rows("SELECT figure, at_least, state FROM gaps ORDER BY to_at, cause")

    def count(self, table: str) -> int:
        count: int = self.rows(f"SELECT count(*) FROM {table}")[0][0]
        return count


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    opened = Desk(tmp_path / "receiver.db")
    yield opened
    assert opened.repair() == 0
    opened.conn.close()


def test_a_first_answer_is_no_move_and_a_second_one_may_be(desk: Desk) -> None:
    assert [desk.answer(minute, sends).moved for minute, sends in [(10, 5), (20, 5), (30, 6)]] == [False, False, True]
    assert desk.rows("SELECT answered_at, moved_at FROM polls") == [(at(30), at(30))]


def test_a_mail_that_is_opened_moves_no_counter(desk: Desk) -> None:
    desk.answer(10, 5)
    opened = Answered("a", replace(counters(5), open_rate=0.4, reply_rate=0.1), at(20), at(20), at(20))
    around = cases.circumstances(desk.conn, PINS, at(20))
    taken = desk.ledger.transact(desk.conn, lambda conn: cases.take_in(conn, opened, at(20), around))
    assert (taken.moved, desk.count("snapshots")) == (False, 2)


def test_equal_answers_in_a_row_are_one_and_a_date_that_goes_back_changes_no_order(desk: Desk) -> None:
    for minute, sends in ((10, 1), (20, 1), (30, 2), (25, 2), (5, 1)):
        desk.answer(minute, sends)
    found = desk.rows("SELECT first_at, last_at, json_extract(counters, '$.sent') FROM snapshots ORDER BY first_at")
    assert found == [(at(10), at(20), 1), (at(30), at(30), 2), (at(30) + 1, at(30) + 1, 1)]


def test_a_first_answer_is_kept_with_the_ledger_as_of_it(desk: Desk) -> None:
    desk.arrive(("m1", 9.999), ("m2", 10.0), ("m3", 10.001))
    desk.answer(10, 50)
    assert desk.rows("SELECT at, sent FROM baseline_ledgers") == [(at(10), 2)]


def test_a_loss_is_a_gap_that_a_late_arrival_heals(desk: Desk) -> None:
    desk.answer(10, 0)
    assert desk.answer(60, 1).evaluation.status is Status.SETTLING
    assert desk.answer(120, 1).evaluation.status is Status.MISSING
    assert desk.answer(122, 1).evaluation.status is Status.MISSING
    assert desk.gaps() == [("sent", 1, "overdue")]
    desk.arrive(("m1", 50))
    assert desk.answer(125, 1).evaluation.status is Status.IN_SYNC
    assert desk.gaps() == [("sent", 1, "healed")]


def test_a_late_arrival_from_around_the_first_answer_makes_no_loss_forgotten(desk: Desk) -> None:
    desk.arrive(("m1", 5))
    first = Answered("a", counters(50), at(10), at(10), at(10) + 2000)
    around = cases.circumstances(desk.conn, PINS, at(10))
    desk.ledger.transact(desk.conn, lambda conn: cases.take_in(conn, first, at(10), around))
    desk.answer(60, 60)
    assert desk.answer(300, 60).evaluation.status is Status.MISSING
    desk.arrive(("m2", 10 + 1 / 60))
    assert desk.answer(305, 60).evaluation.status is Status.MISSING
    assert desk.gaps() == [("sent", 9, "overdue")]  # it may be one of the 50


def test_a_loss_that_settles_and_heals_is_forgotten(desk: Desk) -> None:
    desk.answer(10, 0)
    desk.answer(60, 1)
    desk.arrive(("m1", 50))
    desk.answer(65, 1)
    assert desk.gaps() == []


def test_a_later_first_reply_of_the_same_lead_supersedes_the_lost_one(desk: Desk) -> None:
    desk.answer(10, 0)
    desk.answer(60, 0, replies=1)
    desk.answer(120, 0, replies=1)
    desk.deliver(replied("r2", iso(at(130))))
    desk.answer(160, 0, replies=1)
    assert desk.gaps() == [("replied", 1, "superseded")]


def test_a_lost_reply_that_is_fetched_heals(desk: Desk) -> None:
    desk.answer(10, 0)
    desk.answer(60, 0, replies=1)
    desk.answer(120, 0, replies=1)
    desk.deliver(replied("r1", iso(at(50))))
    desk.answer(160, 0, replies=1)
    assert desk.gaps() == [("replied", 1, "healed")]


def test_a_late_arrival_shows_in_the_same_answer(desk: Desk) -> None:
    desk.answer(10, 0)
    desk.answer(60, 1)
    before = desk.standing(61)
    assert (before.status, before.gaps, before.figures["sent"]["at_least"]) == ("settling", None, 1)  # type: ignore[index]
    desk.arrive(("m1", 50))
    after = desk.standing(61)
    assert (after.status, after.gaps, after.figures["sent"]["at_least"]) == ("in_sync", [], 0)  # type: ignore[index]


def test_what_comes_after_the_last_answer_changes_nothing(desk: Desk) -> None:
    desk.answer(10, 0)
    desk.answer(60, 1)
    desk.arrive(("m1", 70))
    assert desk.standing(71).gaps is None


def test_only_the_campaign_that_is_asked_for_is_shown(desk: Desk) -> None:
    desk.answer(10, 0)
    with closing(open_for_reading(desk.path)) as reader:
        assert [each.campaign_id for each in standings(reader, PINS, at(10), campaigns=[1])] == ["a"]
        assert standings(reader, PINS, at(10), campaigns=[2]) == []


def test_what_is_known_of_a_campaign_stays_small(desk: Desk) -> None:
    for number in range(0, 48 * 60, 10):
        desk.now = at(number)
        desk.arrive((f"m{number}", number))
        desk.answer(number, number // 10 + 1)
    assert desk.count("snapshots") <= 11.5 * 6 + 2
    assert desk.count("baselines") == 1
    assert desk.count("losses") == 3
    assert desk.standing(48 * 60).status == "in_sync"


def test_evidence_is_gathered_from_what_is_settled(desk: Desk) -> None:
    for number in range(0, 24 * 60, 60):
        for kind in ("out_of_office", "interested"):
            desk.deliver(replied(f"{kind}{number}", iso(at(number)), lead=f"{kind}{number}@x.org", kind=kind))
        desk.answer(number + 30, 0, replies=number // 60 + 1, pins=Pins())
    found = rows.evidence(desk.conn, "replied", 99)
    assert found
    assert {tuple(fits) for _, fits in found} == {("human",)}


# When we did not accept.


def closed(desk: Desk, now: float, *stretches: tuple[float, float, int]) -> list[tuple[int, int]]:
    """The stretches without acceptance, in minutes; those with it as they were begun: from, to, stopped."""
    desk.conn.execute("DELETE FROM accepting")
    for start, end, stopped in stretches:
        desk.conn.execute("INSERT INTO accepting VALUES (NULL, ?, ?, ?)", (at(start), at(end), stopped))
    found = cases.circumstances(desk.conn, PINS, at(now)).closed
    return [((start - at(0)) // MINUTE_MS, (end - at(0)) // MINUTE_MS) for start, end in found]


def test_between_two_stretches_and_after_the_last_nothing_was_accepted(desk: Desk) -> None:
    assert closed(desk, 50, (0, 10, 1), (20, 30, 1)) == [(10, 20), (30, 50)]


def test_a_stretch_that_is_being_extended_reaches_until_now(desk: Desk) -> None:
    assert closed(desk, 10.4, (0, 10, 0)) == []
    assert closed(desk, 11, (0, 10, 0)) == [(10, 11)]
    assert closed(desk, 10.4, (0, 10, 1)) == [(10, 10)]


def test_before_the_first_stretch_nobody_asks(desk: Desk) -> None:
    assert closed(desk, 10, (5, 10, 0)) == []


def test_after_a_clock_was_set_back_the_present_stretch_is_the_newest(desk: Desk) -> None:
    assert closed(desk, 300.4, (2000, 3000, 1), (200, 300, 0)) == []
    assert closed(desk, 300.4, (200, 3000, 0)) == []


# Folding.

Event = tuple[int, int | None]  # minute, and how many minutes later it arrives, if it does
events = st.lists(
    st.tuples(st.integers(0, 1400), st.one_of(st.none(), st.sampled_from([0, 0, 0, 3, 40, 300, 640]))), max_size=25
)
asks = st.lists(st.sampled_from([5, 5, 20, 60, 240]), min_size=3, max_size=25)


def history(folder: str, name: str, happened: Sequence[Event], waits: Sequence[int], lag: int) -> list[object]:
    """How the campaign stood after each answer; the counter lags by so many minutes."""
    desk = Desk(Path(folder) / name)
    arrivals = sorted(
        (minute + late, f"m{n}", minute) for n, (minute, late) in enumerate(happened) if late is not None
    )
    seen: list[object] = []
    now = 0
    for wait in waits:
        now += wait
        while arrivals and arrivals[0][0] <= now:
            _, message, minute = arrivals.pop(0)
            desk.arrive((message, minute))
        found = desk.answer(now, sum(minute <= now - lag for minute, _ in happened)).evaluation
        seen.append((found.figures, found.gaps, found.losses["sent"].quiet_at))
    desk.conn.close()
    return seen


@settings(deadline=None, max_examples=25)
@given(events, asks, st.sampled_from([0, 4]))
def test_folding_changes_nothing(happened: list[Event], waits: list[int], lag: int) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        folded = history(folder, "folded.db", happened, [*waits, 700, 45, 45], lag)
        patch.setattr(settled, "_SETTLED_MS", 999 * HOUR_MS)
        assert folded == history(folder, "whole.db", happened, [*waits, 700, 45, 45], lag)


@pytest.mark.parametrize(
    ("equal", "restamped", "expected"),
    [(0, 0, "undetermined"), (2, 0, "undetermined"), (3, 0, "stable"), (0, 1, "restamped"), (9, 1, "stable")],
)
def test_most_retries_say_whether_they_are_stamped_anew(equal: int, restamped: int, expected: str) -> None:
    facts = {"copies_equal": equal, "copies_restamped": restamped}
    with closing(sqlite3.connect(":memory:")) as conn:
        conn.execute("CREATE TABLE meta (name TEXT PRIMARY KEY, value ANY NOT NULL)")
        conn.executemany("INSERT INTO meta VALUES (?, ?)", facts.items())
        assert cases.timestamps(conn) == expected


# Many answers at once.

campaigns = st.sampled_from(["a", "b", "c"])
steps = st.lists(
    st.tuples(
        st.sampled_from([1, 5, 60, 700]),
        st.lists(st.tuples(campaigns, st.integers(0, 200)), max_size=4),  # sends that arrive, minutes ago
        st.dictionaries(campaigns, st.integers(0, 12), min_size=1),  # counters
    ),
    min_size=2,
    max_size=12,
)
Step = tuple[int, list[tuple[str, int]], dict[str, int]]
TABLES = ("campaigns", "polls", "baselines", "baseline_ledgers", "snapshots", "losses", "drift", "gaps", "evidence")


def stored(path: Path, history: Sequence[Step], *, at_once: bool) -> list[object]:
    """All rows after each of the steps."""
    desk = Desk(path)
    seen: list[object] = []
    now = 300
    for number, (wait, arrivals, answers) in enumerate(history):
        now += wait
        when = desk.now = at(now)
        for index, (campaign, ago) in enumerate(arrivals):
            desk.deliver(sent(f"m{number}.{index}", iso(at(now - ago)), campaign=campaign))
        given_ = [Answered(each, counters(sends), when, when - 400, when) for each, sends in answers.items()]
        around = cases.circumstances(desk.conn, PINS, when)
        taken = [
            each
            for chunk in ([given_] if at_once else [[answer] for answer in given_])
            for each in desk.ledger.transact(
                desk.conn, partial(cases.take_in_all, answers=chunk, now_ms=when, around=around)
            )
        ]
        seen.append((taken, [desk.rows(f"SELECT * FROM {table} ORDER BY 1, 2") for table in TABLES]))
    desk.conn.close()
    return seen


@settings(deadline=None, max_examples=40)
@given(steps)
def test_answers_at_once_are_answers_one_by_one(history: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        at_once = stored(Path(folder) / "at_once.db", history, at_once=True)
        assert at_once == stored(Path(folder) / "singly.db", history, at_once=False)
