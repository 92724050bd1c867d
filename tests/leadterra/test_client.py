"""What is asked, and every envelope in which the answers may come."""

import json
import time

import httpx
import pytest

from receiver.errors import ConfigurationError
from receiver.leadterra.answers import CampaignState, Counters, FetchedReply, RegisteredWebhook, Snapshot
from receiver.leadterra.client import FetchedReplies, LeadterraClient
from tests.leadterra.conftest import BASE_URL, KEY, STATS, Leadterra, failure, saying

DATE = "Wed, 11 Jun 2025 09:14:32 GMT"
DATE_MS = 1_749_633_272_000
ROW = {
    "id": "rpl_1",
    "email": "jo@example.org",
    "campaignId": "camp_1",
    "classification": "interested",
    "receivedAt": "2025-06-11T09:14:32Z",
    "threadSnippet": "Yes",
}
REPLY = FetchedReply("rpl_1", "jo@example.org", "camp_1", "interested", "2025-06-11T09:14:32Z")


def rows(first: int, count: int) -> list[dict[str, str]]:
    return [{**ROW, "id": f"rpl_{number}"} for number in range(first, first + count)]


# Statistics.


@pytest.mark.parametrize("envelope", [None, "data", "stats", "campaign"])
async def test_statistics_are_read_in_every_envelope(envelope: str | None) -> None:
    body = {**STATS, "queued": 0, "totalEnrolled": 60, "openRate": 0.4, "replyRate": None}
    leadterra = Leadterra(saying({envelope: body} if envelope else body, Date=DATE))
    expected = Counters(12, 11, 1, 2, 0, 60, 0.4, None)
    assert await leadterra.client.stats("camp_1") == Snapshot("camp_1", DATE_MS, expected)


async def test_statistics_are_asked_once_with_the_key() -> None:
    leadterra = Leadterra(saying(STATS))
    await leadterra.client.stats("camp_1")
    (request,) = leadterra.requests
    assert (request.method, str(request.url)) == ("GET", f"{BASE_URL}/v1/campaigns/camp_1/stats")
    assert request.headers["Authorization"] == f"Bearer {KEY}"


async def test_statistics_that_merely_lack_sent_are_good() -> None:
    leadterra = Leadterra(saying({"delivered": 11, "bounced": 1, "sent": None}))
    counters = (await leadterra.client.stats("camp_1")).counters
    assert counters == Counters(delivered=11, bounced=1)


async def test_an_envelope_may_stand_beside_empty_fields() -> None:
    leadterra = Leadterra(saying({"sent": None, "campaign": {"id": "camp_1"}, "stats": {"sent": 3}}))
    assert (await leadterra.client.stats("camp_1")).counters == Counters(sent=3)


@pytest.mark.parametrize(
    ("written", "count"), [("12.0", 12), ("1.2e1", 12), ("-0.0", 0), ("9007199254740992", 2**53)]
)
async def test_whole_numbers_count_however_they_are_written(written: str, count: int) -> None:
    leadterra = Leadterra(httpx.Response(200, text=f'{{"sent": {written}}}'))
    assert (await leadterra.client.stats("camp_1")).counters.sent == count


@pytest.mark.parametrize("rate", [0, 1, 0.5])
async def test_a_rate_may_be_anything_from_0_to_1(rate: float) -> None:
    leadterra = Leadterra(saying({"sent": 1, "openRate": rate}))
    assert (await leadterra.client.stats("camp_1")).counters.open_rate == rate


@pytest.mark.parametrize(
    ("date", "at_ms"),
    [
        (DATE, DATE_MS),
        ("Wednesday, 11-Jun-25 09:14:32 GMT", DATE_MS),
        ("Wed Jun 11 09:14:32 2025", DATE_MS),
        ("Wed, 11 Jun 2025 09:14:32 -0000", DATE_MS),
        ("Wed, 11 Jun 2025 11:14:32 +0200", DATE_MS),
        ("Thu, 01 Jan 1970 00:00:00 GMT", None),
        ("Wed, 11 Jun 99999 09:14:32 GMT", None),
        ("2025-06-11", None),
        ("", None),
    ],
)
async def test_a_snapshot_is_of_the_answers_own_date(date: str, at_ms: int | None) -> None:
    leadterra = Leadterra(saying(STATS, Date=date))
    assert (await leadterra.client.stats("camp_1")).at_ms == at_ms


