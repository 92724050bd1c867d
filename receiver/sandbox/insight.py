"""What no outreach platform shows, for tests and for people: the truth, and what recipients see."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from receiver.leadterra.payloads import epoch_ms
from receiver.sandbox.api import CatchUp, answer
from receiver.sandbox.bodies import page
from receiver.sandbox.courier import Courier
from receiver.sandbox.delivery import Webhook
from receiver.sandbox.happenings import Happening
from receiver.sandbox.model import Campaign
from receiver.sandbox.options import BouncedMeans
from receiver.sandbox.problems import RefusedError, invalid
from receiver.sandbox.shapes import stats
from receiver.sandbox.times import iso
from receiver.sandbox.truth import Truth
from receiver.sandbox.withheld import Withheld, withheld
from receiver.sandbox.world import OUTBOX_MAX, World

_ROWS = 1000


class Insight:
    """Handlers of `/_sandbox/…`."""

    def __init__(
        self, world: World, courier: Courier, truth: Truth, catch_up: CatchUp, bounced_means: BouncedMeans
    ) -> None:
        self._world = world
        self._courier = courier
        self._truth = truth
        self._catch_up = catch_up
        self._bounced_means = bounced_means

    def routes(self) -> list[Route]:
        return [
            Route("/_sandbox/truth", self.get_truth, methods=["GET"]),
            Route("/_sandbox/messages", self.get_messages, methods=["GET"]),
        ]

    async def get_truth(self, request: Request) -> Response:
        """With `webhookId` what is withheld is about that webhook alone, otherwise about all of them together.

        `at` is what `counters` are as of: the beginning of that minute, in UTC; otherwise now.
        """
        await self._catch_up()
        webhook_id = request.query_params.get("webhookId")
        webhooks = [one for one in self._courier.webhooks if webhook_id in (None, one.id)]
        if webhook_id is not None and not webhooks:
            raise RefusedError(404, "webhook_not_found", f"'webhookId' is {webhook_id[:100]!r}; no webhook has it.")
        at = request.query_params.get("at")
        at_ms = self._world.now_ms if at is None else epoch_ms(at)
        if at_ms is None:
            raise invalid(f"'at' is {str(at)[:100]!r}; use RFC 3339 with offset, such as 2025-06-01T00:00:00Z.")
        missing = list(withheld(self._courier.happened, webhooks))
        pieces = _pieces(self._summary(missing, at_ms), missing)
        return StreamingResponse(pieces, media_type="application/json")

    def truth(self, webhooks: Sequence[Webhook], at_ms: int | None = None) -> dict[str, Any]:
        """The same as plain data, without waiting for the world; withheld is what none of these webhooks brings."""
        missing = list(withheld(self._courier.happened, webhooks))
        summary = self._summary(missing, self._world.now_ms if at_ms is None else at_ms)
        return {**summary, "withheld": [entry.row() for entry in missing]}

    def _summary(self, missing: Sequence[Withheld], at_ms: int) -> dict[str, Any]:
        by_campaign: dict[str, list[Happening]] = {}
        for entry in missing:
            by_campaign.setdefault(entry.happening.campaign_id, []).append(entry.happening)
        campaigns = self._world.campaigns.values()
        return {
            "now": iso(self._world.now_ms),
            "events": len(self._courier.happened),
            "campaigns": [self._campaign(one, by_campaign.get(one.id, []), at_ms) for one in campaigns],
            "webhooks": [self._webhook(one) for one in self._courier.webhooks],
        }

    async def get_messages(self, request: Request) -> Response:
        """The latest messages as rendered, newest first."""
        limit = page(request.query_params.get("limit"), "limit", 100, OUTBOX_MAX)
        await self._catch_up()
        email, campaign = request.query_params.get("email"), request.query_params.get("campaignId")
        rows = [
            {
                "messageId": message.message_id,
                "campaignId": message.campaign_id,
                "email": message.email,
                "step": message.step + 1,
                "submittedAt": iso(message.at_ms),
                "subject": message.subject,
                "bodyHtml": message.body_html,
            }
            for message in reversed(self._world.outbox)
            if email in (None, message.email) and campaign in (None, message.campaign_id)
        ]
        return answer({"data": rows[:limit]})

    def _campaign(self, campaign: Campaign, missing: Sequence[Happening], at_ms: int) -> dict[str, Any]:
        counters = campaign.counters if at_ms >= self._world.now_ms else campaign.counters_at(at_ms)
        return {
            "campaignId": campaign.id,
            "name": campaign.name,
            "status": campaign.status.value,
            "figures": self._truth.figures(campaign.id),
            "expected": self._truth.expected(campaign.id, missing),
            "withheld": dict(Counter(happening.event.value for happening in missing)),
            "stats": stats(campaign, campaign.counters, self._bounced_means, counts_sent=True),
            "counters": counters and asdict(counters),
        }

    def _webhook(self, webhook: Webhook) -> dict[str, Any]:
        """Of all events, `events`, those it was not to bring count as withheld by it too."""
        events = len(self._courier.happened)
        return {
            "id": webhook.id,
            "url": webhook.url,
            "events": events,
            "delivered": webhook.delivered,
            "withheld": events - webhook.events_due + len(webhook.book),
            "pending": self._courier.pending(webhook),
            "attempts": webhook.attempts,
            "duplicates": webhook.duplicates,
            "late": webhook.late,
            "extra": webhook.extra,
        }


async def _pieces(summary: dict[str, Any], missing: Sequence[Withheld]) -> AsyncIterator[bytes]:
    """The truth as JSON, in pieces: of a big world all rows at once would take more memory than the world."""
    yield orjson.dumps(summary)[:-1] + b',"withheld":['
    for first in range(0, len(missing), _ROWS):
        rows = orjson.dumps([entry.row() for entry in missing[first : first + _ROWS]])[1:-1]
        yield (b"," if first else b"") + rows
    yield b"]}"
