"""Every bad parameter is a 400 whose text names the parameter, its value and what is allowed."""

import base64
import json

import orjson
import pytest

from receiver.errors import InvalidParameterError
from receiver.figures import OBSERVED, RATES
from receiver.web.paging import decode_cursor, encode_cursor
from receiver.web.params import (
    SORTS,
    CampaignsParams,
    EventsParams,
    Limit,
    NoParams,
    Params,
    QuarantineParams,
    RetryBody,
    SeriesParams,
    parse_json,
    parse_query,
)
from tests.web.conftest import Api, invalid, sent

TIMES = "RFC 3339 with offset, a date, epoch milliseconds, now, or -30m, -6h, -7d, -2w"
REASONS = (
    "not_json, unknown_event, missing_field, invalid_field, bad_timestamp, campaign_unknown, campaign_missing "
    "or conflict"
)
SORT_NAMES = (
    "sent, attempted, accepted, contacted, bounced, bounced_hard, bounced_soft, replies, replied, replied_human, "
    "starts, bounce_rate, hard_bounce_rate, reply_rate, lead_reply_rate, human_reply_rate, campaign_id, last_event_at"
)
BAD_QUERY = "The query string is not valid percent-encoded UTF-8."


def refused(model: type[Params], query: str) -> tuple[str, str]:
    """The parameter and the text of the refusal."""
    with pytest.raises(InvalidParameterError) as caught:
        parse_query(model, query.encode())
    return caught.value.parameter, str(caught.value)


def test_a_parameter_that_is_a_list_may_be_given_several_times() -> None:
    assert parse_query(SeriesParams, b"campaign_id=b&basis=send&campaign_id=a").campaign_id == ("b", "a")
    assert parse_query(SeriesParams, b"").campaign_id == ()
    assert refused(SeriesParams, "campaign_id=a&campaign_id=") == (
        "campaign_id",
        "'campaign_id' is ''; use a campaign id of 1 to 128 characters.",
    )
    assert refused(EventsParams, "campaign_id=a&campaign_id=b") == (
        "campaign_id",
        "'campaign_id' is given as 'a' and as 'b'; give it once.",
    )


@pytest.mark.parametrize(
    ("query", "parameter", "text"),
    [
        ("page=2", "page", "'page' is not a parameter here; known are: event, campaign_id, message_id, from, to, "
         "limit, cursor, format."),
        ("from_=now", "from_", "'from_' is not a parameter here; known are: event, campaign_id, message_id, from, "
         "to, limit, cursor, format."),
        ("limit=1&limit=1", "limit", "'limit' is given as '1' and as '1'; give it once."),
        ("limit=0", "limit", "'limit' is '0'; use 1 to 2000."),
        ("limit=2001", "limit", "'limit' is '2001'; use 1 to 2000."),
        ("limit=", "limit", "'limit' is ''; use 1 to 2000."),
        ("limit=-1", "limit", "'limit' is '-1'; use 1 to 2000."),
        ("limit=1e9", "limit", "'limit' is '1e9'; use 1 to 2000."),
        ("limit=10.0", "limit", "'limit' is '10.0'; use 1 to 2000."),
        ("limit=1_0", "limit", "'limit' is '1_0'; use 1 to 2000."),
        ("limit=%2B10", "limit", "'limit' is '+10'; use 1 to 2000."),
        ("limit=%2010", "limit", "'limit' is ' 10'; use 1 to 2000."),
        ("limit=%D9%A3", "limit", "'limit' is '٣'; use 1 to 2000."),
        ("limit=%EF%BC%91", "limit", "'limit' is '１'; use 1 to 2000."),
        ("limit=%C2%B2", "limit", "'limit' is '²'; use 1 to 2000."),
        ("limit=10%00", "limit", "'limit' is '10\0'; use 1 to 2000."),
        ("limit=" + "9" * 5000, "limit", f"'limit' is '{'9' * 100}'; use 1 to 2000."),
        ("event=message.opened", "event",
         "'event' is 'message.opened'; use campaign.started, message.sent, message.bounced or reply.received."),
        ("campaign_id=", "campaign_id", "'campaign_id' is ''; use a campaign id of 1 to 128 characters."),
        ("message_id=", "message_id", "'message_id' is ''; use a messageId of 1 to 512 characters."),
        ("message_id=" + "m" * 513, "message_id",
         f"'message_id' is '{'m' * 100}'; use a messageId of 1 to 512 characters."),
        ("from=" + "0" * 41, "from", f"'from' is '{'0' * 41}'; use {TIMES}."),
        ("to=" + "0" * 41, "to", f"'to' is '{'0' * 41}'; use {TIMES}."),
        ("cursor=" + "A" * 2001, "cursor", f"'cursor' is '{'A' * 100}'; use a next_cursor of an earlier answer."),
        ("limit=%ff", "query", BAD_QUERY),
        ("%ff=1", "query", BAD_QUERY),
        ("limit=%ED%A0%80", "query", BAD_QUERY),
        ("limit=é", "query", BAD_QUERY),
        ("&" * 100, "query", "The query string has more than 100 parameters; send fewer."),
    ],
)  # fmt: skip
def test_a_bad_query_of_events_is_refused(query: str, parameter: str, text: str) -> None:
    assert refused(EventsParams, query) == (parameter, text)


