"""What goes wrong around a page: slow answers, ended sessions, zones and ids that nobody expects, no scripts."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest
import pytest_asyncio
from playwright.async_api import Request, Route

from tests.browser.conftest import Open
from tests.browser.reader import Reader
from tests.browser.site import ADMIN, ANALYST, Site, opened, settings_of
from tests.web.conftest import StandingClock, sent, started

FAILED = ("error: Failed to load resource",)
# What is an id, and has a meaning to addresses, selectors or scripts; the longest is as long as an id may be.
ODD_IDS = ("a:b", "...", "-", "__proto__", "constructor", "0", "i" * 128)


async def a_campaign(site: Site) -> str:
    return f"/?view=campaign&from=-7d&campaign_id={(await site.get('/v1/campaigns'))['data'][0]['campaign_id']}"


class Gate:
    """Holds back the API's answers until it is opened."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self.asked = 0

    async def close(self, reader: Reader) -> None:
        await reader.page.route("**/v1/**", self._hold)

    def open(self) -> None:
        self._open.set()

    async def _hold(self, route: Route) -> None:
        self.asked += 1
        await self._open.wait()
        await route.continue_()


async def waiting(reader: Reader) -> list[str]:
    """The sections that say that they wait."""
    found: list[str] = await reader.page.locator("section:has(.waiting:visible)").evaluate_all(
        "(sections) => sections.map((section) => section.id)"
    )
    return found


async def test_what_has_not_come_yet_is_said_to_be_loading(site: Site, visit: Open) -> None:
    pages = {
        "/?from=-7d": ["series"],
        await a_campaign(site): ["series", "steps", "reasons", "domains", "replies", "sides"],
        "/?view=trust": ["definitions", "gap-list", "quarantine", "runs"],
    }
    for path, sections in pages.items():
        reader, gate = await visit(site, ANALYST), Gate()
        await gate.close(reader)
        await reader.open(path, None)
        assert await waiting(reader) == sections
        assert await reader.page.locator(".none:visible").count() == 0
        gate.open()
        await reader.until("live")
        assert await waiting(reader) == []


async def test_what_never_came_is_not_called_older(site: Site, visit: Open) -> None:
    reader = await visit(site, ANALYST, expected=FAILED)
    problem = '{"status": 503, "code": "query_timeout", "detail": "It took too long."}'
    refusal = {"status": 503, "body": problem, "content_type": "application/problem+json"}
    await reader.page.route("**/v1/series?interval*", lambda route: route.fulfill(**refusal))
    await reader.open("/?from=-7d", "stale")
    assert await reader.texts(".failed:visible") == ["It took too long."]
    assert await waiting(reader) == []


async def test_without_scripts_nothing_waits_for_them(site: Site, visit: Open) -> None:
    reader = await visit(site, ADMIN, java_script_enabled=False)
    pages = {
        "/": ["totals", "campaigns"],
        await a_campaign(site): ["totals", "sides"],
        "/?view=trust": ["alarms", "freshness"],
    }
    for path, sections in pages.items():
        await reader.page.goto(site.url + path)
        shown = reader.page.locator("main section:visible")
        assert [await one.get_attribute("id") for one in await shown.all()] == sections
        assert (
            await reader.page.locator(":is(.waiting, #live-state, #pause, .pickers, .filters):visible").count() == 0
        )
        assert "runs no scripts" in await reader.page.inner_text(".notice:visible")
        assert not [text for text in await reader.texts("main section:visible") if "…" in text]


async def test_the_differences_are_in_the_first_paint(site: Site, visit: Open) -> None:
    reader = await visit(site, ANALYST, java_script_enabled=False)
    path = await a_campaign(site)
    await reader.page.goto(site.url + path)
    drift = (await site.get(f"/v1/campaigns/{path.rpartition('=')[2]}"))["drift"]
    shown = await reader.texts("#side-rows [data-as=change]")
    assert shown == [
        f"{drift[name]['delta']:+}" if drift[name]["delta"] else "0" for name in ("sent", "bounced", "replied")
    ]


