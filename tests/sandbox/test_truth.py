"""The truth is what an endpoint got plus what was withheld, and what a receiver counts of it."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from receiver.app import Service
from receiver.sandbox import insight
from receiver.sandbox.faults import Rule
from receiver.sandbox.happenings import EVENTS
from receiver.sandbox.options import Habits
from receiver.settings import Settings, load
from tests.sandbox.conftest import (
    CALM,
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    SECRET,
    STEPS,
    URL,
    HandClock,
    Playground,
    is_signed,
    playing,
)

LIVELY = Habits(0.05, 0.08, 0.5, 0.3, 0.3)
EVERYTHING = (
    Rule("drop", 0.03),
    Rule("silence", from_s=6 * 3600, to_s=7 * 3600),
    Rule("malformed_body", 0.02),
    Rule("missing_fields", 0.02),
    Rule("unknown_event", 0.05),
    Rule("corrupt_signature", 0.05),
    Rule("corrupt_signature", 0.01, amount=0),
    Rule("duplicate", 0.1),
    Rule("burst", from_s=20_000, to_s=40_000),
    Rule("delay", 0.05),
    Rule("reorder", 0.2),
    Rule("rotate_secret", from_s=5 * 86_400, secret="whsec_new"),
    Rule("stats_lag", 0.3),
    Rule("server_error", 0.1, path="/stats"),
)


def identity(event: dict[str, Any]) -> tuple[str, ...]:
    data = event["data"]
    reply = data.get("reply", data)
    kind = {"message.bounced": data.get("bounceType", "")}.get(event["event"], "")
    start = f"{data.get('id')} {event['timestamp']}"
    own = reply["id"] if event["event"] == "reply.received" else data.get("messageId", start)
    return event["event"], own, kind


async def live(playground: Playground, days: int = 9) -> None:
    """Three campaigns, one paused for a while, until no retry is left."""
    campaigns = [await playground.running(count, name=str(count)) for count in (12, 20)]
    await playground.pass_ms(HOUR_MS, MINUTE_MS)
    await playground.call("POST", f"/v1/campaigns/{campaigns[0]}/pause")
    await playground.running(8, name="late")
    await playground.pass_ms(DAY_MS, MINUTE_MS)
    await playground.call("POST", f"/v1/campaigns/{campaigns[0]}/start")
    await playground.pass_ms(days * DAY_MS, MINUTE_MS)


def taken(playground: Playground) -> Counter[tuple[str, ...]]:
    """Every event that the endpoint took, once; those of the new secret are refused."""
    return Counter({identity(event): 1 for event in playground.recorder.taken if "touched" not in event["event"]})


def listed(truth: dict[str, Any]) -> Counter[tuple[str, ...]]:
    return Counter(
        (row["event"], row["replyId"] or row["messageId"] or f"{row['campaignId']} {row['occurredAt']}", kind)
        for row in truth["withheld"]
        for kind in [row["bounceType"] or ""]
    )


async def _got_plus_withheld_is_the_truth(seed: int) -> None:
    async with playing(seed=seed, habits=LIVELY, faults=EVERYTHING) as wild:
        wild.recorder.status = lambda request: 204 if is_signed(request) else 401
        await live(wild)
        truth = await wild.truth()
        got, held = taken(wild), listed(truth)
    assert truth["webhooks"][0]["pending"] == 0
    assert max(held.values()) == 1
    assert not got & held
    events = Counter(name for name, _, _ in (got + held).elements())
    figures: Counter[str] = Counter()
    for campaign in truth["campaigns"]:
        figures.update(campaign["figures"])
        assert campaign["figures"]["sent"] == campaign["stats"]["sent"]
        assert campaign["figures"]["bounced"] == campaign["stats"]["bounced"]
        assert campaign["figures"]["replied"] == campaign["stats"]["replied"]
    assert events["message.sent"] == figures["sent"]
    assert events["reply.received"] == figures["replies"]
    assert events["campaign.started"] == figures["starts"] == 4
    assert sum(row["delivered"] for row in truth["webhooks"]) == got.total()


@pytest.mark.parametrize("seed", range(1, 4))
async def test_what_was_got_and_what_was_withheld_is_the_truth(seed: int) -> None:
    await _got_plus_withheld_is_the_truth(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4, 54))
async def test_that_holds_for_fifty_seeds(seed: int) -> None:
    await _got_plus_withheld_is_the_truth(seed)


async def register(playground: Playground, *events: str, url: str = URL) -> str:
    body = await playground.call("POST", "/v1/webhooks", {"url": url, "events": list(events)}, 201)
    return str(body["id"])


async def why_withheld(playground: Playground, query: str = "") -> Counter[tuple[str, str]]:
    truth = await playground.call("GET", f"/_sandbox/truth{query}")
    return Counter((row["event"], row["reason"]) for row in truth["withheld"])


async def test_what_nobody_subscribes_to_is_withheld() -> None:
    async with playing(habits=CALM, webhook_url=None) as one:
        webhook = await register(one, "message.sent")
        await one.running(2)
        await one.pass_ms(9 * DAY_MS)
        truth = await one.truth()
        assert await why_withheld(one) == {("campaign.started", "not_subscribed"): 1}
    counts = {name: truth["webhooks"][0][name] for name in ("id", "events", "delivered", "withheld", "pending")}
    assert counts == {"id": webhook, "events": 5, "delivered": 4, "withheld": 1, "pending": 0}
    assert (truth["events"], truth["campaigns"][0]["expected"]["starts"]) == (5, 0)


async def test_what_happened_before_the_first_webhook_is_withheld() -> None:
    async with playing(habits=CALM, webhook_url=None) as one:
        await one.running(2)
        await one.pass_ms(HOUR_MS)
        unheard = (await one.truth())["campaigns"][0]
        await register(one, *EVENTS)
        await one.pass_ms(9 * DAY_MS)
        truth = await one.truth()
    assert not any(unheard["expected"].values())
    assert {row["reason"] for row in truth["withheld"]} == {"not_registered"}
    assert {row["withheldAt"] == row["occurredAt"] for row in truth["withheld"]} == {True}
    assert (truth["campaigns"][0]["figures"]["sent"], truth["campaigns"][0]["expected"]["sent"]) == (4, 2)


async def test_one_webhook_that_brings_an_event_is_enough() -> None:
    async with playing(habits=CALM, webhook_url=None) as two:
        first = await register(two, "message.sent", "campaign.started")
        second = await register(two, "message.sent", url="https://other.example/x")
        two.recorder.status = lambda request: 204 if request.url.host == "other.example" else 500
        await two.running(2, STEPS[:1])
        await two.pass_ms(2 * DAY_MS)
        assert await why_withheld(two) == {("campaign.started", "gave_up"): 1}
        gave_up = {("campaign.started", "gave_up"): 1, ("message.sent", "gave_up"): 2}
        assert await why_withheld(two, f"?webhookId={first}") == gave_up
        assert await why_withheld(two, f"?webhookId={second}") == {("campaign.started", "not_subscribed"): 1}


async def test_what_another_webhook_may_still_bring_is_not_withheld() -> None:
    faults = (Rule("drop", event="message.sent"),)
    async with playing(habits=CALM, faults=faults, webhook_url=None) as two:
        await register(two, "message.sent")
        await register(two, "campaign.started", url="https://other.example/x")
        two.recorder.status = lambda request: 500
        await two.running(1, STEPS[:1])
        await two.pass_ms(HOUR_MS)
        assert await why_withheld(two) == {("message.sent", "drop"): 1}
        await two.pass_ms(DAY_MS)
        assert await why_withheld(two) == {("message.sent", "drop"): 1, ("campaign.started", "gave_up"): 1}


async def test_a_long_list_comes_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(insight, "_ROWS", 2)
    async with playing(habits=CALM, webhook_url=None) as one:
        assert (await one.truth())["withheld"] == []
        await one.running(3)
        await one.pass_ms(9 * DAY_MS)
        whole = one.sandbox.insight.truth([])
        assert len(whole["withheld"]) == 7
        assert await one.truth() == whole


def settings_for(folder: Path) -> Settings:
    environment = {
        "RECEIVER_STORAGE__URL": f"sqlite:///{folder / 'receiver.db'}",
        "RECEIVER_WEBHOOK__SECRETS": json.dumps([SECRET]),
    }
    return load(None, environment, {}).settings


async def observed(service: Service, campaign_id: str) -> dict[str, int]:
    transport = httpx.ASGITransport(service.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        body = (await client.get(f"/v1/campaigns/{campaign_id}")).json()
    return dict(body["observed"])


@pytest.mark.parametrize("means", ["submitted", "delivered"])
@pytest.mark.parametrize("shapes", ["reference", "guide", "concepts"])
async def test_a_receiver_counts_the_truth_less_what_was_withheld(shapes: str, means: str, tmp_path: Path) -> None:
    clock = HandClock()
    service = await Service.open(settings_for(tmp_path), "token", clock=clock)
    options: dict[str, Any] = {"shapes": shapes, "message_sent_means": means, "faults": EVERYTHING, "seed": 7}
    try:
        transport = httpx.ASGITransport(service.app)
        async with playing(transport=transport, clock=clock, habits=LIVELY, **options) as wild:
            await live(wild)
            for campaign in (await wild.truth())["campaigns"]:
                assert await observed(service, campaign["campaignId"]) == campaign["expected"]
                assert campaign["expected"] != campaign["figures"]
    finally:
        await service.close()


_CROWD = """
import asyncio, sys
import httpx
from receiver.sandbox.options import SandboxOptions
from tests.sandbox.conftest import HOUR_MS, Playground

