"""Faults that take exactly what a test chooses: so many events of one kind and campaign, calls of one path."""

from collections import Counter
from typing import Any

import pytest

from receiver.sandbox.faults import Rule
from receiver.sandbox.options import Habits
from tests.sandbox.conftest import CALM, DAY_MS, HOUR_MS, MINUTE_MS, START_MS, STEPS, Playground, playing, rule
from tests.sandbox.test_answers import date_of

LIVELY = Habits(0.1, 0.3, 0.5, 0.3, 0.5)


async def two_campaigns(playground: Playground) -> list[Any]:
    for name in ("Spring", "Summer"):
        await playground.running(60, name=name)
    await playground.pass_ms(20 * DAY_MS, MINUTE_MS)
    return list((await playground.truth())["campaigns"])


@pytest.mark.parametrize(
    ("event", "kind", "figure"),
    [
        ("message.sent", None, "sent"),
        ("message.bounced", "hard", "bounced_hard"),
        ("message.bounced", "soft", "bounced_soft"),
        ("reply.received", "first", "replied"),
    ],
)
async def test_a_drop_takes_as_many_of_a_kind_from_one_campaign_as_it_may(
    event: str, kind: str | None, figure: str
) -> None:
    faults = (Rule("drop", event=event, kind=kind, campaign="Summer", limit=3),)
    async with playing(habits=LIVELY, faults=faults) as one:
        spring, summer = await two_campaigns(one)
        rows = (await one.truth())["withheld"]
    assert (spring["withheld"], summer["withheld"]) == ({}, {event: 3})
    assert {(row["event"], row["reason"], row["bounceType"]) for row in rows} == {
        (event, "drop", kind if event == "message.bounced" else None)
    }
    assert summer["figures"][figure] > summer["expected"][figure] or figure in ("bounced_soft", "replied")


async def test_first_replies_are_of_different_leads() -> None:
    faults = rule("drop", event="reply.received", kind="first")
    async with playing(habits=Habits(0, 0, 0, 0, 1), faults=faults) as one:
        campaign = (await two_campaigns(one))[0]
        rows = [row for row in (await one.truth())["withheld"] if row["campaignId"] == campaign["campaignId"]]
    leads = Counter(row["email"] for row in rows)
    assert set(leads.values()) == {1}
    assert leads.total() == campaign["figures"]["replied"] < campaign["figures"]["replies"]


async def test_a_limit_is_of_every_webhook() -> None:
    async with playing(habits=CALM, faults=rule("drop", event="message.sent", limit=1)) as two:
        body = {"url": "https://b.example/x", "events": ["message.sent"]}
        await two.call("POST", "/v1/webhooks", body, 201)
        await two.running(3, STEPS[:1])
        await two.pass_ms(HOUR_MS)
        hosts = Counter(request.url.host for _, request, _ in two.recorder.requests)
        assert hosts == {"127.0.0.1": 3, "b.example": 2}  # the first also has the start
        assert len((await two.truth())["withheld"]) == 1


async def test_more_may_go_wrong_while_it_runs(calm: Playground) -> None:
    campaign = await calm.running(2)
    await calm.pass_ms(HOUR_MS)
    from_s = calm.sandbox.plan.seconds_at(calm.clock.ms)
    calm.sandbox.plan.add(Rule("silence", from_s=from_s, to_s=from_s + 3 * 86_400, campaign=campaign))
    await calm.pass_ms(9 * DAY_MS)
    assert (await calm.truth())["campaigns"][0]["withheld"] == {"message.sent": 2}


async def test_one_path_fails_alone_and_only_so_often() -> None:
    async with playing(faults=rule("server_error", path="/v1/replies", limit=2)) as one:
        replies = [(await one.client.get("/v1/replies")).status_code for _ in range(3)]
        accounts = (await one.client.get("/v1/sender-accounts")).status_code
    assert (replies, accounts) == ([503, 503, 200], 200)


async def test_a_skew_that_varies_goes_both_ways() -> None:
    async with playing(faults=rule("clock_skew", amount=45, varies=True)) as one:
        answers = [await one.client.get("/v1/sender-accounts") for _ in range(60)]
    skews = [date_of(answer.headers["date"]).timestamp() - START_MS / 1000 for answer in answers]
    assert -46 <= min(skews) < -20 < 20 < max(skews) <= 45


async def test_a_lag_that_varies_is_any_up_to_the_most() -> None:
    async with playing(habits=CALM, accounts=1, faults=rule("stats_lag", amount=300, varies=True)) as one:
        campaign = await one.running(60, STEPS[:1])
        await one.pass_ms(10 * MINUTE_MS)
        counters = {name: await counted_at(one, minutes) for minutes, name in ((5, "most"), (10, "none"))}
        sent = [(await one.stats(campaign))["sent"] for _ in range(40)]
    assert counters["most"]["sent"] <= min(sent) < max(sent) <= counters["none"]["sent"]
    assert len(set(sent)) > 3


async def counted_at(playground: Playground, minutes: int) -> Any:
    at = f"2025-06-11T00:{minutes:02d}:00Z"
    return (await playground.call("GET", f"/_sandbox/truth?at={at}"))["campaigns"][0]["counters"]


async def test_the_truth_tells_the_counters_of_a_time() -> None:
    async with playing(habits=LIVELY, accounts=1) as one:
        campaign = await one.running(60)
        await one.pass_ms(10 * MINUTE_MS)
        seen = await one.stats(campaign)
        then = await counted_at(one, 10)
        await one.pass_ms(DAY_MS)
        assert await counted_at(one, 10) == then
        now = (await one.truth())["campaigns"][0]["counters"]
    assert [then[name] for name in ("sent", "delivered", "replied")] == [
        seen[name] for name in ("sent", "delivered", "replied")
    ]
    assert then["bounced_hard"] + then["bounced_soft"] == seen["bounced"]
    assert now["sent"] > then["sent"]


async def test_a_time_that_is_none_is_refused(calm: Playground) -> None:
    answer = await calm.call("GET", "/_sandbox/truth?at=noon", None, 400)
    assert answer["error"]["message"] == "'at' is 'noon'; use RFC 3339 with offset, such as 2025-06-01T00:00:00Z."
