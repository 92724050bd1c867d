"""What every store must do with replies, and with copies that disagree."""

import json
from dataclasses import replace

import pytest

from receiver.events import Event, Origin
from receiver.storage.deliveries import Delivery
from tests.storage.conftest import (
    NOW,
    STRETCH,
    LedgerUnderTest,
    bounced,
    replied,
    sent,
)

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
