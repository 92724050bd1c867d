"""What is refused and how, the envelopes of every shape, and answers that fail on purpose."""

import asyncio
import json
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.sandbox import api
from receiver.sandbox.faults import Rule
from receiver.sandbox.gate import RateLimit
from receiver.sandbox.options import Habits, SandboxOptions
from receiver.sandbox.sandbox import Sandbox
from tests.sandbox.conftest import (
    CALM,
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    START_MS,
    STEPS,
    URL,
    Playground,
    people,
    playing,
    rule,
)

STEP = {"subject": "a", "bodyHtml": "b"}
NOT_HTTPS = "'url' is not an https URL; send https://… (http only for loopback)."
NO_WORKSPACE = "'workspaceId' names no workspace; use ws_sandbox."


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([], "The body is an empty list; send an object."),
        ({}, "'name' is missing; send a string."),
        ({"name": 7}, "'name' is a number; send a string."),
        ({"name": " "}, "'name' has 1 characters; send 1 to 500, not all blank."),
        ({"name": "x", "sequenceSteps": {}}, "'sequenceSteps' is an object; send a list of objects."),
        ({"name": "x", "steps": [STEP]}, "'steps' is no field of a campaign; send 'sequenceSteps'."),
        ({"name": "x", "sequenceSteps": [1]}, "'sequenceSteps[0]' is a number; send an object."),
        (
            {"name": "x", "sequenceSteps": [{"bodyHtml": "b"}]},
            "'sequenceSteps[0].subject' is missing; send a string.",
        ),
        (
            {"name": "x", "sequenceSteps": [STEP | {"delayDays": -1}]},
            "'sequenceSteps[0].delayDays' is -1; send 0 to 365.",
        ),
        (
            {"name": "x", "sequenceSteps": [STEP, STEP | {"delayDays": "2"}]},
            "'sequenceSteps[1].delayDays' is a string; send 0 to 365.",
        ),
        ({"name": "x", "sequenceSteps": [STEP] * 101}, "'sequenceSteps' has 101 entries; send at most 100."),
    ],
)
async def test_a_bad_campaign_is_refused_naming_the_field(calm: Playground, body: object, message: str) -> None:
    answer = await calm.call("POST", "/v1/campaigns", body, 400)
    assert answer == {"error": {"code": "invalid_request", "message": message}}


async def test_a_change_of_steps_under_another_name_is_refused(calm: Playground) -> None:
    answer = await calm.call("PATCH", f"/v1/campaigns/{await calm.draft()}", {"steps": []}, 400)
    assert answer["error"]["message"] == "'steps' is no field of a campaign; send 'sequenceSteps'."


async def test_unknown_fields_are_ignored(calm: Playground) -> None:
    body = {"name": "x", "sequenceSteps": [STEP], "steps": 1, "sequences": [], "owner": None}
    assert len((await calm.call("POST", "/v1/campaigns", body, 201))["sequenceSteps"]) == 1


@pytest.mark.parametrize(
    ("lead", "message"),
    [
        ("jo@x.org", "'leads[1]' is a string; send an object with 'email'."),
        ({}, "'leads[1].email' is missing or null; send an address such as jo@example.org."),
        ({"email": "jo@x"}, "'leads[1].email' is 'jo@x'; send an address such as jo@example.org."),
        ({"email": "jo@x.org", "company": []}, "'leads[1].company' is an empty list; send a string."),
        ({"email": "jo@x.org", "customFields": 1}, "'leads[1].customFields' is a number; send an object."),
    ],
)
async def test_one_bad_lead_refuses_the_upload(calm: Playground, lead: object, message: str) -> None:
    campaign = await calm.draft()
    body = {"leads": [{"email": "good@x.org"}, lead]}
    answer = await calm.call("POST", f"/v1/campaigns/{campaign}/leads/bulk", body, 422)
    assert answer["errors"] == [{"index": 1, "message": message}]
    assert (await calm.stats(campaign))["totalEnrolled"] == 0


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/v1/suppression-list", {}, 400, "'emails' is missing or null; send a list of addresses."),
        ("/v1/suppression-list", {"emails": []}, 400, "'emails' has 0 entries; send 1 to 1000."),
        ("/v1/webhooks", {"url": "ftp://x.org"}, 400, NOT_HTTPS),
        ("/v1/webhooks", {"url": "http://x.org"}, 400, NOT_HTTPS),
        ("/v1/webhooks", {"url": "https://[x"}, 400, NOT_HTTPS),
        ("/v1/webhooks", {"url": "https://"}, 400, NOT_HTTPS),
        ("/v1/campaigns", {"name": "x", "workspaceId": 1}, 404, NO_WORKSPACE),
    ],
)
async def test_other_bad_bodies_are_refused(
    calm: Playground, path: str, body: object, status: int, message: str
) -> None:
    assert (await calm.call("POST", path, body, status))["error"]["message"] == message


