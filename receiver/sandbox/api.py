"""Leadterra's API calls, as its pages document them, and two of our own."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from receiver.sandbox import bodies
from receiver.sandbox.chance import ulid
from receiver.sandbox.courier import Courier
from receiver.sandbox.delivery import Webhook
from receiver.sandbox.faults import VARYING_S, Plan
from receiver.sandbox.gate import CALL_KEY, NOW_KEY
from receiver.sandbox.model import Campaign, Status, Upload
from receiver.sandbox.options import BouncedMeans
from receiver.sandbox.problems import RefusedError, invalid
from receiver.sandbox.shapes import Shapes, reply, stats
from receiver.sandbox.times import iso
from receiver.sandbox.tokens import gaps
from receiver.sandbox.world import World

WORKSPACE = "ws_sandbox"
_BODY_MAX_BYTES = 64 * 1024 * 1024
_PER_PAGE = 50
_PER_PAGE_MAX = 100
# Of each list that preflight answers with; beyond it only the total is told.
_LISTED_MAX = 1000
_ADDRESS_SHOWN = 500
_STEPS = {"sequenceSteps", "steps"}
_LACKING = {
    "no_leads_enrolled": "The campaign has no leads; enroll some before the start.",
    "no_sequence_steps": "'sequenceSteps' is empty; the campaign has nothing to send.",
}

CatchUp = Callable[[], Awaitable[None]]


def answer(body: object, status: int = 200) -> Response:
    """A JSON answer."""
    return Response(orjson.dumps(body), status, media_type="application/json")


async def read(request: Request) -> bodies.Json:
    """The object in a request's body."""
    chunks = bytearray()
    async for chunk in request.stream():
        chunks += chunk
        if len(chunks) > _BODY_MAX_BYTES:
            raise invalid(f"The body is longer than {_BODY_MAX_BYTES} bytes; send the leads in several calls.")
    return bodies.parse(bytes(chunks))


