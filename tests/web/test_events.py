"""Events of the ledger: one row each, what the ledger knows by now, filters and paging."""

from typing import Any

import pytest

from tests.web.conftest import Api, bounced, replied, sent, started, unread

STAMPS = {"as_of": "2025-06-11T09:30:00Z", "settled_until": "2025-06-10T22:39:00Z"}


async def rows(api: Api, **params: str | int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await api.json("/v1/events", **params))["data"]
    return found


async def seqs(api: Api, **params: str | int) -> list[int]:
    return [row["seq"] for row in await rows(api, **params)]


async def test_every_kind_of_event_is_one_row_newest_first(api: Api) -> None:
    await api.post(started())
    api.clock.now += 1500
    await api.post(sent(at="2025-06-11T11:00:00.123456+02:00"), bounced(), replied(message="m1"))
    received = "2025-06-11T09:30:01.500Z"
    of_a = {"campaign_id": "a", "message_id": "m1", "step": 1, "received_at": received}
    same = {"origin": "webhook", "copies": 1}
    assert (await api.json("/v1/events"))["data"] == [
        {"seq": 4, "event": "reply.received", **of_a, "occurred_at": "2025-06-11T09:20:00Z", **same},
        {"seq": 3, "event": "message.bounced", **of_a, "occurred_at": "2025-06-11T09:05:00Z", **same},
        {"seq": 2, "event": "message.sent", **of_a, "occurred_at": "2025-06-11T09:00:00.123Z", **same},
        {
            "seq": 1,
            "event": "campaign.started",
            "campaign_id": "a",
            "message_id": None,
            "step": None,
            "occurred_at": "2025-06-11T08:00:00Z",
            "received_at": "2025-06-11T09:30:00Z",
            "origin": "webhook",
            "copies": 1,
        },
    ]


async def test_an_empty_ledger_has_no_events(api: Api) -> None:
    await api.post(unread())
    assert await api.json("/v1/events") == {"data": [], "next_cursor": None, **STAMPS}


async def test_deliveries_of_one_event_are_counted_and_not_listed_twice(api: Api) -> None:
    outcomes = await api.post(sent(), sent(), sent(at="09:01"), sent("m2"))
    assert outcomes == ["stored", "duplicate", "duplicate", "stored"]
    assert [(row["message_id"], row["copies"]) for row in await rows(api)] == [("m2", 1), ("m1", 3)]


async def test_a_copy_with_an_earlier_time_moves_the_event_and_not_its_arrival(api: Api) -> None:
    await api.post(sent(at="09:00"))
    api.clock.now += 1000
    await api.post(sent(at="08:59"))
    (row,) = await rows(api)
    assert (row["occurred_at"], row["received_at"]) == ("2025-06-11T08:59:00Z", "2025-06-11T09:30:00Z")


async def test_a_bounce_gets_campaign_and_step_once_its_send_arrives(api: Api) -> None:
    await api.post(bounced())
    assert [(row["campaign_id"], row["step"]) for row in await rows(api)] == [(None, None)]
    await api.post(sent(step=4))
    assert [(row["event"], row["campaign_id"], row["step"]) for row in await rows(api)] == [
        ("message.sent", "a", 4),
        ("message.bounced", "a", 4),
    ]
    assert await seqs(api, campaign_id="a") == [2, 1]


async def test_a_reply_gets_campaign_and_step_of_its_message(api: Api) -> None:
    await api.post(replied(campaign=None, message="m1"))
    assert [(row["campaign_id"], row["step"]) for row in await rows(api)] == [(None, None)]
    await api.post(sent(campaign="b", step=2))
    reply = (await rows(api, event="reply.received"))[0]
    assert (reply["campaign_id"], reply["step"], reply["message_id"]) == ("b", 2, "m1")


async def test_a_soft_and_a_hard_bounce_are_two_events(api: Api) -> None:
    await api.post(sent(), bounced(at="09:05", kind="soft"), bounced(at="09:06", kind="hard"))
    found = await rows(api, event="message.bounced")
    assert [row["occurred_at"] for row in found] == ["2025-06-11T09:06:00Z", "2025-06-11T09:05:00Z"]


