"""Bodies of every documented variant, what each problem is called, and bodies that mean harm."""

import hashlib
import hmac
import json
from typing import Any

import pytest

from receiver.events import Event, Kind, Unread, lead_reply_key, message_key, reply_key, start_key
from receiver.leadterra.payloads import Parser, address, domain_of

KEY = b"k" * 32
AT = "2025-06-11T09:14:32Z"
AT_MS = 1_749_633_272_000
NOW = AT_MS + 60_000
DAY_MS = 86_400_000
MESSAGE = {"messageId": "msg_1", "campaignId": "camp_1"}


def parse(event: str | None, data: object, at: object = AT, now: int | None = NOW, **more: object) -> Any:
    payload = {"event": event, "timestamp": at, "data": data, **more}
    return Parser(KEY).parse(json.dumps(payload).encode(), now)


def read(raw: bytes) -> Any:
    return Parser(KEY).parse(raw, NOW)


def spoilt(field: bytes) -> Any:
    """A good body with one more field in `data`, written as it stands."""
    data = b'{"messageId":"msg_1","campaignId":"camp_1",' + field + b"}"
    return read(b'{"event":"message.sent","timestamp":"2025-06-11T09:14:32Z","data":' + data + b"}")


def lead(text: str) -> bytes:
    return hmac.digest(KEY, text.encode(), hashlib.sha256)[:16]


def why(parsed: Event | Unread) -> tuple[str, str]:
    assert isinstance(parsed, Unread), parsed
    return parsed.reason, parsed.detail


# Variants.


@pytest.mark.parametrize(
    "data",
    [
        {"campaignId": "camp_1"},
        {"campaign": {"id": "camp_1"}},
        {"reply": {"campaignId": "camp_1"}},
        {"campaignId": "camp_1", "campaign": {"id": "camp_2"}, "reply": {"campaignId": "camp_3"}},
        {"campaignId": None, "campaign": {"id": "camp_1"}, "reply": {"campaignId": "camp_3"}},
        {"campaign": "a name, not an object", "reply": {"campaignId": "camp_1"}},
    ],
)
def test_the_campaign_is_found_wherever_it_stands(data: dict[str, object]) -> None:
    event = parse("message.sent", {"messageId": "msg_1", **data})
    assert event == Event(Kind.SENT, message_key("msg_1"), AT_MS, "camp_1")


@pytest.mark.parametrize(
    "data",
    [{"id": "camp_1"}, {"campaignId": "camp_1"}, {"campaign": {"id": "camp_1"}}],
)
def test_a_start_names_its_campaign_in_any_place(data: dict[str, object]) -> None:
    assert parse("campaign.started", data) == Event(Kind.STARTED, start_key("camp_1", AT_MS), AT_MS, "camp_1")


def test_only_a_start_is_of_the_campaign_that_its_own_id_names() -> None:
    assert why(parse("message.sent", {"messageId": "msg_1", "id": "camp_1"})) == (
        "campaign_missing",
        "The campaign is not named.",
    )


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ({"id": "camp_1", "name": "Spring"}, "Spring"),
        ({"campaignId": "camp_1", "name": "of something else"}, None),
        ({"campaign": {"id": "camp_1", "name": "Spring"}}, "Spring"),
        ({"campaignId": "camp_1", "campaignName": "Spring"}, "Spring"),
        ({"campaignId": "camp_1", "campaignName": 5}, None),
        ({"campaignId": "camp_1", "campaignName": "x" * 600}, "x" * 500),
    ],
)
def test_a_campaigns_name_is_taken_where_there_is_one(data: dict[str, object], name: str | None) -> None:
    assert parse("campaign.started", data).campaign_name == name


@pytest.mark.parametrize(("step", "expected"), [(0, 0), (3, 3), (2**31 - 1, 2**31 - 1), (None, None)])
def test_a_step_is_kept_as_sent(step: int | None, expected: int | None) -> None:
    assert parse("message.sent", {**MESSAGE, "sequenceStep": step}).step == expected


