"""Signing in and out, as a person does it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.browser.conftest import Open
from tests.browser.site import ADMIN, ANALYST, Site, opened, settings_of


@pytest_asyncio.fixture(loop_scope="session")
async def unlocked(tmp_path: Path) -> AsyncIterator[Site]:
    """A receiver without keys, and without anything in it."""
    async with opened(settings_of(tmp_path / "receiver.db", keys=False)) as site:
        yield site


async def test_a_key_leads_to_the_page_that_was_wanted_and_out_again(site: Site, visit: Open) -> None:
    reader = await visit(site)
    await reader.open("/?view=trust&timezone=Asia%2FTokyo", None)
    assert reader.page.url.startswith(f"{site.url}/sign-in")
    await reader.page.keyboard.type(ANALYST)
    await reader.page.keyboard.press("Enter")
    await reader.until("live")
    assert reader.page.url == f"{site.url}/?view=trust&timezone=Asia%2FTokyo"
    assert await reader.context.cookies() != []
    assert ANALYST not in str(await reader.context.cookies())
    await reader.page.get_by_role("button", name="Sign out").click()
    await reader.page.wait_for_selector("#key")
    assert await reader.context.cookies() == []
    await reader.open("/", None)
    assert reader.page.url == f"{site.url}/sign-in"


async def test_a_wrong_key_is_told_beside_the_field(site: Site, visit: Open) -> None:
    reader = await visit(site, expected=("error: Failed to load resource",))
    await reader.open("/", None)
    await reader.page.fill("#key", "rcv_wrong")
    await reader.page.keyboard.press("Enter")
    problem = reader.page.get_by_role("alert")
    assert await problem.inner_text() == "This is not an access key of this receiver."
    assert await reader.page.locator("#key").get_attribute("aria-describedby") == "problem"
    assert await reader.page.evaluate("document.activeElement.id") == "key"
    assert await reader.page.input_value("#key") == ""


async def test_without_keys_nobody_is_asked_for_one(unlocked: Site, visit: Open) -> None:
    reader = await visit(unlocked)
    await reader.open("/sign-in")
    assert reader.page.url == f"{unlocked.url}/"
    assert await reader.page.get_by_role("button", name="Sign out").count() == 0


async def test_only_an_admin_is_offered_to_retry(site: Site, visit: Open) -> None:
    for key, offered in ((ANALYST, 0), (ADMIN, 2)):
        reader = await visit(site, key)
        await reader.open("/?view=trust")
        assert len(await reader.texts("#quarantine-rows tbody tr")) == 2
        assert await reader.page.locator("#quarantine-rows [data-retry]").count() == offered
        assert await reader.page.locator("#retry-all").count() == (offered > 0)


async def test_an_admin_can_have_quarantine_read_again(site: Site, visit: Open) -> None:
    reader = await visit(site, ADMIN)
    await reader.open("/?view=trust")
    await reader.page.get_by_role("button", name="Retry quarantined delivery 1").click()
    said = "Read again: 1. Counted now: 0; known already: 0; still not understood: 1."
    await reader.page.get_by_text(said).wait_for()
    await reader.page.get_by_role("button", name="Retry all").click()
    await reader.page.get_by_text("Read again: 2.").wait_for()
