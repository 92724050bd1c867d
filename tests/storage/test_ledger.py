"""What every store must do: outcomes, joins, figures, names and spans."""

from contextlib import closing

import pytest

from receiver.storage.sqlite.connection import open_for_reading
from receiver.storage.sqlite.spans import measure_spans
from tests.storage.conftest import (
    LedgerUnderTest,
    body,
    bounced,
    ms,
    replied,
    sent,
    started,
)

RUBBISH = b"no json"


# Outcomes.


def test_a_new_event_is_stored_and_its_repetition_is_a_duplicate(ledger: LedgerUnderTest) -> None:
    assert ledger.each(sent(), sent()) == ["stored", "duplicate"]
    assert ledger.totals() == {"sent": 1, "attempted": 1, "accepted": 1, "contacted": 1}


def test_a_repetition_within_one_batch_is_a_duplicate(ledger: LedgerUnderTest) -> None:
    assert ledger.deliver(sent(), sent(), sent()) == ["stored", "duplicate", "duplicate"]
    assert ledger.totals()["sent"] == 1


def test_each_kind_of_event_of_one_message_is_new_once(ledger: LedgerUnderTest) -> None:
    bodies = [sent(), bounced(kind="soft"), bounced(kind="hard"), replied(message="m1")]
    assert ledger.each(*bodies, *bodies) == ["stored"] * 4 + ["duplicate"] * 4


def test_what_is_not_understood_is_quarantined_and_byte_equal_once(ledger: LedgerUnderTest) -> None:
    assert ledger.each(RUBBISH, RUBBISH, RUBBISH + b" ") == ["quarantined", "duplicate", "quarantined"]
    rows = ledger.rows("SELECT reason, copies, body FROM quarantine")
    assert rows == [("not_json", 2, RUBBISH), ("not_json", 1, RUBBISH + b" ")]


def test_equal_rubbish_within_one_batch_is_kept_once(ledger: LedgerUnderTest) -> None:
    assert ledger.deliver(RUBBISH, RUBBISH) == ["quarantined", "duplicate"]


def test_a_spoilt_copy_of_a_known_event_is_a_duplicate(ledger: LedgerUnderTest) -> None:
    assert ledger.each(sent(), sent(at="yesterday T")) == ["stored", "duplicate"]
    assert ledger.deliver(sent("m2", at="yesterday T"), sent("m2")) == ["duplicate", "stored"]
    assert ledger.quarantined() == []


def test_a_spoilt_bounce_of_a_known_send_is_no_duplicate(ledger: LedgerUnderTest) -> None:
    assert ledger.each(sent(), bounced(at="yesterday T")) == ["stored", "quarantined"]


def test_a_spoilt_reply_and_a_spoilt_start_are_known_by_their_identity(ledger: LedgerUnderTest) -> None:
    ledger.each(replied(), started())
    spoilt_start = body("campaign.started", "08:00", campaignId="a", reply="x")
    assert ledger.each(replied(at="never T"), spoilt_start) == ["duplicate", "duplicate"]


def test_a_start_at_another_time_is_another_start(ledger: LedgerUnderTest) -> None:
    outcomes = ledger.each(started(at="08:00"), started(at="08:00:00.000"), started(at="08:01"))
    assert outcomes == ["stored", "duplicate", "stored"]
    assert ledger.totals() == {"starts": 2}


def test_two_repeated_starts_in_one_batch_are_one(ledger: LedgerUnderTest) -> None:
    assert ledger.deliver(started(), started()) == ["stored", "duplicate"]
    assert ledger.totals() == {"starts": 1}


def test_ids_are_told_apart_byte_for_byte(ledger: LedgerUnderTest) -> None:
    assert ledger.each(sent("m1"), sent("M1"), sent("m1 ")) == ["stored"] * 3


# Messages.