async def test_a_date_without_a_zone_is_utc_wherever_the_receiver_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        leadterra = Leadterra(saying(STATS, Date="Wed Jun 11 09:14:32 2025"))
        assert (await leadterra.client.stats("camp_1")).at_ms == DATE_MS
    finally:
        monkeypatch.undo()
        time.tzset()


async def test_without_a_date_the_caller_knows_the_time() -> None:
    assert (await Leadterra(saying(STATS)).client.stats("camp_1")).at_ms is None


@pytest.mark.parametrize(
    ("campaign", "path"),
    [
        ("..", b"/v1/campaigns/%2E%2E/stats"),
        (".", b"/v1/campaigns/%2E/stats"),
        ("a/b", b"/v1/campaigns/a%2Fb/stats"),
        ("%2e%2e", b"/v1/campaigns/%252e%252e/stats"),
        ("a/../../b", b"/v1/campaigns/a%2F..%2F..%2Fb/stats"),
        ("a?b#c", b"/v1/campaigns/a%3Fb%23c/stats"),
        ("camp.1:x", b"/v1/campaigns/camp.1%3Ax/stats"),
    ],
)
async def test_an_id_stays_one_segment_of_the_path(campaign: str, path: bytes) -> None:
    leadterra = Leadterra(saying({"sent": 1}))
    await leadterra.client.stats(campaign)
    assert leadterra.requests[0].url.raw_path == path


async def test_a_base_url_may_have_a_path() -> None:
    leadterra = Leadterra(saying(STATS))
    client = LeadterraClient(f"{BASE_URL}/proxy/", KEY, transport=httpx.MockTransport(leadterra))
    await client.stats("camp_1")
    assert leadterra.requests[0].url.raw_path == b"/proxy/v1/campaigns/camp_1/stats"


# Replies.


@pytest.mark.parametrize(
    "body",
    [
        [ROW],
        {"data": [ROW]},
        {"replies": [ROW], "pagination": {"total": 1, "page": 1, "perPage": 50}},
        {"replies": None, "data": [ROW], "pagination": "none"},
    ],
)
async def test_replies_are_read_in_every_envelope(body: object) -> None:
    leadterra = Leadterra(saying(body))
    assert await leadterra.client.replies("camp_1") == FetchedReplies([REPLY], skipped=0, complete=True)


async def test_pages_are_read_until_one_brings_nothing_new() -> None:
    leadterra = Leadterra(saying(rows(0, 50)), saying(rows(50, 20)), saying([]))
    fetched = await leadterra.client.replies("camp_1")
    assert [row.id for row in fetched.rows] == [f"rpl_{number}" for number in range(70)]
    assert [str(request.url.query, "ascii") for request in leadterra.requests] == [
        f"campaignId=camp_1&page={number}&perPage=50" for number in (1, 2, 3)
    ]


async def test_an_answer_that_knows_no_pages_is_read_twice() -> None:
    leadterra = Leadterra(saying(rows(0, 70)))
    assert len((await leadterra.client.replies("camp_1")).rows) == 70
    assert len(leadterra.requests) == 2


@pytest.mark.parametrize("status", [400, 404, 422])
async def test_a_second_page_that_does_not_exist_is_the_end(status: int) -> None:
    leadterra = Leadterra(saying(rows(0, 50)), saying({"error": "invalid_request"}, status))
    assert len((await leadterra.client.replies("camp_1")).rows) == 50


async def test_a_second_page_that_fails_is_no_end() -> None:
    leadterra = Leadterra(saying(rows(0, 50)), saying({}, 503))
    assert (await failure(leadterra.client.replies("camp_1"))).reason == "server_error"
    assert (await failure(Leadterra(saying({}, 404)).client.replies("camp_1"))).reason == "not_found"


