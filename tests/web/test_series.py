"""Figures over time as they are asked and answered: shapes, trust, refusals."""

import csv
import io
from typing import Any

import pytest

from receiver.figures import OBSERVED
from tests.web.conftest import DAY_MS, NOW, Api, Start, bounced, invalid, problem, replied, sent, started
from tests.web.test_campaigns import CAMPAIGNS, _world

FIGURES = (
    "a comma list, each once, of sent, attempted, accepted, contacted, bounced, bounced_hard, bounced_soft, replies, "
    "replied, replied_human, starts"
)
TIMES = "RFC 3339 with offset, a date, epoch milliseconds, now, or -30m, -6h, -7d, -2w"
HOUR_MS = 3_600_000
TRUST = ("lost", "ended", "settled", "receiver_up", "coverage")

Row = dict[str, Any]


async def rows(api: Api, query: str) -> list[Row]:
    found: list[Row] = (await api.json(f"/v1/series?{query}"))["data"]
    return found


def only(found: list[Row], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in names) for row in found]


@pytest.fixture
async def told(api: Api) -> Api:
    await api.post(
        started("a"), sent("m1", "08:50"), sent("m2", "09:10", step=2), sent("m3", "09:10", "b", None),
        bounced("m2", "09:20", "soft"), replied("r1", "09:25", message="m1"), replied("r2", "09:25", "b", "b@x.org"),
    )  # fmt: skip
    return api


async def test_a_series_is_answered_exactly(told: Api) -> None:
    told.clock.now += HOUR_MS
    assert await told.json("/v1/series?interval=day&timezone=Europe/Berlin&from=2025-06-10&to=2025-06-12") == {
        "query": {
            "figures": ["sent", "bounced", "replied"],
            "interval": "day",
            "timezone": "Europe/Berlin",
            "from": "2025-06-10T00:00:00+02:00",
            "to": "2025-06-12T00:00:00+02:00",
            "campaign_id": None,
            "group_by": None,
            "basis": "event",
        },
        "data": [
            {
                "time": "2025-06-10T00:00:00+02:00",
                "sent": None,
                "bounced": None,
                "replied": None,
                "lost": None,
                "ended": True,
                "settled": True,
                "receiver_up": None,
                "coverage": None,
            },
            {
                "time": "2025-06-11T00:00:00+02:00",
                "sent": 3,
                "bounced": 1,
                "replied": 2,
                "lost": 0,
                "ended": False,
                "settled": False,
                "receiver_up": 0.0,
                "coverage": None,
            },
        ],
        "as_of": "2025-06-11T10:30:00Z",
        "settled_until": "2025-06-10T23:39:00Z",
    }


async def test_a_month_by_days_is_asked_unless_something_else_is(told: Api) -> None:
    found = await told.json("/v1/series")
    assert found["query"] == {
        "figures": ["sent", "bounced", "replied"],
        "interval": "day",
        "timezone": "UTC",
        "from": "2025-05-12T00:00:00+00:00",
        "to": "2025-06-12T00:00:00+00:00",
        "campaign_id": None,
        "group_by": None,
        "basis": "event",
    }
    assert len(found["data"]) == 31


async def test_a_range_is_widened_to_whole_buckets(told: Api) -> None:
    query = "interval=month&from=2025-05-31T23:59:59Z&to=2025-06-01T00:00:00.001Z&timezone=Asia/Kathmandu"
    found = (await told.json(f"/v1/series?{query}"))["query"]
    assert (found["from"], found["to"]) == ("2025-06-01T00:00:00+05:45", "2025-07-01T00:00:00+05:45")


async def test_an_empty_range_has_no_rows(told: Api) -> None:
    found = await told.json("/v1/series?from=2025-06-11&to=2025-06-11&basis=send")
    assert (found["data"], found["query"]["from"]) == ([], found["query"]["to"])


async def test_a_group_is_a_column_and_every_group_is_in_every_bucket(told: Api) -> None:
    found = await rows(told, "interval=hour&from=2025-06-11T08:00:00Z&to=2025-06-11T10:00:00Z&group_by=campaign")
    assert only(found, "time", "campaign_id", "sent") == [
        ("2025-06-11T08:00:00+00:00", "a", 1),
        ("2025-06-11T08:00:00+00:00", "b", None),
        ("2025-06-11T09:00:00+00:00", "a", 1),
        ("2025-06-11T09:00:00+00:00", "b", 1),
    ]