@pytest.mark.parametrize(("first", "second"), [("soft", "hard"), ("hard", "soft")])
def test_a_soft_bounce_before_a_hard_one_counts_until_then(ledger: LedgerUnderTest, first: str, second: str) -> None:
    times = {"soft": "09:01", "hard": "09:20"}
    ledger.each(sent(), *(bounced(kind=kind, at=times[kind]) for kind in (first, second)))
    assert ledger.totals() == {
        "sent": 1,
        "attempted": 1,
        "bounced": 1,
        "bounced_hard": 1,
        "contacted": 1,
    }
    assert ledger.series() == {
        ("09:00", 1): {"sent": 1, "attempted": 1, "bounced": 1, "bounced_soft": 1},
        ("09:15", 1): {"bounced_hard": 1, "bounced_soft": -1},
    }


@pytest.mark.parametrize("kinds", [("soft", "hard"), ("hard", "soft")])
def test_a_soft_bounce_after_a_hard_one_never_counts(ledger: LedgerUnderTest, kinds: tuple[str, str]) -> None:
    times = {"soft": "09:20", "hard": "09:01"}
    ledger.each(sent(), *(bounced(kind=kind, at=times[kind]) for kind in kinds))
    assert ledger.series() == {
        ("09:00", 1): {"sent": 1, "attempted": 1, "bounced": 1, "bounced_hard": 1},
    }


def test_a_bounce_before_its_send_is_counted_with_what_its_own_body_says(ledger: LedgerUnderTest) -> None:
    ledger.deliver(bounced(campaign="b", step=3))
    assert ledger.totals("b", 3) == {"attempted": 1, "bounced": 1, "bounced_hard": 1}
    ledger.deliver(sent(campaign="a", step=1))
    assert ledger.totals("b") == ledger.totals("b", 3) == {}
    assert ledger.totals("a", 1) == {"sent": 1, "attempted": 1, "bounced": 1, "bounced_hard": 1}


def test_a_campaign_that_lost_its_only_event_has_no_span(ledger: LedgerUnderTest) -> None:
    ledger.each(bounced(campaign="b"), sent(campaign="a"))
    assert ledger.span("b") == (None, None)
    assert ledger.span("a") == (ms("09:00"), ms("09:05"))


def test_a_bounce_that_names_no_campaign_waits_for_its_send(ledger: LedgerUnderTest) -> None:
    assert ledger.each(bounced(), bounced()) == ["quarantined", "duplicate"]
    assert (ledger.quarantined(), ledger.rows("SELECT * FROM campaigns")) == (["campaign_unknown"], [])
    assert ledger.deliver(sent()) == ["stored"]
    assert ledger.quarantined() == []
    assert ledger.totals()["bounced"] == 1


def test_a_bounce_and_its_send_in_one_batch_never_wait(ledger: LedgerUnderTest) -> None:
    outcomes = ledger.deliver(bounced(), replied(campaign=None, message="m1"), sent())
    assert outcomes == ["stored", "stored", "stored"]
    assert ledger.quarantined() == []


def test_both_bounces_of_a_message_wait_and_one_that_names_its_campaign_frees_both(
    ledger: LedgerUnderTest,
) -> None:
    assert ledger.deliver(bounced(kind="soft", at="09:01"), bounced()) == ["quarantined", "quarantined"]
    assert ledger.quarantined() == ["campaign_unknown", "campaign_unknown"]
    assert ledger.deliver(bounced(campaign="a", at="09:06")) == ["duplicate"]
    assert ledger.quarantined() == []
    assert ledger.totals() == {"attempted": 1, "bounced": 1, "bounced_hard": 1}


def test_unequal_copies_of_a_send_are_joined_to_the_smallest(ledger: LedgerUnderTest) -> None:
    copies = [sent(at="09:10"), sent(at="09:02", campaign="b"), sent(at="09:02", campaign="b", step=None)]
    assert ledger.each(*copies) == ["stored", "duplicate", "duplicate"]
    assert ledger.totals("a") == {}
    assert ledger.totals("b", 1) == {"sent": 1, "attempted": 1, "accepted": 1}
    assert ledger.rows("SELECT sent_at, step FROM messages") == [(ms("09:02"), 1)]


