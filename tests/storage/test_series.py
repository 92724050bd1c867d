"""Figures over time as they are read: buckets, groups, both bases, bounces and replies by what they are of."""

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from receiver.events import STEP_NONE
from receiver.figures import FIGURES, OBSERVED, QUARTER_MS, QUARTERS_PER_DAY
from receiver.storage.sqlite.connection import open_for_reading
from receiver.storage.sqlite.series import (
    ALL_TIME,
    UNSENT,
    Basis,
    BounceGroup,
    BounceRow,
    Group,
    ReplyRow,
    SeriesQuery,
    SeriesRow,
    replies_by_class,
    series,
    with_replies_to_nothing,
)
from receiver.storage.sqlite.series import bounces as bounces_of
from tests.storage.conftest import LedgerUnderTest, bounced, ms, replied, sent, started
from tests.storage.plain import PlainRecount, not_zero
from tests.storage.test_order import CHECKS, Story, copy_of, empty_database, stories, tell

__all__ = ["empty_database"]

HALVES = [ms(text) for text in ("09:00", "09:30", "10:00", "10:30")]
HISTORY = [
    started("a", "09:05"),
    sent("m1", "09:00"),
    sent("m2", "09:29", step=2),
    bounced("m2", "09:31", kind="soft", reason="full"),
    bounced("m2", "10:01", reason="550 5.1.1"),
    bounced("m3", "09:40", campaign="a", step=1),
    replied("r1", "09:45", message="m1", kind="out_of_office"),
    replied("r2", "10:00", message="m2"),
    replied("r3", "10:29", lead="al@example.org"),
    sent("m4", "10:02", campaign="b", step=2),
]


def read(ledger: LedgerUnderTest, *wanted: Any, **more: Any) -> list[SeriesRow]:
    return list(series(ledger.conn, SeriesQuery(*wanted, **more)))


def bounces(*wanted: Any, **more: Any) -> list[BounceRow]:
    return list(bounces_of(*wanted, **more))


def test_events_are_in_the_buckets_in_which_they_happened(ledger: LedgerUnderTest) -> None:
    ledger.each(*HISTORY)
    figures = ("sent", "accepted", "bounced", "bounced_hard", "bounced_soft", "replied", "starts")
    assert read(ledger, HALVES, figures, [1]) == [
        (0, None, (2, 2, 0, 0, 0, 0, 1)),
        (1, None, (0, -1, 2, 1, 1, 1, 0)),
        (2, None, (0, 0, 0, 1, -1, 1, 0)),
    ]


def test_by_send_everything_is_at_its_send_and_the_rest_comes_last(ledger: LedgerUnderTest) -> None:
    ledger.each(*HISTORY)
    figures = ("sent", "attempted", "accepted", "bounced", "bounced_hard", "bounced_soft", "replied_human", *UNSENT)
    assert read(ledger, HALVES, figures, [1], basis=Basis.SEND) == [
        (0, None, (2, 2, 1, 1, 1, 0, 1, 0, 0)),
        (1, None, (0, 1, 0, 1, 1, 0, 0, 1, 1)),
        (None, None, (0, 0, 0, 0, 0, 0, 1, 0, 0)),
    ]


def test_starts_have_no_send(ledger: LedgerUnderTest) -> None:
    ledger.each(*HISTORY)
    assert read(ledger, HALVES, ("starts", "sent"), [1], basis=Basis.SEND) == [(0, None, (None, 2))]


def test_a_group_is_a_campaign_or_a_step(ledger: LedgerUnderTest) -> None:
    ledger.each(*HISTORY, sent("m5", "10:03", step=None))
    whole = (HALVES[0], HALVES[-1])
    assert read(ledger, whole, ("sent",), group=Group.CAMPAIGN) == [(0, 1, (3,)), (0, 2, (1,))]
    assert read(ledger, whole, ("sent",), [2], Group.CAMPAIGN) == [(0, 2, (1,))]
    assert read(ledger, whole, ("sent",), group=Group.STEP) == [(0, 1, (1,)), (0, 2, (2,)), (0, None, (1,))]


