"""Bounces by reason, domain, type and step, and replies by class: what is answered, and that nothing is left out."""

import csv
import io
import json
from typing import Any

import pytest

from tests.web.conftest import Api, Start, body, bounced, invalid, replied, sent

HOSTILE = [
    "x" * 10_000,
    "\u202e\u2066gnorw si gnihtyreve",
    "line\x00one\r\nline\x1btwo\x9b\x7f",
    "'; DROP TABLE bounces; --",
    '=HYPERLINK("http://x","y")',
    "jo.doe@example.org is unknown",
    "<script>alert(1)</script>",
    "😀 \u0301\ufeff",
]
NEVER = "RFC 3339 with offset, a date, epoch milliseconds, now, or -30m, -6h, -7d, -2w"


def bounce(message: str, at: str = "09:05", reason: str | None = None, to: str | None = None, **more: Any) -> bytes:
    fields = {"campaignId": "a", "sequenceStep": 1, "bounceType": "hard", **more}
    return body("message.bounced", at, messageId=message, bounceReason=reason, to=to, **fields)


@pytest.fixture
async def filled(api: Api) -> Api:
    await api.post(
        sent("m1"), sent("m2", step=2), sent("m3", campaign="b"),
        bounce("m1", reason="550 5.1.1 gone", to="jo@example.org"),
        bounce("m2", "09:20", "550 5.1.1 no such user", "al@example.net", bounceType="soft"),
        bounce("m2", "09:29", "Mailbox full", "al@example.net"),
        bounce("m3", "09:16", None, "bo@example.org", campaignId="b", bounceType="soft"),
        bounce("m4", "08:00", "5.1.1", sequenceStep=None),
        replied("r1", kind="interested"), replied("r2", "09:25", lead="al@example.org", kind="out_of_office"),
        replied("r3", "09:28", kind="out_of_office"), replied("r4", campaign="b", lead=None),
    )  # fmt: skip
    return api


async def groups(api: Api, by: str, **params: str | int) -> dict[Any, tuple[int, int, int, float | None]]:
    rows = (await api.json("/v1/bounces", group_by=by, **params))["data"]
    return {row[by]: (row["bounced"], row["bounced_hard"], row["bounced_soft"], row["share"]) for row in rows}


async def test_bounces_are_answered_exactly(filled: Api) -> None:
    assert await filled.json("/v1/bounces") == {
        "query": {"from": None, "to": None, "campaign_id": None, "group_by": "reason"},
        "data": [
            {"reason": "5.1.1", "bounced": 2, "bounced_hard": 2, "bounced_soft": 0, "share": 0.5},
            {"reason": "mailbox full", "bounced": 1, "bounced_hard": 1, "bounced_soft": 0, "share": 0.25},
            {"reason": None, "bounced": 1, "bounced_hard": 0, "bounced_soft": 1, "share": 0.25},
        ],
        "other": None,
        "as_of": "2025-06-11T09:30:00Z",
        "settled_until": "2025-06-10T22:39:00Z",
    }


async def test_bounces_are_grouped_by_what_is_asked(filled: Api) -> None:
    assert await groups(filled, "type") == {"hard": (3, 3, 0, 0.75), "soft": (1, 0, 1, 0.25)}
    assert await groups(filled, "domain") == {
        "example.org": (2, 1, 1, 0.5), "example.net": (1, 1, 0, 0.25), None: (1, 1, 0, 0.25),
    }  # fmt: skip
    assert await groups(filled, "step") == {1: (2, 1, 1, 0.5), 2: (1, 1, 0, 0.25), None: (1, 1, 0, 0.25)}
    assert await groups(filled, "step", campaign_id="b") == {1: (1, 0, 1, 1.0)}


async def test_a_soft_bounce_is_taken_back_where_it_turns_hard(filled: Api) -> None:
    params = {"from": "2025-06-11T09:15:00Z", "to": "2025-06-11T09:30:00Z"}
    assert await groups(filled, "type", **params, campaign_id="a") == {"hard": (1, 1, 0, 1.0)}
    later = {"from": "2025-06-11T09:00:00Z", "to": "2025-06-11T09:15:00Z"}
    assert await groups(filled, "reason", **later) == {"5.1.1": (1, 1, 0, 1.0)}


async def test_the_share_is_null_when_nothing_bounced(filled: Api) -> None:
    await filled.post(bounce("x", "07:10", "a", bounceType="soft"), bounce("x", "07:50", "a"))
    late = {"from": "2025-06-11T07:45:00Z", "to": "2025-06-11T08:00:00Z"}
    assert await groups(filled, "reason", **late) == {"a": (0, 1, -1, None)}
    assert await groups(filled, "reason", **{"from": "now"}) == {}


