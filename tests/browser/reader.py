"""Somebody who looks at pages: a browser's page that keeps what went wrong in it."""

from collections.abc import Sequence
from typing import Any

from playwright.async_api import BrowserContext, ConsoleMessage, Dialog, Page, Response

from tests.browser.site import ANALYST

# Keeps what the content security policy has refused.
_WATCH = """
  window.__refused = [];
  addEventListener("securitypolicyviolation", (event) => window.__refused.push(event.blockedURI));
"""
# Every figure of a page: where it stands, what it shows, and the value that it has for programs.
_FIGURES = """(scope) => [...document.querySelectorAll(`${scope} [data-f]`)].map((one) => ({
  path: one.dataset.f, kind: one.dataset.as, text: one.textContent,
  value: one.getAttribute("value") ?? one.getAttribute("datetime") ?? one.dataset.kind ?? one.textContent,
  row: one.closest("[data-key], [data-figure]")?.dataset.key ?? one.closest("[data-figure]")?.dataset.figure ?? null,
}))"""

Figure = dict[str, Any]


class Reader:
    """A page of its own; `troubles` are dialogs, errors, warnings and refusals of the policy."""

    def __init__(self, context: BrowserContext, page: Page, url: str) -> None:
        self.context = context
        self.page = page
        self.url = url
        self.troubles: list[str] = []
        self.answers: list[Response] = []
        page.on("dialog", self._dialog)
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.troubles.append(f"error: {error}"))
        page.on("response", self._answer)

    async def _dialog(self, dialog: Dialog) -> None:
        self.troubles.append(f"dialog: {dialog.message[:200]}")
        await dialog.dismiss()

    def _answer(self, answer: Response) -> None:
        self.answers.append(answer)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.troubles.append(f"{message.type}: {message.text}")

    async def watch(self) -> None:
        await self.page.add_init_script(_WATCH)

    async def refused(self) -> list[str]:
        """What the content security policy has kept out of this page."""
        found: list[str] = await self.page.evaluate("window.__refused ?? []")
        return found

    async def open(self, path: str = "/", state: str | None = "live") -> None:
        """A page, once its figures have been asked for anew."""
        await self.page.goto(self.url + path)
        if state is not None:
            await self.until(state)

    async def until(self, state: str) -> None:
        """Until the page says so: live, paused or stale."""
        await self.page.wait_for_selector(f"body[data-ready={state}]", state="attached")

    async def sign_in(self, key: str = ANALYST) -> None:
        await self.page.goto(f"{self.url}/sign-in")
        await self.page.fill("#key", key)
        await self.page.click("button.main")
        await self.until("live")

    async def figures(self, scope: str) -> list[Figure]:
        found: list[Figure] = await self.page.evaluate(_FIGURES, scope)
        return found

    async def texts(self, selector: str) -> Sequence[str]:
        return await self.page.locator(selector).all_inner_texts()

    async def look(self) -> None:
        """Come back to the page, which asks at once."""
        await self.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")

    async def refreshed(self, state: str = "live") -> None:
        """A round of questions that began after now is over."""
        await self.page.evaluate("document.body.dataset.ready = 'asked'")
        await self.look()
        await self.until(state)
