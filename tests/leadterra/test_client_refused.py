"""Answers that are refused: by their status, by what is in them, and in which words."""

import json
import logging

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.leadterra.exchange import date_ms
from tests.leadterra.conftest import KEY, STATS, Leadterra, failure, saying

CALL = "GET /v1/campaigns/camp_1/stats"
END = "; check 'leadterra.base_url', or ask Leadterra."


def stats_with(**fields: object) -> httpx.Response:
    return saying({**STATS, **fields})


@pytest.mark.parametrize(
    ("status", "reason", "advice"),
    [
        (400, "invalid_request", "check what was asked"),
        (401, "unauthorized", "check 'leadterra.api_key'"),
        (403, "forbidden", "use a key that may do this"),
        (404, "not_found", "check the id, and that the key is of the same workspace"),
        (418, "invalid_request", "check what was asked"),
        (422, "invalid_request", "check what was asked"),
        (429, "rate_limited", "ask later, or lower 'leadterra.concurrency'"),
        (500, "server_error", "ask later"),
        (502, "server_error", "ask later"),
        (503, "server_error", "ask later"),
    ],
)
async def test_a_status_has_its_reason(status: int, reason: str, advice: str) -> None:
    error = await failure(Leadterra(saying({"error": {"code": "a_code"}}, status)).client.stats("camp_1"))
    assert (error.reason, error.status, error.arrived) == (reason, status, True)
    assert str(error) == f"Leadterra answered {CALL} with {status} (a_code); {advice}."


@pytest.mark.parametrize("status", [601, 999])
async def test_a_status_that_is_none_is_an_invalid_answer(status: int) -> None:
    error = await failure(Leadterra(saying(STATS, status)).client.stats("camp_1"))
    assert (error.reason, error.status) == ("invalid_answer", status)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"error": {"code": "a_code", "message": "Words."}}, " (a_code: Words.)"),
        ({"code": "a_code", "message": "Words."}, " (a_code: Words.)"),
        ({"error": "a_code", "message": "Words."}, " (a_code: Words.)"),
        ({"error": {"code": 5, "message": None}}, ""),
        ({"error": ["a_code"]}, ""),
        (["a_code"], ""),
        ({"message": "to jo@example.org, <Jo@X.org>"}, " (to [address] <[address]>)"),
        ({"message": f"the key {KEY} and {KEY.upper()}"}, " (the key [key] and [key])"),
        ({"message": f"{KEY[:9]}\0\n{KEY[9:]}\u202e is bad"}, " ([key] is bad)"),
        ({"message": "x" * 195 + KEY}, f" ({'x' * 195}[key])"),
        ({"message": "x" * 1_000_000}, f" ({'x' * 200})"),
    ],
)
async def test_what_leadterra_says_is_shown_short_and_clean(body: object, said: str) -> None:
    error = await failure(Leadterra(saying(body, 400)).client.stats("camp_1"))
    assert str(error) == f"Leadterra answered {CALL} with 400{said}; check what was asked."


async def test_ten_kilobytes_of_control_bytes_and_the_key_are_no_text_of_an_error() -> None:
    noise = bytes(range(32)) * 320 + KEY.encode()
    error = await failure(Leadterra(httpx.Response(401, content=noise)).client.stats("camp_1"))
    assert str(error) == f"Leadterra answered {CALL} with 401; check 'leadterra.api_key'."


@pytest.mark.parametrize("status", [301, 302, 304, 307, 308])
@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("https://evil.example/v1?token=abc", "'evil.example'"),
        ("//user:pass@evil.example:99/", "'evil.example'"),
        (f"https://{KEY}.evil.example/", "'[key].evil.example'"),
        ("/elsewhere", "another path"),
        ("https://[broken", "another path"),
    ],
)
async def test_a_redirect_names_its_host_alone_and_is_not_followed(status: int, location: str, target: str) -> None:
    leadterra = Leadterra(httpx.Response(status, headers={"Location": location}))
    error = await failure(leadterra.client.stats("camp_1"))
    assert (error.reason, error.status, len(leadterra.requests)) == ("redirected", status, 1)
    assert str(error) == (
        f"Leadterra answered {CALL} with {status} to {target}, which is not followed; check 'leadterra.base_url'."
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<!doctype html><p>Back soon",
        b'{"sent": NaN}',
        b'{"sent": Infinity}',
        b'{"sent": -Infinity}',
        b'{"sent": 1e999}',
        b'{"sent": 12',
        b'\xef\xbb\xbf{"sent": 12}',
        b'{"sent": 12, "x": "\xff"}',
        b'{"sent": 12, "x": "\\ud800"}',
        b"[" * 100_000 + b"]" * 100_000,
        b'{"sent": 12, "x": ' + b'{"x":' * 2000 + b"1" + b"}" * 2001,
    ],
)
async def test_what_is_not_json_is_refused(body: bytes) -> None:
    leadterra = Leadterra(httpx.Response(200, content=body))
    error = await failure(leadterra.client.stats("camp_1"))
    assert (error.reason, error.status, len(leadterra.requests)) == ("not_json", 200, 1)
    assert str(error) == f"Leadterra answered {CALL} with a body of {len(body)} bytes that is not JSON{END}"