async def test_a_reply_without_message_names_none(api: Api) -> None:
    await api.post(replied())
    assert [(row["message_id"], row["step"]) for row in await rows(api)] == [(None, None)]


# Filters. The seqs of the fixture's events, by what they are:
START_A, SENT_A, SENT_B, SOFT_A, HARD_A, REPLY_A, REPLY_B = range(1, 8)


@pytest.fixture
async def events(api: Api) -> Api:
    await api.post(
        started("a", "08:00"),
        sent("m1", "09:00", "a"),
        sent("m2", "09:01", "b"),
        bounced("m1", "09:05", "soft"),
        bounced("m1", "09:06", "hard"),
        replied("r1", "09:10", "a", message="m1"),
        replied("r2", "09:20", "b"),
    )
    return api


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, [REPLY_B, REPLY_A, HARD_A, SOFT_A, SENT_B, SENT_A, START_A]),
        ({"event": "campaign.started"}, [START_A]),
        ({"event": "message.sent"}, [SENT_B, SENT_A]),
        ({"event": "message.bounced"}, [HARD_A, SOFT_A]),
        ({"event": "reply.received"}, [REPLY_B, REPLY_A]),
        ({"campaign_id": "a"}, [REPLY_A, HARD_A, SOFT_A, SENT_A, START_A]),
        ({"campaign_id": "b"}, [REPLY_B, SENT_B]),
        ({"message_id": "m1"}, [REPLY_A, HARD_A, SOFT_A, SENT_A]),
        ({"message_id": "m2"}, [SENT_B]),
        ({"message_id": "M1"}, []),
        ({"from": "2025-06-11T09:05:00Z"}, [REPLY_B, REPLY_A, HARD_A, SOFT_A]),
        ({"to": "2025-06-11T09:05:00Z"}, [SENT_B, SENT_A, START_A]),
        ({"from": "2025-06-11T09:01:00Z", "to": "2025-06-11T09:06:00Z"}, [SOFT_A, SENT_B]),
        ({"from": "2025-06-11T09:06:00Z", "to": "2025-06-11T09:06:00Z"}, []),
        ({"from": "-25m", "to": "now"}, [REPLY_B, REPLY_A, HARD_A, SOFT_A]),
        ({"from": "1749632760000"}, [REPLY_B, REPLY_A, HARD_A]),
        ({"from": "2025-06-12"}, []),
        ({"campaign_id": "a", "event": "message.bounced"}, [HARD_A, SOFT_A]),
        ({"campaign_id": "a", "from": "2025-06-11T09:06:00Z"}, [REPLY_A, HARD_A]),
        ({"campaign_id": "a", "message_id": "m1", "event": "message.sent"}, [SENT_A]),
        ({"campaign_id": "b", "message_id": "m1"}, []),
        ({"message_id": "m1", "to": "2025-06-11T09:06:00Z", "from": "2025-06-11T09:05:00Z"}, [SOFT_A]),
        ({"message_id": "m1", "event": "reply.received"}, [REPLY_A]),
        ({"event": "message.sent", "from": "2025-06-11T09:01:00Z"}, [SENT_B]),
    ],
)
async def test_filters_select_alone_and_together(events: Api, params: dict[str, str], expected: list[int]) -> None:
    assert await seqs(events, **params) == expected


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
@pytest.mark.parametrize(
    "params", [{}, {"campaign_id": "a"}, {"message_id": "m1"}, {"event": "message.bounced"}, {"from": "-25m"}]
)
async def test_pages_visit_every_event_once(events: Api, params: dict[str, str], limit: int) -> None:
    found: list[int] = []
    cursor: dict[str, str] = {}
    while True:
        page = await events.json("/v1/events", **params, **cursor, limit=limit)
        found += [row["seq"] for row in page["data"]]
        if page["next_cursor"] is None:
            break
        assert len(page["data"]) == limit
        cursor = {"cursor": page["next_cursor"]}
    assert found == await seqs(events, **params)


async def test_an_event_a_day_ahead_of_its_arrival_is_found_by_its_time(api: Api) -> None:
    await api.post(sent(at="2025-06-12T09:30:00Z"))
    assert await seqs(api, **{"from": "2025-06-12T09:30:00Z"}) == [1]