async def main(count):
    crowd = Playground(httpx.MockTransport(lambda request: httpx.Response(204)), accounts=300)
    fields = {"lastName": "Li", "jobTitle": "Head of things"}
    campaign = await crowd.draft([{"subject": "Hi {{firstName}}", "bodyHtml": "<p>{{company}}</p>"}] * 3)
    for first in range(0, count, 5000):
        leads = ({"email": f"lead{n}@example{n % 997}.org", "firstName": f"Jo{n}", "company": f"Co{n}", **fields}
                 for n in range(first, first + 5000))
        await crowd.enroll(campaign, leads)
    await crowd.call("POST", f"/v1/campaigns/{campaign}/start")
    await crowd.pass_ms(20 * 24 * HOUR_MS, HOUR_MS)
    figures = (await crowd.truth())["campaigns"][0]["figures"]
    await crowd.close()
    # Not ru_maxrss: that is inherited from the process that started this one.
    peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print(figures["sent"], int(peak.split()[1]) // 1024)

asyncio.run(main(int(sys.argv[1])))
"""


def crowd(count: int) -> tuple[int, int]:
    """Messages sent to that many leads, and the megabytes that it took."""
    # Only memory is looked at here, and a trace of coverage would make it many times slower.
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    command = [sys.executable, "-c", _CROWD, str(count)]
    output = subprocess.run(command, check=True, capture_output=True, text=True, env=env)
    sent, megabytes = output.stdout.split()
    return int(sent), int(megabytes)


def test_five_thousand_leads_take_little_memory() -> None:
    sent, megabytes = crowd(5_000)
    assert sent > 12_000
    assert megabytes < 150


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_hundred_thousand_leads_fit_into_500_mb() -> None:
    sent, megabytes = crowd(100_000)
    assert sent > 250_000
    assert megabytes < 500
