"""The client against the sandbox, in each of its three sets of envelopes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from receiver.events import Event
from receiver.leadterra.answers import CampaignState, Counters
from receiver.leadterra.client import LeadterraClient
from receiver.leadterra.payloads import Parser
from receiver.leadterra.replies import event_of
from receiver.sandbox.options import Habits, ShapesName
from tests.leadterra.conftest import failure
from tests.sandbox.conftest import DAY_MS, KEY, START_MS, Playground, playing, rule

SHAPES: tuple[ShapesName, ...] = ("reference", "guide", "concepts")
STEP = [{"subject": "Hi", "bodyHtml": "<p>Hi</p>"}]
TALKATIVE = Habits(0, 0, 0, 0, 1)


@asynccontextmanager
async def asking(world: Playground, key: str = KEY) -> AsyncIterator[LeadterraClient]:
    client = LeadterraClient("http://localhost", key, transport=httpx.ASGITransport(world.sandbox.app))
    try:
        yield client
    finally:
        await client.close()


@pytest.mark.parametrize("shapes", SHAPES)
async def test_statistics_are_those_of_the_world(shapes: ShapesName) -> None:
    async with playing(shapes=shapes) as world, asking(world) as client:
        campaign = await world.running(200, STEP)
        await world.pass_ms(3 * DAY_MS)
        told = await world.stats(campaign)
        snapshot = await client.stats(campaign)
    assert (snapshot.campaign_id, snapshot.at_ms) == (campaign, START_MS + 3 * DAY_MS)
    assert snapshot.counters == Counters(
        None if shapes == "concepts" else 200,
        told["delivered"],
        told["bounced"],
        told["replied"],
        0,
        200,
        told["openRate"],
        told["replyRate"],
    )
    assert told["delivered"] > 0


@pytest.mark.parametrize("shapes", SHAPES)
async def test_all_replies_are_fetched_and_are_the_webhooks_own(shapes: ShapesName) -> None:
    async with playing(shapes=shapes, habits=TALKATIVE) as world, asking(world) as client:
        campaign, other = await world.running(120, STEP), await world.running(3, STEP, "Other")
        await world.pass_ms(30 * DAY_MS)
        fetched = await client.replies(campaign)
        assert campaign != other
    parser = Parser(b"k" * 32)
    told = [request.content for _, request, _ in world.recorder.requests if b"reply.received" in request.content]
    events = [event for body in told if isinstance(event := parser.parse(body, None), Event)]
    expected = {event.key: event for event in events if event.campaign == campaign}
    assert (len(fetched.rows), fetched.skipped, fetched.complete) == (len(expected), 0, True)
    assert len(expected) >= 120
    for row in fetched.rows:
        event = event_of(row, parser, None)
        assert isinstance(event, Event)
        copy = expected[event.key]
        assert (event.lead, event.classification, event.occurred_at) == (
            copy.lead,
            copy.classification,
            copy.occurred_at,
        )


@pytest.mark.parametrize("shapes", SHAPES)
async def test_a_campaign_is_paused_and_started_again(shapes: ShapesName) -> None:
    async with playing(shapes=shapes) as world, asking(world) as client:
        campaign = await world.running()
        await world.pass_ms(1500)
        assert await client.pause(campaign) == CampaignState(campaign, "paused", START_MS + 1500)
        await world.pass_ms(1000)
        assert await client.start(campaign) == CampaignState(campaign, "running", START_MS + 2500)


@pytest.mark.parametrize("shapes", SHAPES)
async def test_a_webhook_is_registered_and_gets_its_events(shapes: ShapesName) -> None:
    async with playing(shapes=shapes, webhook_url=None) as world, asking(world) as client:
        webhook = await client.register_webhook("https://r.example/hook", ["campaign.started"])
        await world.running()
        await world.pass_ms(DAY_MS)
    assert webhook.id.startswith("wh_")
    assert (webhook.url, webhook.events, webhook.status, webhook.secret) == (
        "https://r.example/hook",
        ("campaign.started",),
        "active",
        None,
    )
    assert world.recorder.events() == {"campaign.started": 1}


@pytest.mark.parametrize("shapes", SHAPES)
async def test_refusals_say_leadterras_code(shapes: ShapesName) -> None:
    async with playing(shapes=shapes) as world, asking(world) as client, asking(world, "sk_wrong") as stranger:
        draft = await world.draft()
        unknown = await failure(client.stats("camp_none"))
        empty = await failure(client.start(draft))
        refused = await failure(stranger.stats(draft))
    assert (unknown.reason, empty.reason, refused.reason) == ("not_found", "invalid_request", "unauthorized")
    assert "with 404 (campaign_not_found: No campaign" in str(unknown)
    assert "with 400 (no_leads_enrolled: The campaign has no leads" in str(empty)
    assert "with 401 (authentication_failed: The key is missing or wrong" in str(refused)


@pytest.mark.parametrize("status", [500, 502, 503])
async def test_failing_answers_are_asked_for_again(status: int) -> None:
    async with playing(faults=rule("server_error", amount=status)) as world, asking(world) as client:
        error = await failure(client.stats("camp_1"))
    assert (error.reason, error.status) == ("server_error", status)


@pytest.mark.parametrize("as_date", [False, True])
async def test_a_wait_is_understood_as_seconds_and_as_a_date_of_simulated_time(as_date: bool) -> None:
    faults = rule("rate_limit", amount=60, as_date=as_date)
    async with playing(faults=faults) as world, asking(world) as client:
        error = await failure(client.stats("camp_1"))
    assert (error.reason, error.retry_after_s) == ("rate_limited", 60)


@pytest.mark.parametrize("fault", ["html", "truncated"])
async def test_answers_that_are_no_json_are_refused(fault: str) -> None:
    async with playing(faults=rule(fault, path="/stats")) as world, asking(world) as client:
        error = await failure(client.stats(await world.running()))
    assert (error.reason, error.status) == ("not_json", 200)