async def test_malformed_addresses_are_not_suppressed(calm: Playground) -> None:
    answer = await calm.call("POST", "/v1/suppression-list", {"emails": ["jo@x.org", 7]}, 422)
    assert answer["errors"] == [{"index": 1, "message": "'emails[1]' is a number; send an address."}]


@pytest.mark.parametrize("events", [None, [], ["message.opened"], [["x"]]])
async def test_a_webhook_wants_events_that_exist(calm: Playground, events: object) -> None:
    answer = await calm.call("POST", "/v1/webhooks", {"url": "http://localhost:1/", "events": events}, 400)
    assert answer["error"]["message"].startswith("'events")


@pytest.mark.parametrize("query", ["page=0", "page=x", "perPage=101", "page=9999999999", "page=²"])
async def test_pages_that_cannot_be_are_refused(calm: Playground, query: str) -> None:
    answer = await calm.call("GET", f"/v1/replies?{query}", None, 400)
    assert answer["error"]["message"].startswith(f"'{query.partition('=')[0]}' is ")


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "stats"), ("GET", "preflight"), ("POST", "start"), ("POST", "pause")]
)
async def test_an_unknown_campaign_is_not_found(calm: Playground, method: str, path: str) -> None:
    answer = await calm.call(method, f"/v1/campaigns/camp_1/{path}", None, 404)
    assert answer["error"]["code"] == "campaign_not_found"


@pytest.mark.parametrize("header", ["", "Bearer wrong", f"Basic {'x' * 9}", "Bearer é"])
async def test_a_wrong_key_is_refused(calm: Playground, header: str) -> None:
    headers = {"Authorization": header.encode("latin-1")}
    response = await calm.client.get("/v1/replies", headers=headers)  # type: ignore[arg-type] # bytes are taken
    assert response.status_code == 401
    assert response.json()["error"]["code"] == "authentication_failed"