async def test_the_step_that_is_not_known_comes_last_and_only_where_it_counts(told: Api) -> None:
    found = await rows(told, "interval=15m&from=2025-06-11T09:00:00Z&to=2025-06-11T09:30:00Z&group_by=step")
    assert only(found, "time", "step", "sent", "bounced", "replied", "lost") == [
        ("2025-06-11T09:00:00+00:00", 1, None, None, None, None),
        ("2025-06-11T09:00:00+00:00", 2, 1, None, None, None),
        ("2025-06-11T09:00:00+00:00", None, 1, None, None, None),
        ("2025-06-11T09:15:00+00:00", 1, None, None, 1, None),
        ("2025-06-11T09:15:00+00:00", 2, None, 1, None, None),
        ("2025-06-11T09:15:00+00:00", None, None, None, 1, None),
    ]


async def test_by_send_replies_to_nothing_come_last_without_a_time(told: Api) -> None:
    found = await rows(told, "interval=hour&from=2025-06-11T08:00:00Z&to=now&basis=send")
    assert only(found, "time", "sent", "bounced", "replied", "settled") == [
        ("2025-06-11T08:00:00+00:00", 1, None, 1, None),
        ("2025-06-11T09:00:00+00:00", 2, 1, 0, None),
        (None, 0, 0, 1, None),
    ]
    assert all(found[-1][name] is None for name in TRUST)
    grouped = await rows(told, "from=2025-06-11&to=now&basis=send&group_by=campaign")
    assert only(grouped, "time", "campaign_id", "replied")[2:] == [(None, "b", 1)]
    assert len(await rows(told, "from=2025-06-11&to=now&basis=send&campaign_id=a")) == 1
    elsewhere = await rows(told, "from=2025-05-01&to=2025-05-02&basis=send&group_by=campaign")
    assert only(elsewhere, "time", "campaign_id", "replied") == [(None, "b", 1)]


async def test_starts_have_no_send(told: Api) -> None:
    found = await rows(told, "from=-1d&basis=send&figures=starts,sent")
    assert only(found, "sent", "starts") == [(None, None), (3, None)]


async def test_contacts_of_all_campaigns_are_the_sum_of_theirs_whatever_step_they_begin_with(api: Api) -> None:
    await api.post(
        sent("a2", step=2), sent("c2", campaign="c", step=2), sent("c3", campaign="c", step=3),
        sent("b1", campaign="b"), sent("b2", campaign="b", step=2), sent("d0", campaign="d", step=None),
    )  # fmt: skip
    query = "from=2025-06-11&to=now&figures=sent,contacted"
    assert only(await rows(api, query), "sent", "contacted") == [(6, 4)]
    apart = await rows(api, f"{query}&group_by=campaign")
    assert only(apart, "campaign_id", "contacted") == [("a", 1), ("b", 1), ("c", 1), ("d", 1)]
    by_step = await rows(api, f"{query}&group_by=step")
    assert only(by_step, "step", "contacted") == [(1, 1), (2, 2), (3, 0), (None, 1)]
    assert (await api.json("/v1/summary"))["observed"]["contacted"] == 4


async def test_campaigns_may_be_several_and_named_twice(told: Api) -> None:
    day = "from=2025-06-11&to=now&figures=sent"
    assert only(await rows(told, f"{day}&campaign_id=b"), "sent") == [(1,)]
    for query in ("campaign_id=a&campaign_id=b", "campaign_id=b&campaign_id=a&campaign_id=b"):
        found = await told.json(f"/v1/series?{day}&{query}")
        assert only(found["data"], "sent") == [(3,)]
        assert found["query"]["campaign_id"] == ["a", "b"]


async def test_figures_come_in_documented_order_with_what_is_lost_of_those_that_are_named(told: Api) -> None:
    async def keys(query: str) -> list[str]:
        return list((await rows(told, f"from=2025-06-11&to=now&{query}"))[0])

    trust = ["ended", "settled", "receiver_up", "coverage"]
    assert await keys("figures=replies,sent") == ["time", "sent", "replies", "lost", "lost_replied", *trust]
    assert await keys("figures=bounced_soft") == ["time", "bounced_soft", "lost", "lost_bounced", *trust]
    assert await keys("figures=attempted&group_by=step") == ["time", "step", "attempted", "lost", *trust]
    assert await keys(f"figures={','.join(OBSERVED)}") == [
        "time", *OBSERVED, "lost", "lost_bounced", "lost_replied", *trust,
    ]  # fmt: skip


