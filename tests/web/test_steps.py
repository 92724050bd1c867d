"""A campaign's figures by step."""

from typing import Any

from receiver.figures import OBSERVED, REPLY_RATES, rate
from tests.web.conftest import Api, bounced, replied, sent, started
from tests.web.test_campaigns import CAMPAIGNS, _world

NO_RATE = {"value": None, "numerator": 0, "denominator": 0}

Row = dict[str, Any]


async def steps(api: Api, campaign: str = "a") -> dict[int | None, Row]:
    rows = (await api.json(f"/v1/campaigns/{campaign}/steps"))["data"]
    return {row["step"]: row for row in rows}


async def test_a_step_is_answered_exactly(api: Api) -> None:
    await api.post(sent("m1", step=0), sent("m2", step=0), bounced("m1", kind="soft"), replied(message="m2"))
    assert await api.json("/v1/campaigns/a/steps") == {
        "data": [
            {
                "step": 0,
                "sent": 2,
                "attempted": 2,
                "accepted": 1,
                "contacted": 2,
                "bounced": 1,
                "bounced_hard": 0,
                "bounced_soft": 1,
                "replies": 1,
                "replied": 1,
                "replied_human": 1,
                "rates": {
                    "bounce_rate": {"value": 0.5, "numerator": 1, "denominator": 2},
                    "hard_bounce_rate": {"value": 0.0, "numerator": 0, "denominator": 2},
                    "reply_rate": {"value": 1.0, "numerator": 1, "denominator": 1},
                    "lead_reply_rate": {"value": 0.5, "numerator": 1, "denominator": 2},
                    "human_reply_rate": {"value": 0.5, "numerator": 1, "denominator": 2},
                },
            }
        ],
        "as_of": "2025-06-11T09:30:00Z",
        "settled_until": "2025-06-10T22:39:00Z",
    }


async def test_steps_come_in_order_and_the_unknown_one_last(api: Api) -> None:
    await api.post(sent("m1", step=None), sent("m2", step=2**31 - 1), sent("m3", step=10), sent("m4", step=2))
    assert list(await steps(api)) == [2, 10, 2**31 - 1, None]


async def test_only_the_lowest_step_with_a_send_is_contacted(api: Api) -> None:
    await api.post(bounced("m0", campaign="a", step=0), sent("m1", step=2), sent("m2", step=3), sent("m3", step=None))
    found = {step: row["contacted"] for step, row in (await steps(api)).items()}
    assert found == {0: 0, 2: 1, 3: 0, None: 0}
    assert (await steps(api))[3]["rates"]["lead_reply_rate"] == NO_RATE


async def test_a_lower_step_that_arrives_later_takes_the_contacts_over(api: Api) -> None:
    await api.post(sent("m2", step=2))
    assert (await steps(api))[2]["contacted"] == 1
    await api.post(sent("m1", step=1), sent("m0", step=1))
    assert {step: row["contacted"] for step, row in (await steps(api)).items()} == {1: 2, 2: 0}
    assert (await api.json("/v1/campaigns/a"))["observed"]["contacted"] == 2


async def test_messages_without_a_step_are_contacted_only_if_no_other_is(api: Api) -> None:
    await api.post(sent("m1", step=None), sent("m2", step=None))
    assert {step: row["contacted"] for step, row in (await steps(api)).items()} == {None: 2}


async def test_a_start_alone_makes_no_step(api: Api) -> None:
    await api.post(started())
    assert await steps(api) == {}


async def test_a_step_that_lost_its_last_message_is_not_shown(api: Api) -> None:
    await api.post(bounced("m1", campaign="a"))
    assert list(await steps(api)) == [None]
    await api.post(sent("m1", step=3))
    assert list(await steps(api)) == [3]


async def test_reply_rates_of_steps_are_null_when_a_reply_names_no_message(api: Api) -> None:
    await api.post(sent("m1"), sent("m2", step=2), bounced("m2"), replied("r1", message="m1"))
    assert (await steps(api))[1]["rates"]["reply_rate"] == {"value": 1.0, "numerator": 1, "denominator": 1}
    await api.post(replied("r2", lead="al@example.org"))
    for row in (await steps(api)).values():
        assert [row["rates"][name] for name in REPLY_RATES] == [rate(None, None)] * 3
    assert (await steps(api))[2]["rates"]["bounce_rate"] == {"value": 1.0, "numerator": 1, "denominator": 1}
    whole = (await api.json("/v1/campaigns/a"))["rates"]
    assert whole["reply_rate"] == {"value": 2.0, "numerator": 2, "denominator": 1}
    await api.post(sent("m3", campaign="b"), replied("r3", campaign="b", message="m3"))
    assert (await steps(api, "b"))[1]["rates"]["reply_rate"]["value"] == 1.0


async def test_totals_are_the_sums_of_the_steps(api: Api) -> None:
    await api.post(*_world())
    for campaign in CAMPAIGNS:
        total = (await api.json(f"/v1/campaigns/{campaign}"))["observed"]
        rows = (await steps(api, campaign)).values()
        for figure in OBSERVED:
            if figure != "starts":
                assert sum(row[figure] for row in rows) == total[figure], (campaign, figure)
