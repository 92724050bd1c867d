"""What is kept and not counted: listed without its body, and read again when asked."""

from typing import Any

import pytest

from tests.web.conftest import ADMIN, DAY_MS, KEYS, NOW, Api, Start, bounced, sent, unread

AHEAD = "2025-06-12T09:40:00Z"  # ten minutes more than a day ahead of NOW
STAMPS = {"as_of": "2025-06-11T09:30:00Z", "settled_until": "2025-06-10T22:39:00Z"}


async def rows(api: Api, **params: str | int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await api.json("/v1/quarantine", **params))["data"]
    return found


async def retry(api: Api, body: dict[str, object] | None = None) -> tuple[int, int, int, int]:
    """retried, stored, duplicate, still quarantined."""
    response = await api.ask("POST", "/v1/quarantine/retry", json={} if body is None else body)
    assert response.status_code == 200, response.text
    answer = response.json()
    return answer["retried"], answer["stored"], answer["duplicate"], answer["still_quarantined"]


async def test_rows_are_listed_newest_first_without_their_bodies(api: Api) -> None:
    await api.post(b'{"event": "message.opened", "data": {"email": "jo@example.org"}}')
    api.clock.now += 7
    await api.post(sent(campaign=None), b"not json")
    assert await api.json("/v1/quarantine") == {
        "data": [
            {
                "id": 3,
                "reason": "not_json",
                "detail": "The body is not JSON: invalid literal, expected 'null'.",
                "event": None,
                "campaign_id": None,
                "received_at": "2025-06-11T09:30:00.007Z",
                "size_bytes": 8,
                "copies": 1,
            },
            {
                "id": 2,
                "reason": "campaign_missing",
                "detail": "The campaign is not named.",
                "event": "message.sent",
                "campaign_id": None,
                "received_at": "2025-06-11T09:30:00.007Z",
                "size_bytes": len(sent(campaign=None)),
                "copies": 1,
            },
            {
                "id": 1,
                "reason": "unknown_event",
                "detail": "'event' is not one of Leadterra's four.",
                "event": "message.opened",
                "campaign_id": None,
                "received_at": "2025-06-11T09:30:00Z",
                "size_bytes": 64,
                "copies": 1,
            },
        ],
        "next_cursor": None,
        "as_of": "2025-06-11T09:30:00.007Z",
        "settled_until": "2025-06-10T22:39:00Z",
    }


async def test_equal_bodies_are_one_row_with_copies(api: Api) -> None:
    assert await api.post(unread(), unread(), unread()) == ["quarantined", "duplicate", "duplicate"]
    assert [row["copies"] for row in await rows(api)] == [3]


async def test_rows_are_selected_by_reason(api: Api) -> None:
    await api.post(unread(), b"[]", bounced("m1"), sent("m2", step=1), sent("m2", step=2))
    for reason, expected in (
        ("unknown_event", [1]),
        ("not_json", [2]),
        ("campaign_unknown", [3]),
        ("conflict", [4]),
        ("missing_field", []),
    ):
        assert [row["id"] for row in await rows(api, reason=reason)] == expected, reason


@pytest.mark.parametrize("limit", [1, 2, 3, 6])
@pytest.mark.parametrize("reason", [{}, {"reason": "unknown_event"}])
async def test_pages_visit_every_row_once(api: Api, limit: int, reason: dict[str, str]) -> None:
    await api.post(unread(1), b"1", unread(2), b"2", unread(3), b"3")
    found: list[int] = []
    cursor: dict[str, str] = {}
    while True:
        page = await api.json("/v1/quarantine", **reason, **cursor, limit=limit)
        found += [row["id"] for row in page["data"]]
        if page["next_cursor"] is None:
            break
        assert len(page["data"]) == limit
        cursor = {"cursor": page["next_cursor"]}
    assert found == ([5, 3, 1] if reason else [6, 5, 4, 3, 2, 1])


async def test_what_is_resolved_is_not_listed_any_more(api: Api) -> None:
    await api.post(bounced("m1"))
    assert len(await rows(api)) == 1
    await api.post(sent("m1"))
    assert await rows(api) == []


