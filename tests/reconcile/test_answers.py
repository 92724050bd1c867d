"""What the receiver answers about drift, in a world of its own."""

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from receiver.errors import UnavailableError
from receiver.figures import rate
from receiver.leadterra.signature import sign
from receiver.sandbox.faults import Rule
from receiver.sandbox.options import Habits
from receiver.web import answers, insights
from tests.reconcile.world import HOUR_MS, MINUTE_MS, RECEIVER, SECRET, TOKEN, World, opened
from tests.web.conftest import bounced, sent

OLD = int(os.environ.get("TEST_OLD_MESSAGES", "60"))
REPLY_RATES = ("reply_rate", "lead_reply_rate", "human_reply_rate")
_PARTS = ("before_receiver", "definition", "skew", "quarantined", "settling", "not_accepting", "unexplained")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with opened(tmp_path) as world:
        yield world


def check(model: type[BaseModel], answer: Any) -> Any:
    model.model_validate(answer, strict=True)
    return answer


async def campaign(world: World, campaign_id: str) -> Any:
    return check(answers.CampaignAnswer, await world.get(f"/v1/campaigns/{campaign_id}"))


async def drift(world: World, query: str = "") -> Any:
    return check(insights.DriftAnswer, await world.get(f"/v1/drift{query}"))


async def post(world: World, path: str, body: Any = None) -> httpx.Response:
    return await ask(world, "POST", path, json=body)


async def deliver(world: World, content: bytes) -> int:
    headers = {"X-Leadterra-Signature": sign(SECRET.encode(), content).hex()}
    return (await ask(world, "POST", "/webhooks/leadterra", content=content, headers=headers)).status_code


async def ask(world: World, method: str, path: str, **given: Any) -> httpx.Response:
    assert world.service is not None
    transport = httpx.ASGITransport(world.service.app, client=("127.0.0.1", 50_000))
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(transport=transport, base_url=RECEIVER, headers=headers) as client:
        return await client.request(method, path, **given)


async def second_step(world: World, fault: Rule, leads: int = 30) -> str:
    """A campaign whose second step is about to be sent, half an hour before it is over, and what goes wrong then."""
    campaign_id = await world.campaign(leads, steps=2)
    await world.advance(30 * MINUTE_MS)
    world.run_every_ms, usual = 0, world.run_every_ms
    await world.advance(23 * HOUR_MS)
    world.run_every_ms = usual
    world.sandbox.plan.add(fault)
    await world.advance(HOUR_MS)
    return campaign_id


async def lossy(world: World) -> str:
    """A campaign that is over, and has lost 7 of 60 sends."""
    return await second_step(world, Rule("drop", event="message.sent", limit=7))


async def test_a_campaign_in_sync_shows_the_counters_and_equals_them(world: World) -> None:
    campaign_id = await world.campaign(5)
    await world.advance(30 * MINUTE_MS)
    found = await campaign(world, campaign_id)
    assert found["drift"]["status"] == "in_sync"
    assert found["observed"]["sent"] == found["provider"]["sent"] == found["reconciled"]["sent"] == 5
    assert found["provider"]["stale"] is False
    assert found["provider"]["fetched_at"] == "2025-06-11T00:30:00.001Z"


async def test_what_is_lost_is_counted_in_reconciled_and_told_as_a_gap(world: World) -> None:
    campaign_id = await lossy(world)
    found = await campaign(world, campaign_id)
    assert (found["observed"]["sent"], found["reconciled"]["sent"], found["provider"]["sent"]) == (53, 60, 60)
    parts = found["drift"]["sent"]
    assert parts["at_least"] == 7
    assert parts["delta"] == sum(parts[part] for part in _PARTS)
    (gap,) = (await drift(world))["gaps"]
    assert (gap["campaign_id"], gap["figure"], gap["at_least"], gap["state"]) == (campaign_id, "sent", 7, "settling")


