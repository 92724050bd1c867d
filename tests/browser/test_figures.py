"""Every figure on every page is the one that the API answers, as a value and as a text."""

from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest

from tests.browser.conftest import Open
from tests.browser.reader import Figure, Reader
from tests.browser.site import ANALYST, Site

DASH = "–"
RANGE = "from=-7d"


def at(answer: Any, path: str) -> Any:
    """The value at a path such as `rates.bounce_rate`; None where it ends early."""
    for name in path.split("."):
        answer = None if answer is None else answer.get(name)
    return answer


def signed(value: float, text: str) -> str:
    return text if value < 0 else f"+{text}" if value > 0 else text


def of_hundred(value: float) -> Decimal:
    return (Decimal(str(value)) * 100).quantize(Decimal("0.1"), ROUND_HALF_UP)


def percent(value: float) -> str:
    return f"{of_hundred(value)}%"


TEXTS: Mapping[str, Callable[[Any], str]] = {
    "count": lambda value: f"{value:,}",
    "share": percent,
    "change": lambda value: signed(value, f"{value:,}"),
    "points": lambda value: f"{signed(value, str(of_hundred(value)))} pp",
    "badge": lambda value: value.replace("_", " "),
    "words": lambda value: value.replace("_", " "),
    "text": str,
    "name": str,
}


def shown(kind: str, value: Any) -> str:
    """The text that a reader in the United States sees for a value."""
    if value is None:
        return "" if kind == "text" else DASH
    return str(TEXTS[kind](value))


def check(figure: Figure, answer: Mapping[str, Any]) -> str:
    """That a figure is the answer's; its path."""
    path, kind = figure["path"], figure["kind"]
    value = at(answer, path)
    if kind == "time":
        assert (figure["value"] or None) == value, figure
        assert (figure["text"] == DASH) == (value is None), figure
        return str(path)
    if kind == "rate":
        value = value["value"]
        assert figure["text"].startswith(("rate not known", DASH) if value is None else percent(value)), figure
    else:
        assert figure["text"] == shown(kind, value), (figure, value)
    if kind not in ("text", "words", "name"):
        assert str(figure["value"]) == ("" if value is None else str(value)), (figure, value)
    return str(path)


def check_rows(figures: Sequence[Figure], rows: Mapping[str, Mapping[str, Any]], paths: set[str]) -> None:
    """That each of these paths is right in each row, found by its key, in the order of the answer."""
    assert list(dict.fromkeys(figure["row"] for figure in figures)) == list(rows)
    wanted = [figure for figure in figures if figure["path"] in paths]
    assert {check(figure, rows[figure["row"]]) for figure in wanted} == paths
    assert len(wanted) == len(paths) * len(rows)


def by(rows: Sequence[Mapping[str, Any]], name: str) -> dict[str, Mapping[str, Any]]:
    return {str(row[name]): row for row in rows}


def rounded(answer: Any) -> Any:
    """JavaScript writes 1.0 as 1."""
    if isinstance(answer, dict):
        return {name: rounded(value) for name, value in answer.items()}
    if isinstance(answer, list):
        return [rounded(value) for value in answer]
    return int(answer) if isinstance(answer, float) and answer.is_integer() else answer


async def asked(site: Site, path: str, **params: Any) -> Any:
    return rounded(await site.get(path, **params))


TOTALS = {"sent", "contacted", "bounced", "bounced_hard", "replied", "replied_human"}
RATES = {f"rates.{name}" for name in ("bounce_rate", "hard_bounce_rate", "reply_rate", "human_reply_rate")}


async def check_overview(reader: Reader, site: Site) -> None:
    summary = await asked(site, "/v1/summary", **{"from": "-7d", "compare": "previous"})
    paths = {check(figure, summary) for figure in await reader.figures("#totals")}
    changes = {f"change.{path}" for path in {f"observed.{name}" for name in TOTALS} | RATES}
    assert paths == {f"observed.{name}" for name in TOTALS} | RATES | changes
    campaigns = (await asked(site, "/v1/campaigns"))["data"]
    rows = {row["campaign_id"]: {**row, "title": row["name"], "subtitle": row["campaign_id"]} for row in campaigns}
    observed = {f"observed.{name}" for name in ("sent", "bounced_hard", "bounced_soft", "replied", "replied_human")}
    names = {"title", "subtitle", "status", "drift.status", "last_event_at"}
    rates = RATES - {"rates.hard_bounce_rate"}
    check_rows(await reader.figures("#campaign-rows tbody"), rows, observed | names | rates)


async def test_the_overview_shows_the_apis_figures(site: Site, visit: Open) -> None:
    reader = await visit(site, ANALYST)
    await reader.open(f"/?{RANGE}")
    await check_overview(reader, site)


