"""What every store must do: outcomes, joins, figures, quarantine, stretches, and all of it or nothing."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

import pytest

from receiver.events import Event, Kind, Origin
from receiver.storage.deliveries import Delivery, Refusals, Stretch
from receiver.storage.sqlite.connection import open_for_reading
from receiver.storage.sqlite.spans import measure_spans
from tests.storage.conftest import (
    NOW,
    STRETCH,
    LedgerUnderTest,
    body,
    bounced,
    ms,
    replied,
    sent,
    started,
)

DAY_MS = 86_400_000
AHEAD = "2025-06-12T09:31:00Z"  # a day and a minute after NOW
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


# Replies.


def test_a_lead_that_replies_in_two_campaigns_counts_in_both(ledger: LedgerUnderTest) -> None:
    ledger.deliver(replied("r1", campaign="a"), replied("r2", campaign="b"), replied("r3", campaign="b"))
    assert ledger.totals("a") == {"replies": 1, "replied": 1, "replied_human": 1}
    assert ledger.totals("b") == {"replies": 2, "replied": 1, "replied_human": 1}


def test_a_lead_is_booked_at_its_first_reply_and_its_first_human_one(ledger: LedgerUnderTest) -> None:
    ledger.each(
        replied("r3", at="09:31"),
        replied("r2", at="09:16", kind="interested"),
        replied("r1", at="09:01", kind="out_of_office"),
    )
    assert ledger.series() == {
        ("09:00", None): {"replies": 1, "replied": 1},
        ("09:15", None): {"replies": 1, "replied_human": 1},
        ("09:30", None): {"replies": 1},
    }


def test_a_lead_is_its_address_in_any_case(ledger: LedgerUnderTest) -> None:
    ledger.deliver(replied("r1", lead="jo@example.org"), replied("r2", lead="Jo <JO@Example.org>"))
    assert ledger.totals() == {"replies": 2, "replied": 1, "replied_human": 1}


def test_a_reply_without_lead_is_only_a_reply(ledger: LedgerUnderTest) -> None:
    ledger.deliver(replied(lead=None))
    assert ledger.totals() == {"replies": 1}
    assert ledger.deliver(replied(at="09:25")) == ["duplicate"]
    assert ledger.totals() == {"replies": 1, "replied": 1, "replied_human": 1}


def test_a_reply_without_id_is_one_per_second(ledger: LedgerUnderTest) -> None:
    times = ("09:20:00.1", "09:20:00.9", "09:20:01")
    assert ledger.each(*(replied(None, at=at) for at in times)) == ["stored", "duplicate", "stored"]
    assert ledger.totals() == {"replies": 2, "replied": 1, "replied_human": 1}


def test_a_reply_waits_for_its_send_and_is_booked_in_that_sends_step(ledger: LedgerUnderTest) -> None:
    assert ledger.deliver(replied(campaign=None, message="m1")) == ["quarantined"]
    ledger.deliver(sent(step=2))
    assert ledger.quarantined() == []
    assert ledger.totals("a", 2) == {
        "sent": 1,
        "attempted": 1,
        "accepted": 1,
        "replies": 1,
        "replied": 1,
        "replied_human": 1,
    }


def test_a_reply_that_waits_is_counted_when_a_copy_names_its_campaign(ledger: LedgerUnderTest) -> None:
    ledger.each(replied(campaign=None, message="m1"), replied(campaign="b", message="m1"))
    assert ledger.quarantined() == []
    assert ledger.totals("b") == {"replies": 1, "replied": 1, "replied_human": 1}


def test_a_bounce_that_is_counted_gives_a_waiting_reply_no_campaign(ledger: LedgerUnderTest) -> None:
    ledger.each(replied(campaign=None, message="m1"), bounced(campaign="a"))
    assert ledger.quarantined() == ["campaign_unknown"]
    assert "replies" not in ledger.totals()


def test_a_reply_moves_with_its_send_and_the_lead_counts_anew_in_both_campaigns(
    ledger: LedgerUnderTest,
) -> None:
    ledger.each(
        sent("m1", at="09:10", campaign="a"),
        replied("r1", at="09:20", message="m1"),
        replied("r2", at="09:25", campaign="a"),
        sent("m1", at="09:00", campaign="b", step=4),
    )
    assert ledger.totals("b", 4)["replied"] == 1
    assert ledger.series("a") == {("09:15", None): {"replies": 1, "replied": 1, "replied_human": 1}}


def test_a_reply_linked_anew_to_a_send_of_an_earlier_batch_follows_it(ledger: LedgerUnderTest) -> None:
    ledger.each(sent("m1", campaign="b"), replied("r1", campaign="a"), replied("r1", message="m1", campaign="a"))
    assert (ledger.totals("a"), ledger.totals("b")["replied"]) == ({}, 1)


def test_a_copy_that_names_no_message_leaves_the_reply_with_its_send(ledger: LedgerUnderTest) -> None:
    ledger.each(sent("m1", campaign="b"), replied(message="m1"), replied(at="09:19"))
    assert (ledger.totals("a"), ledger.totals("b")["replied"]) == ({}, 1)


def test_a_reply_linked_anew_to_a_message_not_yet_sent_waits_and_is_listed(ledger: LedgerUnderTest) -> None:
    ledger.each(sent("m1"), replied(campaign=None, message="m1"))
    assert ledger.deliver(replied(campaign=None, message="m2")) == ["duplicate"]  # m2's key is the smaller
    assert (ledger.quarantined(), ledger.totals().get("replies")) == (["campaign_unknown"], None)
    assert ledger.rows("SELECT campaign FROM journal WHERE kind = 5 AND role = 1") == [(None,)]
    ledger.deliver(sent("m2", campaign="b"))
    assert (ledger.quarantined(), ledger.totals("b")["replies"]) == ([], 1)


def test_a_later_class_of_the_first_reply_takes_the_human_one_away(ledger: LedgerUnderTest) -> None:
    ledger.each(replied(at="09:20"), replied(at="09:10", kind="bounce"))
    assert ledger.totals() == {"replies": 1, "replied": 1}


def test_a_webhook_for_a_reply_that_the_api_gave_counts_it_and_conflicts_with_nothing(
    ledger: LedgerUnderTest,
) -> None:
    raw = replied(kind="interested")
    event = ledger.ledger.parser.parse(raw, NOW)
    assert isinstance(event, Event)
    from_api = replace(event, origin=Origin.API, campaign="b")
    ledger.commit([Delivery(b"{}", NOW, from_api)], STRETCH)
    assert ledger.totals("b") == {"replied": 1, "replied_human": 1}
    ledger.deliver(raw)
    assert (ledger.totals("b"), ledger.totals("a")["replies"]) == ({}, 1)
    assert ledger.quarantined() == []


# Conflicts.


def test_a_conflict_is_a_duplicate_that_is_listed_once(ledger: LedgerUnderTest) -> None:
    copies = [sent(campaign="a"), sent(campaign="b"), sent(campaign="c"), sent(campaign="b")]
    assert ledger.each(*copies) == ["stored", "duplicate", "duplicate", "duplicate"]
    assert ledger.rows("SELECT reason, detail, campaign_id, body FROM quarantine") == [
        (
            "conflict",
            "Another delivery of this event has another campaign; the join decides which one counts.",
            "b",
            sent(campaign="b"),
        )
    ]


def test_a_conflict_within_one_batch_is_listed_too(ledger: LedgerUnderTest) -> None:
    assert ledger.deliver(sent(step=1), sent(step=2), sent(step=3)) == ["stored", "duplicate", "duplicate"]
    assert ledger.quarantined() == ["conflict"]


def test_a_conflict_between_two_later_copies_is_found(ledger: LedgerUnderTest) -> None:
    ledger.each(sent(step=None), sent(step=1), sent(step=2))
    assert ledger.quarantined() == ["conflict"]


def test_a_conflict_is_found_after_a_restart(ledger: LedgerUnderTest) -> None:
    ledger.deliver(replied(kind="interested"))
    ledger.restart()
    ledger.deliver(replied(kind="bounce"))
    assert ledger.quarantined() == ["conflict"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (sent(at="09:00"), sent(at="09:01")),
        (sent(step=1), sent(step=None)),
        (bounced(campaign="a", reason="x"), bounced(campaign="a", reason="y")),
        (bounced(), bounced(campaign="a")),
        (sent(campaign="a"), bounced(campaign="b", step=7)),
        (replied(), replied(lead=None)),
    ],
)
def test_other_times_reasons_and_gaps_are_no_conflict(ledger: LedgerUnderTest, first: bytes, second: bytes) -> None:
    ledger.each(first, second, sent("m9"))
    assert "conflict" not in ledger.quarantined()


def test_equal_bodies_in_another_key_order_are_copies_without_conflict(ledger: LedgerUnderTest) -> None:
    turned = json.dumps(dict(reversed(json.loads(sent()).items()))).encode()
    assert ledger.each(sent(), turned, turned) == ["stored", "duplicate", "duplicate"]
    assert (ledger.quarantined(), ledger.journal_copies()) == ([], [3])
    assert ledger.rows("SELECT body FROM journal ORDER BY seq") == [(sent(),), (turned,)]


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
