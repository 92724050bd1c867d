"""What a checker of accessibility finds on every page and in every state, light and dark, narrow and wide."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe

from tests.browser.conftest import Open
from tests.browser.reader import Reader
from tests.browser.site import ADMIN, Site, opened, settings_of

Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
# From a telephone to a wall.
WIDTHS = (360, 768, 1280, 2560, 3840)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def fresh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """A receiver that nothing has reached yet."""
    folder: Path = tmp_path_factory.mktemp("fresh")
    async with opened(settings_of(folder / "receiver.db")) as site:
        yield site


async def findings(reader: Reader) -> list[tuple[str, list[Any]]]:
    """What is serious or worse, and where."""
    results = await Axe().run(reader.page)
    assert results.response["passes"] is not None
    return [
        (found["id"], [node["html"][:200] for node in found["nodes"]])
        for found in results.response["violations"]
        if found["impact"] in ("serious", "critical")
    ]


async def a_campaign(site: Site) -> str:
    return f"/?view=campaign&from=-7d&campaign_id={(await site.get('/v1/campaigns'))['data'][0]['campaign_id']}"


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_the_pages_are_accessible(site: Site, visit: Open, scheme: Scheme) -> None:
    reader = await visit(site, ADMIN, color_scheme=scheme)
    for path in ("/?from=-7d", await a_campaign(site), "/?view=trust"):
        await reader.open(path)
        if "trust" not in path:
            await reader.page.click("#series summary")
        assert await findings(reader) == []


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_the_sign_in_page_is_accessible(site: Site, visit: Open, scheme: Scheme) -> None:
    reader = await visit(site, color_scheme=scheme, expected=("error: Failed to load resource",))
    await reader.open("/sign-in", None)
    assert await findings(reader) == []
    await reader.page.fill("#key", "wrong")
    await reader.page.keyboard.press("Enter")
    await reader.page.wait_for_selector("#problem")
    assert await findings(reader) == []


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_the_other_states_are_accessible(site: Site, fresh: Site, visit: Open, scheme: Scheme) -> None:
    reader = await visit(fresh, ADMIN, color_scheme=scheme, expected=("error: Failed to load resource",))
    await reader.open()
    assert await reader.page.is_visible("#fresh")
    assert await findings(reader) == []
    await reader.open("/?q=nobody")
    assert await reader.page.is_visible("#unfilter")
    assert await findings(reader) == []
    await reader.open("/?view=trust")
    assert await findings(reader) == []
    await reader.page.route("**/v1/*", lambda route: route.abort())
    await reader.refreshed("stale")
    assert await findings(reader) == []
    await reader.open("/?view=campaign&campaign_id=nobody", None)
    assert await reader.page.inner_text("h1") == "Not Found"
    assert await findings(reader) == []


async def test_no_page_is_wider_than_its_window(site: Site, fresh: Site, visit: Open) -> None:
    pages = [(site, "/?from=-7d"), (site, await a_campaign(site)), (site, "/?view=trust"), (fresh, "/")]
    for where, path in pages:
        reader = await visit(where, ADMIN)
        await reader.open(path)
        for width in WIDTHS:
            await reader.page.set_viewport_size({"width": width, "height": 800})
            assert await reader.page.evaluate("document.documentElement.scrollWidth") == width


async def test_every_chart_has_its_table(site: Site, visit: Open) -> None:
    reader = await visit(site, ADMIN)
    await reader.open(await a_campaign(site))
    charts = await reader.page.locator("section:has(.chart, .meter)").count()
    assert charts == await reader.page.locator("section:has(.chart, .meter):has(tbody tr)").count() == 5
    assert await reader.page.evaluate("getComputedStyle(document.body).fontVariantNumeric") == "tabular-nums"