async def test_replies_that_move_to_the_next_page_are_taken_once() -> None:
    pages = [rows(10, 50), rows(57, 50), rows(107, 1)]
    leadterra = Leadterra(*[saying(page) for page in pages], saying([]))
    fetched = await leadterra.client.replies("camp_1")
    assert [row.id for row in fetched.rows] == [f"rpl_{number}" for number in range(10, 108)]


async def test_a_page_that_is_not_full_and_completes_the_total_is_the_last() -> None:
    def page(number: int, found: object) -> httpx.Response:
        return saying({"replies": found, "pagination": {"total": 70, "page": number, "perPage": 50}})

    leadterra = Leadterra(page(1, rows(0, 50)), page(2, rows(50, 20)))
    assert len((await leadterra.client.replies("camp_1")).rows) == 70
    assert len(leadterra.requests) == 2


async def test_a_total_that_is_only_of_the_page_is_not_believed() -> None:
    def page(found: object) -> httpx.Response:
        return saying({"replies": found, "pagination": {"total": 50, "perPage": 50}})

    leadterra = Leadterra(page(rows(0, 50)), page(rows(50, 50)), page([]))
    assert len((await leadterra.client.replies("camp_1")).rows) == 100


@pytest.mark.parametrize(
    "odd",
    [
        7,
        None,
        [],
        {},
        {**ROW, "id": ""},
        {**ROW, "id": 5},
        {**ROW, "id": "x" * 513},
        {**ROW, "id": "rpl_2", "email": 5},
        {**ROW, "id": "rpl_2", "receivedAt": 1_749_633_272},
        {**ROW, "id": "rpl_2", "campaignId": "camp_2"},
        {**ROW, "id": "rpl_2", "campaignId": None},
    ],
)
async def test_rows_that_cannot_be_used_are_counted_and_left_out(odd: object) -> None:
    leadterra = Leadterra(saying([odd, ROW]), saying([]))
    assert await leadterra.client.replies("camp_1") == FetchedReplies([REPLY], skipped=1, complete=True)


async def test_reading_goes_on_past_a_page_of_rows_that_cannot_be_used() -> None:
    others = [{**row, "campaignId": "camp_2"} for row in rows(100, 50)]
    leadterra = Leadterra(saying(others), saying([ROW]), saying([]))
    assert await leadterra.client.replies("camp_1") == FetchedReplies([REPLY], skipped=50, complete=True)


async def test_endless_replies_are_given_up_and_said_to_be_incomplete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.leadterra.client.REPLIES_MAX", 100)
    leadterra = Leadterra(*[saying(rows(page * 50, 50)) for page in range(5)])
    fetched = await leadterra.client.replies("camp_1")
    assert (len(fetched.rows), fetched.complete, len(leadterra.requests)) == (100, False, 2)


async def test_endless_pages_are_given_up_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.leadterra.client._PAGES_MAX", 3)
    leadterra = Leadterra(*[saying(rows(page, 1)) for page in range(5)])
    fetched = await leadterra.client.replies("camp_1")
    assert (len(fetched.rows), fetched.complete, len(leadterra.requests)) == (3, False, 3)


def test_an_address_is_not_in_the_repr_of_a_reply() -> None:
    assert "jo@" not in repr(FetchedReplies([REPLY], 0, complete=True))


# Start, pause, registration.


@pytest.mark.parametrize("envelope", [None, "campaign", "data"])
async def test_start_and_pause_say_what_came_of_them(envelope: str | None) -> None:
    def answer(body: object) -> httpx.Response:
        return saying({envelope: body} if envelope else body)

    running = {"id": "camp_1", "status": "running", "startedAt": "2025-06-11T09:14:32Z"}
    paused = {"id": "camp_1", "status": "paused", "pausedAt": "2025-06-11T09:14:32.5Z"}
    leadterra = Leadterra(answer(running), answer(paused))
    client = leadterra.client
    assert await client.start("camp_1") == CampaignState("camp_1", "running", DATE_MS)
    assert await client.pause("camp_1") == CampaignState("camp_1", "paused", DATE_MS + 500)
    assert [(request.method, request.url.path) for request in leadterra.requests] == [
        ("POST", "/v1/campaigns/camp_1/start"),
        ("POST", "/v1/campaigns/camp_1/pause"),
    ]


