"""Campaigns from draft to paused, call by call."""

from typing import Any

import pytest

from receiver.sandbox.options import Habits
from tests.sandbox.conftest import CALM, DAY_MS, HOUR_MS, MINUTE_MS, STEPS, Playground, people, playing


async def test_a_campaign_begins_as_a_draft(calm: Playground) -> None:
    body = await calm.call("POST", "/v1/campaigns", {"name": "Spring", "sequenceSteps": STEPS}, 201)
    assert body["id"].startswith("camp_")
    assert (body["name"], body["status"], body["createdAt"]) == ("Spring", "draft", "2025-06-11T00:00:00Z")
    assert [step["delayDays"] for step in body["sequenceSteps"]] == [0, 2]


async def test_a_draft_has_statistics_of_nothing(calm: Playground) -> None:
    campaign = await calm.draft()
    assert await calm.stats(campaign) == {
        "campaignId": campaign,
        "totalEnrolled": 0,
        "sent": 0,
        "delivered": 0,
        "queued": 0,
        "bounced": 0,
        "replied": 0,
        "openRate": 0.0,
        "replyRate": 0.0,
    }


async def test_steps_can_be_changed_while_it_is_a_draft(calm: Playground) -> None:
    campaign = await calm.draft()
    body = await calm.call("PATCH", f"/v1/campaigns/{campaign}", {"name": "Summer", "sequenceSteps": STEPS[:1]})
    assert (body["name"], len(body["sequenceSteps"])) == ("Summer", 1)
    assert (await calm.call("PATCH", f"/v1/campaigns/{campaign}", {}))["name"] == "Summer"


async def test_steps_are_fixed_once_it_runs(calm: Playground) -> None:
    campaign = await calm.running()
    body = await calm.call("PATCH", f"/v1/campaigns/{campaign}", {"sequenceSteps": []}, 400)
    assert body["error"] == {
        "code": "campaign_not_draft",
        "message": "'sequenceSteps' is fixed: the campaign is running.",
    }


async def test_a_campaign_without_leads_does_not_start(calm: Playground) -> None:
    campaign = await calm.draft()
    body = await calm.call("POST", f"/v1/campaigns/{campaign}/start", None, 400)
    assert body["error"]["code"] == "no_leads_enrolled"


async def test_a_campaign_without_steps_does_not_start(calm: Playground) -> None:
    campaign = await calm.draft([])
    await calm.enroll(campaign, people(1))
    body = await calm.call("POST", f"/v1/campaigns/{campaign}/start", None, 400)
    assert body["error"]["code"] == "no_sequence_steps"


async def test_steps_are_spaced_by_their_days(calm: Playground) -> None:
    campaign = await calm.running(3)
    await calm.pass_ms(HOUR_MS)
    assert (await calm.stats(campaign))["sent"] == 3
    assert (await calm.stats(campaign))["queued"] == 3
    await calm.pass_ms(2 * DAY_MS - 2 * HOUR_MS)
    assert (await calm.stats(campaign))["sent"] == 3
    await calm.pass_ms(2 * HOUR_MS)
    figures = await calm.stats(campaign)
    assert (figures["totalEnrolled"], figures["sent"], figures["delivered"], figures["queued"]) == (3, 6, 6, 0)


async def test_starting_a_running_campaign_changes_nothing(calm: Playground) -> None:
    campaign = await calm.running()
    await calm.pass_ms(HOUR_MS)
    again = await calm.call("POST", f"/v1/campaigns/{campaign}/start")
    await calm.pass_ms(HOUR_MS)
    assert again == {"id": campaign, "status": "running", "startedAt": "2025-06-11T00:00:00Z"}
    assert calm.recorder.events() == {"campaign.started": 1, "message.sent": 3}


async def test_a_pause_holds_the_queue_and_lets_go_what_is_in_transit() -> None:
    async with playing(habits=CALM, accounts=1) as one:
        campaign = await one.running(5)
        await one.sandbox.settle()
        paused = await one.call("POST", f"/v1/campaigns/{campaign}/pause")
        assert paused == {"id": campaign, "status": "paused", "pausedAt": "2025-06-11T00:00:00Z"}
        assert (await one.stats(campaign))["delivered"] == 0
        await one.pass_ms(DAY_MS)
        figures = await one.stats(campaign)
        assert (figures["sent"], figures["delivered"], figures["queued"]) == (1, 1, 5)


