"""Replies whose webhooks were lost are fetched: who replied is whole again, and nothing else changes."""

import itertools
from pathlib import Path

from receiver.events import Origin
from receiver.leadterra.answers import FetchedReply
from receiver.leadterra.client import FetchedReplies
from receiver.leadterra.replies import body_of, event_of
from receiver.sandbox.faults import Rule
from receiver.sandbox.options import Habits
from receiver.storage.deliveries import Delivery
from receiver.storage.sqlite.recount import Progress, recount
from receiver.storage.sqlite.verify import check_journal
from tests.reconcile import checks
from tests.reconcile.world import DAY_MS, HOUR_MS, World, opened
from tests.storage.conftest import STRETCH, LedgerUnderTest, body, ledger, moment, sent

EVERYBODY_REPLIES = Habits(0, 0, 0, 0, 1)


async def replied(world: World, faults: tuple[Rule, ...], days: int = 10) -> str:
    """A campaign of forty leads who all reply, most of them soon; after ten days all have."""
    for rule in faults:
        world.sandbox.plan.add(rule)
    world.stride_ms = 60_000
    world.run_every_ms = 3 * HOUR_MS
    campaign_id = await world.campaign(40, asked_first=True)
    await world.advance(days * DAY_MS)
    return campaign_id


async def observed(world: World, campaign_id: str) -> dict[str, int]:
    answer = await world.get(f"/v1/campaigns/{campaign_id}")
    return {name: answer["observed"][name] for name in ("replies", "replied", "replied_human")}


def true_figures(world: World, campaign_id: str, which: str = "figures") -> dict[str, int]:
    truth = world.sandbox.insight.truth([checks.webhook(world)])["campaigns"]
    campaign = next(one for one in truth if one["campaignId"] == campaign_id)
    return {name: campaign[which][name] for name in ("replies", "replied", "replied_human")}


async def proven(world: World) -> None:
    """`recount` and the journal's check find nothing."""
    assert world.service is not None
    assert (await world.service.database.readers.run(lambda conn: recount(conn, Progress()))).rows == 0
    assert (await world.service.database.readers.run(lambda conn: check_journal(conn, Progress()))).mismatches == 0


async def test_who_replied_is_whole_again_and_reply_events_are_not(tmp_path: Path) -> None:
    async with opened(tmp_path, habits=EVERYBODY_REPLIES) as world:
        campaign_id = await replied(world, (Rule("drop", event="reply.received", kind="first", share=0.5),))
        truly, webhooks = true_figures(world, campaign_id), true_figures(world, campaign_id, "expected")
        assert 0 < webhooks["replied"] < truly["replied"] == 40
        assert await observed(world, campaign_id) == {**truly, "replies": webhooks["replies"]}
        assert (await checks.drift(world, campaign_id, "replied"))["delta"] == 0
        assert {gap["state"] for gap in await checks.gaps(world, "replied", closed=True)} <= {"healed"}
        assert await checks.gaps(world, "replied") == []
        assert await checks.alarms(world) == []
        await proven(world)


async def test_replies_that_no_fetch_brings_are_not_asked_for_in_every_run(tmp_path: Path) -> None:
    calls: list[str] = []

    async def nothing(campaign_id: str, **_: object) -> FetchedReplies:
        calls.append(campaign_id)
        return FetchedReplies([], 0, complete=True)

    lost = Rule("drop", event="reply.received", kind="first", limit=3)
    async with opened(tmp_path, habits=EVERYBODY_REPLIES, faults=(lost,)) as world:
        world.reconciler._client.replies = nothing  # type: ignore[method-assign]
        world.stride_ms, world.run_every_ms = 60_000, HOUR_MS
        campaign_id = await world.campaign(3, asked_first=True)
        await world.advance(5 * DAY_MS)
        before = len(calls)
        assert (await checks.drift(world, campaign_id, "replied"))["at_least"] == 3
        await world.advance(24 * HOUR_MS)
        assert len(calls) - before == 4


async def test_a_webhook_that_comes_later_counts_and_conflicts_with_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path, habits=EVERYBODY_REPLIES) as world:
        campaign_id = await replied(world, (Rule("delay", event="reply.received", amount=5 * 3600, share=0.5),))
        assert checks.webhook(world).late > 10
        assert await observed(world, campaign_id) == true_figures(world, campaign_id)
        assert (await world.get("/v1/quarantine"))["data"] == []
        await proven(world)


async def test_without_the_api_they_stay_missing_until_it_answers(tmp_path: Path) -> None:
    async with opened(tmp_path, habits=EVERYBODY_REPLIES) as world:
        fails = Rule("server_error", path="/v1/replies", to_s=4 * 86_400)
        campaign_id = await replied(world, (Rule("drop", event="reply.received", limit=8), fails), 3)
        missing = (await checks.drift(world, campaign_id, "replied"))["unexplained"]
        assert 0 < missing <= 8
        assert "missing" in await checks.codes(world)
        await world.advance(2 * DAY_MS)
        assert (await checks.drift(world, campaign_id, "replied"))["at_least"] == 0
        assert await checks.codes(world) == set()


def copies(ledger: LedgerUnderTest, campaign: str) -> list[Delivery]:
    """A message, and two replies to it, each by webhook and from the API: by machine first, by hand later."""
    found = [ledger.delivery(sent(f"m-{campaign}", "09:00", campaign, 2))]
    for clock_time, classification in (("09:10", "out_of_office"), ("09:20", "interested")):
        name, at = f"r-{clock_time}-{campaign}", moment(clock_time)
        told = {"id": name, "campaignId": campaign, "email": "jo@example.org", "classification": classification}
        webhook = body("reply.received", at, reply={**told, "receivedAt": at}, messageId=f"m-{campaign}")
        fetched = FetchedReply(name, "jo@example.org", campaign, classification, at)
        event = event_of(fetched, ledger.ledger.parser, ledger.now)
        found += [ledger.delivery(webhook), Delivery(body_of(fetched), ledger.now, event)]
    return found


def test_copies_from_webhook_and_api_count_alike_in_any_order(ledger: LedgerUnderTest) -> None:
    totals, series = [], []
    for number, order in enumerate(itertools.permutations(range(5))):
        campaign = f"c{number}"
        deliveries = copies(ledger, campaign)
        for place in order:
            if deliveries[place].parsed.origin is Origin.API:  # type: ignore[union-attr] # all were understood
                ledger.ledger.take_in(ledger.conn, [deliveries[place]], ledger.now)
            else:
                ledger.commit([deliveries[place]], STRETCH)
        totals.append(ledger.totals(campaign))
        series.append(ledger.series(campaign))
    assert all(each == totals[0] for each in totals)
    assert all(each == series[0] for each in series)
    counted = {"sent": 1, "attempted": 1, "accepted": 1, "contacted": 1, "replies": 2, "replied": 1}
    assert totals[0] == {**counted, "replied_human": 1}
    assert ledger.quarantined() == []
    assert ledger.check_journal().mismatches == 0


__all__ = ["ledger"]  # a fixture of the storage's tests