async def test_slow_answers_do_not_pile_up(site: Site, visit: Open) -> None:
    reader, gate = await visit(site, ANALYST), Gate()
    await reader.open("/?view=trust")
    given_up: list[str] = []

    def give_up(request: Request) -> None:
        given_up.append(request.url)

    reader.page.on("requestfailed", give_up)
    await gate.close(reader)
    for _ in range(5):
        await reader.look()
    await reader.page.wait_for_function("() => true")
    once = len({"drift", "campaigns", "reconciliations", "quarantine"})
    assert len(given_up) == 4 * once
    assert gate.asked <= 5 * once
    gate.open()
    await reader.refreshed()


async def test_a_page_asks_each_question_once(site: Site, visit: Open) -> None:
    for path in ("/?view=trust", await a_campaign(site)):
        reader = await visit(site, ANALYST)
        await reader.open(path)
        asked = [answer.url for answer in reader.answers if "/v1/" in answer.url]
        assert len(asked) == len(set(asked))


async def test_a_session_that_ends_is_told_once_and_taken_up_again(site: Site, visit: Open) -> None:
    reader = await visit(site, ANALYST, expected=FAILED)
    await reader.open("/?from=-7d&sort=sent")
    figures = await reader.figures("main")
    cookies = await reader.context.cookies()
    await reader.context.clear_cookies()
    await reader.refreshed("stale")
    assert await reader.page.inner_text("#live-state") == "Signed out"
    told = "Your session has ended; the figures below are the last ones that came. Sign in again"
    assert await reader.texts(".notice:visible, .failed:visible") == [told]
    assert await reader.figures("main") == figures
    await reader.context.add_cookies(cookies)  # type: ignore[arg-type] # signed in from another tab
    await reader.refreshed()
    assert await reader.texts(".notice:visible, .failed:visible") == []
    await reader.context.clear_cookies()
    await reader.refreshed("stale")
    await reader.page.get_by_role("link", name="Sign in again").click()
    await reader.page.fill("#key", ANALYST)
    await reader.page.click("button.main")
    await reader.until("live")
    assert reader.page.url == f"{site.url}/?from=-7d&sort=sent"


async def test_a_restart_signs_nobody_out(tmp_path: Path, visit: Open) -> None:
    async with opened(settings_of(tmp_path / "receiver.db"), StandingClock()) as site:
        await site.post(started("camp_1", "08:00"))
        reader = await visit(site, ANALYST, expected=FAILED)
        await reader.open()
        await site.down()
        await reader.refreshed("stale")
        await site.up()
        await site.post(sent("m1", campaign="camp_1"))
        await reader.refreshed()
        assert await reader.page.inner_text("#totals .big") == "1"


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("from=2024-01-01&to=2024-01-08", "2024-01-01 to 2024-01-08"),
        ("from=-7d&to=-1d", "-7d to -1d"),
        ("from=-3d", "-3d to now"),
        ("from=-7d", "7 days"),
    ],
)
async def test_the_range_of_a_link_is_what_the_picker_says(site: Site, visit: Open, query: str, shown: str) -> None:
    reader = await visit(site, ANALYST)
    await reader.open(f"/?{query}&timezone=Asia%2FTokyo")
    assert await reader.texts("#range option:checked") == [shown]
    await reader.page.select_option("#zone", "UTC")
    await reader.page.wait_for_url(f"{site.url}/?{query}")
    await reader.page.select_option("#range", "-14d")
    await reader.page.wait_for_url(f"{site.url}/?from=-14d")
    assert "to" not in " ".join(await reader.texts("#range option"))


async def test_a_range_of_which_nothing_is_known_says_so_and_names_its_year(site: Site, visit: Open) -> None:
    reader = await visit(site, ANALYST)
    await reader.open("/?from=2024-01-01&to=2024-01-08")
    assert await reader.page.is_visible("text=Nothing is known of this range.")
    assert (await reader.page.inner_text("#series .readout")).startswith("Sun, Jan 7, 2024: sent –")
    await reader.page.select_option("#range", "-7d")
    await reader.page.wait_for_selector("#series .nothing", state="hidden")