async def test_a_bucket_before_the_installation_shows_what_the_ledger_holds(api: Api) -> None:
    await api.post(sent("m1", "2025-06-09T10:00:00Z"))
    found = await rows(api, "from=2025-06-08&to=now&figures=sent,bounced")
    assert only(found, "sent", "bounced", "lost", "receiver_up") == [
        (None, None, None, None), (1, None, None, None), (None, None, None, None), (0, 0, 0, 0.0),
    ]  # fmt: skip


async def test_a_range_may_begin_long_before_there_was_anything(told: Api) -> None:
    found = await rows(told, "from=1960-01-01&to=2025-07-01&interval=month&figures=sent")
    assert [(row["time"], row["sent"]) for row in found if row["sent"]] == [("2025-06-01T00:00:00+00:00", 3)]
    assert found[0]["time"] == "1960-01-01T00:00:00+00:00"


async def test_what_is_to_come_is_not_known(api: Api) -> None:
    found = await rows(api, "from=2025-06-12&to=2025-06-13")
    assert only(found, "sent", *TRUST) == [(0, 0, False, False, None, None)]


async def test_a_bucket_settles_when_no_retry_can_come_and_by_send_after_a_week(api: Api) -> None:
    await api.post(sent())
    day = "from=2025-06-11&to=2025-06-12"
    midnight = NOW - 9 * HOUR_MS - HOUR_MS // 2 + DAY_MS
    late = 10 * HOUR_MS + 51 * 60_000
    for after, by_event, by_send in (
        (0, False, None), (late - 1, False, None), (late, True, None), (7 * DAY_MS - 1, True, None),
        (7 * DAY_MS, True, True),
    ):  # fmt: skip
        api.clock.now = midnight + after
        assert only(await rows(api, day), "ended", "settled") == [(True, by_event)]
        assert only(await rows(api, f"{day}&basis=send"), "settled") == [(by_send,)]


# Sums.


async def test_totals_are_the_sums_of_every_series_and_of_their_csv(api: Api) -> None:
    await api.post(*_world(), replied("late", "09:00", "a", "new@x.org", "a/0/0"))
    whole = {name: 0 for name in OBSERVED}
    for campaign in CAMPAIGNS:
        observed = (await api.json(f"/v1/campaigns/{campaign}"))["observed"]
        whole = {name: whole[name] + observed[name] for name in OBSERVED}
        for query in ("interval=15m&from=-2d", "interval=week", "interval=month&basis=send&timezone=Africa/Cairo"):
            asked = f"{query}&campaign_id={campaign}&figures={','.join(OBSERVED)}"
            by_send = {"starts"} if "send" in query else set()
            for group in ("", "&group_by=step", "&group_by=campaign"):
                found = await rows(api, f"{asked}{group}&to=2025-06-13")
                text = (await api.get(f"/v1/series?{asked}{group}&to=2025-06-13&format=csv")).content.decode()
                cells = list(csv.DictReader(io.StringIO(text, newline="")))
                for name in set(OBSERVED) - by_send:
                    assert sum(row[name] or 0 for row in found) == observed[name], (asked, group, name)
                    assert sum(int(row[name] or 0) for row in cells) == observed[name], (asked, group, name)
    found = await rows(api, f"figures={','.join(OBSERVED)}&to=2025-06-13")
    assert {name: sum(row[name] or 0 for row in found) for name in OBSERVED} == whole


# Refusals.