@pytest.mark.parametrize("step", [-1, 2**31, 1.0, 1.5, "1", True, [], {}])
def test_a_step_that_is_no_index_is_invalid(step: object) -> None:
    assert why(parse("message.sent", {**MESSAGE, "sequenceStep": step})) == (
        "invalid_field",
        "Field 'data.sequenceStep' is not an integer from 0 to 2147483647.",
    )


@pytest.mark.parametrize(
    "place",
    [
        {"email": "Jo@Example.org"},
        {"lead": {"email": "Jo@Example.org"}},
        {"to": "Jo Doe <jo@EXAMPLE.org>"},
        {"reply": {"email": " jo@example.org "}},
    ],
)
def test_a_sends_recipient_leaves_only_its_domain(place: dict[str, object]) -> None:
    event = parse("message.sent", {**MESSAGE, **place})
    assert (event.domain, event.lead) == ("example.org", None)


@pytest.mark.parametrize("to", [5, ["a@b.org"], "no address", "jo@", "jo@" + "x" * 254])
def test_a_send_to_nobody_readable_is_a_send_all_the_same(to: object) -> None:
    event = parse("message.sent", {**MESSAGE, "to": to})
    assert (event.kind, event.domain) == (Kind.SENT, None)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("hard", Kind.HARD_BOUNCE),
        ("HARD", Kind.HARD_BOUNCE),
        ("soft", Kind.SOFT_BOUNCE),
        ("Soft", Kind.SOFT_BOUNCE),
    ],
)
def test_a_bounce_is_hard_or_soft_in_any_case(text: str, kind: Kind) -> None:
    data = {**MESSAGE, "bounceType": text, "bounceReason": "550 unknown", "sequenceStep": 2}
    expected = Event(kind, message_key("msg_1"), AT_MS, "camp_1", 2, "550 unknown")
    assert parse("message.bounced", data) == expected


@pytest.mark.parametrize(("reason", "kept"), [("x" * 1200, "x" * 1000), ("", None), (550, None), (None, None)])
def test_a_bounces_reason_is_free_text_and_never_a_problem(reason: object, kept: str | None) -> None:
    data = {**MESSAGE, "bounceType": "hard", "bounceReason": reason}
    assert parse("message.bounced", data).reason == kept


def test_a_bounce_may_have_no_campaign() -> None:
    event = parse("message.bounced", {"messageId": "msg_1", "bounceType": "hard"})
    assert (event.kind, event.campaign) == (Kind.HARD_BOUNCE, None)


REPLY = {
    "id": "rpl_1",
    "email": "Jo@example.org",
    "campaignId": "camp_1",
    "classification": "interested",
    "receivedAt": "2025-06-11T09:00:00Z",
    "threadSnippet": "Yes",
}


@pytest.mark.parametrize("data", [{"reply": REPLY}, REPLY, {**REPLY, "reply": {}}])
def test_a_reply_stands_under_reply_or_flat(data: dict[str, object]) -> None:
    assert parse("reply.received", data) == Event(
        Kind.REPLY,
        reply_key("rpl_1"),
        1_749_632_400_000,
        "camp_1",
        lead=lead("jo@example.org"),
        classification="interested",
    )


def test_a_reply_without_receipt_happened_when_it_was_posted() -> None:
    assert parse("reply.received", {"reply": {**REPLY, "receivedAt": None}}).occurred_at == AT_MS


@pytest.mark.parametrize(
    "data",
    [
        {"reply": {**REPLY, "messageId": "msg_1", "sequenceStep": 2}},
        {"reply": REPLY, "messageId": "msg_1", "sequenceStep": 2},
        {**REPLY, "messageId": "msg_1", "sequenceStep": 2},
    ],
)
def test_a_reply_is_linked_to_its_message_wherever_that_is_named(data: dict[str, object]) -> None:
    event = parse("reply.received", data)
    assert (event.message_key, event.step) == (message_key("msg_1"), 2)