async def test_unknown_paths_and_methods_say_so(calm: Playground) -> None:
    assert (await calm.call("GET", "/v1/nothing", None, 404))["error"]["code"] == "not_found"
    response = await calm.client.delete("/v1/campaigns")
    assert (response.status_code, response.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(("shapes", "code"), [("guide", ("code",)), ("concepts", ("error",))])
async def test_errors_have_the_shape_too(shapes: str, code: tuple[str]) -> None:
    async with playing(shapes=shapes) as one:
        body = await one.call("POST", "/v1/campaigns", {}, 400)
        assert body[code[0]] == "invalid_request"
        assert body["message"] == "'name' is missing; send a string."


SHAPES: dict[str, dict[str, Any]] = {
    "reference": {"pools": None, "accounts": None, "replies": None, "stats": None, "suppressed": "suppressed"},
    "guide": {
        "pools": "senderPools",
        "accounts": "data",
        "replies": "replies",
        "stats": "stats",
        "suppressed": "result",
    },
    "concepts": {"pools": "data", "accounts": "data", "replies": "data", "stats": "data", "suppressed": "suppressed"},
}


@pytest.mark.parametrize("shapes", SHAPES)
async def test_every_answer_has_its_envelope(shapes: str) -> None:
    async with playing(habits=Habits(0, 0, 0, 0, 1), shapes=shapes) as one:
        campaign = await one.running(1)
        await one.pass_ms(9 * DAY_MS)
        answers = {
            "pools": await one.call("GET", "/v1/sender-pools"),
            "accounts": await one.call("GET", "/v1/sender-accounts"),
            "replies": await one.call("GET", "/v1/replies"),
            "stats": await one.call("GET", f"/v1/campaigns/{campaign}/stats"),
            "suppressed": await one.call("POST", "/v1/suppression-list", {"emails": ["a@x.org"]}),
        }
    for name, key in SHAPES[shapes].items():
        body = answers[name]
        assert key in body if key else isinstance(body, list) or "sent" in body


async def test_the_concepts_page_knows_no_sent() -> None:
    async with playing(shapes="concepts", webhook_url=None) as one:
        assert "sent" not in await one.stats(await one.draft())


async def test_the_guide_names_the_skipped_and_wraps_webhooks() -> None:
    async with playing(shapes="guide", webhook_url=None) as one:
        campaign = await one.draft()
        await one.call("POST", "/v1/suppression-list", {"emails": ["lead0@example.org"]})
        assert await one.enroll(campaign, people(2)) == {"enrolled": 1, "updated": 0, "skipped": 1, "total": 1}
        body = await one.call("POST", "/v1/webhooks", {"url": URL, "events": ["message.sent"]}, 201)
        assert body["webhook"]["status"] == "active"


async def ask(playground: Playground, path: str = "/v1/sender-accounts") -> httpx.Response:
    return await playground.client.get(path)


async def test_the_date_is_simulated(calm: Playground) -> None:
    calm.clock.ms += DAY_MS
    assert (await ask(calm)).headers["date"] == "Thu, 12 Jun 2025 00:00:00 GMT"


@pytest.mark.parametrize(
    ("by", "date"), [(None, "Wed, 11 Jun 2025 00:05:00 GMT"), (-60, "Tue, 10 Jun 2025 23:59:00 GMT")]
)
async def test_the_clock_may_be_wrong(by: float | None, date: str) -> None:
    async with playing(faults=rule("clock_skew", amount=by)) as skewed:
        assert (await ask(skewed)).headers["date"] == date


async def test_too_many_calls_are_told_when_to_come_again() -> None:
    async with playing(faults=rule("rate_limit", amount=30)) as limited:
        answer = await ask(limited)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "30")


@pytest.mark.parametrize("skew_s", [0, 45, -3600])
async def test_the_date_to_come_again_is_in_the_answers_own_time(skew_s: float) -> None:
    faults = (Rule("rate_limit", amount=30, as_date=True), Rule("clock_skew", amount=skew_s))
    async with playing(faults=faults) as limited:
        headers = (await ask(limited)).headers
        assert date_of(headers["retry-after"]) - date_of(headers["date"]) == timedelta(seconds=30)
        assert date_of(headers["date"]).timestamp() == START_MS / 1000 + skew_s


def date_of(header: str) -> datetime:
    return parsedate_to_datetime(header)


