"""With two thousand campaigns a page is as light as with two."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Route

from tests.bench.prefill import prefill
from tests.browser.conftest import Open
from tests.browser.reader import Reader
from tests.browser.site import ANALYST, Site, opened, settings_of
from tests.web.conftest import StandingClock

CAMPAIGNS = 2000
FIRST_VIEW_BYTES = 150_000


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def many(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    database: Path = tmp_path_factory.mktemp("many") / "receiver.db"
    prefill(database, 20_000, CAMPAIGNS)
    clock = StandingClock()
    clock.now = int(datetime(2025, 1, 5, tzinfo=UTC).timestamp() * 1000)
    async with opened(settings_of(database), clock) as site:
        yield site


async def drawn(reader: Reader) -> int:
    return await reader.page.locator("#campaign-rows .spark svg").count()


async def on_the_wire(reader: Reader) -> int:
    """Bytes of all answers, with their headers."""
    sizes = [await answer.request.sizes() for answer in reader.answers]
    return sum(size["responseBodySize"] + size["responseHeadersSize"] for size in sizes)


async def test_the_first_view_is_light(many: Site, visit: Open) -> None:
    reader = await visit(many, ANALYST)
    await reader.open()
    await reader.page.wait_for_selector("#campaign-rows .spark svg")
    assert await reader.page.locator("#campaign-rows tbody tr").count() == 100
    assert await reader.page.inner_text("#shown") == "100 shown, there are more"
    assert {"overview.js", "uplot-1.6.32.js"} <= {answer.url.rpartition("/")[2] for answer in reader.answers}
    assert await on_the_wire(reader) <= FIRST_VIEW_BYTES


async def test_the_first_hundred_rows_wait_for_no_script(many: Site, visit: Open) -> None:
    reader = await visit(many, ANALYST, java_script_enabled=False)
    await reader.page.goto(f"{many.url}/?sort=sent")
    rows = (await many.get("/v1/campaigns", sort="sent"))["data"]
    shown = await reader.page.locator("#campaign-rows .name").all_text_contents()
    assert shown == [row["campaign_id"] for row in rows]
    assert len(shown) == 100


async def test_the_rows_of_the_first_paint_can_be_sorted_before_any_answer_came(many: Site, visit: Open) -> None:
    reader = await visit(many, ANALYST)
    answers = asyncio.Event()

    async def held(route: Route) -> None:
        await answers.wait()
        await route.continue_()

    await reader.page.route("**/v1/*", held)
    await reader.open("/", None)
    assert await reader.page.locator("#campaign-rows tbody tr").count() == 100
    await reader.page.click("[data-sort=sent]")
    assert await reader.page.get_attribute("th:has([data-sort=sent])", "aria-sort") == "descending"
    answers.set()
    await reader.page.wait_for_selector("#campaign-rows tbody tr:first-child[data-key=camp_00001]")


async def test_sparklines_come_as_they_scroll_into_view(many: Site, visit: Open) -> None:
    reader = await visit(many, ANALYST)
    await reader.open()
    await reader.page.wait_for_selector("#campaign-rows .spark svg")
    assert 0 < await drawn(reader) < 50
    last = reader.page.locator("#campaign-rows tbody tr").last
    assert await last.locator("svg").count() == 0
    await last.scroll_into_view_if_needed()
    await last.locator("svg").wait_for()


async def test_more_rows_come_when_they_are_asked_for(many: Site, visit: Open) -> None:
    reader = await visit(many, ANALYST)
    await reader.open("/?sort=sent")
    await reader.page.get_by_role("button", name="Show 100 more").click()
    await reader.page.wait_for_function("() => document.querySelectorAll('#campaign-rows tbody tr').length === 200")
    rows = (await many.get("/v1/campaigns", sort="sent", limit=200))["data"]
    shown = await reader.page.locator("#campaign-rows .name").all_text_contents()
    assert shown == [row["campaign_id"] for row in rows]
    sent = await reader.page.locator("#campaign-rows [data-f='observed.sent']").all_text_contents()
    assert sent == [f"{row['observed']['sent']:,}" for row in rows]
    assert "," in sent[0]  # one has a tenth of all messages
    await reader.refreshed()
    assert await reader.page.locator("#campaign-rows tbody tr").count() == 200
    await reader.page.fill("#q", "camp_0")
    await reader.page.wait_for_function("() => document.querySelectorAll('#campaign-rows tbody tr').length === 100")


@pytest.mark.parametrize("path", ["/?view=trust", "/?view=campaign&campaign_id=camp_00001"])
async def test_the_other_pages_are_light_too(many: Site, visit: Open, path: str) -> None:
    reader = await visit(many, ANALYST)
    await reader.open(path)
    assert await on_the_wire(reader) <= FIRST_VIEW_BYTES
