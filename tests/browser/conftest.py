"""One browser and one told story per process; pages that fail a test when anything went wrong in them."""

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from tests.browser.reader import Reader
from tests.browser.site import Site
from tests.browser.story import told
from tests.reconcile.world import World

CHROMIUM = shutil.which("chromium")
HERE = Path(__file__).parent
# Far longer than anything here takes, also where other tests take both cores.
PATIENCE_MS = 90_000
TIMEOUT_S = 300

Open = Callable[..., Awaitable[Reader]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All in one loop, for the browser lives in it; none of it without a browser."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
            item.add_marker(pytest.mark.timeout(TIMEOUT_S))
            if CHROMIUM is None:
                item.add_marker(pytest.mark.skip(reason="Debian's chromium is not installed"))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def visit(browser: Browser) -> AsyncIterator[Open]:
    """Opens readers of a site, each in a browser of its own: `visit(site, key)`, signed in unless `key` is None.

    `expected` are the beginnings of troubles that a test brings about itself.
    """
    readers: list[tuple[Reader, tuple[str, ...]]] = []

    async def visit(
        site: Site, key: str | None = None, *, expected: tuple[str, ...] = (), **options: object
    ) -> Reader:
        given = {"viewport": {"width": 1280, "height": 900}, "locale": "en-US", "timezone_id": "UTC", **options}
        context = await browser.new_context(**given)  # type: ignore[arg-type] # as Playwright names them
        context.set_default_timeout(PATIENCE_MS)
        reader = Reader(context, await context.new_page(), site.url)
        readers.append((reader, expected))
        await reader.watch()
        if key is not None:
            await context.add_cookies([await site.session(key)])  # type: ignore[list-item] # as Playwright names them
        return reader

    yield visit
    for reader, expected in readers:
        refused = await reader.refused() if reader.page.url.startswith("http") else []
        await reader.context.close()
        assert refused == []
        assert [trouble for trouble in reader.troubles if not trouble.startswith(expected)] == []


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def story(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[World, Site]]:
    async with told(tmp_path_factory.mktemp("story")) as found:
        yield found


@pytest.fixture
def site(story: tuple[World, Site]) -> Site:
    """A receiver with three campaigns, three days, an outage and losses in it. Tests leave it as it is."""
    return story[1]