async def test_a_late_arrival_heals_drift_in_the_answer_that_counts_it(world: World) -> None:
    late = Rule("delay", event="message.sent", limit=4, amount=4 * 3600)
    campaign_id = await second_step(world, late)
    await world.advance(HOUR_MS)
    before = await campaign(world, campaign_id)
    assert (before["observed"]["sent"], before["drift"]["status"]) == (56, "missing")
    world.run_every_ms = 0
    await world.advance(4 * HOUR_MS)
    after = await campaign(world, campaign_id)
    assert (after["observed"]["sent"], after["drift"]["status"]) == (60, "in_sync")
    assert after["reconciled"]["sent"] == before["reconciled"]["sent"] == 60
    (gap,) = (await drift(world))["gaps"]
    assert (gap["at_least"], gap["state"]) == (4, "healed")
    assert (await drift(world, "?gaps=open"))["gaps"] == []
    await world.run()
    assert [gap["state"] for gap in (await drift(world))["gaps"]] == ["healed"]


async def test_a_gap_that_was_never_told_goes_without_a_trace(world: World) -> None:
    late = Rule("delay", event="message.sent", limit=4, amount=3600)
    campaign_id = await second_step(world, late)
    assert [gap["state"] for gap in (await drift(world))["gaps"]] == ["settling"]
    world.run_every_ms = 0
    await world.advance(HOUR_MS)
    assert (await campaign(world, campaign_id))["drift"]["status"] == "in_sync"
    assert (await drift(world))["gaps"] == []


async def test_missing_events_alarm_and_show_in_the_metrics(world: World) -> None:
    campaign_id = await lossy(world)
    await world.advance(12 * HOUR_MS)
    found = await drift(world, "?status=missing")
    assert [row["campaign_id"] for row in found["data"]] == [campaign_id]
    assert {alarm["code"] for alarm in found["alarms"]} >= {"missing"}
    assert (await drift(world, "?status=in_sync"))["data"] == []
    text = (await ask(world, "GET", "/metrics")).text
    assert 'receiver_missing_events{figure="sent",state="missing"} 7.0' in text
    assert 'receiver_reconcile_runs_total{status="ok"}' in text


async def test_one_campaigns_drift_is_its_own_only(world: World) -> None:
    lost = await lossy(world)
    fine = await world.campaign(3, name="Other", prefix="other")
    await world.advance(30 * MINUTE_MS)
    found = check(insights.DriftAnswer, await world.get(f"/v1/campaigns/{fine}/drift"))
    assert [(row["campaign_id"], row["status"]) for row in found["data"]] == [(fine, "in_sync")]
    assert (found["gaps"], found["next_cursor"]) == ([], None)
    found = await world.get(f"/v1/campaigns/{lost}/drift?gaps=none")
    assert (found["data"][0]["sent"]["at_least"], found["gaps"]) == (7, [])


async def test_drift_comes_in_pages(world: World) -> None:
    ids = sorted([await world.campaign(1, name=f"C{number}", prefix=f"p{number}") for number in range(3)])
    await world.advance(10 * MINUTE_MS)
    first = await drift(world, "?limit=2")
    second = await drift(world, f"?limit=2&cursor={first['next_cursor']}")
    assert [row["campaign_id"] for row in first["data"] + second["data"]] == ids
    assert second["next_cursor"] is None


class Gate(httpx.AsyncBaseTransport):
    """Leadterra, or a status that it answers instead."""

    def __init__(self, world: World) -> None:
        self._inner = httpx.ASGITransport(world.sandbox.app)
        self.status: int | None = None
        self.before: Callable[[], None] = lambda: None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.before()
        if self.status is None:
            return await self._inner.handle_async_request(request)
        return httpx.Response(self.status, json={"error": "no"}, request=request)


async def gated(world: World) -> Gate:
    gate = Gate(world)
    await world.down()
    world.leadterra_transport = gate
    await world.up()
    return gate