@pytest.mark.parametrize("answer", [httpx.Response(204), saying({}), saying({"status": 1, "pausedAt": "today"})])
async def test_a_pause_that_says_nothing_is_done_all_the_same(answer: httpx.Response) -> None:
    assert await Leadterra(answer).client.pause("camp_1") == CampaignState("camp_1", None, None)


async def test_a_pause_of_another_campaign_is_an_error() -> None:
    error = await failure(Leadterra(saying({"id": "camp_2"})).client.pause("camp_1"))
    assert error.reason == "wrong_campaign"


@pytest.mark.parametrize(
    ("body", "secret"),
    [
        ({"id": "wh_1", "url": "https://r.example/", "events": ["message.sent"], "status": "active"}, None),
        ({"webhook": {"id": "wh_1", "status": "active", "secret": "whsec_1"}}, "whsec_1"),
        ({"webhook": {"id": "wh_1", "status": "active"}, "signingSecret": "whsec_1"}, "whsec_1"),
        ({"data": {"id": "wh_1", "status": "active", "events": None, "secret": ""}}, None),
    ],
)
async def test_a_webhook_is_registered(body: object, secret: str | None) -> None:
    leadterra = Leadterra(saying(body, 201))
    webhook = await leadterra.client.register_webhook("https://r.example/", ["message.sent"])
    assert webhook == RegisteredWebhook("wh_1", "https://r.example/", ("message.sent",), "active", secret)
    assert "whsec_1" not in repr(webhook)
    (request,) = leadterra.requests
    assert json.loads(request.content) == {"url": "https://r.example/", "events": ["message.sent"]}
    assert (request.url.path, request.headers["Content-Type"]) == ("/v1/webhooks", "application/json")


@pytest.mark.parametrize("body", [{}, {"webhook": {}}, {"id": 5}, {"webhook": "wh_1"}])
async def test_a_registration_without_an_id_is_an_error(body: object) -> None:
    error = await failure(Leadterra(saying(body)).client.register_webhook("https://r.example/", []))
    assert (error.reason, str(error)) == (
        "invalid_answer",
        "Leadterra answered POST /v1/webhooks with a body that has no 'id' of a webhook; "
        "check 'leadterra.base_url', or ask Leadterra.",
    )


# Where the key may go.


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://localhost", "http://[::1]:1", "https://any.example"])
async def test_the_key_goes_over_https_or_loopback(url: str) -> None:
    await LeadterraClient(url, KEY).close()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://api.example:80/x", "http://api.example"),
        ("http://u:secret@api.example", "http://api.example"),
        ("ftp://127.0.0.2.example", "ftp://127.0.0.2.example"),
    ],
)
def test_the_key_goes_nowhere_in_the_clear(url: str, shown: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        LeadterraClient(url, KEY)
    assert str(caught.value) == (
        f"Setting 'leadterra.base_url' is '{shown}'; use an https URL, the key must not travel in the clear."
    )


def test_what_is_no_url_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="is no URL; use an https URL"):
        LeadterraClient("https://x:port", KEY)


@pytest.mark.parametrize("key", ["", " ", "sk_1\r\nX: y", "ключ"])
def test_a_key_that_no_header_carries_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        LeadterraClient(BASE_URL, key)
    assert str(caught.value) == ("Setting 'leadterra.api_key' is empty or has blanks; use the key as it was given.")


async def test_a_retry_is_no_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    """The library's own would go to standard output where logging is not configured, and name no call."""
    await Leadterra(saying({}, 503), saying(STATS)).client.stats("camp_1")
    assert capsys.readouterr() == ("", "")


def test_the_key_is_in_no_repr() -> None:
    client = Leadterra(saying(STATS)).client
    shown = [client, client._exchange, client._exchange._lanes, client._exchange._lanes.headers]
    assert KEY not in repr(shown)
