"""Figures refresh by themselves, and leave a reader where he is; a dead server is stale, never zero."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.browser.conftest import Open
from tests.browser.reader import Reader
from tests.browser.site import ADMIN, ANALYST, Site, opened, settings_of
from tests.web.conftest import NOW, StandingClock, sent, started

# So many that the page is longer than any screen.
CAMPAIGNS = 40
DEAD = ("error: Failed to load resource",)


def message(campaign: int, number: int = 0) -> bytes:
    return sent(f"{campaign}-{number}", campaign=f"camp_{campaign:02}")


@pytest_asyncio.fixture(loop_scope="session")
async def busy(tmp_path: Path) -> AsyncIterator[Site]:
    """A receiver of forty campaigns, camp_39 with the newest event, one message each."""
    clock = StandingClock()
    async with opened(settings_of(tmp_path / "receiver.db"), clock) as site:
        await site.post(*[started(f"camp_{number:02}", f"08:{number:02}") for number in range(CAMPAIGNS)])
        await site.post(*[message(number) for number in range(CAMPAIGNS)])
        yield site


def row(reader: Reader, campaign: int) -> str:
    return f"tr[data-key=camp_{campaign:02}]"


async def tell(reader: Reader, selector: str, text: str) -> None:
    """Wait until a place of the page says this."""
    await reader.page.wait_for_function(
        "([selector, text]) => document.querySelector(selector)?.textContent === text", arg=[selector, text]
    )


async def test_a_refresh_keeps_scroll_focus_and_selection(busy: Site, visit: Open) -> None:
    reader = await visit(busy, ANALYST)
    await reader.open("/?sort=sent")
    page = reader.page
    link, count = f"{row(reader, 20)} a", f"{row(reader, 20)} [data-f='observed.sent']"
    await page.focus(link)
    await page.evaluate("document.querySelector('#campaign-rows').scrollIntoView()")
    await page.evaluate("([link]) => getSelection().selectAllChildren(document.querySelector(link))", [link])
    chart = await page.evaluate_handle("document.querySelector('.chart canvas')")
    before = await page.evaluate("[scrollY, document.querySelectorAll('#campaign-rows tbody tr').length]")
    assert before[0] > 300
    await busy.post(message(20, 1), message(5, 1), message(5, 2))
    await reader.look()
    await tell(reader, count, "2")
    await tell(reader, "[data-f='observed.sent']", str(CAMPAIGNS + 3))
    keys = await page.evaluate(
        "[...document.querySelectorAll('#campaign-rows tbody tr')].map((row) => row.dataset.key)"
    )
    assert keys[:2] == ["camp_05", "camp_20"]  # its row has moved to the second place
    assert await page.evaluate("[scrollY, document.querySelectorAll('#campaign-rows tbody tr').length]") == before
    assert await page.evaluate("([link]) => document.activeElement === document.querySelector(link)", [link])
    assert await page.evaluate("getSelection().toString()") == "camp_20"
    assert await chart.evaluate("(canvas) => canvas.isConnected")


async def test_a_pause_stops_asking_and_a_resume_catches_up(busy: Site, visit: Open) -> None:
    reader = await visit(busy, ANALYST)
    await reader.page.clock.install()  # that of the page, with the question that is due next
    await reader.open()
    await reader.page.get_by_role("button", name="Pause").click()
    await reader.until("paused")
    assert await reader.page.locator("#pause").get_attribute("aria-pressed") == "true"
    asked = len(reader.answers)
    await busy.post(message(1, 1))
    await reader.page.clock.run_for(60_000)
    assert len(reader.answers) == asked
    await tell(reader, "[data-f='observed.sent']", str(CAMPAIGNS))
    await reader.page.get_by_role("button", name="Resume").click()
    await tell(reader, "[data-f='observed.sent']", str(CAMPAIGNS + 1))


async def test_what_has_not_changed_is_not_sent_again(busy: Site, visit: Open) -> None:
    reader = await visit(busy, ANALYST)
    await reader.open()
    await reader.refreshed()  # what was asked for the first time is all there
    first = len(reader.answers)
    await reader.refreshed()
    statuses = {answer.status for answer in reader.answers[first:] if "/v1/" in answer.url}
    assert statuses == {304}


async def test_a_dead_server_is_stale_and_never_zero(busy: Site, visit: Open) -> None:
    reader = await visit(busy, ANALYST, expected=DEAD)
    await reader.open()
    figures = await reader.figures("main")
    await busy.down()
    await reader.refreshed("stale")
    assert await reader.page.inner_text("#live-state") == "Stale"
    told = await reader.page.inner_text("#stale")
    assert told.startswith("The receiver does not answer. These figures are as of Jun 11, 09:30 AM, ")
    assert await reader.figures("main") == figures
    await busy.up()
    await busy.post(message(1, 1))
    await reader.refreshed()
    assert not await reader.page.is_visible("#stale")
    await tell(reader, "[data-f='observed.sent']", str(CAMPAIGNS + 1))


async def test_a_part_that_fails_alone_says_so_itself(busy: Site, visit: Open) -> None:
    reader = await visit(busy, ANALYST, expected=DEAD)
    await reader.open()
    problem = json.dumps({"status": 503, "code": "query_timeout", "detail": "It took too long."})

    async def refuse(route: object) -> None:
        await route.fulfill(status=503, body=problem, content_type="application/problem+json")  # type: ignore[attr-defined]

    await reader.page.route("**/v1/summary?*", refuse)
    await reader.refreshed("stale")
    assert await reader.page.inner_text("#live-state") == "Partly stale"
    said = "It took too long. What stands here is older than the rest."
    assert await reader.texts(".failed:not([hidden])") == [said]
    assert await reader.page.inner_text("#totals .big") == str(CAMPAIGNS)


async def test_times_are_the_receivers_and_not_the_readers(busy: Site, visit: Open) -> None:
    """The reader's clock is a year and more ahead of this receiver's."""
    reader = await visit(busy, ANALYST)
    await reader.open()
    assert await reader.page.inner_text("#as-of") == "Jun 11, 09:30 AM"
    busy.clock.now = NOW + 3_600_000  # type: ignore[union-attr]
    await tell(reader, "#as-of", "Jun 11, 10:30 AM")


async def test_a_countdown_goes_on_while_nobody_asks(site: Site, visit: Open) -> None:
    reader = await visit(site, ANALYST)
    await reader.page.clock.install()
    await reader.open("/?view=trust")
    left = reader.page.locator("[data-deadline]:not([data-deadline=''])").first
    assert "lost for good in 8 h 50 min, until " in await left.inner_text()
    await reader.page.get_by_role("button", name="Pause").click()
    await reader.until("paused")
    await reader.page.clock.fast_forward(3_600_000)
    assert "lost for good in 7 h " in await left.inner_text()


async def test_a_retry_is_of_the_row_that_was_clicked(busy: Site, visit: Open) -> None:
    await busy.post(b"not json", b'{"event": "message.opened"}', b"[]")
    waiting = (await busy.get("/v1/quarantine"))["data"]
    reader = await visit(busy, ADMIN)
    await reader.open("/?view=trust")
    second = reader.page.locator("#quarantine-rows [data-retry]").nth(1)
    async with reader.page.expect_request("**/v1/quarantine/retry") as asked:
        await second.click()
    assert (await asked.value).post_data_json == {"ids": [waiting[1]["id"]]}
    said = "Read again: 1. Counted now: 0; known already: 0; still not understood: 1."
    await tell(reader, "#retried", said)
    assert await second.is_enabled()
