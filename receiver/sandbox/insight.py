"""What no outreach platform shows, for tests and for people: the truth, and what recipients see."""

from collections import Counter
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from receiver.sandbox.api import CatchUp, answer
from receiver.sandbox.bodies import page
from receiver.sandbox.courier import Courier
from receiver.sandbox.delivery import Webhook
from receiver.sandbox.model import Campaign
from receiver.sandbox.options import BouncedMeans
from receiver.sandbox.problems import RefusedError
from receiver.sandbox.shapes import stats
from receiver.sandbox.times import iso
from receiver.sandbox.truth import Book, Truth
from receiver.sandbox.world import OUTBOX_MAX, World


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
        """With `webhookId`, `expected` is about that webhook; otherwise about the first."""
        await self._catch_up()
        webhook_id = request.query_params.get("webhookId")
        webhooks = [one for one in self._courier.webhooks if webhook_id in (None, one.id)]
        if webhook_id is not None and not webhooks:
            raise RefusedError(404, "webhook_not_found", f"'webhookId' is {webhook_id[:100]!r}; no webhook has it.")
        return answer(self.truth(webhooks[0] if webhooks else None))

    def truth(self, webhook: Webhook | None) -> dict[str, Any]:
        """The same as plain data, without waiting for the world."""
        book = webhook.book if webhook else Book()
        withheld = [entry.row(one.id) for one in self._courier.webhooks for entry in one.book.entries]
        return {
            "now": iso(self._world.now_ms),
            "campaigns": [self._campaign(campaign, book) for campaign in self._world.campaigns.values()],
            "webhooks": [self._webhook(one) for one in self._courier.webhooks],
            "withheld": withheld,
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

    def _campaign(self, campaign: Campaign, book: Book) -> dict[str, Any]:
        held = Counter(
            entry.happening.event.value for entry in book.entries if entry.happening.campaign_id == campaign.id
        )
        return {
            "campaignId": campaign.id,
            "name": campaign.name,
            "status": campaign.status.value,
            "figures": self._truth.figures(campaign.id),
            "expected": self._truth.expected(campaign.id, book),
            "withheld": dict(held),
            "stats": stats(campaign, campaign.counters, self._bounced_means, counts_sent=True),
        }

    def _webhook(self, webhook: Webhook) -> dict[str, Any]:
        return {
            "id": webhook.id,
            "url": webhook.url,
            "events": webhook.events_due,
            "delivered": webhook.delivered,
            "withheld": len(webhook.book.entries),
            "pending": self._courier.pending(webhook),
            "attempts": webhook.attempts,
            "duplicates": webhook.duplicates,
            "extra": webhook.extra,
        }