@pytest.mark.parametrize(
    ("query", "parameter", "text"),
    [
        ("figures=clicks", "figures", f"'figures' is 'clicks'; use {FIGURES}."),
        ("figures=", "figures", f"'figures' is ''; use {FIGURES}."),
        ("figures=sent,sent", "figures", f"'figures' is 'sent,sent'; use {FIGURES}."),
        ("figures=sent,%20bounced", "figures", f"'figures' is 'sent, bounced'; use {FIGURES}."),
        ("figures=sent);DROP%20TABLE%20series;--", "figures",
         f"'figures' is 'sent);DROP TABLE series;--'; use {FIGURES}."),
        ("interval=fortnight", "interval", "'interval' is 'fortnight'; use 15m, hour, day, week or month."),
        ("group_by=lead", "group_by", "'group_by' is 'lead'; use campaign or step."),
        ("basis=reply", "basis", "'basis' is 'reply'; use event or send."),
        ("basis=event&basis=send", "basis", "'basis' is given as 'event' and as 'send'; give it once."),
        ("campaign_id=", "campaign_id", "'campaign_id' is ''; use a campaign id of 1 to 128 characters."),
        (f"campaign_id=a&campaign_id={'x' * 129}", "campaign_id",
         f"'campaign_id' is '{'x' * 100}'; use a campaign id of 1 to 128 characters."),
        ("timezone=../../etc/passwd", "timezone",
         "'timezone' is '../../etc/passwd'; use an IANA time zone such as UTC or Europe/Berlin."),
        ("timezone=europe/berlin", "timezone",
         "'timezone' is 'europe/berlin'; use an IANA time zone such as UTC or Europe/Berlin."),
        ("timezone=", "timezone", "'timezone' is ''; use an IANA time zone such as UTC or Europe/Berlin."),
        ("from=%D9%A7d", "from", f"'from' is '٧d'; use {TIMES}."),
        ("to=-%D9%A7d", "to", f"'to' is '-٧d'; use {TIMES}."),
        ("from=now&to=-1d", "from", "'from' is 'now'; use a time that is not after 'to', which is '-1d'."),
        ("from=2030-01-01", "from", "'from' is '2030-01-01'; use a time that is not after 'to', which is 'now'."),
        ("limit=1e9", "limit", "'limit' is not a parameter here; known are: figures, interval, timezone, from, to, "
         "campaign_id, group_by, basis, format."),
        ("from=0001-01-01&interval=month", "from", "'from' is '0001-01-01'; use a year from 2 to 9998."),
    ],
)  # fmt: skip
async def test_a_bad_parameter_is_named_with_its_value(api: Api, query: str, parameter: str, text: str) -> None:
    assert await api.refused(f"/v1/series?{query}") == invalid(parameter, text)
    csv_too = await api.refused(f"/v1/series?{query}&format=csv")
    assert csv_too["parameter"] == parameter


@pytest.mark.parametrize(
    ("query", "interval", "use"),
    [
        ("from=1925-01-01&to=2025-01-01&interval=15m", "15m", "use week"),
        ("from=2025-01-01&to=2025-12-31&interval=15m", "15m", "use hour"),
        ("from=0002-01-01&to=9998-01-01&interval=15m", "15m", "ask for a shorter range or fewer groups"),
        (
            "from=2005-01-01&to=2025-01-01&interval=day&group_by=campaign&campaign_id=a&campaign_id=b",
            "day",
            "use week",
        ),
        ("from=2005-01-01&to=2025-01-01&interval=day&group_by=step", "day", "use week"),
    ],
)
async def test_too_many_rows_name_the_interval_that_would_fit(api: Api, query: str, interval: str, use: str) -> None:
    await api.post(sent("m1"), sent("m2", step=2), sent("m3", campaign="b"))
    text = f"'interval' is '{interval}', which makes more than 10000 rows here; {use}."
    expected = problem(400, "Bad Request", "too_many_rows", text, parameter="interval")
    assert await api.refused(f"/v1/series?{query}") == expected
    if use.startswith("use "):
        fits = await rows(api, query.replace(f"interval={interval}", f"interval={use[4:]}"))
        assert 0 < len(fits) <= 10_000


@pytest.mark.parametrize("campaign", ["nobody", "A", "a' OR 1=1 --", "ä"])
async def test_a_campaign_that_is_not_known_is_not_found(told: Api, campaign: str) -> None:
    response = await told.get("/v1/series", params={"campaign_id": ["a", campaign]})
    text = f"No event of campaign '{campaign}' has been seen here."
    assert response.json() == problem(404, "Not Found", "campaign_not_found", text)


async def test_a_bad_parameter_comes_before_an_unknown_campaign(told: Api) -> None:
    assert (await told.refused("/v1/series?campaign_id=nobody&from=never"))["parameter"] == "from"
    too_many = await told.refused("/v1/series?campaign_id=nobody&from=2005-01-01&interval=15m")
    assert too_many["code"] == "too_many_rows"


async def test_it_needs_a_key(keyed: Api, start: Start) -> None:
    for path in ("/v1/series", "/v1/summary"):
        assert (await keyed.get(path)).status_code == 401