# Retrying.


@pytest.fixture
async def ahead(start: Start) -> Api:
    """Rows 1 and 2 are ahead of their time and understood ten minutes later, row 3 never."""
    api: Api = await start(key=ADMIN, **KEYS)
    await api.post(sent("m1", AHEAD), sent("m2", AHEAD), unread())
    assert [row["reason"] for row in await rows(api)] == ["unknown_event", "bad_timestamp", "bad_timestamp"]
    return api


async def test_a_retry_answers_exactly(ahead: Api) -> None:
    response = await ahead.ask("POST", "/v1/quarantine/retry", json={})
    counts = {"retried": 3, "stored": 0, "duplicate": 0, "still_quarantined": 3}
    assert response.json() == {**counts, **STAMPS}


async def test_a_retry_before_its_time_changes_nothing(ahead: Api) -> None:
    assert await retry(ahead) == (3, 0, 0, 3)
    assert len(await rows(ahead)) == 3


@pytest.mark.parametrize(
    ("body", "counts", "left"),
    [
        ({}, (3, 2, 0, 1), [3]),
        ({"ids": [1]}, (1, 1, 0, 0), [3, 2]),
        ({"ids": [1, 3]}, (2, 1, 0, 1), [3, 2]),
        ({"ids": [2, 2, 2]}, (1, 1, 0, 0), [3, 1]),
        ({"ids": []}, (0, 0, 0, 0), [3, 2, 1]),
        ({"ids": [77, 2**63 - 1]}, (0, 0, 0, 0), [3, 2, 1]),
        ({"reason": "bad_timestamp"}, (2, 2, 0, 0), [3]),
        ({"reason": "not_json"}, (0, 0, 0, 0), [3, 2, 1]),
    ],
)
async def test_a_retry_takes_ids_a_reason_or_all(
    ahead: Api, body: dict[str, object], counts: tuple[int, ...], left: list[int]
) -> None:
    ahead.clock.now = NOW + 600_000
    assert await retry(ahead, body) == counts
    assert [row["id"] for row in await rows(ahead)] == left


async def test_what_a_retry_understands_is_counted(ahead: Api) -> None:
    ahead.clock.now = NOW + 600_000
    await retry(ahead)
    assert (await ahead.json("/v1/campaigns/a"))["observed"]["sent"] == 2
    assert await retry(ahead) == (1, 0, 0, 1)


async def test_a_retry_of_a_resolved_row_does_nothing(ahead: Api) -> None:
    ahead.clock.now = NOW + 600_000
    assert await retry(ahead, {"ids": [1]}) == (1, 1, 0, 0)
    assert await retry(ahead, {"ids": [1]}) == (0, 0, 0, 0)


async def test_waiting_events_and_conflicts_stay_listed(admin: Api) -> None:
    await admin.post(bounced("m1"), sent("m2", step=1), sent("m2", step=2))
    assert await retry(admin) == (2, 0, 0, 2)
    assert [row["reason"] for row in await rows(admin)] == ["conflict", "campaign_unknown"]


async def test_more_rows_than_one_transaction_takes_are_all_read(admin: Api) -> None:
    bodies = [unread(number) for number in range(501)]
    await admin.post(*bodies)
    assert await retry(admin) == (501, 0, 0, 501)
    assert await retry(admin, {"ids": list(range(1, 502))}) == (501, 0, 0, 501)


async def test_a_retry_moves_the_entity_tag(ahead: Api) -> None:
    before = (await ahead.get("/v1/quarantine")).headers["etag"]
    await retry(ahead)
    assert (await ahead.get("/v1/quarantine")).headers["etag"] != before


async def test_a_body_a_day_later_is_understood_by_itself(ahead: Api) -> None:
    ahead.clock.now = NOW + DAY_MS
    service = ahead.service
    await service.writer.exclusively(lambda: service.database.store.retry_due(ahead.clock.now))
    assert [row["id"] for row in await rows(ahead)] == [3]
