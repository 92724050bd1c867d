"""Taking one address out of bodies, in every form, and nobody else's."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.events import Event, Kind, Origin, message_key, reply_key
from receiver.leadterra.erasure import Erasure, erasable
from receiver.leadterra.payloads import Parser, lead_of

KEY = b"k" * 32
JO = "jo.doe+x@example.org"
LEAD = lead_of(JO, KEY).hex()


def erasure(address: str = JO) -> Erasure:
    return Erasure(address, KEY)


def body(event: str = "message.sent", **data: Any) -> bytes:
    return json.dumps({"event": event, "timestamp": "2025-06-11T09:00:00Z", "data": data}).encode()


FORMS = [
    JO,
    "JO.Doe+X@Example.ORG",
    "jo.doe%2Bx%40example.org",
    "jo.doe+x%40example%2eorg",
    "%6a%6F.doe+x@example.org",
    r"jo.doe+x\u0040example.org",
    r"\u006Ao.doe\u002bx@example.org",
    r"jo.doe+x\\u0040example.org",
    "jo.doe+x&#64;example.org",
    "jo.doe+x&#x40;example.org",
    "jo.doe+x&commat;example.org",
    "jo.doe+x\uff20example.org",
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", ""),
        ("<", ">"),
        ("mailto:", "?subject=x"),
        ("user ", " unknown"),
        ("=", "&"),
        ("é ", "."),
        ("..", ", and"),
        (r"\n", r"\n"),
    ],
)
def test_every_form_goes(form: str, before: str, after: str) -> None:
    text = before + form + after
    assert erasure().is_in(text)
    assert erasure().without(text) == f"{before}***@example.org{after}"
    assert not erasure().is_in(erasure().without(text))


@pytest.mark.parametrize(
    "other",
    [
        "bjo.doe+x@example.org",
        "b.jo.doe+x@example.org",
        "o'jo.doe+x@example.org",
        "%62jo.doe+x@example.org",
        r"\u0062jo.doe+x@example.org",
        "jo.doe+x@example.org.uk",
        "jo.doe+x@example.orgs",
        "jo.doe+x@example.org-x.net",
        "jo.doe+x@sub.example.org",
        "jo.doe@example.org",
        "joXdoe+x@example.org",
    ],
)
def test_nobody_elses_does(other: str) -> None:
    assert not erasure().is_in(other)
    assert erasure().without(other) == other
    raw = body(messageId="m", email=other)
    assert erasure().body_without(raw) is raw


def test_what_only_resembles_it_is_told() -> None:
    assert erasure().resembles("bjo.doe+x@example.org")
    assert not erasure().resembles("jo@example.org")


@pytest.mark.parametrize(
    ("event", "data"),
    [
        ("message.sent", {"messageId": "m1", "campaignId": "a", "email": JO}),
        ("message.sent", {"messageId": f"m-{JO}-1", "campaignId": "a", "to": f"Jo Doe <{JO.upper()}>"}),
        ("message.sent", {"messageId": "m1", "campaignId": "a", "lead": {"email": "jo.doe%2Bx%40example.org"}}),
        ("message.bounced", {"messageId": "m1", "bounceType": "hard", "campaignId": "a", "email": JO}),
        ("reply.received", {"reply": {"id": "r1", "email": JO, "campaignId": "a", "threadSnippet": f"Hi {JO}"}}),
        ("reply.received", {"reply": {"id": JO, "email": JO}, "messageId": f"<{JO}>"}),
        ("reply.received", {"id": f"r/{JO}", "email": JO, "campaignId": "a", "messageId": JO}),
        ("reply.received", {"reply": {"email": f" {JO} ", "campaignId": "a"}}),
    ],
)
def test_the_event_stays_what_it_is(event: str, data: dict[str, Any]) -> None:
    raw = body(event, **data)
    parser = Parser(KEY)
    left = erasure().body_without(raw)
    assert JO.encode() not in left.lower()
    assert not erasure().is_in(left.decode())
    assert isinstance(parser.parse(raw, None), Event)
    assert parser.parse(left, None) == parser.parse(raw, None)


def test_in_free_text_only_the_domain_is_left() -> None:
    raw = body(
        "message.bounced", messageId="m1", bounceType="hard", bounceReason=f"550 <{JO}> unknown", **{JO: [JO, 1]}
    )
    data = json.loads(erasure().body_without(raw))["data"]
    assert data["bounceReason"] == "550 <***@example.org> unknown"
    assert data["***@example.org"] == ["***@example.org", 1]


def test_a_recipient_is_known_by_the_key_of_the_lead() -> None:
    data = json.loads(erasure().body_without(body(messageId="m1", email=JO)))["data"]
    assert data == {"messageId": "m1", "email": f"erased-{LEAD}@example.org"}


def test_an_erased_id_has_the_key_it_had() -> None:
    data = json.loads(erasure().body_without(body("reply.received", reply={"id": JO, "messageId": JO})))["data"]
    assert message_key(data["reply"]["messageId"]) == message_key(JO)
    assert reply_key(data["reply"]["id"]) == reply_key(JO)


@pytest.mark.parametrize(
    "raw",
    [
        b"no json, but jo.doe+x@example.org",
        b'{"email": "jo.doe+x\\u0040example.org", "broken',
        b"\xff\xfe <JO.DOE+X@example.org> \xe9",
        b"[" * 900 + b'"jo.doe+x@example.org"' + b"]" * 900,
        b"[" * 2000 + b'"jo.doe+x@example.org"' + b"]" * 2000,
        b'"jo.doe+x@example.org"',
        b'{"a": "jo.doe+x@example.org", "a": "last"}',
    ],
)
def test_whatever_a_body_is_the_address_goes(raw: bytes) -> None:
    left = erasure().body_without(raw)
    assert left != raw
    assert not erasure().is_in(left.decode("utf-8", "surrogateescape"))
    assert erasure().body_without(left) is left


@given(st.text(alphabet="jo.@exampl%40\\u&#;<> ", max_size=60))
def test_what_is_left_has_none_and_other_texts_stay(text: str) -> None:
    found = erasure("jo@exam.pl")
    left = found.without(text)
    assert (left == text) == (not found.is_in(text))
    assert found.without(left) == left or found.is_in(left)


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=20), max_size=4))
def test_a_body_without_it_keeps_its_bytes(data: dict[str, str]) -> None:
    raw = body(**data)
    assert erasure().body_without(raw) is raw


@pytest.mark.parametrize(
    ("email", "found"),
    [
        ("Jo <JO@x.org>", "jo@x.org"),
        (" jo@x.org ", "jo@x.org"),
        ("jo", None),
        ("@x.org", None),
        ("jo@", None),
        ("jo@x org", None),
        ("", None),
        ("j" * 600 + "@x.org", None),
    ],
)
def test_only_an_address_can_be_erased(email: str, found: str | None) -> None:
    assert erasable(email) == found


def test_the_ledger_reads_an_erased_lead_wherever_it_comes_from() -> None:
    parsed = Parser(KEY).parse_kept(
        body("reply.received", reply={"id": "r", "email": f"erased-{LEAD}@x"}, campaignId="a"), Origin.WEBHOOK
    )
    assert parsed is not None
    assert (parsed.kind, parsed.lead) == (Kind.REPLY, bytes.fromhex(LEAD))
