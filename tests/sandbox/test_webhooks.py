"""Webhooks: signatures, the retry schedule in both readings, and what goes wrong on purpose."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from receiver.sandbox.delivery import ATTEMPTS, due_ms
from receiver.sandbox.faults import Rule
from receiver.sandbox.options import Habits
from tests.sandbox.conftest import (
    CALM,
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    START_MS,
    STEPS,
    URL,
    Playground,
    is_signed,
    playing,
    rule,
)

ONE_STEP = STEPS[:1]


def minutes_of(playground: Playground, event: str = "campaign.started") -> list[float]:
    """When each try for an event came, in minutes after the start."""
    return [
        (at - START_MS) / MINUTE_MS
        for at, request, _ in playground.recorder.requests
        if json.loads(request.content)["event"] == event
    ]


async def withheld(playground: Playground) -> list[tuple[str, str]]:
    return [(entry["event"], entry["reason"]) for entry in (await playground.truth())["withheld"]]


@pytest.mark.parametrize(
    ("schedule", "minutes"), [("cumulative", [0, 1, 6, 36, 156, 636]), ("absolute", [0, 1, 5, 30, 120, 480])]
)
async def test_failed_deliveries_come_again_on_the_schedule(schedule: str, minutes: list[int]) -> None:
    async with playing(habits=CALM, retry_schedule=schedule) as refused:
        refused.recorder.status = lambda request: 500
        await refused.running(1, ONE_STEP)
        await refused.pass_ms(2 * DAY_MS)
        assert minutes_of(refused) == minutes
        assert [due_ms(schedule, 0, n) / MINUTE_MS for n in range(ATTEMPTS)] == minutes  # type: ignore[arg-type]


async def test_what_is_never_taken_is_given_up_and_listed(calm: Playground) -> None:
    calm.recorder.status = lambda request: 500
    campaign = await calm.running(1, ONE_STEP)
    await calm.pass_ms(DAY_MS)
    truth = await calm.truth()
    assert truth["campaigns"][0]["figures"]["sent"] == 1
    assert truth["campaigns"][0]["expected"]["sent"] == 0
    entry = truth["withheld"][0]
    assert (entry["event"], entry["campaignId"], entry["reason"]) == ("campaign.started", campaign, "gave_up")
    assert (entry["occurredAt"], entry["withheldAt"]) == ("2025-06-11T00:00:00Z", "2025-06-11T10:36:00Z")


async def test_a_delivery_that_is_taken_late_is_not_withheld(calm: Playground) -> None:
    calm.recorder.status = lambda request: 204 if calm.clock.ms >= START_MS + HOUR_MS else 503
    await calm.running(2, ONE_STEP)
    await calm.pass_ms(DAY_MS)
    assert calm.recorder.events() == {"campaign.started": 1, "message.sent": 2}
    webhook = (await calm.truth())["webhooks"][0]
    assert (webhook["delivered"], webhook["pending"], webhook["withheld"]) == (3, 0, 0)


@pytest.mark.parametrize(("restamp", "times"), [(False, 1), (True, 6)])
async def test_retries_carry_the_time_that_the_option_says(restamp: bool, times: int) -> None:
    async with playing(habits=CALM, restamp=restamp) as refused:
        refused.recorder.status = lambda request: 500
        await refused.running(1, ONE_STEP)
        await refused.pass_ms(DAY_MS)
        bodies = [json.loads(request.content) for _, request, _ in refused.recorder.requests]
        assert len({body["timestamp"] for body in bodies if body["event"] == "campaign.started"}) == times


@pytest.mark.parametrize(("shapes", "prefix"), [("reference", ""), ("guide", "sha256="), ("concepts", "")])
async def test_every_shape_signs_in_its_own_encoding(shapes: str, prefix: str) -> None:
    async with playing(habits=CALM, shapes=shapes) as one:
        await one.running(1, ONE_STEP)
        await one.pass_ms(HOUR_MS)
        _, request, _ = one.recorder.requests[0]
        assert request.headers["x-leadterra-signature"].startswith(prefix)
        assert is_signed(request)


async def test_events_go_to_every_webhook_that_wants_them() -> None:
    async with playing(habits=CALM, webhook_url=None) as two:
        for url, events in (("https://a.example/x", ["message.sent"]), (URL, ["campaign.started", "message.sent"])):
            body = await two.call("POST", "/v1/webhooks", {"url": url, "events": events}, 201)
            assert (body["url"], body["events"], body["status"]) == (url, events, "active")
        await two.running(1, ONE_STEP)
        await two.pass_ms(HOUR_MS)
        hosts = [request.url.host for _, request, _ in two.recorder.requests]
        assert sorted(hosts) == ["127.0.0.1", "127.0.0.1", "a.example"]


async def test_the_truth_can_be_asked_for_one_webhook(calm: Playground) -> None:
    webhook = (await calm.truth())["webhooks"][0]
    await calm.call("GET", f"/_sandbox/truth?webhookId={webhook['id']}")
    body = await calm.call("GET", "/_sandbox/truth?webhookId=wh_1", None, 404)
    assert body["error"]["code"] == "webhook_not_found"


@pytest.mark.parametrize("fault", ["drop", "malformed_body", "missing_fields"])
async def test_what_cannot_be_read_is_withheld_at_once(fault: str) -> None:
    async with playing(habits=CALM, faults=rule(fault, event="message.sent")) as broken:
        campaign = await broken.running(2, ONE_STEP)
        await broken.pass_ms(HOUR_MS)
        assert await withheld(broken) == [("message.sent", fault)] * 2
        assert broken.recorder.events()["message.sent"] == 0
        assert (await broken.truth())["campaigns"][0]["withheld"] == {"message.sent": 2}
        assert (await broken.stats(campaign))["sent"] == 2


async def test_silence_withholds_a_stretch() -> None:
    async with playing(habits=CALM, faults=rule("silence", to_s=3600)) as silent:
        await silent.running(2)
        await silent.pass_ms(4 * DAY_MS)
        assert silent.recorder.events() == {"message.sent": 2}
        assert {reason for _, reason in await withheld(silent)} == {"silence"}


async def test_a_burst_comes_at_the_end_of_its_stretch() -> None:
    async with playing(habits=CALM, faults=rule("burst", to_s=7200)) as held:
        await held.running(3, ONE_STEP)
        await held.pass_ms(DAY_MS)
        assert minutes_of(held) + minutes_of(held, "message.sent") == [120] * 4


async def test_delayed_and_reordered_deliveries_come_later() -> None:
    faults = (Rule("delay", event="campaign.started", amount=600), Rule("reorder", event="message.sent"))
    async with playing(habits=CALM, faults=faults) as late:
        await late.running(1, ONE_STEP)
        await late.pass_ms(DAY_MS)
        assert minutes_of(late) == [10]
        assert (await late.truth())["webhooks"][0]["late"] == 2
        assert 0 < minutes_of(late, "message.sent")[0] < 2


async def test_duplicates_come_twice_and_count_once() -> None:
    async with playing(habits=CALM, faults=rule("duplicate")) as double:
        await double.running(2, ONE_STEP)
        await double.pass_ms(DAY_MS)
        assert double.recorder.events() == {"campaign.started": 2, "message.sent": 4}
        webhook = (await double.truth())["webhooks"][0]
        assert (webhook["events"], webhook["delivered"], webhook["duplicates"]) == (3, 3, 3)


async def test_unknown_events_come_on_top() -> None:
    async with playing(habits=CALM, faults=rule("unknown_event")) as strange:
        await strange.running(1, ONE_STEP)
        await strange.pass_ms(DAY_MS)
        assert strange.recorder.events() == {
            "campaign.started": 1,
            "campaign.touched": 1,
            "message.sent": 1,
            "message.touched": 1,
        }
        assert await withheld(strange) == []


async def test_an_unknown_event_that_is_taken_saves_nothing() -> None:
    async with playing(habits=CALM, faults=rule("unknown_event")) as strange:
        strange.recorder.status = lambda request: 204 if b"touched" in request.content else 500
        await strange.running(1, ONE_STEP)
        await strange.pass_ms(DAY_MS)
        assert [reason for _, reason in await withheld(strange)] == ["gave_up", "gave_up"]


async def test_a_copy_that_is_taken_saves_its_event() -> None:
    async with playing(habits=CALM, faults=rule("duplicate", event="campaign.started")) as double:
        double.recorder.status = lambda request: 204 if len(double.recorder.requests) == 1 else 500
        await double.sandbox.settle()
        campaign = double.sandbox.world.create("x", ())
        double.sandbox.world.start(campaign)
        await double.pass_ms(DAY_MS)
        assert await withheld(double) == []


@pytest.mark.parametrize(("attempts", "reasons"), [(None, []), (0.0, ["gave_up"])])
async def test_a_corrupt_signature_is_of_the_first_try_or_of_all(attempts: float | None, reasons: list[str]) -> None:
    faults = rule("corrupt_signature", event="campaign.started", amount=attempts)
    async with playing(habits=CALM, faults=faults) as forged:
        forged.recorder.status = lambda request: 204 if is_signed(request) else 401
        await forged.running(1, ONE_STEP)
        await forged.pass_ms(DAY_MS)
        assert [reason for _, reason in await withheld(forged)] == reasons


async def test_a_rotated_secret_signs_from_its_time_on() -> None:
    faults = rule("rotate_secret", from_s=86_400, secret="whsec_new")
    async with playing(habits=CALM, faults=faults) as rotated:
        await rotated.running(1)
        await rotated.pass_ms(4 * DAY_MS)
        signed = [
            (is_signed(request), is_signed(request, "whsec_new")) for _, request, _ in rotated.recorder.requests
        ]
        assert signed == [(True, False), (True, False), (False, True)]


async def test_deliveries_run_side_by_side_and_no_more_than_allowed() -> None:
    under_way = most = 0
    gate = asyncio.Event()

    async def endpoint(request: httpx.Request) -> httpx.Response:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        if under_way == 4:
            gate.set()
        await gate.wait()
        under_way -= 1
        return httpx.Response(204)

    transport = httpx.MockTransport(endpoint)
    async with playing(habits=CALM, connections=4, transport=transport, faults=rule("burst", to_s=3600)) as busy:
        await busy.running(20, ONE_STEP)
        await busy.pass_ms(DAY_MS)
    assert most == 4


async def test_an_endpoint_has_real_seconds_to_answer() -> None:
    async def endpoint(request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError("never")

    transport = httpx.MockTransport(endpoint)
    async with playing(habits=CALM, transport=transport, delivery_timeout_s=0.01) as hung:
        hung.sandbox.world.start(hung.sandbox.world.create("x", ()))
        await hung.pass_ms(DAY_MS)
        assert await withheld(hung) == [("campaign.started", "gave_up")]


@pytest.mark.parametrize("error", [httpx.ConnectError("refused"), RuntimeError("the application failed")])
async def test_an_endpoint_that_cannot_be_reached_is_tried_again(error: Exception) -> None:
    def endpoint(request: httpx.Request) -> httpx.Response:
        raise error

    async with playing(habits=CALM, transport=httpx.MockTransport(endpoint)) as gone:
        gone.sandbox.world.start(gone.sandbox.world.create("x", ()))
        await gone.pass_ms(DAY_MS)
        assert (await gone.truth())["webhooks"][0]["attempts"] == ATTEMPTS


async def test_statistics_wait_for_the_deliveries_of_what_they_count() -> None:
    order: list[str] = []
    gate = asyncio.Event()

    async def endpoint(request: httpx.Request) -> httpx.Response:
        await gate.wait()
        order.append("delivered")
        return httpx.Response(204)

    async with playing(habits=CALM, transport=httpx.MockTransport(endpoint)) as slow:
        campaign = await slow.running(1, ONE_STEP)
        asking = asyncio.create_task(slow.stats(campaign))
        while not slow.sandbox.courier._barriers:  # noqa: ASYNC110 # nothing outside tells that it waits
            await asyncio.sleep(0)
        gate.set()
        await asking
        order.append("answered")
    assert order[-1] == "answered"
    assert "delivered" in order


async def test_statistics_do_not_wait_for_ever() -> None:
    async def endpoint(request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError("never")

    transport = httpx.MockTransport(endpoint)
    async with playing(habits=CALM, transport=transport, delivery_timeout_s=0.2) as hung:
        campaign = await hung.running(1, ONE_STEP)
        assert (await hung.stats(campaign))["totalEnrolled"] == 1


async def _world_of(seed: int, others: int) -> list[dict[str, Any]]:
    async with playing(seed=seed, accounts=1000, habits=Habits(0.1, 0.1, 0.5, 0.5, 0.3)) as one:
        await one.running(40)
        for n in range(others):
            await one.draft(name=str(n))
            await one.call("POST", "/v1/suppression-list", {"emails": [f"x{n}@x.org"]})
        await one.pass_ms(9 * DAY_MS, HOUR_MS)
        return sorted(one.recorder.taken, key=json.dumps)


async def test_the_same_seed_makes_the_same_world_whatever_else_is_asked() -> None:
    first = await _world_of(1, 0)
    assert first == await _world_of(1, 3)
    assert first != await _world_of(2, 0)


async def _fates(late_ms: int) -> set[tuple[str, str | None, str | None]]:
    """Which of all events are dropped, if the calls come that much later."""
    habits = Habits(0.1, 0.1, 0.5, 0.5, 0.3)
    async with playing(habits=habits, accounts=100, faults=rule("drop", share=0.2)) as one:
        one.clock.ms += late_ms
        await one.running(40)
        await one.pass_ms(12 * DAY_MS, HOUR_MS)
        return {(row["event"], row["email"], row["bounceType"]) for row in (await one.truth())["withheld"]}


async def test_the_moment_of_a_call_changes_nobodys_fate() -> None:
    assert await _fates(0) == await _fates(12_345)


async def test_a_copy_that_arrives_after_its_event_was_given_up_brings_it() -> None:
    answered = asyncio.Event()
    tries: list[httpx.Request] = []

    async def endpoint(request: httpx.Request) -> httpx.Response:
        tries.append(request)
        if len(tries) != 2:
            return httpx.Response(500)
        await answered.wait()
        return httpx.Response(204)

    transport = httpx.MockTransport(endpoint)
    async with playing(habits=CALM, faults=rule("duplicate"), transport=transport, webhook_url=None) as slow:
        await slow.call("POST", "/v1/webhooks", {"url": URL, "events": ["campaign.started"]}, 201)
        await slow.running(1, ONE_STEP)
        for _ in range(12 * 60):
            slow.clock.ms += MINUTE_MS
            await slow.sandbox.catch_up()
            await asyncio.sleep(0.001)
        gave_up = await withheld(slow)
        answered.set()
        await slow.sandbox.settle()
        webhook = (await slow.truth())["webhooks"][0]
        assert gave_up[0] == ("campaign.started", "gave_up")
        assert ("campaign.started", "gave_up") not in await withheld(slow)
    assert (webhook["delivered"], webhook["pending"]) == (1, 0)