def test_unequal_copies_in_one_batch_are_joined_like_those_in_several(ledger: LedgerUnderTest) -> None:
    copies = [sent(at="09:10"), bounced(campaign="c", at="09:30"), bounced(at="09:04"), sent(at="09:02")]
    assert ledger.deliver(*copies) == ["stored", "stored", "duplicate", "duplicate"]
    assert ledger.series() == {
        ("09:00", 1): {"sent": 1, "attempted": 1, "bounced": 1, "bounced_hard": 1},
    }


def test_an_earlier_copy_moves_its_event_to_another_quarter(ledger: LedgerUnderTest) -> None:
    ledger.each(sent(at="09:20"), sent(at="09:10"))
    assert list(ledger.series()) == [("09:00", 1)]
    assert ledger.minutes() == {"09:10": {"sent": 1}}


def test_the_reason_kept_is_that_of_the_earliest_bounce_of_its_type(ledger: LedgerUnderTest) -> None:
    ledger.each(bounced(at="09:06", reason="b"), bounced(at="09:05", reason="c"), bounced(at="09:05", reason="a"))
    assert ledger.rows("SELECT hard_reason FROM messages") == [("a",)]


def test_minutes_are_kept_for_twelve_hours_only(ledger: LedgerUnderTest) -> None:
    ledger.deliver(sent("m1", "2025-06-10T21:29:59Z"), sent("m2", "2025-06-10T21:30:00Z"), sent("m3", "09:00"))
    assert ledger.minutes() == {"21:30": {"sent": 1}, "09:00": {"sent": 1}}
    ledger.now += 60_000
    ledger.deliver()
    assert ledger.minutes() == {"09:00": {"sent": 1}}


def test_a_forgotten_minute_is_not_taken_back(ledger: LedgerUnderTest) -> None:
    ledger.deliver(sent("m1", "2025-06-10T21:30:00Z"))
    ledger.now += 60_000
    ledger.deliver(sent("m1", "2025-06-10T21:29:00Z"))
    assert ledger.minutes() == {}


# Contacted.


def test_contacted_counts_the_lowest_step_even_when_it_comes_last(ledger: LedgerUnderTest) -> None:
    ledger.deliver(sent("m1", step=2), sent("m2", step=2), sent("m3", step=None))
    assert ledger.totals()["contacted"] == 2
    ledger.deliver(sent("m4", step=1))
    assert ledger.totals()["contacted"] == 1


def test_contacted_counts_sends_without_step_when_there_is_no_other(ledger: LedgerUnderTest) -> None:
    ledger.deliver(sent("m1", step=None), sent("m2", step=None))
    assert ledger.totals()["contacted"] == 2


def test_a_step_known_from_a_bounce_alone_is_not_contacted(ledger: LedgerUnderTest) -> None:
    ledger.deliver(bounced("m1", campaign="a", step=0), sent("m2", step=1))
    assert ledger.totals()["contacted"] == 1


def test_contacted_follows_a_send_that_moves_away(ledger: LedgerUnderTest) -> None:
    ledger.deliver(sent("m1", step=1, at="09:10"), sent("m2", step=2), sent("m3", step=2))
    ledger.deliver(sent("m1", step=3, at="09:00"))
    assert ledger.totals()["contacted"] == 2
    ledger.deliver(sent("m1", campaign="b", at="08:00"))
    assert (ledger.totals("a")["contacted"], ledger.totals("b")["contacted"]) == (2, 1)


# Names and spans.


def named(name: str, at: str, campaign: str = "a") -> bytes:
    return body("campaign.started", at, campaign={"id": campaign, "name": name})


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_the_latest_name_of_a_campaign_wins_and_of_two_the_smaller(
    ledger: LedgerUnderTest, order: tuple[int, ...]
) -> None:
    other = body("message.sent", "09:00", messageId="m1", campaign={"id": "a", "name": "Older B"})
    bodies = [named("Zulu", "08:00"), named("Older C", "09:00"), other]
    ledger.each(*(bodies[index] for index in order))
    assert ledger.rows("SELECT name, name_at FROM campaigns") == [("Older B", ms("09:00"))]


