"""Runs, drift and campaigns by hand: every refusal, and what is told before anything was compared."""

import pytest

from receiver.web import insights
from tests.web.conftest import ADMIN, DAY_MS, KEYS, LEADTERRA, Api, Start, bounced, invalid, problem, sent

STAMPS = {"as_of": "2025-06-11T09:30:00Z", "settled_until": "2025-06-10T22:39:00Z"}
NO_EVIDENCE = {"intervals": 0, "campaigns": 0, "pinned": False}
IDS = "1 to 128 letters, digits and _ . : -"


@pytest.fixture
async def asking(start: Start) -> Api:
    """With an API key, and a Leadterra that does not answer."""
    found: Api = await start(key=ADMIN, **KEYS, **LEADTERRA)
    return found


async def test_before_any_snapshot_everything_is_unknown(api: Api) -> None:
    await api.post(sent())
    assert await api.json("/v1/drift") == {
        "data": [
            {
                "campaign_id": "a",
                "status": "unknown",
                "sent": None,
                "bounced": None,
                "replied": None,
                "snapshot_at": None,
            }
        ],
        "gaps": [],
        "alarms": [],
        "definitions": {
            "sent": "undetermined",
            "bounced": "undetermined",
            "replied": "undetermined",
            "evidence": {
                "sent": {**NO_EVIDENCE, "fits": {"sent": 0, "delivered": 0, "delivered+bounced": 0}},
                "bounced": {**NO_EVIDENCE, "fits": {"any": 0, "hard": 0}},
                "replied": {**NO_EVIDENCE, "fits": {"all": 0, "human": 0}},
            },
        },
        "timestamps": "undetermined",
        "quarantined_unattributed": 0,
        "next_cursor": None,
        **STAMPS,
    }


async def test_a_pinned_meaning_is_told_as_such(start: Start) -> None:
    api = await start(RECEIVER_RECONCILE__BOUNCED_MEANS="hard")
    found = (await api.json("/v1/drift"))["definitions"]
    assert (found["bounced"], found["evidence"]["bounced"]["pinned"]) == ("hard", True)
    assert (found["sent"], found["evidence"]["sent"]["pinned"]) == ("undetermined", False)


@pytest.mark.parametrize("path", ["/v1/campaigns/nobody/drift", "/v1/campaigns/nobody/steps", "/v1/campaigns/nobody"])
async def test_an_unknown_campaign_is_404(api: Api, path: str) -> None:
    assert (await api.refused(path, 404))["code"] == "campaign_not_found"


@pytest.mark.parametrize(
    ("query", "parameter", "detail"),
    [
        ("status=bad", "status", "'status' is 'bad'; use in_sync, settling, missing, surplus or unknown."),
        ("gaps=some", "gaps", "'gaps' is 'some'; use all, open or none."),
        ("cursor=x", "cursor", "'cursor' is 'x'; use a next_cursor of an earlier answer."),
        ("limit=0", "limit", "'limit' is '0'; use 1 to 2000."),
    ],
)
async def test_wrong_parameters_of_drift_are_400(api: Api, query: str, parameter: str, detail: str) -> None:
    assert await api.refused(f"/v1/drift?{query}") == invalid(parameter, detail)


async def test_without_an_api_key_no_run_can_be_asked_for(admin: Api) -> None:
    response = await admin.ask("POST", "/v1/reconciliations")
    text = "Setting 'leadterra.api_key' is not set, so Leadterra cannot be asked; set it."
    assert response.json() == problem(409, "Conflict", "reconciliation_off", text)


async def test_checks_come_in_the_documented_order(start: Start, admin: Api) -> None:
    url = "/v1/reconciliations"
    analyst = {"Authorization": "Bearer rcv_analyst"}
    assert (await admin.client.post(url)).status_code == 401
    assert (await admin.client.post(url, headers=analyst, json=[])).status_code == 403
    assert (await admin.ask("POST", f"{url}?wait=1", json={"campaign_ids": ["x"]})).status_code == 400
    assert (await admin.ask("POST", url, json={"campaign_ids": ["x"]})).json()["code"] == "campaign_not_found"


@pytest.mark.parametrize("ids", [[], ["a b"], ["x" * 129], [1], "a", [None]])
async def test_wrong_campaign_ids_are_400(admin: Api, ids: object) -> None:
    response = await admin.ask("POST", "/v1/reconciliations", json={"campaign_ids": ids})
    assert (response.status_code, response.json()["parameter"]) == (400, "campaign_ids")


async def test_a_run_that_gets_no_answer_is_recorded_with_the_reason(asking: Api) -> None:
    await asking.post(sent())
    response = await asking.ask("POST", "/v1/reconciliations?wait=true")
    run = response.json()
    insights.ReconciliationAnswer.model_validate(run)
    assert (response.status_code, run["status"], run["failed"], run["trigger"]) == (200, "failed", 1, "request")
    assert [(error["campaign_id"], error["reason"]) for error in run["errors"]] == [("a", "unreachable")]
    (row,) = (await asking.json("/v1/reconciliations"))["data"]
    assert row == {name: run[name] for name in row}
    assert (await asking.json("/v1/campaigns/a"))["drift"]["status"] == "unknown"
    text = (await asking.get("/metrics")).text
    assert 'receiver_reconcile_runs_total{status="failed"} 1.0' in text
    assert "receiver_reconcile_last_run_timestamp_seconds 1.7496342e+09" in text


async def test_a_run_without_waiting_is_accepted(asking: Api) -> None:
    response = await asking.ask("POST", "/v1/reconciliations")
    assert (response.status_code, response.json()["status"]) == (202, "running")
    reconciler = asking.service.reconciliation.reconciler
    assert reconciler is not None
    await reconciler.wait()


async def test_adding_a_campaign_twice_answers_the_same(admin: Api) -> None:
    body = {"campaign_id": "by-hand", "name": "By hand"}
    first, second = [await admin.ask("POST", "/v1/campaigns", json=body) for _ in range(2)]
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json() == await admin.json("/v1/campaigns/by-hand")
    assert set(first.json()["observed"].values()) == {None}
    assert (first.json()["provider"], first.json()["activity"]) == (None, "quiet")
    assert [row["campaign_id"] for row in (await admin.json("/v1/campaigns?activity=quiet"))["data"]] == ["by-hand"]


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({}, f"'campaign_id' is missing; use {IDS}."),
        ({"campaign_id": "a/b"}, f"'campaign_id' is 'a/b'; use {IDS}."),
        ({"campaign_id": "a\n"}, f"'campaign_id' is 'a\n'; use {IDS}."),
        ({"campaign_id": 1}, f"'campaign_id' is '1'; use {IDS}."),
    ],
)
async def test_a_campaign_needs_an_id(admin: Api, body: dict[str, object], detail: str) -> None:
    response = await admin.ask("POST", "/v1/campaigns", json=body)
    assert (response.status_code, response.json()) == (400, invalid("campaign_id", detail))


async def test_bounces_that_nobody_claims_are_a_metric(api: Api) -> None:
    await api.post(bounced("waits"))
    assert "receiver_bounced_unattributed 0.0" in (await api.get("/metrics")).text
    api.clock.now += DAY_MS
    assert "receiver_bounced_unattributed 1.0" in (await api.get("/metrics")).text