@pytest.mark.parametrize(
    ("query", "parameter", "text"),
    [
        ("order=up", "order", "'order' is 'up'; use asc or desc."),
        ("order=DESC", "order", "'order' is 'DESC'; use asc or desc."),
        ("status=paused", "status", "'status' is 'paused'; use started, gone or unknown."),
        ("activity=busy", "activity", "'activity' is 'busy'; use active or quiet."),
        ("min_sent=-1", "min_sent", "'min_sent' is '-1'; use a whole number from 0."),
        ("min_sent=1.5", "min_sent", "'min_sent' is '1.5'; use a whole number from 0."),
        ("min_sent=" + "9" * 17, "min_sent", f"'min_sent' is '{'9' * 17}'; use a whole number from 0."),
        ("q=" + "x" * 201, "q", f"'q' is '{'x' * 100}'; use at most 200 characters."),
        ("active_from=" + "0" * 41, "active_from", f"'active_from' is '{'0' * 41}'; use {TIMES}."),
    ],
)
def test_a_bad_query_of_campaigns_is_refused(query: str, parameter: str, text: str) -> None:
    assert refused(CampaignsParams, query) == (parameter, text)


def test_a_bad_reason_is_refused_with_all_good_ones() -> None:
    assert refused(QuarantineParams, "reason=spam") == ("reason", f"'reason' is 'spam'; use {REASONS}.")


def test_an_operation_without_parameters_says_so() -> None:
    assert refused(NoParams, "x=1") == ("x", "'x' is not a parameter here; known are: none.")


def test_a_very_long_name_is_shown_in_part() -> None:
    assert refused(NoParams, "n" * 500)[1] == f"'{'n' * 100}' is not a parameter here; known are: none."


@pytest.mark.parametrize("query", ["", "limit=1", "limit=2000", "limit=007", "&&", "to=now&from=-7d"])
def test_good_queries_are_taken(query: str) -> None:
    assert 1 <= parse_query(EventsParams, query.encode()).limit <= 2000


def test_a_hundred_parameters_are_counted_by_name() -> None:
    query = "&".join(f"p{number}=1" for number in range(100))
    assert refused(NoParams, query)[0] == "p0"


def test_every_figure_and_rate_is_a_sort() -> None:
    assert {*OBSERVED, *RATES, "campaign_id", "last_event_at"} == set(SORTS)
    assert ", ".join(SORTS) == SORT_NAMES


class Silent(Params):
    """A parameter that nobody described."""

    number: Limit = 1
    yes: bool = False


def test_a_parameter_without_words_still_gets_an_answer() -> None:
    assert refused(Silent, "yes=perhaps") == ("yes", "'yes' is 'perhaps'; use another value.")


# What the handlers check themselves.


@pytest.mark.parametrize("name", ["active_from", "active_to"])
@pytest.mark.parametrize("value", ["yesterday", "2025-02-30", "-1y", "2025-06-11T09:00:00", "-7D", "1.5"])
async def test_a_bad_time_of_campaigns_is_refused(api: Api, name: str, value: str) -> None:
    found = await api.refused(f"/v1/campaigns?{name}={value}")
    assert found == invalid(name, f"'{name}' is '{value}'; use {TIMES}.")


@pytest.mark.parametrize("name", ["from", "to"])
@pytest.mark.parametrize("value", ["", "+7d", "-999999w", "2025-06-11T25:00:00Z", "٣", "2025-06-11 09:00"])
async def test_a_bad_time_of_events_is_refused(api: Api, name: str, value: str) -> None:
    response = await api.get("/v1/events", params={name: value})
    assert response.json() == invalid(name, f"'{name}' is '{value}'; use {TIMES}.")


@pytest.mark.parametrize("sort", ["", "name", "SENT", "sent; DROP TABLE totals", "value"])
async def test_an_unknown_sort_is_refused_with_all_known_ones(api: Api, sort: str) -> None:
    response = await api.get("/v1/campaigns", params={"sort": sort})
    assert response.json() == invalid("sort", f"'sort' is '{sort}'; use {SORT_NAMES}.")


def cursor(text: bytes) -> str:
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


BAD_CURSORS = [
    "", "x", "!!!!", "é", "AA==AA", cursor(b"{}"), cursor(b"5"), cursor(b"[]"), cursor(b"[1,2]"), cursor(b'["1"]'),
    cursor(b"[1.5]"), cursor(b"[null]"), cursor(b"[true]"), cursor(b"[NaN]"), cursor(b"\xff"), cursor(b"[" * 1500),
    cursor(b"[9223372036854775808]"), cursor(b"[-9223372036854775809]"), cursor(b"[18446744073709551616]"),
]  # fmt: skip