async def test_no_content_is_no_statistics() -> None:
    error = await failure(Leadterra(httpx.Response(204)).client.stats("camp_1"))
    assert (error.reason, error.status) == ("not_json", 204)


@pytest.mark.parametrize("body", [[], [STATS], 12, "12", None, True])
async def test_statistics_are_an_object(body: object) -> None:
    error = await failure(Leadterra(saying(body)).client.stats("camp_1"))
    assert error.reason == "invalid_answer"
    assert str(error) == f"Leadterra answered {CALL} with a body that is not an object{END}"


@pytest.mark.parametrize("body", [{}, {"campaignId": "camp_1"}, {"data": []}, {"data": {}}, {"openRate": 0.5}])
async def test_statistics_have_at_least_one_counter(body: object) -> None:
    error = await failure(Leadterra(saying(body)).client.stats("camp_1"))
    assert error.reason == "invalid_answer"
    assert "has none of sent, delivered, bounced, replied, queued, totalEnrolled" in str(error)


@pytest.mark.parametrize("field", ["sent", "delivered", "bounced", "replied", "queued", "totalEnrolled"])
@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (-1, "-1"),
        (1.5, "1.5"),
        (2**53 + 1, "9.0072e+15"),
        (1e300, "1e+300"),
        ("12", "a string"),
        (KEY, "a string"),
        (True, "a boolean"),
        ([12], "a list"),
        ({"value": 12}, "an object"),
    ],
)
async def test_a_counter_is_a_natural_number(field: str, value: object, shown: str) -> None:
    error = await failure(Leadterra(stats_with(**{field: value})).client.stats("camp_1"))
    assert error.reason == "invalid_answer"
    assert str(error) == (
        f"Leadterra answered {CALL} with a body that has {shown} at '{field}' "
        f"instead of an integer from 0 to 2^53{END}"
    )


@pytest.mark.parametrize("field", ["openRate", "replyRate"])
@pytest.mark.parametrize(
    ("value", "shown"), [(1.01, "1.01"), (-0.1, "-0.1"), ("0.5", "a string"), (True, "a boolean")]
)
async def test_a_rate_is_a_share(field: str, value: object, shown: str) -> None:
    error = await failure(Leadterra(stats_with(**{field: value})).client.stats("camp_1"))
    assert error.reason == "invalid_answer"
    assert f"has {shown} at '{field}' instead of a number from 0 to 1" in str(error)


@pytest.mark.parametrize("body", [{**STATS, "campaignId": "camp_2"}, {**STATS, "campaignId": 5}])
@pytest.mark.parametrize("envelope", [None, "data", "stats", "campaign"])
async def test_statistics_of_another_campaign_are_refused(body: object, envelope: str | None) -> None:
    leadterra = Leadterra(saying({envelope: body} if envelope else body))
    error = await failure(leadterra.client.stats("camp_1"))
    assert error.reason == "wrong_campaign"
    assert str(error) == f"Leadterra answered {CALL} with another campaign than 'camp_1'{END}"


async def test_a_campaign_that_the_envelope_names_counts_too() -> None:
    leadterra = Leadterra(saying({"campaignId": "camp_2", "stats": {"sent": 12}}))
    assert (await failure(leadterra.client.stats("camp_1"))).reason == "wrong_campaign"


@pytest.mark.parametrize("body", [{}, 5, {"data": {}}, {"replies": "none"}, {"pagination": {}}])
async def test_replies_are_a_list(body: object) -> None:
    error = await failure(Leadterra(saying(body)).client.replies("camp_1"))
    assert error.reason == "invalid_answer"
    assert str(error) == f"Leadterra answered GET /v1/replies with a body that has no list of replies{END}"


async def test_the_key_is_in_no_log_even_if_everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    client = Leadterra(saying({"message": KEY}, 401)).client
    error = await failure(client.stats("camp_1"))
    logging.getLogger("x").error("failed", exc_info=error)
    assert KEY not in caplog.text


@given(
    st.text(max_size=60) | st.from_regex(r"[A-Z][a-z]{2}, \d{1,4} [A-Z][a-z]{2} \d{1,9} [0-9:]{5,12} [+-]?\d{1,9}")
)
def test_any_date_is_read_or_not(text: str) -> None:
    at_ms = date_ms(text)
    assert at_ms is None or at_ms % 1000 == 0
    assert json.dumps(at_ms)