async def test_a_paused_campaign_goes_on_where_it_was(calm: Playground) -> None:
    campaign = await calm.running(3)
    await calm.pass_ms(HOUR_MS)
    await calm.call("POST", f"/v1/campaigns/{campaign}/pause")
    await calm.pass_ms(9 * DAY_MS)
    assert (await calm.stats(campaign))["sent"] == 3
    await calm.call("POST", f"/v1/campaigns/{campaign}/start")
    await calm.pass_ms(HOUR_MS)
    assert (await calm.stats(campaign))["sent"] == 6
    assert calm.recorder.events()["campaign.started"] == 2


async def test_pausing_a_draft_or_a_paused_campaign_changes_nothing(calm: Playground) -> None:
    draft = await calm.draft()
    assert (await calm.call("POST", f"/v1/campaigns/{draft}/pause"))["status"] == "draft"
    campaign = await calm.running()
    first = await calm.call("POST", f"/v1/campaigns/{campaign}/pause")
    calm.clock.ms += HOUR_MS
    assert await calm.call("POST", f"/v1/campaigns/{campaign}/pause") == first


async def test_two_starts_in_one_moment_have_two_times(calm: Playground) -> None:
    campaign = await calm.running()
    await calm.call("POST", f"/v1/campaigns/{campaign}/pause")
    again = await calm.call("POST", f"/v1/campaigns/{campaign}/start")
    assert again["startedAt"] == "2025-06-11T00:00:00.001Z"


async def test_leads_that_come_later_begin_at_step_one(calm: Playground) -> None:
    campaign = await calm.running(1)
    await calm.pass_ms(3 * DAY_MS)
    assert await calm.enroll(campaign, people(2)) == {"enrolled": 1, "updated": 1, "total": 2}
    await calm.pass_ms(HOUR_MS)
    assert (await calm.stats(campaign))["sent"] == 3
    await calm.pass_ms(3 * DAY_MS)
    assert (await calm.stats(campaign))["sent"] == 4


async def test_an_update_overwrites_only_the_given_fields(calm: Playground) -> None:
    campaign = await calm.draft([{"subject": "{{firstName}} {{lastName}} {{city}} {{n}}", "bodyHtml": "x"}])
    await calm.enroll(campaign, [{"email": "jo@x.org", "firstName": "Jo", "customFields": {"city": "Ulm"}, "n": 7}])
    await calm.enroll(campaign, [{"email": "JO@x.org", "lastName": "Li", "firstName": None}])
    await calm.call("POST", f"/v1/campaigns/{campaign}/start")
    await calm.pass_ms(MINUTE_MS)
    message = (await calm.call("GET", "/_sandbox/messages"))["data"][0]
    assert message["subject"] == "Jo Li Ulm 7"


async def test_a_missing_field_is_the_empty_string(calm: Playground) -> None:
    campaign = await calm.draft([{"subject": "Hi {{firstName}},", "bodyHtml": "{{ email }}"}])
    await calm.enroll(campaign, [{"email": "jo@x.org"}])
    await calm.call("POST", f"/v1/campaigns/{campaign}/start")
    await calm.pass_ms(MINUTE_MS)
    query = f"?email=jo@x.org&campaignId={campaign}&limit=1"
    message = (await calm.call("GET", f"/_sandbox/messages{query}"))["data"][0]
    assert (message["subject"], message["bodyHtml"], message["step"]) == ("Hi ,", "jo@x.org", 1)


async def test_capacity_is_within_any_24_hours() -> None:
    async with playing(habits=CALM, accounts=2, daily_capacity=5) as small:
        campaign = await small.running(25, STEPS[:1])
        await small.pass_ms(DAY_MS - 1)
        assert [(await small.stats(campaign))[name] for name in ("sent", "queued")] == [10, 15]
        pools = await small.call("GET", "/v1/sender-pools")
        assert (pools[0]["dailyCapacity"], pools[0]["remainingVolume"], pools[0]["senderCount"]) == (10, 0, 2)
        await small.pass_ms(DAY_MS)
        assert (await small.stats(campaign))["sent"] == 20