async def test_a_campaign_that_leadterra_does_not_know_any_more_is_gone_and_keeps_its_counters(world: World) -> None:
    gate = await gated(world)
    campaign_id = await world.campaign(3)
    await world.advance(20 * MINUTE_MS)
    gate.status = 404
    await world.run([campaign_id])
    found = await campaign(world, campaign_id)
    assert (found["status"], found["provider"]["stale"], found["provider"]["sent"]) == ("gone", True, 3)
    assert [row["campaign_id"] for row in (await world.get("/v1/campaigns?status=gone"))["data"]] == [campaign_id]
    gate.status = 403
    await world.run([campaign_id])
    assert (await campaign(world, campaign_id))["status"] == "gone"
    gate.status = None
    await world.run([campaign_id])
    assert (await campaign(world, campaign_id))["status"] == "started"


async def test_campaigns_that_are_gone_and_asked_again_alone_are_no_wrong_key(world: World) -> None:
    gate = await gated(world)
    ids = [await world.campaign(3, name=name, prefix=name) for name in ("a", "b")]
    await world.advance(20 * MINUTE_MS)
    gate.status = 404
    for campaign_id in ids:
        await world.run([campaign_id])
    again = await world.run(ids)
    assert (again.status, again.failed) == ("ok", 0)
    assert (await drift(world))["alarms"] == []


async def test_a_failed_attempt_makes_counters_stale_and_nothing_else(world: World) -> None:
    gate = await gated(world)
    campaign_id = await world.campaign(3)
    await world.advance(20 * MINUTE_MS)
    before = await campaign(world, campaign_id)
    gate.status = 403
    await world.run([campaign_id])
    after = await campaign(world, campaign_id)
    assert after["provider"] == {**before["provider"], "stale": True}
    assert (after["drift"], after["reconciled"]) == (before["drift"], before["reconciled"])


async def test_a_campaign_known_by_hand_has_counters_and_no_figures(tmp_path: Path) -> None:
    async with opened(tmp_path, faults=(Rule("drop"),)) as world:
        campaign_id = await world.campaign(4)
        response = await post(world, "/v1/campaigns", {"campaign_id": campaign_id, "name": "By hand"})
        assert response.status_code == 201
        await world.advance(10 * MINUTE_MS)
        found = await campaign(world, campaign_id)
        assert (found["name"], found["activity"], found["status"]) == ("By hand", "quiet", "unknown")
        assert set(found["observed"].values()) == {None}
        assert {part for rate in found["rates"].values() for part in rate.values()} == {None}
        assert found["provider"]["sent"] == found["reconciled"]["sent"] == 4
        (row,) = (await world.get("/v1/campaigns"))["data"]
        assert row["observed"] == found["observed"]


async def test_rates_are_honest_while_older_messages_are_not_held(tmp_path: Path) -> None:
    old = Rule("drop", to_s=12 * 3600)  # before the receiver's webhook was registered
    async with opened(tmp_path, faults=(old,), habits=Habits(0.2, 0.1, 0, 0, 0.3)) as world:
        campaign_id = await world.campaign(OLD, steps=2)
        await world.advance(36 * HOUR_MS)
        assert (await drift(world))["alarms"] == []
        for number in range(2):
            assert await deliver(world, bounced(f"old-{number}", campaign=campaign_id, step=1)) == 204
        await world.run()
        found = await campaign(world, campaign_id)
        seen, rates, parts = found["observed"], found["rates"], found["drift"]["sent"]
        assert parts["before_receiver"] == OLD
        assert found["drift"]["status"] == "in_sync"
        assert found["reconciled"]["sent"] == seen["sent"] + OLD == found["provider"]["sent"]
        assert seen["contacted"] is None
        assert {name: rates[name]["value"] for name in REPLY_RATES} == dict.fromkeys(REPLY_RATES)
        held = seen["sent"] - seen["accepted"]
        assert 0 < held == seen["bounced"] - 2
        assert rates["bounce_rate"] == rate(held, seen["sent"])
        assert rates["hard_bounce_rate"] == rate(seen["bounced_hard"] - 2, seen["sent"])
        steps = check(answers.StepsAnswer, await world.get(f"/v1/campaigns/{campaign_id}/steps"))["data"]
        first, second = (step for step in steps if step["step"] is not None)
        assert (first["contacted"], second["contacted"]) == (None, None)
        assert first["rates"]["hard_bounce_rate"] == rate(0, 0)
        assert second["rates"]["bounce_rate"] == rates["bounce_rate"]
        assert second["rates"]["lead_reply_rate"]["value"] is None
        for sort in ("bounce_rate", "hard_bounce_rate", "reply_rate", "contacted"):
            (row,) = (await world.get(f"/v1/campaigns?sort={sort}"))["data"]
            assert row["rates"] == rates


