"""Asks Leadterra's API: few calls side by side, each bounded in time, retried where that is safe."""

import asyncio
import random
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote

import httpx
import orjson
import stamina

from receiver.errors import ConfigurationError, LeadterraError
from receiver.http import Lanes
from receiver.leadterra.answers import (
    CampaignState,
    FetchedReply,
    RegisteredWebhook,
    RepliesPage,
    Snapshot,
    read_replies,
    read_snapshot,
    read_state,
    read_webhook,
)
from receiver.leadterra.exchange import Answer, Ask, Exchange, timed_out
from receiver.settings.kinds import is_loopback_url

_CONCURRENCY_MAX = 32
_ATTEMPTS = 3
_WAIT_FIRST_S = 0.25
_WAIT_MAX_S = 5.0
_JITTER_S = 0.5
_RETRIED = frozenset({"rate_limited", "server_error", "unreachable", "timeout"})

_PER_PAGE = 50
REPLIES_MAX = 200_000
_PAGES_MAX = REPLIES_MAX // _PER_PAGE
# What an API that does not know pages may answer to the second one.
_NO_SUCH_PAGE = frozenset({"invalid_request", "not_found"})


@dataclass(frozen=True, slots=True)
class FetchedReplies:
    """The replies of one campaign, each id once, newest first as they came.

    `skipped` counts rows that cannot be read or are of another campaign; `complete` is False when there are
    more than are fetched (200,000).
    """

    rows: list[FetchedReply]
    skipped: int
    complete: bool


