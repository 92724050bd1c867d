"""All that a pointer can do, keys alone can do, and where they are is always to be seen."""

from typing import Any

import pytest

from tests.browser.conftest import Open
from tests.browser.reader import Reader
from tests.browser.site import ADMIN, ANALYST, Site

# Everything that can be acted on and is not hidden, by a mark that is put on it.
_MARK = """() => [...document.querySelectorAll("a[href], button, select, input, summary, [tabindex='0']")]
  .filter((one) => one.checkVisibility() && !one.disabled).map((one, at) => one.dataset.mark = String(at))"""
_FOCUSED = """() => {
  const one = document.activeElement;
  if (!one || one === document.body) return null;
  const box = one.getBoundingClientRect(), style = getComputedStyle(one);
  return {
    mark: one.dataset.mark ?? null, name: one.outerHTML.slice(0, 120),
    ringed: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
    seen: box.width > 0 && box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth,
  };
}"""


async def focused(reader: Reader) -> Any:
    return await reader.page.evaluate(_FOCUSED)


async def press(reader: Reader, *keys: str) -> None:
    for key in keys:
        await reader.page.keyboard.press(key)


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("page", ["/", "/?view=trust", "/?view=campaign"])
async def test_keys_reach_everything_in_its_order_and_it_is_seen(
    site: Site, visit: Open, page: str, width: int
) -> None:
    reader = await visit(site, ADMIN, viewport={"width": width, "height": 800})
    if page.endswith("campaign"):
        page += f"&campaign_id={(await site.get('/v1/campaigns'))['data'][0]['campaign_id']}"
    await reader.open(page)
    await reader.page.get_by_role("button", name="Pause").click()
    marks = await reader.page.evaluate(_MARK)
    while await focused(reader) is not None:  # to the end, from where it begins anew
        await press(reader, "Tab")
    reached = []
    for _ in range(len(marks)):
        await press(reader, "Tab")
        place = await focused(reader)
        assert place["ringed"], place
        assert place["seen"], place
        reached.append(place["mark"])
    assert reached == marks


async def test_the_first_key_leads_past_the_head(site: Site, visit: Open) -> None:
    reader = await visit(site, ANALYST)
    await reader.open()
    await press(reader, "Tab", "Enter")
    assert await reader.page.evaluate("document.activeElement.id") == "main"
    await press(reader, "Tab")
    assert await reader.page.evaluate("document.activeElement.id") == "range"


async def test_a_walk_by_keys_alone(site: Site, visit: Open) -> None:
    """Sign in, narrow the range, sort, search, look at a campaign, go on to Trust, stop the refreshing, sign out."""
    reader = await visit(site)
    page = reader.page
    await reader.open("/", None)
    await page.keyboard.type(ANALYST)
    await press(reader, "Enter")
    await reader.until("live")
    await page.focus("#range")
    await press(reader, "ArrowUp")
    assert "from=-14d" in page.url
    await page.focus("[data-sort=bounced], [data-sort=sent]")
    await press(reader, "Enter")
    assert await page.get_attribute("th[aria-sort]", "aria-sort") == "descending"
    await press(reader, "Space")
    await page.wait_for_selector("th[aria-sort=ascending]")
    assert "sort=sent" in page.url
    assert "order=asc" in page.url
    await page.focus("#q")
    await page.keyboard.type("hotels")
    await page.wait_for_function("() => document.querySelectorAll('#campaign-rows tbody tr').length === 1")
    await page.focus("#campaign-rows tbody a")
    await press(reader, "Enter")
    await page.wait_for_url("**view=campaign**from=-14d**")
    await reader.until("live")
    assert await page.inner_text("h1") == "Hotels, Alps"
    await page.focus("#series summary")
    await press(reader, "Enter")
    assert await page.is_visible("#series-rows")
    await page.focus("nav a:last-child")
    await press(reader, "Enter")
    await page.wait_for_url("**view=trust**from=-14d**")
    await reader.until("live")
    await page.focus("#pause")
    await press(reader, "Space")
    await reader.until("paused")
    await press(reader, "Tab", "Enter")
    await page.wait_for_selector("#key")