@pytest.mark.parametrize("text", BAD_CURSORS)
@pytest.mark.parametrize("path", ["/v1/events", "/v1/quarantine", "/v1/campaigns"])
async def test_a_cursor_that_is_not_ours_is_refused(api: Api, path: str, text: str) -> None:
    response = await api.get(path, params={"cursor": text})
    shown = text[:100]
    assert response.json() == invalid("cursor", f"'cursor' is '{shown}'; use a next_cursor of an earlier answer.")


@pytest.mark.parametrize("query", ["", "sort=bounced", "sort=sent&order=asc", "sort=campaign_id"])
async def test_a_cursor_of_another_order_is_refused(api: Api, query: str) -> None:
    await api.post(sent(), sent("m2", campaign="b"))
    found = (await api.json("/v1/campaigns?limit=1&sort=sent"))["next_cursor"]
    text = f"'cursor' is '{found}'; use it with the 'sort' and 'order' of the answer that it came from."
    assert await api.refused(f"/v1/campaigns?{query}&cursor={found}") == invalid("cursor", text)


@pytest.mark.parametrize("values", [(0,), (-5,), (2**63 - 1,), ("sent", "asc", None, "é\0"), ("a", "b", 0.1, "c")])
def test_a_cursor_comes_back_as_it_went(values: tuple[object, ...]) -> None:
    types = [(type(value),) for value in values]
    assert decode_cursor(encode_cursor(*values), *types) == list(values)


async def test_texts_with_nul_are_looked_for_like_any_other(api: Api) -> None:
    assert (await api.json("/v1/campaigns?q=%00"))["data"] == []
    assert (await api.json("/v1/events?message_id=%00"))["data"] == []
    assert (await api.refused("/v1/events?campaign_id=%00", 404))["code"] == "campaign_not_found"


# JSON bodies.


@pytest.mark.parametrize(
    ("body", "parameter", "text"),
    [
        (b"{", "body", "The body is not JSON; send an object."),
        (b"\xff", "body", "The body is not JSON; send an object."),
        (b'{"ids": [NaN]}', "body", "The body is not JSON; send an object."),
        (b"[" * 100_000, "body", "The body is not JSON; send an object."),
        (b"[1]", "body", "The body is not a JSON object; send one."),
        (b"null", "body", "The body is not a JSON object; send one."),
        (b'"all"', "body", "The body is not a JSON object; send one."),
        (b'{"id": 1}', "id", "'id' is not a parameter here; known are: ids, reason."),
        (b'{"ids": 1}', "ids", "'ids' is '1'; use a list of at most 10000 quarantine ids."),
        (b'{"ids": ["1"]}', "ids", "'ids' is '[\"1\"]'; use a list of at most 10000 quarantine ids."),
        (b'{"ids": [true]}', "ids", "'ids' is '[true]'; use a list of at most 10000 quarantine ids."),
        (b'{"ids": [1.0]}', "ids", "'ids' is '[1.0]'; use a list of at most 10000 quarantine ids."),
        (b'{"ids": [0]}', "ids", "'ids' is '[0]'; use a list of at most 10000 quarantine ids."),
        (b'{"ids": [9223372036854775808]}', "ids",
         "'ids' is '[9223372036854775808]'; use a list of at most 10000 quarantine ids."),
        (b'{"reason": "spam"}', "reason", f"'reason' is 'spam'; use {REASONS}."),
        (b'{"reason": ["not_json"]}', "reason", f"'reason' is '[\"not_json\"]'; use {REASONS}."),
    ],
)  # fmt: skip
def test_a_bad_body_is_refused(body: bytes, parameter: str, text: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        parse_json(RetryBody, body)
    assert (caught.value.parameter, str(caught.value)) == (parameter, text)


def test_too_many_ids_are_refused_and_shown_in_part() -> None:
    ids = list(range(1, 10_002))
    with pytest.raises(InvalidParameterError) as caught:
        parse_json(RetryBody, orjson.dumps({"ids": ids}))
    shown = json.dumps(ids, separators=(",", ":"))[:100]
    assert str(caught.value) == f"'ids' is '{shown}'; use a list of at most 10000 quarantine ids."


@pytest.mark.parametrize("body", [b"", b" \n", b"{}", b'{"ids": null, "reason": null}'])
def test_an_empty_body_is_an_empty_object(body: bytes) -> None:
    assert parse_json(RetryBody, body) == RetryBody()


async def test_ids_and_reason_together_are_refused(admin: Api) -> None:
    response = await admin.ask("POST", "/v1/quarantine/retry", json={"ids": [1], "reason": "not_json"})
    assert response.json() == invalid("reason", "'ids' and 'reason' are both given; give one of them.")