class LeadterraClient:
    """One workspace's API.

    `timeout_s` bounds a call with all its attempts, in real seconds from when a connection is free for it; of
    `replies` it bounds each page. `concurrency` is the most calls at once, 1 to 32. Each call also takes a
    `deadline`, a time of the event loop after which it does not go on, waiting for its turn included.
    `transport` replaces the network. Every call raises LeadterraError. Raises ConfigurationError when the key
    would travel in the clear. Close it in the end.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        timeout_s: float = 15.0,
        concurrency: int = 8,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        _check(base_url, api_key)
        # The library's own line about a retry names no call, and goes to standard output until logging is configured.
        stamina.instrumentation.set_on_retry_hooks(())
        self._exchange = Exchange(Lanes(api_key, timeout_s, transport), base_url.rstrip("/"), api_key)
        self._timeout_s = timeout_s
        # Waiting for a turn is not part of a call's time.
        self._turns = asyncio.Semaphore(min(concurrency, _CONCURRENCY_MAX))

    async def close(self) -> None:
        """Close the connections; calls under way fail."""
        await self._exchange.close()

    async def stats(self, campaign_id: str, *, deadline: float | None = None) -> Snapshot:
        """The campaign's counters, as of the answer's own time."""
        answer = await self._call(Ask("GET", f"{_campaign(campaign_id)}/stats"), deadline)
        return read_snapshot(answer, campaign_id)

    async def replies(self, campaign_id: str, *, deadline: float | None = None) -> FetchedReplies:
        """All replies of a campaign.

        New replies come first and push the others on while pages are read, so a row may come twice, but none
        is missed. The last page is the one that brings nothing new, unless the answers say the total.
        """
        found: dict[str, FetchedReply] = {}
        seen: set[str] = set()
        skipped = 0
        for number in range(1, _PAGES_MAX + 1):
            page = await self._page(campaign_id, number, deadline)
            if page is None:
                return FetchedReplies(list(found.values()), skipped, complete=True)
            skipped += page.count - len(page.rows)
            new = page.ids - seen
            seen |= new
            found.update({row.id: row for row in page.rows if row.id in new})
            if not new or _is_last(page, len(seen)):
                return FetchedReplies(list(found.values()), skipped, complete=True)
            if len(seen) >= REPLIES_MAX:
                break
        return FetchedReplies(list(found.values()), skipped, complete=False)

    async def start(self, campaign_id: str, *, deadline: float | None = None) -> CampaignState:
        """Start or resume the campaign; nothing happens to a running one, so it is retried."""
        answer = await self._call(Ask("POST", f"{_campaign(campaign_id)}/start"), deadline)
        return read_state(answer, campaign_id, "startedAt")

    async def pause(self, campaign_id: str, *, deadline: float | None = None) -> CampaignState:
        """Pause the campaign; nothing happens to a paused one or a draft, so it is retried."""
        answer = await self._call(Ask("POST", f"{_campaign(campaign_id)}/pause"), deadline)
        return read_state(answer, campaign_id, "pausedAt")

    async def register_webhook(
        self, url: str, events: Iterable[str], *, deadline: float | None = None
    ) -> RegisteredWebhook:
        """Register a webhook. Not retried once the request may have been acted upon: there would be two."""
        names = list(events)
        ask = Ask("POST", "/v1/webhooks", orjson.dumps({"url": url, "events": names}))
        return read_webhook(await self._call(ask, deadline, repeatable=False), url, names)

    async def _page(self, campaign_id: str, number: int, deadline: float | None) -> RepliesPage | None:
        """A page of replies; None when there is no such page."""
        query = f"campaignId={quote(campaign_id, safe='')}&page={number}&perPage={_PER_PAGE}"
        try:
            answer = await self._call(Ask("GET", f"/v1/replies?{query}"), deadline)
        except LeadterraError as error:
            if number > 1 and error.reason in _NO_SUCH_PAGE:
                return None
            raise
        return read_replies(answer, campaign_id)

    async def _call(self, ask: Ask, deadline: float | None, *, repeatable: bool = True) -> Answer:
        try:
            async with asyncio.timeout_at(deadline):
                await self._turns.acquire()
        except TimeoutError:
            raise timed_out(ask, arrived=False) from None
        try:
            now = asyncio.get_running_loop().time()
            end = now + self._timeout_s
            end = end if deadline is None else min(end, deadline)
            if end <= now:
                raise timed_out(ask, arrived=False)
            return await self._attempts(ask, _Patience(end, repeatable=repeatable))
        finally:
            self._turns.release()

    async def _attempts(self, ask: Ask, patience: "_Patience") -> Answer:
        try:
            async with asyncio.timeout_at(patience.end):
                async for attempt in stamina.retry_context(
                    on=patience.wait,
                    attempts=_ATTEMPTS,
                    timeout=None,
                    wait_initial=_WAIT_FIRST_S,
                    wait_max=_WAIT_MAX_S,
                    wait_jitter=_JITTER_S,
                ):
                    with attempt:
                        patience.failure = None
                        return await self._exchange.send(ask)
        except TimeoutError:
            raise patience.failure or timed_out(ask) from None
        raise AssertionError("the last attempt returns or raises")


class _Patience:
    """Whether, and after how many seconds, a call is tried again; `end` is the loop time at which it is over."""

    def __init__(self, end: float, *, repeatable: bool) -> None:
        self.end = end
        self.failure: LeadterraError | None = None  # of the last attempt, while the next is waited for
        self._repeatable = repeatable

    def wait(self, error: Exception) -> bool | float:
        """As stamina asks: False ends the call, True waits as usual, a number waits that many seconds."""
        if not isinstance(error, LeadterraError) or not self._may_repeat(error):
            return False
        self.failure = error
        if error.retry_after_s is None:
            return True
        # All that were refused together would otherwise come back together.
        wait_s = error.retry_after_s + random.uniform(0, _JITTER_S)  # noqa: S311 # nothing secret
        return wait_s if wait_s < self.end - asyncio.get_running_loop().time() else False

    def _may_repeat(self, error: LeadterraError) -> bool:
        if error.reason not in _RETRIED:
            return False
        return self._repeatable or not error.arrived or error.reason == "rate_limited"


def _check(base_url: str, api_key: str) -> None:
    # A header refuses other characters with an error that quotes them.
    if not re.fullmatch(r"[!-~]+", api_key):
        raise ConfigurationError(["Setting 'leadterra.api_key' is empty or has blanks; use the key as it was given."])
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL:
        raise ConfigurationError(["Setting 'leadterra.base_url' is no URL; use an https URL."]) from None
    if url.scheme != "https" and not is_loopback_url(base_url):
        shown = f"{url.scheme}://{url.host}"
        raise ConfigurationError(
            [f"Setting 'leadterra.base_url' is '{shown}'; use an https URL, the key must not travel in the clear."]
        )


def _campaign(campaign_id: str) -> str:
    """The campaign's path; its id stays one segment, whatever is in it."""
    segment = quote(campaign_id, safe="")
    if campaign_id in (".", ".."):
        segment = segment.replace(".", "%2E")  # as they are they would be steps in the path
    return f"/v1/campaigns/{segment}"


def _is_last(page: RepliesPage, seen: int) -> bool:
    """Whether the answers themselves say so: a page that is not full, and as many seen as there are."""
    if page.total is None or page.per_page is None:
        return False
    return page.count < page.per_page and seen >= page.total
