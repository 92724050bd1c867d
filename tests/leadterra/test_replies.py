"""A fetched reply and its webhook are one event."""

import json
from typing import Any

import pytest

from receiver.events import Event, Kind, Origin, Reply, Unread, copies_disagree, reply_key
from receiver.leadterra.answers import FetchedReply
from receiver.leadterra.payloads import Parser, lead_of
from receiver.leadterra.replies import event_of

KEY = b"k" * 32
NOW = 1_749_633_272_000  # 2025-06-11T09:14:32Z
ROW: dict[str, Any] = {
    "id": "rpl_01HZA1TPNQ8RD4KFXXXXXXXXXX",
    "email": "Jo <JO@example.org>",
    "campaignId": "camp_1",
    "classification": "out_of_office",
    "receivedAt": "2025-06-11T11:14:30.5+02:00",
}


def fetched(**other: Any) -> FetchedReply:
    row = {**ROW, **other}
    return FetchedReply(row["id"], row["email"], row["campaignId"], row["classification"], row["receivedAt"])


def webhook(data: object) -> Event:
    body = {"event": "reply.received", "timestamp": "2025-06-11T09:14:32Z", "data": data}
    event = Parser(KEY).parse(json.dumps(body).encode(), NOW)
    assert isinstance(event, Event)
    return event


def read(reply: FetchedReply) -> Event:
    event = event_of(reply, Parser(KEY), NOW)
    assert isinstance(event, Event)
    return event


@pytest.mark.parametrize("data", [{"reply": ROW}, ROW, {"reply": ROW, "messageId": "msg_1"}])
def test_both_copies_have_the_same_key_lead_class_and_time(data: dict[str, object]) -> None:
    told, asked = webhook(data), read(fetched())
    assert (asked.kind, asked.key) == (told.kind, told.key) == (Kind.REPLY, reply_key(ROW["id"]))
    assert asked.lead == told.lead == lead_of("jo@example.org", KEY)
    assert (
        (asked.campaign, asked.classification) == (told.campaign, told.classification) == ("camp_1", "out_of_office")
    )
    assert asked.occurred_at == told.occurred_at == NOW - 1500
    assert (asked.origin, told.origin) == (Origin.API, Origin.WEBHOOK)


def test_the_webhook_outranks_the_fetched_copy_in_either_order() -> None:
    told, asked = webhook({"reply": {**ROW, "classification": "interested"}}), read(fetched())
    for copies in ((told, asked), (asked, told)):
        reply = Reply()
        for copy in copies:
            reply.join(copy)
        assert (reply.origin, reply.classification) == (Origin.WEBHOOK, "interested")
    assert copies_disagree(told, asked) is None


def test_a_fetched_reply_may_lack_the_lead_and_the_class() -> None:
    event = read(fetched(email=None, classification=None))
    assert (event.key, event.lead, event.classification) == (reply_key(ROW["id"]), None, None)


@pytest.mark.parametrize(
    ("other", "reason", "detail"),
    [
        ({"receivedAt": None}, "missing_field", "Field 'receivedAt' is missing."),
        ({"receivedAt": "yesterday"}, "bad_timestamp", "Field 'receivedAt' is not an RFC 3339 time with offset."),
        ({"receivedAt": "2014-12-31T23:59:59Z"}, "bad_timestamp", "Field 'receivedAt' is before 2015."),
        ({"receivedAt": "2025-06-12T09:14:33Z"}, "bad_timestamp", "Field 'receivedAt' is more than a day ahead."),
        ({"email": ""}, "invalid_field", "Field 'email' is not a string of 1 to 512 characters."),
        ({"email": " "}, "invalid_field", "Field 'email' is not an address."),
        (
            {"classification": "x" * 513},
            "invalid_field",
            "Field 'classification' is not a string of 1 to 512 characters.",
        ),
        ({"campaignId": None}, "campaign_missing", "The campaign is not named."),
        ({"campaignId": "a b"}, "invalid_field", "The campaign's id is not 1 to 128 of A-Z a-z 0-9 _ . : -"),
    ],
)
def test_a_reply_that_cannot_be_used_says_why(other: dict[str, Any], reason: str, detail: str) -> None:
    unread = event_of(fetched(**other), Parser(KEY), NOW)
    assert isinstance(unread, Unread)
    assert (unread.reason, unread.detail, unread.event) == (reason, detail, "reply.received")


def test_a_time_ahead_is_taken_when_no_now_is_given() -> None:
    event = event_of(fetched(receivedAt="2025-07-01T00:00:00Z"), Parser(KEY), None)
    assert isinstance(event, Event)