async def test_an_old_event_that_arrives_late_moves_over_from_before_the_receiver(tmp_path: Path) -> None:
    async with opened(tmp_path, faults=(Rule("drop", to_s=12 * 3600),)) as world:
        campaign_id = await world.campaign(5, steps=2)
        await world.advance(36 * HOUR_MS)
        before = await campaign(world, campaign_id)
        assert await deliver(world, sent("old", "2025-06-11T00:10:00Z", campaign_id, 0)) == 204
        after = await campaign(world, campaign_id)
        assert [each["drift"]["sent"]["before_receiver"] for each in (before, after)] == [5, 4]
        assert after["reconciled"] == before["reconciled"]


async def test_a_run_moves_the_entity_tag(world: World) -> None:
    await world.campaign(3)
    await world.advance(10 * MINUTE_MS)
    tags = [(await ask(world, "GET", "/v1/drift")).headers["etag"] for _ in range(2)]
    await world.run()
    assert tags[0] == tags[1] != (await ask(world, "GET", "/v1/drift")).headers["etag"]


async def test_a_run_can_be_asked_for_and_waited_for(world: World) -> None:
    campaign_id = await world.campaign(3)
    await world.advance(10 * MINUTE_MS)
    response = await post(world, "/v1/reconciliations?wait=true", {"campaign_ids": [campaign_id, campaign_id]})
    run = check(insights.ReconciliationAnswer, response.json())
    assert (response.status_code, run["status"], run["campaigns"], run["done"]) == (200, "ok", 1, 1)
    newest = check(insights.ReconciliationsAnswer, await world.get("/v1/reconciliations?limit=1"))
    assert newest["data"][0] == {name: run[name] for name in newest["data"][0]}
    older = await world.get(f"/v1/reconciliations?cursor={newest['next_cursor']}")
    ids = [run["id"], *(row["id"] for row in older["data"])]
    assert ids == sorted(ids, reverse=True)


async def test_who_asks_while_a_run_is_under_way_gets_that_one(world: World) -> None:
    await world.campaign(3)
    await world.advance(10 * MINUTE_MS)
    first = await world.reconciler.start("test")
    response = await post(world, "/v1/reconciliations")
    assert (response.status_code, response.json()["id"], response.json()["trigger"]) == (202, first.id, "test")
    await world.reconciler.wait()


async def test_a_shutdown_answers_who_waits_for_a_run(world: World) -> None:
    gate = await gated(world)
    campaign_id = await world.campaign(3)
    await world.advance(10 * MINUTE_MS)
    assert world.service is not None
    gate.before = world.service.drain
    response = await post(world, "/v1/reconciliations?wait=true", {"campaign_ids": [campaign_id]})
    assert (response.status_code, response.json()["status"]) == (200, "aborted")
    with pytest.raises(UnavailableError, match="shutting down"):
        await world.reconciler.start("test")
    assert (await post(world, "/v1/reconciliations")).json()["code"] == "unavailable"