def test_contacted_is_of_the_lowest_step_of_each_campaign(ledger: LedgerUnderTest) -> None:
    ledger.each(*HISTORY)
    expected = {None: [(0, None, (1,)), (2, None, (1,))], Group.CAMPAIGN: [(0, 1, (1,)), (2, 2, (1,))]}
    for group, rows in expected.items():
        assert read(ledger, HALVES, ("contacted",), group=group) == rows
        assert read(ledger, HALVES, ("contacted",), [1, 2], group) == rows
    assert read(ledger, HALVES, ("sent", "contacted"), [1], Group.STEP) == [(0, 1, (1, 1)), (0, 2, (1, 0))]


def test_contacted_moves_when_a_lower_step_turns_up(ledger: LedgerUnderTest) -> None:
    ledger.each(*HISTORY, sent("m0", "10:05", step=0))
    for campaigns in (None, [1]):
        rows = read(ledger, HALVES, ("contacted",), campaigns, Group.CAMPAIGN)
        assert [row for row in rows if row.group == 1] == [(2, 1, (1,))]


def test_a_late_send_takes_its_bounce_and_its_reply_along(ledger: LedgerUnderTest) -> None:
    ledger.each(bounced("m1", "10:10", campaign="a", step=1), replied("r1", "10:20", message="m1"))
    figures = ("bounced", "replied", "bounced_unsent")
    assert read(ledger, HALVES, figures, basis=Basis.SEND) == [(2, None, (1, 0, 1)), (None, None, (0, 1, 0))]
    ledger.each(sent("m1", "09:10"))
    assert read(ledger, HALVES, figures, basis=Basis.SEND) == [(0, None, (1, 1, 0))]


