"""What is asked of which campaign and of which time is understood alike wherever it can be asked."""

import pytest

from receiver.figures import OBSERVED
from receiver.storage.sqlite import reconciliation as rows
from tests.web.conftest import Api, invalid, problem, sent

OF_A_CAMPAIGN = [
    "/v1/campaigns/{}", "/v1/campaigns/{}/steps", "/v1/campaigns/{}/drift", "/v1/series?campaign_id={}",
    "/v1/bounces?campaign_id={}", "/v1/replies?campaign_id={}", "/v1/events?campaign_id={}",
    "/v1/explain?figure=sent&campaign_id={}", "/v1/campaigns/{}/steps?format=csv",
    "/v1/series?campaign_id={}&format=csv", "/v1/bounces?campaign_id={}&format=csv",
    "/v1/replies?campaign_id={}&format=ndjson", "/v1/events?campaign_id={}&format=csv",
]  # fmt: skip
OF_A_TIME = [
    ("/v1/series?", "from", "to"), ("/v1/summary?", "from", "to"), ("/v1/bounces?", "from", "to"),
    ("/v1/replies?", "from", "to"), ("/v1/events?", "from", "to"), ("/v1/explain?figure=sent&", "from", "to"),
    ("/v1/campaigns?", "active_from", "active_to"),
]  # fmt: skip


@pytest.mark.parametrize("path", OF_A_CAMPAIGN)
@pytest.mark.parametrize("campaign", ["nobody", "A", "a'--"])
async def test_a_campaign_that_is_not_known_is_not_found(api: Api, path: str, campaign: str) -> None:
    await api.post(sent(campaign="a"))
    text = f"No event of campaign '{campaign}' has been seen here."
    expected = problem(404, "Not Found", "campaign_not_found", text)
    assert await api.refused(path.format(campaign), 404) == expected


@pytest.mark.parametrize("path", OF_A_CAMPAIGN)
async def test_a_campaign_that_is_only_asked_about_is_known_once_leadterra_answers(api: Api, path: str) -> None:
    number = await api.service.database.store.transact(lambda conn: rows.add_campaign(conn, "asked"))
    assert (await api.refused(path.format("asked"), 404))["code"] == "campaign_not_found"
    await api.service.database.store.transact(
        lambda conn: conn.execute("INSERT INTO polls (campaign, answered_at) VALUES (?, 0)", (number,))
    )
    assert (await api.get(path.format("asked"))).status_code == 200


async def test_a_campaign_without_events_has_no_totals_and_zeros_over_time(admin: Api) -> None:
    await admin.ask("POST", "/v1/campaigns", json={"campaign_id": "asked"})
    assert set((await admin.json("/v1/campaigns/asked"))["observed"].values()) == {None}
    for figure in OBSERVED:
        path = f"/v1/explain?figure={figure}&campaign_id=asked"
        assert (await admin.json(path))["counted"] is None
        assert (await admin.json(f"{path}&from=2025-06-11"))["counted"] == 0
    series = (await admin.json("/v1/series?campaign_id=asked&from=2025-06-10&to=now"))["data"]
    assert [(row["sent"], row["bounced"], row["replied"]) for row in series] == [(None,) * 3, (0,) * 3]
    assert (await admin.json("/v1/campaigns/asked/steps"))["data"] == []
    assert (await admin.json("/v1/bounces?campaign_id=asked"))["data"] == []


@pytest.mark.parametrize(("path", "first", "last"), OF_A_TIME)
async def test_a_range_upside_down_is_refused(api: Api, path: str, first: str, last: str) -> None:
    text = f"'{first}' is '2025-06-12'; use a time that is not after '{last}', which is '2025-06-11'."
    assert await api.refused(f"{path}{first}=2025-06-12&{last}=2025-06-11") == invalid(first, text)
    assert (await api.get(f"{path}{first}=2025-06-11&{last}=2025-06-11")).status_code == 200


@pytest.mark.parametrize(("path", "first", "last"), OF_A_TIME)
async def test_a_time_outside_the_calendar_is_refused(api: Api, path: str, first: str, last: str) -> None:
    for name, time in ((first, "0001-12-31"), (last, "9999-01-01T00:00:00Z")):
        text = f"'{name}' is '{time}'; use a year from 2 to 9998."
        assert await api.refused(f"{path}{name}={time}") == invalid(name, text)
