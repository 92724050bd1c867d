"""Keys, and the joins as pure functions: commutative, associative, idempotent."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.events import (
    Event,
    Kind,
    Message,
    Origin,
    Reply,
    copies_disagree,
    is_human,
    lead_reply_key,
    message_key,
    reply_key,
    smaller,
    start_key,
)

LEAD = bytes(range(16))
ULID_TIME = bytes.fromhex("018fd41d5ab7")


@pytest.mark.parametrize(
    ("key", "frozen"),
    [
        (message_key("msg_1"), "38c9c0738f58155704af5594e355d516"),
        (message_key("msg_01HZA1TPNQ8RD4KF0000000000"), "018fd41d5ab752c620755934436f6896"),
        (message_key("msg_01hza1tpnq8rd4kf0000000000"), "018fd41d5ab7a8dad0c566650e6da592"),
        (message_key("01HZA1TPNQ8RD4KF0000000000"), "018fd41d5ab7d53c5a615e2d31ca5980"),
        (message_key("nachricht_ü"), "8ffd0864c49425647be1dfe8f9275c9d"),
        (reply_key("rpl_1"), "938c34ca41600b9fa6aea8491a6c572f"),
        (lead_reply_key("camp_1", LEAD, 1_749_634_472_999), "4e6caa2c403629d8779d62692222cff5"),
        (start_key("camp_1", 1_749_634_472_000), "5721970bf514c77221e5b67adf07e457"),
    ],
)
def test_keys_are_derived_as_they_always_were(key: bytes, frozen: str) -> None:
    assert key.hex() == frozen


def test_a_plain_id_is_the_first_half_of_a_sha256_of_kind_zero_id() -> None:
    # printf 'message\0msg_1' | sha256sum | head -c 32
    assert message_key("msg_1") == bytes.fromhex("38c9c0738f58155704af5594e355d516")
    assert message_key("rpl_1") != reply_key("rpl_1")


def test_keys_of_ulids_come_in_the_order_of_their_time() -> None:
    ids = ["m_01HZA1TPNQ0000000000000000", "x_01HZA1TPNRZZZZZZZZZZZZZZZZ", "a_01HZA1TPPA0000000000000000"]
    assert sorted(ids, key=message_key) == ids


def test_ids_that_differ_only_in_case_are_different_at_the_same_time() -> None:
    upper, lower = message_key("msg_01HZA1TPNQ8RD4KF0000000000"), message_key("msg_01hza1tpnq8rd4kf0000000000")
    assert upper != lower
    assert upper[:6] == lower[:6] == ULID_TIME


@pytest.mark.parametrize(
    "message_id",
    [
        "msg_81HZA1TPNQ8RD4KF0000000000",  # beyond 48 bits of time
        "msg_01HZA1TPNQ8RD4KF000000000U",  # U is not in the alphabet
        "msg_01HZA1TPNQ8RD4KF000000000",  # one short
        "msg_01HZA1TPNQ8RD4KF00000000000",  # one long
        "msg_01HZA1TPNQ8RD4KF0000000000_1",  # not after the last underscore
        "msg-01HZA1TPNQ8RD4KF0000000000",
    ],
)
def test_what_is_not_quite_a_ulid_has_no_time_in_front(message_id: str) -> None:
    assert message_key(message_id)[:6] != ULID_TIME


def test_a_reply_without_id_is_told_apart_by_campaign_lead_and_second() -> None:
    keys = {
        lead_reply_key("a", LEAD, 1000),
        lead_reply_key("a", LEAD, 1999),
        lead_reply_key("a", LEAD, 2000),
        lead_reply_key("b", LEAD, 1000),
        lead_reply_key("a", LEAD[::-1], 1000),
    }
    assert len(keys) == 4


def test_starts_are_told_apart_by_the_millisecond() -> None:
    assert start_key("a", 1000) != start_key("a", 1001)


@pytest.mark.parametrize(
    ("classification", "human"),
    [
        (None, True),
        ("interested", True),
        ("referral", True),
        ("out_of_office", False),
        (" Out_Of_Office ", False),
        ("bounce", False),
        ("BOUNCE", False),
    ],
)
def test_a_reply_is_human_unless_its_class_says_otherwise(classification: str | None, human: bool) -> None:
    assert is_human(classification) is human


def test_none_loses_to_any_value() -> None:
    assert (smaller(None, 3), smaller(3, None), smaller(2, 3)) == (3, 3, 2)
    assert smaller(None, None) is None


# Joins.

TIMES = st.integers(1, 3)
TEXTS = st.sampled_from([None, "a", "b"])
HASHES = st.sampled_from([None, b"1", b"2"])
MESSAGE_EVENTS = st.builds(
    Event,
    kind=st.sampled_from([Kind.SOFT_BOUNCE, Kind.HARD_BOUNCE]),
    key=st.just(b"key"),
    occurred_at=TIMES,
    campaign=TEXTS,
    step=st.sampled_from([None, 1, 2]),
    reason=TEXTS,
    domain=TEXTS,
) | st.builds(
    Event,
    kind=st.just(Kind.SENT),
    key=st.just(b"key"),
    occurred_at=TIMES,
    campaign=st.sampled_from(["a", "b"]),
    step=st.sampled_from([None, 1, 2]),
    domain=TEXTS,
)
REPLY_EVENTS = st.builds(
    Event,
    kind=st.just(Kind.REPLY),
    key=st.just(b"key"),
    occurred_at=TIMES,
    campaign=TEXTS,
    step=st.sampled_from([None, 1, 2]),
    message_key=HASHES,
    lead=HASHES,
    classification=TEXTS,
    origin=st.sampled_from(Origin),
)
JOINS = st.one_of(
    st.tuples(st.just(Message), st.lists(MESSAGE_EVENTS, min_size=1, max_size=6)),
    st.tuples(st.just(Reply), st.lists(REPLY_EVENTS, min_size=1, max_size=6)),
)


def joined(state: Callable[[], Any], events: list[Event]) -> dict[str, object]:
    row = state()
    for event in events:
        row.join(event)
    return asdict(row)


@given(st.data(), JOINS)
def test_a_join_takes_its_copies_in_any_order(
    data: st.DataObject, case: tuple[Callable[[], Any], list[Event]]
) -> None:
    state, events = case
    assert joined(state, events) == joined(state, data.draw(st.permutations(events)))


@given(st.data(), JOINS)
def test_a_join_takes_a_copy_any_number_of_times(
    data: st.DataObject, case: tuple[Callable[[], Any], list[Event]]
) -> None:
    state, events = case
    again = data.draw(st.lists(st.sampled_from(events)))
    assert joined(state, events) == joined(state, events + again)


@given(JOINS)
def test_a_join_does_not_change_what_it_joins(case: tuple[Callable[[], Any], list[Event]]) -> None:
    state, events = case
    before = deepcopy(events)
    joined(state, events)
    assert events == before


def send(at: int, campaign: str = "a", step: int | None = 1) -> Event:
    return Event(Kind.SENT, b"key", at, campaign, step)


def bounce(at: int, reason: str | None = None, campaign: str | None = None, hard: bool = True) -> Event:
    return Event(Kind.HARD_BOUNCE if hard else Kind.SOFT_BOUNCE, b"key", at, campaign, reason=reason)


def reply(at: int = 1, **fields: Any) -> Event:
    return Event(Kind.REPLY, b"key", at, **{"campaign": "a", **fields})


def message_of(*events: Event) -> Message:
    row = Message()
    for event in events:
        row.join(event)
    return row


def reply_of(*events: Event) -> Reply:
    row = Reply()
    for event in events:
        row.join(event)
    return row


def test_a_message_is_of_its_smallest_send() -> None:
    message = message_of(send(5, "a", 1), send(4, "b", 3), send(4, "b", 2), send(4, "c", 1))
    assert (message.sent_at, message.campaign, message.step) == (4, "b", 2)


def test_a_send_overrules_what_a_bounce_says_of_campaign_and_step() -> None:
    assert message_of(bounce(1, campaign="a"), send(9, "z", None)).campaign == "z"
    assert message_of(send(9, "z", None), bounce(1, campaign="a")).campaign == "z"


def test_without_a_send_the_smallest_campaign_of_a_bounce_is_taken() -> None:
    assert message_of(bounce(1), bounce(2, campaign="b"), bounce(3, campaign="a")).campaign == "a"


def test_the_reason_is_that_of_the_earliest_hard_bounce_else_of_the_earliest_soft_one() -> None:
    soft = [bounce(1, "full", hard=False), bounce(2, "busy", hard=False)]
    assert message_of(*soft).reason == "full"
    assert message_of(*soft, bounce(4, "unknown"), bounce(3, "gone")).reason == "gone"


def test_a_message_knows_which_events_it_holds() -> None:
    message = message_of(bounce(1, hard=False))
    assert [message.holds(kind) for kind in (Kind.SENT, Kind.SOFT_BOUNCE, Kind.HARD_BOUNCE)] == [
        False,
        True,
        False,
    ]
    assert message.bounced_at == 1


def test_a_webhook_outranks_an_earlier_reply_from_the_api() -> None:
    row = reply_of(reply(1, origin=Origin.API, lead=b"1"), reply(2, lead=b"2"))
    assert (row.origin, row.at, row.lead) == (Origin.WEBHOOK, 2, b"2")


def test_the_smallest_copy_of_a_reply_counts_and_others_fill_what_it_lacks() -> None:
    row = reply_of(reply(2, lead=b"1", classification="interested"), reply(1, campaign="b", lead=None))
    assert (row.at, row.own_campaign, row.lead, row.classification) == (1, "b", b"1", "interested")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"campaign": "b"}, "campaign"),
        ({"step": 2}, "step"),
        ({"lead": b"2"}, "lead"),
        ({"classification": "bounce"}, "classification"),
        ({"campaign": None, "step": None, "lead": None, "classification": None}, None),
        ({"occurred_at": 2}, None),
        ({"reason": "another"}, None),
        ({"campaign": "b", "origin": Origin.API}, None),
    ],
)
def test_copies_disagree_only_where_both_say_something_that_matters(
    change: dict[str, Any], field: str | None
) -> None:
    held: dict[str, Any] = {"step": 1, "lead": b"1", "classification": "interested", "occurred_at": 1}
    first = Event(Kind.REPLY, b"key", campaign="a", **held)
    other = Event(Kind.REPLY, b"key", **{"campaign": "a", **held, **change})
    assert copies_disagree(first, other) == field
    assert copies_disagree(other, first) == field