async def test_more_points_up_and_less_points_down(site: Site, visit: Open) -> None:
    reader = await visit(site, ANALYST)
    await reader.open("/?from=-1d")
    changes = reader.page.locator("#totals .change")
    shown = await changes.evaluate_all(
        "(all) => all.map((one) => [Number(one.value), one.dataset.direction ?? null])"
    )
    words = {True: "up", False: "down"}
    assert shown == [[value, words[value > 0] if value else None] for value, _ in shown]
    assert {"up", "down"} <= {direction for _, direction in shown}


async def test_the_first_paint_has_them_too(site: Site, visit: Open) -> None:
    """Without any script the page is what the server made of it."""
    plain = await visit(site, ANALYST, java_script_enabled=False)
    await plain.page.goto(f"{site.url}/?{RANGE}")
    texts = {text.split("\n")[0]: text.split("\n")[1] for text in await plain.texts("#totals .tile")}
    observed = (await asked(site, "/v1/summary", **{"from": "-7d"}))["observed"]
    assert texts["Sent"] == f"{observed['sent']:,}"
    assert texts["Human replies"] == f"{observed['replied_human']:,}"
    rows = await plain.texts("#campaign-rows tbody tr")
    campaigns = (await asked(site, "/v1/campaigns"))["data"]
    for row, campaign in zip(rows, campaigns, strict=True):
        assert campaign["name"] in row
        assert str(campaign["observed"]["sent"]) in row.split()


async def check_series(reader: Reader, site: Site, **which: Any) -> None:
    series = (await asked(site, "/v1/series", **which))["data"]
    await reader.page.click("#series summary")
    figures = await reader.figures("#series-rows tbody")
    rows = dict(reversed(by(series, "time").items()))
    check_rows(figures, rows, {"sent", "bounced", "replied", "lost", "receiver_up", "coverage"})
    assert sum(row["lost"] or 0 for row in series) > 0


@pytest.mark.parametrize("interval", ["hour", "day", "week"])
async def test_the_series_table_says_what_the_chart_shows(site: Site, visit: Open, interval: str) -> None:
    reader = await visit(site, ANALYST)
    await reader.open(f"/?{RANGE}&interval={interval}&timezone=Europe%2FBerlin")
    which = {"from": "-7d", "interval": interval, "timezone": "Europe/Berlin"}
    await check_series(reader, site, **which)
    last = (await asked(site, "/v1/series", **which))["data"][-1]
    readout = (await reader.texts("#series .readout"))[0]
    assert f"sent {last['sent']}, bounced {last['bounced']}, replied {last['replied']}" in readout


async def test_a_sparkline_says_fourteen_days(site: Site, visit: Open) -> None:
    reader = await visit(site, ANALYST)
    await reader.open()
    campaigns = (await asked(site, "/v1/campaigns"))["data"]
    for campaign in campaigns:
        line = reader.page.locator(f"tr[data-key='{campaign['campaign_id']}'] .spark svg")
        series = (await asked(site, "/v1/series", **{"from": "-13d", "campaign_id": campaign["campaign_id"]}))["data"]
        assert len(series) == 14
        days = ", ".join(shown("count", row["sent"]) for row in series)
        assert await line.get_attribute("aria-label") == f"Sent by day: {days}"


async def test_a_campaigns_page_shows_the_apis_figures(site: Site, visit: Open) -> None:
    reader = await visit(site, ANALYST)
    campaign_id = (await site.get("/v1/campaigns", sort="sent"))["data"][0]["campaign_id"]
    path = f"/v1/campaigns/{campaign_id}"
    await reader.open(f"/?view=campaign&campaign_id={campaign_id}&{RANGE}")
    campaign = await asked(site, path)
    totals = {check(figure, campaign) for figure in await reader.figures("#totals")}
    assert totals == {f"observed.{name}" for name in TOTALS} | RATES
    about = {check(figure, campaign) for figure in await reader.figures("#about")}
    assert about == {"status", "activity", "drift.status", "started_at", "last_event_at"}
    assert await reader.texts("#title") == [campaign["name"]]
    await check_sides(reader, campaign)
    await check_series(reader, site, **{"from": "-7d", "campaign_id": campaign_id})


async def check_sides(reader: Reader, campaign: Mapping[str, Any]) -> None:
    """Observed, Leadterra's and reconciled, and what the difference is made of."""
    figures = await reader.figures("#side-rows tbody")
    assert {check(figure, campaign) for figure in figures} == {
        f"{side}.{name}{end}"
        for side, end in (("observed", ""), ("provider", ""), ("reconciled", ""), ("drift", ".delta"))
        for name in ("sent", "bounced", "replied")
    }
    words = (await reader.texts("#side-rows [data-drift=sent]"))[0]
    parts = campaign["drift"]["sent"]
    assert parts["not_accepting"] > 0
    assert f"{parts['not_accepting']} are lost: the receiver did not accept between Jun 11, 08:00 PM" in words
    assert f"{parts['unexplained']} are missing, and nothing here explains it" in words