def test_a_reply_without_id_is_known_by_campaign_lead_and_second() -> None:
    event = parse("reply.received", {"reply": {**REPLY, "id": None}})
    assert event.key == lead_reply_key("camp_1", lead("jo@example.org"), 1_749_632_400_000)


def test_a_reply_with_id_needs_no_lead_and_with_a_message_no_campaign() -> None:
    assert parse("reply.received", {"reply": {"id": "rpl_1", "campaignId": "camp_1"}}).lead is None
    assert parse("reply.received", {"reply": {"id": "rpl_1"}, "messageId": "msg_1"}).campaign is None


def test_unknown_fields_anywhere_change_nothing() -> None:
    event = parse("message.sent", {**MESSAGE, "extra": {"deep": [1]}}, version=2)
    assert event == parse("message.sent", MESSAGE)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("JO@Example.ORG", "jo@example.org"),
        ("  jo@example.org\n", "jo@example.org"),
        ("Jo <JO@x.org>", "jo@x.org"),
        ('"a<b" <jo@x.org> trailing', "jo@x.org"),
        ("jo@x.org>", "jo@x.org>"),
        ("Jo <jo@x.org", "jo <jo@x.org"),
        ("ÄÖ@x.org", "ÄÖ@x.org"),
    ],
)
def test_an_address_is_trimmed_and_lowered_in_ascii_only(text: str, plain: str) -> None:
    assert address(text) == plain


@pytest.mark.parametrize(("text", "domain"), [("a@b@C.org", "c.org"), ("nobody", None), (None, None), ("@", None)])
def test_a_domain_is_what_follows_the_last_at(text: object, domain: str | None) -> None:
    assert domain_of(text) == domain


# What is not understood.