class Api:
    """Handlers. Each first reads its body, then brings the world up to now, then acts without waiting."""

    def __init__(
        self,
        world: World,
        courier: Courier,
        shapes: Shapes,
        plan: Plan,
        catch_up: CatchUp,
        bounced_means: BouncedMeans,
        settle_timeout_s: float,
    ) -> None:
        self._world = world
        self._courier = courier
        self._shapes = shapes
        self._plan = plan
        self._catch_up = catch_up
        self._bounced_means = bounced_means
        self._settle_timeout_s = settle_timeout_s

    def routes(self) -> list[Route]:
        campaign = "/v1/campaigns/{campaign_id}"
        return [
            Route("/v1/campaigns", self.create, methods=["POST"]),
            Route(campaign, self.change, methods=["PATCH"]),
            Route(f"{campaign}/leads/bulk", self.enroll, methods=["POST"]),
            Route(f"{campaign}/start", self.start, methods=["POST"]),
            Route(f"{campaign}/pause", self.pause, methods=["POST"]),
            Route(f"{campaign}/stats", self.stats, methods=["GET"]),
            Route(f"{campaign}/preflight", self.preflight, methods=["GET"]),
            Route("/v1/webhooks", self.register, methods=["POST"]),
            Route("/v1/replies", self.replies, methods=["GET"]),
            Route("/v1/sender-pools", self.pools, methods=["GET"]),
            Route("/v1/sender-accounts", self.accounts, methods=["GET"]),
            Route("/v1/suppression-list", self.suppress, methods=["POST"]),
        ]

    async def create(self, request: Request) -> Response:
        body = await read(request)
        workspace = body.get("workspaceId", WORKSPACE)
        if workspace != WORKSPACE:
            raise RefusedError(404, "workspace_not_found", f"'workspaceId' names no workspace; use {WORKSPACE}.")
        name, steps = bodies.name(body), bodies.steps(body)
        await self._catch_up()
        return answer(self._shapes.campaign(_shown(self._world.create(name, steps))), 201)

    async def change(self, request: Request) -> Response:
        """Ours, not Leadterra's: name and steps of a draft."""
        body = await read(request)
        await self._catch_up()
        campaign = self._campaign(request)
        if campaign.status is not Status.DRAFT:
            raise RefusedError(
                400, "campaign_not_draft", f"'sequenceSteps' is fixed: the campaign is {campaign.status.value}."
            )
        name = bodies.name(body) if "name" in body else campaign.name
        steps = tuple(bodies.steps(body)) if _STEPS & body.keys() else campaign.steps
        campaign.name, campaign.steps = name, steps
        return answer(self._shapes.campaign(_shown(campaign)))

    async def enroll(self, request: Request) -> Response:
        body = await read(request)
        await self._catch_up()
        campaign = self._campaign(request)
        campaign.upload = upload = Upload()
        leads = bodies.leads(body, lambda email: upload.malformed.add(email[:_ADDRESS_SHOWN]))
        times = Counter(lead["email"].lower() for lead in leads)
        upload.duplicates = {email for email, count in times.items() if count > 1}
        return answer(self._shapes.enrolled(*self._world.upsert(campaign, leads)))

    async def start(self, request: Request) -> Response:
        await self._catch_up()
        campaign = self._campaign(request)
        for code in _lacking(campaign):
            raise RefusedError(400, code, _LACKING[code])
        self._world.start(campaign)
        return answer({"id": campaign.id, "status": campaign.status.value, "startedAt": iso(campaign.started_ms)})

    async def pause(self, request: Request) -> Response:
        await self._catch_up()
        campaign = self._campaign(request)
        self._world.pause(campaign)
        paused_at = iso(campaign.paused_ms) if campaign.paused_ms else None
        return answer({"id": campaign.id, "status": campaign.status.value, "pausedAt": paused_at})

    async def stats(self, request: Request) -> Response:
        """As of now, once the deliveries of what is counted have ended; or as of some minutes ago."""
        await self._catch_up()
        campaign = self._campaign(request)
        now_ms = request.scope[NOW_KEY] = self._world.now_ms
        lag = self._plan.of_answer("stats_lag", request.url.path, now_ms, request.scope[CALL_KEY])
        if lag is not None:
            lag_s = VARYING_S["stats_lag"] if lag.amount is None else lag.amount
            counters = campaign.counters_at(now_ms - int(1000 * lag_s))
        else:
            counters = campaign.counters.copy()
            await self._deliveries_ended()
        figures = stats(campaign, counters, self._bounced_means, counts_sent=self._shapes.counts_sent)
        return answer(self._shapes.stats(figures))

    async def preflight(self, request: Request) -> Response:
        """Ours, not Leadterra's: what should be mended before a start."""
        await self._catch_up()
        campaign = self._campaign(request)
        found: list[dict[str, Any]] = []
        total = 0
        for total, gap in enumerate(gaps(campaign.fields(), campaign.steps), 1):
            if total <= _LISTED_MAX:
                found.append({"email": gap.email, "step": gap.step, "field": gap.field, "tokens": gap.tokens})
        malformed, duplicates = sorted(campaign.upload.malformed), sorted(campaign.upload.duplicates)
        totals = {"gaps": total, "malformed": len(malformed), "duplicates": len(duplicates)}
        lacking = _lacking(campaign)
        return answer(
            {
                "ok": not lacking and not any(totals.values()),
                "lacking": lacking,
                "gaps": found,
                "malformed": malformed[:_LISTED_MAX],
                "duplicates": duplicates[:_LISTED_MAX],
                "totals": totals,
                "truncated": max(totals.values()) > _LISTED_MAX,
            }
        )

    async def register(self, request: Request) -> Response:
        url, events = bodies.webhook(await read(request))
        await self._catch_up()
        webhook = self.add_webhook(url, events)
        shown = {
            "id": webhook.id,
            "url": url,
            "events": list(events),
            "status": "active",
            "createdAt": iso(webhook.created_ms),
        }
        return answer(self._shapes.webhook(shown), 201)

    def add_webhook(self, url: str, events: tuple[str, ...]) -> Webhook:
        """Post these events to this URL from now on."""
        world = self._world
        tail = world.chance.draws("webhook", str(len(self._courier.webhooks))).tail
        return self._courier.register(f"wh_{ulid(world.now_ms, tail)}", url, events, world.now_ms)

    async def replies(self, request: Request) -> Response:
        query = request.query_params
        page = bodies.page(query.get("page"), "page", 1)
        per_page = bodies.page(query.get("perPage"), "perPage", _PER_PAGE, _PER_PAGE_MAX)
        await self._catch_up()
        wanted = query.get("campaignId")
        campaigns = list(self._world.campaigns.values()) if wanted is None else [self._found(wanted)]
        rows = [happening for campaign in campaigns for happening in campaign.replies]
        rows.sort(key=lambda happening: (happening.at_ms, happening.reply_id), reverse=True)
        shown = [reply(happening) for happening in rows[(page - 1) * per_page : page * per_page]]
        pagination = {"total": len(rows), "page": page, "perPage": per_page}
        return answer(self._shapes.replies(shown, pagination))

    async def pools(self, request: Request) -> Response:
        await self._catch_up()
        return answer(self._shapes.pools(self._world.senders.pools(), self._world.now_ms))

    async def accounts(self, request: Request) -> Response:
        await self._catch_up()
        rows: list[dict[str, Any]] = [
            {"id": account.id, "email": account.email, "name": account.name, "status": "active"}
            for account in self._world.senders.accounts
        ]
        return answer(self._shapes.accounts(rows))

    async def suppress(self, request: Request) -> Response:
        emails = bodies.emails(await read(request))
        await self._catch_up()
        new = sum(self._world.suppress(email) for email in emails)
        return answer(self._shapes.suppressed(new, len(emails) - new))

    async def _deliveries_ended(self) -> None:
        """Not for ever: with a long backlog the answer would come too late for anybody."""
        try:
            async with asyncio.timeout(self._settle_timeout_s):
                await self._courier.settled()
        except TimeoutError:
            return

    def _campaign(self, request: Request) -> Campaign:
        return self._found(request.path_params["campaign_id"])

    def _found(self, campaign_id: str) -> Campaign:
        campaign = self._world.campaigns.get(campaign_id)
        if campaign is None:
            shown = campaign_id[:100]
            raise RefusedError(
                404, "campaign_not_found", f"No campaign has the id {shown!r}; use one from its creation."
            )
        return campaign


def _shown(campaign: Campaign) -> dict[str, Any]:
    steps = [
        {"subject": step.subject, "bodyHtml": step.body_html, "delayDays": step.delay_days} for step in campaign.steps
    ]
    return {
        "id": campaign.id,
        "name": campaign.name,
        "status": campaign.status.value,
        "sequenceSteps": steps,
        "createdAt": iso(campaign.created_ms),
    }


def _lacking(campaign: Campaign) -> list[str]:
    """The codes of what a start would be refused for."""
    has = {"no_leads_enrolled": bool(campaign.enrollments), "no_sequence_steps": bool(campaign.steps)}
    return [code for code in _LACKING if not has[code]]
