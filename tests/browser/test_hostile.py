"""What anybody can put into a payload is shown as the text that it is: a hundred strings, in every place for text."""

from collections import Counter
from collections.abc import AsyncIterator
from itertools import cycle
from pathlib import Path
from urllib.parse import urlencode

import pytest
import pytest_asyncio

from tests.browser.conftest import Open
from tests.browser.hostile import strings
from tests.browser.reader import Reader
from tests.browser.site import ADMIN, Site, opened, settings_of
from tests.web.conftest import StandingClock, body, replied, started

HOSTILE = strings()
# As many as a page of one campaign lists of each kind.
SHOWN = 12
# Longer ones are cut, with a mark that says so.
TEXT_MAX = 600
# What a page's own parts are made of; anything else came from a string.
_STRANGERS = (
    "main :is(script, img, iframe, style, base, b, object, form[action*=evil]), main [onerror], main [onload]"
)


def deliveries() -> list[bytes]:
    """Every string as a name, reason, domain and class; as event and campaign of what is not understood."""
    found = [started(f"camp_{number}", "08:00", text) for number, text in enumerate(HOSTILE)]
    for number, text in enumerate(HOSTILE):
        campaign = f"camp_{number // SHOWN}"
        bounce = {"messageId": f"m{number}", "campaignId": campaign, "bounceType": "hard", "bounceReason": text}
        found.append(body("message.bounced", "09:00", **bounce, to=f"jo@{text}"))
        found.append(replied(f"r{number}", campaign=campaign, lead=f"jo{number}@example.org", kind=text[:512]))
        found.append(body(text, "09:00", campaignId=text, messageId=text))
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def hostile(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    folder: Path = tmp_path_factory.mktemp("hostile")
    async with opened(settings_of(folder / "receiver.db"), StandingClock()) as site:
        assert Counter(await site.post(*deliveries())) == {"stored": 300, "quarantined": 100}
        yield site


async def check_harmless(reader: Reader) -> None:
    """No string became a part of the page, none ran, and none made the page wider than its window."""
    assert await reader.page.evaluate("window.__hit") is None
    assert await reader.page.locator(_STRANGERS).count() == 0
    assert await reader.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert not [answer.url for answer in reader.answers if not answer.url.startswith(reader.url)]


def cut(text: str) -> str:
    """As the page's scripts count: in UTF-16 units."""
    units = text.encode("utf-16-le", "surrogatepass")
    return text if len(units) <= 2 * TEXT_MAX else units[: 2 * TEXT_MAX].decode("utf-16-le", "surrogatepass") + "…"


async def test_there_are_a_hundred_of_them() -> None:
    assert len(set(HOSTILE)) == 100
    assert sum(len(text) >= 10_000 for text in HOSTILE) >= 3


async def test_names_are_text(hostile: Site, visit: Open) -> None:
    reader = await visit(hostile, ADMIN)
    await reader.open()
    campaigns = (await hostile.get("/v1/campaigns"))["data"]
    assert {campaign["name"] for campaign in campaigns} >= {
        text for text in HOSTILE if text.isascii() and len(text) < 99
    }
    names = await reader.page.locator("#campaign-rows .name").all_text_contents()
    assert names == [cut(campaign["name"]) for campaign in campaigns]
    assert len(names) == 100
    await check_harmless(reader)
    for text in ("<script>alert(1)</script>", "__proto__", "\u202e" * 100):
        await reader.page.fill("#q", text[:200])
        await reader.refreshed()
        await check_harmless(reader)


@pytest.mark.parametrize("first", range(0, len(HOSTILE), SHOWN))
async def test_reasons_domains_and_classes_are_text(hostile: Site, visit: Open, first: int) -> None:
    reader = await visit(hostile, ADMIN, viewport={"width": 360, "height": 800})
    campaign = f"camp_{first // SHOWN}"
    await reader.open(f"/?view=campaign&campaign_id={campaign}&from=all")
    assert await reader.page.locator("#title").text_content() == HOSTILE[first // SHOWN][:300]
    for group in ("reason", "domain"):
        rows = (await hostile.get("/v1/bounces", campaign_id=campaign, group_by=group, limit=SHOWN))["data"]
        wanted = [cut(row[group]) if row[group] is not None else "Not known" for row in rows]
        assert await reader.page.locator(f"#{group}s-rows [data-f=label]").all_text_contents() == wanted
    replies = (await hostile.get("/v1/replies", campaign_id=campaign, limit=SHOWN))["data"]
    wanted = [cut(row["classification"].replace("_", " ")) for row in replies]
    assert await reader.page.locator("#replies-rows [data-f=label]").all_text_contents() == wanted
    await check_harmless(reader)


async def test_what_nobody_can_read_is_text(hostile: Site, visit: Open) -> None:
    reader = await visit(hostile, ADMIN, viewport={"width": 360, "height": 800})
    await reader.open("/?view=trust")
    rows = (await hostile.get("/v1/quarantine", limit=100))["data"]
    assert len(rows) == 100
    for name in ("event", "campaign_id", "detail"):
        texts = await reader.page.locator(f"#quarantine-rows [data-f={name}]").all_text_contents()
        assert texts == [cut(row[name] or "–") for row in rows]
    await check_harmless(reader)


async def test_a_hostile_address_of_a_page_is_harmless(hostile: Site, visit: Open) -> None:
    reader = await visit(hostile, ADMIN, expected=("error: Failed to load resource",))
    names = ("q", "from", "timezone", "view", "sort", "x")
    for text, name in zip(HOSTILE[::8], cycle(names), strict=False):
        await reader.open(f"/?{urlencode({name: text[:150]})}", None)
        await check_harmless(reader)