@pytest.mark.parametrize(
    ("event", "data", "at", "reason", "detail"),
    [
        ("message.opened", {}, None, "unknown_event", "'event' is not one of Leadterra's four."),
        ("Message.Sent", MESSAGE, AT, "unknown_event", "'event' is not one of Leadterra's four."),
        ("", MESSAGE, AT, "unknown_event", "'event' is not one of Leadterra's four."),
        (None, MESSAGE, AT, "missing_field", "Field 'event' is missing."),
        ("message.sent", None, AT, "missing_field", "Field 'data' is missing."),
        ("message.sent", MESSAGE, None, "missing_field", "Field 'timestamp' is missing."),
        ("message.sent", {}, AT, "missing_field", "Field 'data.messageId' is missing."),
        ("message.bounced", {"messageId": "m"}, AT, "missing_field", "Field 'data.bounceType' is missing."),
        (
            "reply.received",
            {"campaignId": "camp_1"},
            AT,
            "missing_field",
            "Field 'data.reply.id' is missing, and so is the lead.",
        ),
        # A missing field goes before an invalid one, a bad time, and a missing campaign.
        (
            "message.sent",
            {"sequenceStep": -1, "campaignId": "?"},
            "x",
            "missing_field",
            "Field 'data.messageId' is missing.",
        ),
        ("message.sent", [], AT, "missing_field", "Field 'data.messageId' is missing."),
        (
            "message.sent",
            {"messageId": "", "campaignId": "camp_1"},
            AT,
            "invalid_field",
            "Field 'data.messageId' is not a string of 1 to 512 characters.",
        ),
        (
            "message.sent",
            {"messageId": "m" * 513, "campaignId": "camp_1"},
            AT,
            "invalid_field",
            "Field 'data.messageId' is not a string of 1 to 512 characters.",
        ),
        (
            "message.sent",
            {"messageId": "m", "campaignId": "camp 1"},
            AT,
            "invalid_field",
            "The campaign's id is not 1 to 128 of A-Z a-z 0-9 _ . : -",
        ),
        (
            "message.bounced",
            {**MESSAGE, "bounceType": "medium"},
            AT,
            "invalid_field",
            "Field 'data.bounceType' is neither 'hard' nor 'soft'.",
        ),
        (
            "message.bounced",
            {**MESSAGE, "bounceType": 5},
            AT,
            "invalid_field",
            "Field 'data.bounceType' is not a string of 1 to 512 characters.",
        ),
        ("reply.received", {"reply": "yes", **REPLY}, AT, "invalid_field", "Field 'data.reply' is not an object."),
        (
            "reply.received",
            {"reply": {**REPLY, "id": 5}},
            AT,
            "invalid_field",
            "Field 'data.reply.id' is not a string of 1 to 512 characters.",
        ),
        (
            "reply.received",
            {"reply": {**REPLY, "email": "  "}},
            AT,
            "invalid_field",
            "Field 'data.reply.email' is not an address.",
        ),
        (
            "reply.received",
            {"reply": {**REPLY, "messageId": ""}},
            AT,
            "invalid_field",
            "Field 'data.messageId' is not a string of 1 to 512 characters.",
        ),
        # An invalid field goes before a bad time and a missing campaign.
        (
            "message.sent",
            {"messageId": ["m"]},
            "x",
            "invalid_field",
            "Field 'data.messageId' is not a string of 1 to 512 characters.",
        ),
        (
            "message.sent",
            {"messageId": "m"},
            "x",
            "bad_timestamp",
            "Field 'timestamp' is not an RFC 3339 time with offset.",
        ),
        ("message.sent", MESSAGE, "", "bad_timestamp", "Field 'timestamp' is not an RFC 3339 time with offset."),
        ("message.sent", MESSAGE, AT_MS, "bad_timestamp", "Field 'timestamp' is not an RFC 3339 time with offset."),
        (
            "reply.received",
            {"reply": {**REPLY, "receivedAt": "yesterday"}},
            AT,
            "bad_timestamp",
            "Field 'data.reply.receivedAt' is not an RFC 3339 time with offset.",
        ),
        ("message.sent", {"messageId": "m"}, AT, "campaign_missing", "The campaign is not named."),
        ("campaign.started", {"name": "Spring"}, AT, "campaign_missing", "The campaign is not named."),
        ("reply.received", {"reply": {"id": "rpl_1"}}, AT, "campaign_missing", "The campaign is not named."),
        (
            "reply.received",
            {"email": "jo@example.org", "messageId": "m"},
            AT,
            "campaign_missing",
            "The campaign is not named.",
        ),
    ],
)
def test_the_first_reason_that_applies_is_given_in_one_sentence(
    event: str | None, data: object, at: object, reason: str, detail: str
) -> None:
    assert why(parse(event, data, at)) == (reason, detail)


def test_an_unreadable_body_says_all_that_could_be_read_of_it() -> None:
    sent = parse("message.sent", {**MESSAGE, "sequenceStep": -1})
    assert (sent.event, sent.campaign, sent.kind, sent.key) == (
        "message.sent",
        "camp_1",
        Kind.SENT,
        message_key("msg_1"),
    )
    reply = parse("reply.received", {"reply": {**REPLY, "classification": 5}})
    assert (reply.kind, reply.key) == (Kind.REPLY, reply_key("rpl_1"))


def test_a_bounce_of_no_known_type_has_no_identity() -> None:
    parsed = parse("message.bounced", {**MESSAGE, "bounceType": "medium"})
    assert (parsed.kind, parsed.key) == (None, None)


def test_an_unknown_events_name_is_cut() -> None:
    assert parse("x" * 500, {}).event == "x" * 100
    assert parse("message.sent", {}).event == "message.sent"


def test_campaign_ids_are_of_the_documented_alphabet_up_to_128() -> None:
    name = "Camp_1.a:b-c" + "x" * 116
    assert parse("message.sent", {**MESSAGE, "campaignId": name}).campaign == name
    wrongs: list[object] = [name + "x", "", "ä", "a\n", "a/b", 5, {}]
    for wrong in wrongs:
        assert parse("message.sent", {**MESSAGE, "campaignId": wrong}).reason == "invalid_field"
