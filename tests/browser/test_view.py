"""The view stands in the address: whoever gets the link sees the same, in the language of the own browser."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.browser.conftest import Open
from tests.browser.site import ANALYST, SECRET, Site, opened, settings_of
from tests.web.conftest import StandingClock, started

LINK = "/?from=-14d&timezone=Asia%2FTokyo&interval=hour&sort=bounce_rate&order=asc&q=i&activity=active"


async def test_a_link_restores_the_view(site: Site, visit: Open) -> None:
    reader = await visit(site, ANALYST)
    await reader.open(LINK)
    page = reader.page
    assert [await page.input_value(f"#{name}") for name in ("range", "zone", "q", "activity", "status")] == [
        "-14d",
        "Asia/Tokyo",
        "i",
        "active",
        "",
    ]
    assert await page.get_attribute("[data-interval=hour]", "aria-pressed") == "true"
    assert await page.get_attribute("th:has([data-sort=bounce_rate])", "aria-sort") == "ascending"
    asked = [answer.url for answer in reader.answers if "/v1/series?interval" in answer.url]
    assert asked[0].endswith("interval=hour&from=-14d&to=now&timezone=Asia%2FTokyo")
    assert await page.inner_text("#as-of") == "Jun 14, 12:00 PM"  # three in the night, UTC
    wanted = await site.get("/v1/campaigns", sort="bounce_rate", order="asc", q="i", activity="active")
    names = await reader.texts("#campaign-rows .name")
    assert names == [row["name"] for row in wanted["data"]]
    assert len(names) == 2


async def test_what_is_picked_stands_in_the_address_and_in_links(site: Site, visit: Open) -> None:
    reader = await visit(site, ANALYST)
    await reader.open()
    page = reader.page
    await page.select_option("#range", "-7d")
    await page.select_option("#zone", "Europe/Berlin")
    await page.click("[data-interval=week]")
    await page.click("[data-sort=sent]")
    await page.fill("#q", "alps")
    await page.wait_for_url(f"{site.url}/?from=-7d&timezone=Europe%2FBerlin&interval=week&sort=sent&q=alps")
    await page.wait_for_function("() => document.querySelectorAll('#campaign-rows tbody tr').length === 1")
    other = await visit(site, ANALYST)
    await other.open(page.url.removeprefix(site.url))
    for selector in ("#totals", "#campaign-rows", "#series .readout", "footer"):
        assert await other.page.inner_text(selector) == await page.inner_text(selector)
    link = await page.get_attribute("#campaign-rows .name", "href")
    assert link is not None
    assert link.startswith("/?view=campaign&campaign_id=camp_")
    assert link.endswith("&from=-7d&timezone=Europe%2FBerlin")


async def test_going_back_brings_the_filters_back(site: Site, visit: Open) -> None:
    reader = await visit(site, ANALYST)
    await reader.open()
    await reader.page.select_option("#range", "-7d")
    await reader.page.click("[data-sort=sent]")
    await reader.page.fill("#q", "alps")
    await reader.page.wait_for_url("**/?from=-7d&sort=sent&q=alps")
    await reader.page.click("#campaign-rows .name:text('Alps')")
    await reader.page.wait_for_url("**view=campaign**")
    await reader.until("live")
    await reader.page.go_back()
    await reader.until("live")
    assert [await reader.page.input_value(f"#{name}") for name in ("range", "q")] == ["-7d", "alps"]
    assert await reader.page.get_attribute("th:has([data-sort=sent])", "aria-sort") == "descending"
    assert await reader.texts("#campaign-rows .name") == ["Hotels, Alps"]
    await reader.page.go_forward()
    await reader.until("live")
    assert await reader.page.inner_text("#title") == "Hotels, Alps"


async def test_sparklines_follow_the_zone(site: Site, visit: Open) -> None:
    reader = await visit(site, ANALYST)
    await reader.open()
    await reader.page.wait_for_selector(".spark svg")
    async with reader.page.expect_response("**/v1/series?campaign_id=*timezone=Asia*"):
        await reader.page.select_option("#zone", "Asia/Tokyo")


async def test_the_csv_is_of_what_is_shown(site: Site, visit: Open) -> None:
    reader = await visit(site, ANALYST)
    await reader.open("/?sort=sent&order=asc&q=i")
    shown = await reader.page.locator("#campaign-rows tbody tr").evaluate_all(
        "(rows) => rows.map((row) => row.dataset.key)"
    )
    async with reader.page.expect_download() as downloading:
        await reader.page.get_by_role("link", name="CSV").click()
    download = await downloading.value
    lines = (await download.path()).read_text("utf-8").splitlines()
    assert lines[0].startswith("campaign_id,name,")
    assert [line.partition(",")[0] for line in lines[1:]] == shown
    assert len(shown) == 2


async def test_the_csv_follows_what_is_typed_and_sorted(site: Site, visit: Open) -> None:
    reader = await visit(site, ANALYST)
    await reader.open()
    await reader.page.click("[data-sort=sent]")
    await reader.page.fill("#q", "alps")
    await reader.page.wait_for_function("() => document.querySelectorAll('#campaign-rows tbody tr').length === 1")
    link = await reader.page.get_attribute("#csv", "href")
    assert link == "/v1/campaigns?sort=sent&order=desc&q=alps&format=csv"


async def test_a_filter_that_nothing_fits_says_so_and_lets_go(site: Site, visit: Open) -> None:
    reader = await visit(site, ANALYST)
    await reader.open("/?q=nobody")
    assert await reader.page.is_visible("text=No campaign fits these filters.")
    assert not await reader.page.is_visible("#fresh")
    await reader.page.get_by_role("button", name="Show all").click()
    await reader.page.wait_for_function("() => document.querySelectorAll('#campaign-rows tbody tr').length === 3")
    assert reader.page.url == f"{site.url}/"


async def test_figures_are_in_the_readers_language(site: Site, visit: Open) -> None:
    reader = await visit(site, ANALYST, locale="de-DE")
    await reader.open("/?from=-7d")
    assert await reader.page.inner_text("#as-of") == "14. Juni, 03:00"
    assert "," in await reader.page.inner_text("[data-f='rates.bounce_rate']")


async def test_a_page_that_is_not_there_is_a_page(site: Site, visit: Open) -> None:
    reader = await visit(site, ANALYST, expected=("error: Failed to load resource",))
    await reader.open("/?view=campaign&campaign_id=nobody", None)
    assert "nobody" in await reader.page.inner_text("main")
    await reader.open("/?interval=fortnight", None)
    assert "'interval' is 'fortnight'" in await reader.page.inner_text("main")
    await reader.page.get_by_role("link", name="Back to the campaigns").click()
    await reader.until("live")


@pytest_asyncio.fixture(loop_scope="session")
async def fresh(tmp_path: Path) -> AsyncIterator[Site]:
    async with opened(settings_of(tmp_path / "receiver.db", keys=False), StandingClock()) as site:
        yield site


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("openssl")), reason="needs curl and openssl")
async def test_a_fresh_install_shows_a_command_that_works(fresh: Site, visit: Open) -> None:
    reader = await visit(fresh)
    await reader.open()
    assert "Register the webhook" in await reader.page.inner_text("#fresh")
    for part in ("#totals", "#series", "#campaigns"):  # nothing, which is not nought
        assert not await reader.page.is_visible(part)
    command = await reader.page.inner_text("#try")
    environment = {**os.environ, "WEBHOOK_SECRET": SECRET}
    ran = await asyncio.to_thread(
        subprocess.run, ["sh", "-c", command], capture_output=True, text=True, env=environment, check=True
    )
    assert "204 No Content" in ran.stdout
    assert "receiver-outcome: quarantined" in ran.stdout.lower()
    await fresh.post(started("camp_1", name="The first"))
    await reader.refreshed()
    assert not await reader.page.is_visible("#fresh")
    assert await reader.texts("#campaign-rows .name") == ["The first"]