async def test_times_are_taken_to_quarters_of_an_hour_and_said(filled: Api) -> None:
    for path in ("/v1/bounces", "/v1/replies"):
        answer = await filled.json(path, **{"from": "2025-06-11T09:04:59Z", "to": "2025-06-11T09:15:00.001Z"})
        assert answer["query"]["from"] == "2025-06-11T09:00:00Z"
        assert answer["query"]["to"] == "2025-06-11T09:30:00Z"
        exact = await filled.json(path, **{"from": "2025-06-11T09:00:00Z", "to": "2025-06-11T09:15:00Z"})
        assert (exact["query"]["from"], exact["query"]["to"]) == ("2025-06-11T09:00:00Z", "2025-06-11T09:15:00Z")


@pytest.mark.parametrize(
    ("given", "floored", "raised"),
    [
        ("0002-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
        ("9998-12-30T23:59:59Z", "9998-12-30T23:45:00Z", "9998-12-31T00:00:00Z"),
        ("99999999999999", "5138-11-16T09:45:00Z", "5138-11-16T10:00:00Z"),
    ],
)
async def test_times_out_of_all_bounds_are_taken_as_far_as_they_go(
    filled: Api, given: str, floored: str, raised: str
) -> None:
    assert (await filled.json("/v1/bounces", **{"from": given}))["query"]["from"] == floored
    assert (await filled.json("/v1/bounces", to=given))["query"]["to"] == raised


@pytest.mark.parametrize("by", ["type", "reason", "domain", "step"])
@pytest.mark.parametrize("params", [{}, {"from": "2025-06-11T09:15:00Z"}, {"to": "-20m"}, {"campaign_id": "a"}])
async def test_groups_and_the_rest_are_all_bounces(filled: Api, by: str, params: dict[str, str]) -> None:
    counted = await filled.json("/v1/explain", figure="bounced", **params)
    answer = await filled.json("/v1/bounces", group_by=by, limit=1, **params)
    parts = [*answer["data"], *([answer["other"]] if answer["other"] else [])]
    assert sum(part["bounced"] for part in parts) == counted["counted"] > 0
    assert all(part["bounced"] == part["bounced_hard"] + part["bounced_soft"] for part in parts)


async def test_what_is_beyond_the_limit_is_together(filled: Api) -> None:
    answer = await filled.json("/v1/bounces", limit=1)
    assert [row["reason"] for row in answer["data"]] == ["5.1.1"]
    assert answer["other"] == {"bounced": 2, "bounced_hard": 1, "bounced_soft": 1, "share": 0.5, "groups": 2}
    replies = await filled.json("/v1/replies", limit=1)
    assert replies["other"] == {"replies": 2, "replied": 1, "groups": 2}


async def test_csv_has_every_group_unless_a_limit_is_given(filled: Api) -> None:
    await filled.post(*(bounce(f"n{n}", to=f"jo@d{n}.org") for n in range(120)))
    whole = (await filled.get("/v1/bounces?format=csv&group_by=domain")).text.splitlines()
    assert len(whole) == 124
    assert sum(int(row["bounced"]) for row in csv.DictReader(io.StringIO("\n".join(whole)))) == 124
    assert len((await filled.get("/v1/bounces?format=csv&group_by=domain&limit=7")).text.splitlines()) == 8
    answer = await filled.json("/v1/bounces", group_by="domain")
    assert (len(answer["data"]), answer["other"]["groups"]) == (100, 23)


@pytest.mark.parametrize(
    ("by", "first"),
    [("type", "hard,3,3,0,0.75"), ("domain", "example.org,2,1,1,0.5"), ("step", "1,2,1,1,0.5")],
)
async def test_csv_has_the_column_of_its_group(filled: Api, by: str, first: str) -> None:
    text = (await filled.get(f"/v1/bounces?format=csv&group_by={by}")).text
    assert text.startswith(f"{by},bounced,bounced_hard,bounced_soft,share\r\n{first}\r\n")


async def test_replies_are_answered_exactly(filled: Api) -> None:
    answer = await filled.json("/v1/replies")
    assert answer["query"] == {"from": None, "to": None, "campaign_id": None}
    assert answer["data"] == [
        {"classification": "out_of_office", "replies": 2, "replied": 1},
        {"classification": "interested", "replies": 1, "replied": 1},
        {"classification": None, "replies": 1, "replied": 0},
    ]
    in_b = await filled.json("/v1/replies", campaign_id="b")
    assert in_b["data"] == [{"classification": None, "replies": 1, "replied": 0}]


@pytest.mark.parametrize("kind", ["reason", "domain", "class"])
async def test_hostile_texts_come_back_whole_in_json_and_csv(api: Api, kind: str) -> None:
    if kind == "class":
        given = [text[:512] for text in HOSTILE]
        await api.post(*(replied(f"r{n}", lead=f"l{n}@example.org", kind=text) for n, text in enumerate(given)))
        path, name = "/v1/replies?limit=2000", "classification"
    else:
        where = {"reason": "reason", "domain": "to"}[kind]
        given = [text if kind == "reason" else f"jo@{text[:200]}" for text in HOSTILE]
        await api.post(*(bounce(f"m{n}", **{where: text}) for n, text in enumerate(given)))
        path, name = f"/v1/bounces?limit=2000&group_by={kind}", kind
    rows = (await api.json(path))["data"]
    read = list(csv.DictReader(io.StringIO((await api.get(f"{path}&format=csv")).content.decode(), newline="")))
    as_cells = [row[name] or "" for row in rows]
    assert [row[name].removeprefix("'") for row in read] == [cell.removeprefix("'") for cell in as_cells]
    assert not [row[name] for row in read if row[name][:1] in set("=+-@\t\r") - {""}]
    lines = (await api.get(f"{path}&format=ndjson")).content.decode().splitlines()
    assert [json.loads(line) for line in lines] == rows
    counted = "replies" if kind == "class" else "bounced"
    assert sum(row[counted] for row in rows) == len(HOSTILE)
    assert "jo.doe" not in json.dumps(rows)


@pytest.mark.parametrize("path", ["/v1/bounces", "/v1/replies", "/v1/explain"])
@pytest.mark.parametrize(
    ("query", "parameter", "text"),
    [
        ("from=never", "from", f"'from' is 'never'; use {NEVER}."),
        ("to=2025-13-01", "to", f"'to' is '2025-13-01'; use {NEVER}."),
        ("campaign_id=", "campaign_id", "'campaign_id' is ''; use a campaign id of 1 to 128 characters."),
        ("from=1&from=2", "from", "'from' is given as '1' and as '2'; give it once."),
    ],
)  # fmt: skip
async def test_a_bad_range_is_refused(api: Api, path: str, query: str, parameter: str, text: str) -> None:
    more = "&figure=sent" if path == "/v1/explain" else ""
    assert await api.refused(f"{path}?{query}{more}") == invalid(parameter, text)


@pytest.mark.parametrize(
    ("query", "parameter", "text"),
    [
        ("group_by=Reason", "group_by", "'group_by' is 'Reason'; use type, reason, domain or step."),
        ("group_by=reason'--", "group_by", "'group_by' is 'reason'--'; use type, reason, domain or step."),
        ("limit=1e9", "limit", "'limit' is '1e9'; use 1 to 2000."),
        ("limit=٣", "limit", "'limit' is '٣'; use 1 to 2000."),
        ("step=1", "step", "'step' is not a parameter here; known are: group_by, from, to, "
         "campaign_id, limit, format."),
    ],
)  # fmt: skip
async def test_a_bad_query_of_bounces_is_refused(api: Api, query: str, parameter: str, text: str) -> None:
    assert await api.refused(f"/v1/bounces?{query}") == invalid(parameter, text)


async def test_addresses_are_masked_wherever_texts_of_others_are_shown(start: Start) -> None:
    for shown in (False, True):
        api = await start(RECEIVER_ACCESS__SHOW_RECIPIENTS=json.dumps(shown))
        opened = b'{"event": "jo.doe@example.org", "data": {}}'
        await api.post(sent("<jo.doe@example.org>"), bounced("<jo.doe@example.org>"), opened)
        await api.post(
            body("campaign.started", "09:00", campaign={"id": "a", "name": "for jo.doe@example.org"}),
            replied("r1", kind="ask jo.doe＠example.org"),
            bounce("m7", reason="jo.doe%40example.org full"),
        )
        paths = ("campaigns", "events", "quarantine", "replies", "bounces", "explain?figure=sent", "campaigns/a")
        for path in paths:
            found = [(await api.get(f"/v1/{path}")).text]
            if path in ("campaigns", "events", "quarantine", "replies", "bounces"):
                found += [(await api.get(f"/v1/{path}?format={name}")).text for name in ("csv", "ndjson")]
            for text in found:
                assert ("jo.doe" in text) is (shown and path != "bounces"), (path, text)
                assert shown or path == "bounces" or "j***" in text