async def test_campaigns_share_the_capacity_in_turn() -> None:
    async with playing(habits=CALM, accounts=1, daily_capacity=20) as small:
        campaigns = [await small.running(20, STEPS[:1], name) for name in ("a", "b")]
        await small.pass_ms(DAY_MS // 2)
        sent = [(await small.stats(campaign))["sent"] for campaign in campaigns]
        assert sorted(sent) == [9, 11]  # the first had begun before the second was there


async def test_a_hard_bounce_suppresses_the_address_everywhere() -> None:
    async with playing(habits=Habits(1, 0, 0, 0, 0)) as hard:
        campaign = await hard.running(3)
        await hard.pass_ms(HOUR_MS)
        figures = await hard.stats(campaign)
        assert (figures["sent"], figures["delivered"], figures["bounced"], figures["queued"]) == (3, 0, 3, 0)
        answer = await hard.call("POST", "/v1/suppression-list", {"emails": ["lead0@example.org", "new@x.org"]})
        assert answer == {"suppressed": 1}


async def test_a_suppressed_address_is_skipped_and_never_sent_to(calm: Playground) -> None:
    campaign = await calm.draft()
    await calm.enroll(campaign, people(3))
    await calm.call("POST", "/v1/suppression-list", {"emails": ["LEAD0@example.org"]})
    assert await calm.enroll(campaign, people(4)) == {"enrolled": 1, "updated": 2, "total": 3}
    await calm.call("POST", f"/v1/campaigns/{campaign}/start")
    await calm.pass_ms(9 * DAY_MS)
    assert (await calm.stats(campaign))["sent"] == 6


@pytest.mark.parametrize(("means", "bounced"), [("any", 4), ("hard", 0)])
async def test_soft_bounces_count_as_the_option_says(means: str, bounced: int) -> None:
    async with playing(habits=Habits(0, 1, 0, 0, 0), bounced_means=means) as soft:
        campaign = await soft.running(2)
        await soft.pass_ms(3 * DAY_MS)
        assert (await soft.stats(campaign))["bounced"] == bounced
        assert soft.recorder.events()["message.bounced"] == 4


async def test_a_soft_bounce_may_turn_hard() -> None:
    async with playing(habits=Habits(0, 1, 1, 0, 0), bounced_means="hard") as soft:
        campaign = await soft.running(2)
        await soft.pass_ms(3 * DAY_MS)
        assert (await soft.stats(campaign))["bounced"] == 2
        kinds = [event["data"]["bounceType"] for event in soft.recorder.taken if event["event"] == "message.bounced"]
        assert sorted(kinds) == ["hard", "hard", "soft", "soft"]
        assert (await soft.truth())["campaigns"][0]["figures"]["bounced"] == 2


async def test_messages_that_bounce_were_never_sent_if_sent_means_delivered() -> None:
    async with playing(habits=Habits(1, 0, 0, 0, 0), message_sent_means="delivered") as hard:
        campaign = await hard.running(3)
        await hard.pass_ms(HOUR_MS)
        assert (await hard.stats(campaign))["sent"] == 3
        figures = (await hard.truth())["campaigns"][0]["figures"]
        assert (figures["sent"], figures["attempted"], figures["bounced_hard"]) == (0, 3, 3)


async def test_a_reply_takes_the_lead_out_of_the_sequence() -> None:
    steps = [STEPS[0], {**STEPS[1], "delayDays": 30}]
    async with playing(habits=Habits(0, 0, 0, 0, 1)) as chatty:
        campaign = await chatty.running(20, steps)
        await chatty.pass_ms(20 * DAY_MS)
        figures = await chatty.stats(campaign)
        assert (figures["replied"], figures["queued"], figures["replyRate"]) == (20, 0, 1.0)
        await chatty.pass_ms(20 * DAY_MS)
        assert (await chatty.stats(campaign))["sent"] == 20


async def test_opens_make_the_open_rate() -> None:
    async with playing(habits=Habits(0, 0, 0, 1, 0)) as curious:
        campaign = await curious.running(4, STEPS[:1])
        await curious.pass_ms(2 * DAY_MS)
        assert (await curious.stats(campaign))["openRate"] == 1.0


async def test_replies_come_newest_first_in_pages() -> None:
    async with playing(habits=Habits(0, 0, 0, 0, 1), shapes="guide") as chatty:
        campaign = await chatty.running(30, STEPS[:1])
        await chatty.pass_ms(20 * DAY_MS)
        first = await chatty.call("GET", f"/v1/replies?campaignId={campaign}&perPage=20")
        rest = await chatty.call("GET", f"/v1/replies?campaignId={campaign}&perPage=20&page=2")
        total = (await chatty.truth())["campaigns"][0]["figures"]["replies"]
    assert first["pagination"] == {"total": total, "page": 1, "perPage": 20}
    rows = first["replies"] + rest["replies"]
    assert len({row["id"] for row in rows}) == total >= 30
    assert [row["receivedAt"] for row in rows] == sorted((row["receivedAt"] for row in rows), reverse=True)


async def test_preflight_names_gaps_malformed_addresses_and_duplicates(calm: Playground) -> None:
    campaign = await calm.draft()
    await calm.enroll(campaign, [{"email": "jo@x.org", "firstName": "Jo"}, {"email": "jo@x.org"}])
    bad = {"leads": [{"email": "not an address"}]}
    await calm.call("POST", f"/v1/campaigns/{campaign}/leads/bulk", bad, 422)
    assert await preflight(calm, campaign) == {
        "ok": False,
        "lacking": [],
        "gaps": [{"email": "jo@x.org", "step": 1, "field": "bodyHtml", "tokens": ["company"]}],
        "malformed": ["not an address"],
        "duplicates": [],
        "totals": {"gaps": 1, "malformed": 1, "duplicates": 0},
        "truncated": False,
    }


async def preflight(playground: Playground, campaign: str) -> Any:
    return await playground.call("GET", f"/v1/campaigns/{campaign}/preflight")


async def test_preflight_of_good_leads_finds_nothing(calm: Playground) -> None:
    campaign = await calm.draft()
    await calm.enroll(campaign, people(3))
    assert await preflight(calm, campaign) == {
        "ok": True,
        "lacking": [],
        "gaps": [],
        "malformed": [],
        "duplicates": [],
        "totals": {"gaps": 0, "malformed": 0, "duplicates": 0},
        "truncated": False,
    }


async def test_preflight_is_about_the_latest_upload(calm: Playground) -> None:
    campaign = await calm.draft()
    await calm.enroll(campaign, [*people(1), *people(1)])
    assert (await preflight(calm, campaign))["duplicates"] == ["lead0@example.org"]
    bad = {"leads": [{"email": "not an address"}]}
    await calm.call("POST", f"/v1/campaigns/{campaign}/leads/bulk", bad, 422)
    assert (await preflight(calm, campaign))["malformed"] == ["not an address"]
    await calm.enroll(campaign, people(2))
    assert (await preflight(calm, campaign))["ok"]


@pytest.mark.parametrize(
    ("steps", "leads", "lacking"),
    [
        ([], 0, ["no_leads_enrolled", "no_sequence_steps"]),
        (STEPS, 0, ["no_leads_enrolled"]),
        ([], 1, ["no_sequence_steps"]),
    ],
)
async def test_preflight_names_what_a_start_would_lack(
    calm: Playground, steps: object, leads: int, lacking: list[str]
) -> None:
    campaign = await calm.draft(steps)
    await calm.enroll(campaign, people(leads))
    found = await preflight(calm, campaign)
    assert (found["ok"], found["lacking"]) == (False, lacking)


async def test_preflight_says_when_a_list_is_cut(calm: Playground) -> None:
    campaign = await calm.draft(STEPS[:1])
    await calm.enroll(campaign, [{"email": lead["email"]} for lead in people(501)])
    found = await preflight(calm, campaign)
    assert (len(found["gaps"]), found["totals"]["gaps"], found["truncated"]) == (1000, 1002, True)
    await calm.enroll(campaign, [*people(1001), *people(1001)])
    found = await preflight(calm, campaign)
    assert (len(found["duplicates"]), found["totals"]["duplicates"], found["truncated"]) == (1000, 1001, True)