@pytest.mark.parametrize(
    ("edges", "figures", "basis", "words"),
    [
        ([1, 900_000], ["sent"], Basis.EVENT, "An edge is not on a whole quarter"),
        ([900_000], ["sent"], Basis.EVENT, "The edges are not two or more"),
        ([900_000, 0], ["sent"], Basis.EVENT, "The edges are not two or more"),
        ([-900_000, 0], ["sent"], Basis.EVENT, "The edges are not two or more"),
        ([0, 900_000], ["clicks"], Basis.SEND, "No figure 'clicks' with basis 'send'; there are sent, "),
        ([0, 900_000], ["bounced_unsent"], Basis.EVENT, "No figure 'bounced_unsent' with basis 'event'"),
    ],
)
def test_what_cannot_be_counted_is_refused(edges: list[int], figures: list[str], basis: Basis, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SeriesQuery(edges, figures, basis=basis)


def test_bounces_are_counted_by_type_reason_domain_and_step(ledger: LedgerUnderTest) -> None:
    ledger.each(*HISTORY)
    assert bounces(ledger.conn, ALL_TIME, BounceGroup.TYPE) == [BounceRow("hard", 2, 2, 0)]
    assert bounces(ledger.conn, ALL_TIME, BounceGroup.REASON) == [("5.1.1", 1, 1, 0, 0), (None, 1, 1, 0, 0)]
    assert bounces(ledger.conn, ALL_TIME, BounceGroup.DOMAIN, [1]) == [(None, 2, 2, 0, 0)]
    assert bounces(ledger.conn, ALL_TIME, BounceGroup.STEP, [1]) == [(1, 1, 1, 0, 0), (2, 1, 1, 0, 0)]
    assert bounces(ledger.conn, ALL_TIME, BounceGroup.STEP, [2]) == []


def test_a_soft_bounce_counts_as_soft_until_the_hard_one(ledger: LedgerUnderTest) -> None:
    ledger.each(*HISTORY)
    before, after = (HALVES[0], HALVES[2]), (HALVES[2], HALVES[3])
    assert bounces(ledger.conn, before, BounceGroup.TYPE) == [("hard", 1, 1, 0, 0), ("soft", 1, 0, 1, 0)]
    assert bounces(ledger.conn, after, BounceGroup.TYPE) == [("hard", 1, 1, 0, 0), ("soft", -1, 0, -1, 0)]
    assert bounces(ledger.conn, after, BounceGroup.REASON) == [("5.1.1", 0, 1, -1, 0)]


def test_the_smallest_groups_are_shown_together(ledger: LedgerUnderTest) -> None:
    reasons = ["5.1.1", "5.1.1", "5.2.2", "4.4.1", "full"]
    ledger.deliver(*[bounced(f"m{n}", campaign="a", reason=text) for n, text in enumerate(reasons)])
    rows = bounces(ledger.conn, ALL_TIME, BounceGroup.REASON, groups_max=2)
    assert rows == [("5.1.1", 2, 2, 0, 0), ("4.4.1", 1, 1, 0, 0), (None, 2, 2, 0, 2)]
    one_left = bounces(ledger.conn, ALL_TIME, BounceGroup.REASON, groups_max=3)
    assert one_left[2:] == [("5.2.2", 1, 1, 0, 0), (None, 1, 1, 0, 1)]
    assert len(bounces(ledger.conn, ALL_TIME, BounceGroup.REASON, groups_max=4)) == 4


def test_replies_are_counted_by_class_and_leads_by_that_of_their_first(ledger: LedgerUnderTest) -> None:
    ledger.each(*HISTORY, replied("r4", "10:10", lead=None, campaign="b"))
    assert replies_by_class(ledger.conn, ALL_TIME) == [ReplyRow(None, 3, 1), ReplyRow("out_of_office", 1, 1)]
    assert replies_by_class(ledger.conn, ALL_TIME, [2]) == [(None, 1, 0)]
    assert replies_by_class(ledger.conn, (ms("10:00"), ms("10:10")), [1]) == [(None, 1, 0)]
    assert replies_by_class(ledger.conn, (ms("10:01"), ms("10:01"))) == []


def test_campaigns_with_replies_that_name_no_message_are_known(ledger: LedgerUnderTest) -> None:
    ledger.each(*HISTORY)
    assert with_replies_to_nothing(ledger.conn) == with_replies_to_nothing(ledger.conn, [1, 2]) == {1}
    assert with_replies_to_nothing(ledger.conn, [2]) == set()


def test_a_bucket_is_found_by_an_index_and_nothing_is_sorted(ledger: LedgerUnderTest) -> None:
    statements: list[str] = []
    ledger.conn.set_trace_callback(statements.append)
    read(ledger, HALVES, ("bounced",), [1], basis=Basis.SEND)
    ledger.conn.set_trace_callback(None)
    counting = {text for text in statements if text.startswith(("/* series", "/* shifts"))}
    assert len(counting) == 2 * len(HALVES)
    for text in counting:
        plan = [row[3] for row in ledger.conn.execute(f"EXPLAIN QUERY PLAN {text}")]
        assert any("USING PRIMARY KEY (campaign=? AND quarter>? AND quarter<?)" in step for step in plan)
        assert not any("TEMP B-TREE" in step for step in plan)


def test_a_table_of_which_nothing_is_asked_is_not_read(ledger: LedgerUnderTest) -> None:
    ledger.each(*HISTORY)
    statements: list[str] = []
    ledger.conn.set_trace_callback(statements.append)
    read(ledger, HALVES, ("contacted",), [1], basis=Basis.SEND)
    ledger.conn.set_trace_callback(None)
    assert [text for text in statements if text.startswith(("/* series", "/* shifts"))] == []


# Over any story.

QUARTERS = (899_100_000, *range(1_749_500_100_000, 1_749_800_000_000, 7_200_000), ALL_TIME[1])
EDGES = [edge // 900_000 * 900_000 for edge in QUARTERS]


def summed(rows: Sequence[SeriesRow], names: Sequence[str]) -> dict[Any, dict[str, int]]:
    sums: dict[Any, Counter[str]] = {}
    for row in rows:
        counted = {name: value or 0 for name, value in zip(names, row.values, strict=True)}
        sums.setdefault(row.group, Counter()).update(counted)
    return not_zero(sums)


def check_sums(ledger: LedgerUnderTest, expected: PlainRecount) -> None:
    numbers = [row[0] for row in ledger.rows("SELECT id FROM campaigns")]
    result = expected.result(0)
    names = dict(ledger.rows("SELECT campaign_id, id FROM campaigns"))
    by_campaign = {names[c]: row for (c, step), row in result.totals.items() if step == -1}
    contacted = {names[c]: {"contacted": n} for c, n in result.contacted.items()}
    with_contacted = {c: row | contacted.get(c, {}) for c, row in by_campaign.items()}
    with closing(open_for_reading(ledger.path)) as conn:
        for basis in Basis:
            figures = OBSERVED if basis is Basis.EVENT else tuple(name for name in OBSERVED if name != "starts")
            rows = list(series(conn, SeriesQuery(EDGES, figures, None, Group.CAMPAIGN, basis)))
            wanted = {c: {n: v for n, v in row.items() if n in figures} for c, row in with_contacted.items()}
            assert summed(rows, figures) == {c: row for c, row in wanted.items() if row}
            whole: Counter[str] = Counter()
            for row in wanted.values():
                whole.update(row)
            for campaigns in (None, numbers):
                for group in (None, Group.STEP):
                    rows = list(series(conn, SeriesQuery(EDGES, figures, campaigns, group, basis)))
                    together = summed([row._replace(group=None) for row in rows], figures)
                    assert together.get(None, {}) == {name: n for name, n in whole.items() if n}
        check_cohorts(conn, result.cohorts, names)
        check_bounces(conn, numbers)
        classes = replies_by_class(conn, ALL_TIME)
        assert classes == replies_by_class(conn, ALL_TIME, numbers)
        assert sum(row.replies for row in classes) == sum(row.get("replies", 0) for row in by_campaign.values())
        assert sum(row.replied for row in classes) == sum(row.get("replied", 0) for row in by_campaign.values())


def check_cohorts(conn: Any, cohorts: dict[Any, dict[str, int]], names: dict[str, int]) -> None:
    """Bucket by bucket, campaign by campaign and step."""
    figures = (*FIGURES[:-1], *UNSENT)
    for campaign, number in names.items():
        places: dict[Any, Counter[str]] = {}
        for (of, step, quarter), row in cohorts.items():
            at = quarter * 900_000
            bucket = None if quarter == 2**31 else max(n for n, edge in enumerate(EDGES) if edge <= at)
            if of == campaign:
                shown = None if step == STEP_NONE else step
                places.setdefault((bucket, shown), Counter()).update(row)
        rows = series(conn, SeriesQuery(EDGES, figures, [number], Group.STEP, Basis.SEND))
        read_back = {(row.bucket, row.group): Counter(dict(zip(figures, row.values, strict=True))) for row in rows}
        assert not_zero(read_back) == not_zero(places)


def check_bounces(conn: Any, numbers: list[int]) -> None:
    figures = ("bounced", "bounced_hard", "bounced_soft")
    for span in (ALL_TIME, (EDGES[20], EDGES[22]), (EDGES[0], EDGES[21])):
        for campaigns in (None, numbers, numbers[:1]):
            rows = list(series(conn, SeriesQuery(span, figures, campaigns)))
            expected = rows[0].values if rows else (0, 0, 0)
            for by in BounceGroup:
                found = bounces(conn, span, by, campaigns, groups_max=1)
                assert tuple(sum(getattr(row, name) for row in found) for name in figures) == expected


@settings(max_examples=80, deadline=None, suppress_health_check=CHECKS)
@given(story=stories())
def test_all_sums_are_those_of_the_totals(empty_database: Path, story: Story) -> None:
    with copy_of(empty_database) as ledger:
        lead_key = ledger.rows("SELECT value FROM meta WHERE name = 'lead_key'")[0][0]
        tell(ledger, story)
        known = [fields for fields in story.deliveries() if fields["event"] != "spoilt"]
        check_sums(ledger, PlainRecount(known, lead_key))


@pytest.mark.parametrize("basis", list(Basis))
@pytest.mark.parametrize("group", [None, *Group])
@pytest.mark.parametrize("campaigns", [None, [1], [1, 2]])
@pytest.mark.parametrize("length", [QUARTER_MS, QUARTERS_PER_DAY * QUARTER_MS])
def test_buckets_of_equal_length_hold_what_they_hold_beside_another(
    ledger: LedgerUnderTest, length: int, campaigns: list[int] | None, group: Group | None, basis: Basis
) -> None:
    ledger.each(*HISTORY)
    first = ms("09:00") // length * length
    edges = [first + place * length for place in range(7)]
    equal = read(ledger, edges, OBSERVED, campaigns, group, basis)
    beside = read(ledger, [*edges, edges[-1] + 2 * length], OBSERVED, campaigns, group, basis)
    assert equal
    assert equal == [row for row in beside if row.bucket is None or row.bucket < 6]


@pytest.mark.parametrize("length", [QUARTER_MS, QUARTERS_PER_DAY * QUARTER_MS])
def test_buckets_as_long_as_a_row_are_read_in_one_go(ledger: LedgerUnderTest, length: int) -> None:
    first = ms("09:00") // length * length
    statements: list[str] = []
    ledger.conn.set_trace_callback(statements.append)
    for count in (2, 50):
        edges = [first + place * length for place in range(count)]
        list(series(ledger.conn, SeriesQuery(edges, ("sent", "bounced"), [1])))
    assert len(statements) == 2