def test_names_in_one_batch_are_joined_like_those_in_several(ledger: LedgerUnderTest) -> None:
    ledger.deliver(named("New", "09:00"), named("Newer", "09:10"), named("Old", "08:00"))
    assert ledger.rows("SELECT name FROM campaigns") == [("Newer",)]


def test_a_copy_may_name_its_campaign(ledger: LedgerUnderTest) -> None:
    ledger.each(started(at="08:00"), named("Spring", "08:00"))
    assert ledger.rows("SELECT name FROM campaigns") == [("Spring",)]


def test_a_span_reaches_from_the_first_to_the_last_event_of_any_kind(ledger: LedgerUnderTest) -> None:
    ledger.each(sent(), bounced(at="09:40"), replied(at="09:20"), started(at="08:00"))
    assert ledger.span() == (ms("08:00"), ms("09:40"))


def test_a_span_counts_a_soft_bounce_that_no_figure_counts(ledger: LedgerUnderTest) -> None:
    ledger.each(sent(), bounced(at="09:05"), bounced(kind="soft", at="09:50"))
    assert ledger.span() == (ms("09:00"), ms("09:50"))


def test_a_span_shrinks_when_its_last_event_moves_earlier(ledger: LedgerUnderTest) -> None:
    ledger.each(sent("m1", "09:00"), sent("m2", "09:40"), sent("m2", "09:10"))
    assert ledger.span() == (ms("09:00"), ms("09:10"))


def test_a_span_shrinks_at_both_ends_when_events_move_away(ledger: LedgerUnderTest) -> None:
    ledger.deliver(bounced("m1", "08:00", campaign="a"), sent("m2", "09:00"), bounced("m3", "09:50", campaign="a"))
    ledger.deliver(sent("m1", "08:30", campaign="b"), sent("m3", "09:45", campaign="b"))
    assert (ledger.span("a"), ledger.span("b")) == ((ms("09:00"),) * 2, (ms("08:00"), ms("09:50")))


def test_a_span_stays_when_another_event_has_the_same_time(ledger: LedgerUnderTest) -> None:
    ledger.each(sent("m1", "09:40"), sent("m2", "09:40"), sent("m2", "09:10"))
    assert ledger.span() == (ms("09:10"), ms("09:40"))


def test_a_span_follows_a_reply_that_moves_with_its_send(ledger: LedgerUnderTest) -> None:
    ledger.each(started("a", "08:00"), replied(at="09:40", message="m1"), sent("m1", campaign="b"))
    assert (ledger.span("a"), ledger.span("b")) == ((ms("08:00"),) * 2, (ms("09:00"), ms("09:40")))


def test_a_span_that_lost_its_end_is_measured_beside_the_writer(ledger: LedgerUnderTest) -> None:
    ledger.deliver(sent("m1", "09:00"), sent("m2", "10:00"))
    ledger.deliver(sent("m2", "09:30"))
    assert ledger.rows("SELECT last_event_at, span_removals FROM campaigns") == [(ms("10:00"), 1)]
    assert ledger.span() == (ms("09:00"), ms("09:30"))


def test_a_measured_span_yields_to_what_came_since(ledger: LedgerUnderTest) -> None:
    ledger.deliver(sent("m1", "09:00"), sent("m2", "10:00"), sent("m3", "09:50"))
    ledger.deliver(sent("m2", "09:30"))
    with closing(open_for_reading(ledger.path)) as reader:
        measured = measure_spans(reader)
    ledger.deliver(sent("m3", "09:10"))  # the end that was measured is gone again
    ledger.ledger.narrow_spans(ledger.conn, measured)
    assert ledger.rows("SELECT span_removals FROM campaigns") == [(2,)]
    assert ledger.span() == (ms("09:00"), ms("09:30"))