async def test_a_zone_that_the_browser_does_not_know_is_said(site: Site, visit: Open) -> None:
    """Days are the receiver's, which knows the zone; times are UTC, and say so."""
    unknown = """
      const Known = Intl.DateTimeFormat;
      Intl.DateTimeFormat = function (locale, options) {
        if (options?.timeZone === "Asia/Tokyo") throw new RangeError("Invalid time zone specified: Asia/Tokyo");
        return new Known(locale, options);
      };
    """
    reader = await visit(site, ANALYST)
    await reader.page.add_init_script(unknown)
    await reader.open("/?from=-7d&timezone=Asia%2FTokyo")
    assert await reader.page.inner_text("#zone-name") == "UTC, for this browser does not know Asia/Tokyo"
    assert await reader.page.inner_text("#as-of") == "Jun 14, 03:00 AM"
    assert (await reader.page.inner_text("#series .readout")).startswith("Sat, Jun 14: sent ")
    await reader.page.click("#series summary")
    days = await reader.texts("#series-rows time")
    assert days[:2] == ["Sat, Jun 14", "Fri, Jun 13"]


async def test_a_sparkline_that_failed_comes_later(site: Site, visit: Open) -> None:
    reader = await visit(site, ANALYST, expected=FAILED)
    await reader.page.route("**/v1/series?campaign_id=*", lambda route: route.abort())
    await reader.open("/?from=-7d")
    await reader.refreshed()
    assert await reader.page.locator(".spark svg").count() == 0
    await reader.page.unroute_all()
    await reader.refreshed()
    await reader.page.wait_for_function("() => document.querySelectorAll('.spark svg').length === 3")


@pytest_asyncio.fixture(loop_scope="session")
async def odd(tmp_path: Path) -> AsyncIterator[Site]:
    async with opened(settings_of(tmp_path / "receiver.db"), StandingClock()) as site:
        outcomes = await site.post(*[started(name, "08:00") for name in ODD_IDS])
        assert outcomes == ["stored"] * len(ODD_IDS)
        await site.post(*[sent(f"m{number}", campaign=name) for number, name in enumerate(ODD_IDS)])
        yield site


async def test_a_campaign_of_any_id_has_its_page(odd: Site, visit: Open) -> None:
    reader = await visit(odd, ANALYST)
    for name in ODD_IDS:
        await reader.open("/?sort=campaign_id")
        await reader.page.locator("#campaign-rows .name").get_by_text(name, exact=True).click()
        await reader.page.wait_for_url(f"**campaign_id={quote(name, safe='')[:40]}**")
        await reader.until("live")
        assert await reader.page.locator("#title").text_content() == name[:300]
        assert await reader.page.inner_text("#totals .big") == "1"
        assert await reader.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_paper_has_figures_and_no_buttons(site: Site, visit: Open) -> None:
    reader = await visit(site, ADMIN)
    for path in ("/?from=-7d", "/?view=trust"):
        await reader.open(path)
        await reader.page.emulate_media(media="print")
        assert (
            await reader.page.locator(":is(#pause, .pickers, .filters, [data-retry], #retry-all):visible").count()
            == 0
        )
        assert await reader.page.locator("main table:visible tbody tr").count() > 0
        await reader.page.emulate_media(media="screen")


async def test_a_page_follows_the_size_of_letters_that_a_reader_has_set(site: Site, visit: Open) -> None:
    reader = await visit(site, ANALYST)
    await reader.open("/?from=-7d")
    rules = await reader.page.evaluate(
        "[...document.styleSheets[0].cssRules].filter((rule) => rule.selectorText === ':root')"
        ".map((rule) => rule.style.fontSize)"
    )
    assert [size for size in rules if size] == ["87.5%"]
    for width in (360, 1280):
        await reader.page.set_viewport_size({"width": width, "height": 800})
        await reader.page.evaluate("document.documentElement.style.fontSize = '28px'")
        await reader.page.wait_for_function("(width) => document.documentElement.scrollWidth === width", arg=width)