@pytest.mark.parametrize("fault", ["clock_skew", "stats_lag"])
async def test_a_share_is_of_the_calls_not_of_the_paths(fault: str) -> None:
    async with playing(habits=CALM, faults=rule(fault, share=0.5, amount=3600)) as one:
        campaign = await one.running(3, STEPS[:1])
        await one.pass_ms(HOUR_MS // 2)
        answers = [await ask(one, f"/v1/campaigns/{campaign}/stats") for _ in range(60)]
    assert 0 < len({(answer.headers["date"], answer.json()["sent"]) for answer in answers[:5]}) <= 2
    befallen = [answer.json()["sent"] == 0 or " 01:30:00 " in answer.headers["date"] for answer in answers]
    assert 15 < sum(befallen) < 45


async def test_a_lag_of_nothing_is_none() -> None:
    async with playing(habits=CALM, faults=rule("stats_lag", amount=0)) as one:
        campaign = await one.running(3, STEPS[:1])
        await one.pass_ms(3 * MINUTE_MS)
        assert (await one.stats(campaign))["sent"] == 3


async def test_the_platform_may_fail() -> None:
    async with playing(faults=(*rule("server_error", amount=502, path="/sender-pools"), *rule("html"))) as broken:
        assert (await ask(broken, "/v1/sender-pools")).status_code == 502
        page = await ask(broken)
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")


async def test_an_answer_may_be_cut_in_two_or_late() -> None:
    async with playing(faults=(*rule("truncated"), *rule("slow", amount=0.01))) as broken:
        answer = await ask(broken)
        assert int(answer.headers["content-length"]) == len(answer.content)
        with pytest.raises(json.JSONDecodeError):
            answer.json()


async def test_statistics_may_lag_by_minutes() -> None:
    async with playing(habits=CALM, faults=rule("stats_lag", amount=3600)) as behind:
        campaign = await behind.running(3, STEPS[:1])
        await behind.pass_ms(HOUR_MS // 2)
        assert (await behind.stats(campaign))["sent"] == 0
        await behind.pass_ms(HOUR_MS)
        assert (await behind.stats(campaign))["sent"] == 3


async def test_a_rate_limit_lets_a_burst_through_and_no_more() -> None:
    async with playing(rate_limit=2, webhook_url=None) as limited:
        statuses = [(await ask(limited)).status_code for _ in range(4)]
        assert statuses[:2] == [200, 200]
        assert 429 in statuses


def test_a_rate_limit_fills_up_again() -> None:
    limit = RateLimit(2)
    assert [limit.takes(now_s) for now_s in (0, 0, 0, 0.4, 0.6, 9, 9, 9)] == [
        True, True, False, False, True, True, True, False,
    ]  # fmt: skip


async def test_a_share_takes_about_that_many() -> None:
    async with playing(faults=(Rule("server_error", 0.3),)) as broken:
        statuses = [(await ask(broken)).status_code for _ in range(200)]
    assert 30 < statuses.count(503) < 90


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ("name", "sequenceSteps", "leads", "emails", "url", "events", "subject", "bodyHtml", "delayDays", "email")
SHAPED = st.dictionaries(
    st.sampled_from(FIELDS),
    ANYTHING | st.lists(st.dictionaries(st.sampled_from(FIELDS), ANYTHING, max_size=4), max_size=3),
    max_size=5,
)


@settings(max_examples=60, deadline=None)
@given(
    body=st.binary(max_size=40) | SHAPED.map(json.dumps).map(str.encode) | ANYTHING.map(json.dumps).map(str.encode)
)
async def test_no_body_crashes_it(body: bytes) -> None:
    async with playing(webhook_url=None) as one:
        campaign = await one.draft()
        paths = ["campaigns", "webhooks", "suppression-list", f"campaigns/{campaign}/leads/bulk"]
        answers = [await one.client.post(f"/v1/{path}", content=body) for path in paths]
        answers.append(await one.client.patch(f"/v1/campaigns/{campaign}", content=body))
    assert {answer.status_code for answer in answers} <= {200, 201, 400, 422}
    assert all(answer.json() for answer in answers)


async def test_a_failure_of_the_sandbox_is_a_500_with_a_body(
    calm: Playground, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(calm.sandbox.world.senders, "pools", None)
    transport = httpx.ASGITransport(calm.sandbox.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://x", headers=calm.client.headers) as client:
        answer = await client.get("/v1/sender-pools")
    assert answer.json()["error"]["code"] == "internal_error"


async def test_the_world_moves_by_itself() -> None:
    sandbox = Sandbox(SandboxOptions(start_ms=START_MS, speed=100_000, webhook_url=None))
    moving = asyncio.create_task(sandbox.run())
    while sandbox.world.now_ms < START_MS + DAY_MS:  # noqa: ASYNC110 # the world has no event to wait for
        await asyncio.sleep(0.01)
    moving.cancel()
    await sandbox.close()


async def test_other_than_http_is_left_to_the_application(calm: Playground) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message["type"])

    async def receive() -> Any:
        return {"type": "lifespan.startup" if not sent else "lifespan.shutdown"}

    await calm.sandbox.app({"type": "lifespan", "state": {}}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_a_body_that_is_too_long_is_refused(calm: Playground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "_BODY_MAX_BYTES", 10)
    answer = await calm.call("POST", "/v1/campaigns", {"name": "long enough"}, 400)
    assert answer["error"]["message"] == "The body is longer than 10 bytes; send the leads in several calls."