async def test_a_campaigns_breakdowns_are_the_apis(site: Site, visit: Open) -> None:
    reader = await visit(site, ANALYST)
    campaign_id = (await site.get("/v1/campaigns", sort="bounced"))["data"][0]["campaign_id"]
    await reader.open(f"/?view=campaign&campaign_id={campaign_id}&{RANGE}")
    which = {"from": "-7d", "campaign_id": campaign_id, "limit": 12}
    parts = {"bounced", "share", "bounced_hard", "bounced_soft"}
    for group in ("reason", "domain"):
        rows = (await asked(site, "/v1/bounces", group_by=group, **which))["data"]
        assert rows
        check_rows(await reader.figures(f"#{group}s-rows tbody"), by(rows, group), parts)
    replies = (await asked(site, "/v1/replies", **which))["data"]
    named = {(row["classification"] or "Not known").replace("_", " "): row for row in replies}
    check_rows(await reader.figures("#replies-rows tbody"), named, {"replies", "replied"})
    steps = (await asked(site, f"/v1/campaigns/{campaign_id}/steps"))["data"]
    rows = {"Not known" if row["step"] is None else str(row["step"]): row for row in steps}
    assert len(rows) >= 3
    check_rows(await reader.figures("#step-rows tbody"), rows, {"sent", "bounced", "replied", "rates.reply_rate"})


async def test_the_trust_page_shows_what_the_api_knows(site: Site, visit: Open) -> None:
    reader = await visit(site, ANALYST)
    await reader.open("/?view=trust")
    names = {row["campaign_id"]: row["name"] for row in (await site.get("/v1/campaigns"))["data"]}
    drift = await asked(site, "/v1/drift", gaps="all")
    assert await reader.texts("#alarm-count") == [str(len(drift["alarms"]))]
    alarms = {
        f"{alarm['code']} {alarm['campaign_id'] or ''} {alarm['since']}": {
            **alarm,
            "title": names.get(alarm["campaign_id"]),
        }
        for alarm in drift["alarms"]
    }
    check_rows(await reader.figures("ul.alarms"), alarms, {"code", "title", "detail", "since"})
    assert {alarm["code"] for alarm in drift["alarms"]} >= {"missing", "overdue"}
    gaps = {
        " ".join(str(gap[name]) for name in ("campaign_id", "figure", "from", "to", "cause")): gap
        for gap in drift["gaps"]
    }
    named = {key: {**gap, "title": names[gap["campaign_id"]]} for key, gap in gaps.items()}
    paths = {"title", "figure", "from", "to", "at_least", "cause", "state"}
    check_rows(await reader.figures("#gaps tbody"), named, paths)
    runs = (await asked(site, "/v1/reconciliations", limit=10))["data"]
    paths = {"started_at", "ended_at", "trigger", "status", "campaigns", "failed", "differing"}
    check_rows(await reader.figures("#run-rows tbody"), by(runs, "id"), paths)
    quarantine = (await asked(site, "/v1/quarantine"))["data"]
    paths = {"reason", "detail", "event", "campaign_id", "received_at", "size_bytes", "copies"}
    assert len(quarantine) == 2
    check_rows(await reader.figures("#quarantine-rows tbody"), by(quarantine, "id"), paths)


async def test_the_trust_page_says_how_fresh_everything_is(site: Site, visit: Open) -> None:
    reader = await visit(site, ANALYST)
    await reader.open("/?view=trust")
    drift = await asked(site, "/v1/drift")
    campaigns = (await asked(site, "/v1/campaigns"))["data"]
    runs = (await asked(site, "/v1/reconciliations"))["data"]
    known = {
        **drift,
        "newest_event": max(row["last_event_at"] for row in campaigns),
        "last_run": next(run["ended_at"] for run in runs if run["ended_at"]),
        "oldest_snapshot": min(row["snapshot_at"] for row in drift["data"]),
        "stamping": {"stable": "keep the time of the event", "undetermined": "not found out yet"}[
            drift["timestamps"]
        ],
    }
    paths = {check(figure, known) for figure in await reader.figures("#freshness")}
    assert paths == {*known.keys() - {*drift.keys()}, "as_of", "settled_until", "quarantined_unattributed"}
    meanings = await reader.texts("#definition-rows [data-f=meaning]")
    assert meanings == ["messages sent", "hard and soft bounces", "leads with any reply"]
    left = (await reader.texts("ul.alarms [data-code=overdue]"))[0]
    assert left == "· lost for good in 8 h 50 min, until Jun 14, 11:51 AM"
