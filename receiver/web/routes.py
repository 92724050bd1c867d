"""The one table of routes: path, access, parameters, answer. Everything that describes the API is built from it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from starlette.types import ASGIApp

from receiver.web import answers, insights, params, tables
from receiver.web.access import Role
from receiver.web.breakdowns import Breakdowns
from receiver.web.campaigns import Campaigns
from receiver.web.dashboard.assets import Assets
from receiver.web.dashboard.dashboard import Dashboard
from receiver.web.dashboard.routes import pages
from receiver.web.dashboard.sign_in import SignIn
from receiver.web.docs import Docs
from receiver.web.drift import Drift
from receiver.web.erase import Erase
from receiver.web.events import Events
from receiver.web.explain import Explain
from receiver.web.operation import Operation
from receiver.web.operations import Operations
from receiver.web.quarantine import Quarantine
from receiver.web.rebuild import Rebuild
from receiver.web.reconciliations import Reconciliations
from receiver.web.registrations import Registrations
from receiver.web.resource import NotFound, Resource, Surroundings
from receiver.web.router import Router
from receiver.web.series import Series
from receiver.web.summary import Summary
from receiver.web.webhook import Webhook

WEBHOOK_PATH = "/webhooks/leadterra"
_CAMPAIGN = "/v1/campaigns/{campaign_id}"


@dataclass(frozen=True, slots=True)
class Handlers:
    """The objects whose methods answer."""

    campaigns: Campaigns
    drift: Drift
    reconciliations: Reconciliations
    breakdowns: Breakdowns
    explain: Explain
    events: Events
    quarantine: Quarantine
    rebuild: Rebuild
    erase: Erase
    operations: Operations
    series: Series
    summary: Summary
    registrations: Registrations
    dashboard: Dashboard
    sign_in: SignIn
    assets: Assets


def table(do: Handlers, base_url: str = "") -> list[Operation]:
    """All operations but the webhook, which has an endpoint of its own. `base_url` is where a client finds them."""
    parts = (_of_campaigns, _of_figures, _of_reconciliation, _of_deliveries, _of_upkeep, _of_the_process)
    operations = [operation for part in parts for operation in part(do)]
    operations += pages(do.dashboard, do.sign_in, do.assets)
    docs = Docs(operations, WEBHOOK_PATH, base_url)
    operations += [
        Operation("GET", "/openapi.json", "This description of the API.", docs.openapi, Role.ANALYST),
        Operation("GET", "/docs", "The same as a page.", docs.page, Role.ANALYST, media_type="text/html"),
    ]
    return operations


def _of_campaigns(do: Handlers) -> list[Operation]:
    return [
        Operation(
            "GET",
            "/v1/campaigns",
            "Campaigns with their figures, a page at a time.",
            do.campaigns.list,
            Role.ANALYST,
            params=params.CampaignsParams,
            answer=answers.CampaignsAnswer,
            stamped=True,
            cached=True,
            table=tables.CAMPAIGNS,
        ),
        Operation(
            "POST",
            "/v1/campaigns",
            "Compare this campaign with Leadterra too, whether or not it has events.",
            do.campaigns.add,
            Role.ADMIN,
            body=params.CampaignBody,
            answer=answers.CampaignAnswer,
            status=201,
            stamped=True,
            errors=("unavailable",),
        ),
        Operation(
            "GET",
            _CAMPAIGN,
            "One campaign with its figures.",
            do.campaigns.one,
            Role.ANALYST,
            answer=answers.CampaignAnswer,
            stamped=True,
            cached=True,
            errors=("campaign_not_found",),
        ),
        Operation(
            "GET",
            f"{_CAMPAIGN}/steps",
            "A campaign's figures by step of its sequence.",
            do.campaigns.steps,
            Role.ANALYST,
            params=params.StepsParams,
            answer=answers.StepsAnswer,
            stamped=True,
            cached=True,
            table=tables.STEPS,
            errors=("campaign_not_found",),
        ),
        Operation(
            "GET",
            f"{_CAMPAIGN}/drift",
            "What a campaign's counters at Leadterra tell about its figures.",
            do.drift.one,
            Role.ANALYST,
            params=params.DriftOfCampaignParams,
            answer=insights.DriftAnswer,
            stamped=True,
            cached=True,
            errors=("campaign_not_found",),
            table=tables.DRIFT_OF_CAMPAIGN,
        ),
    ]


def _of_figures(do: Handlers) -> list[Operation]:
    return [
        Operation(
            "GET",
            "/v1/bounces",
            "Bounces by reason, domain, type or step, most first.",
            do.breakdowns.bounces,
            Role.ANALYST,
            params=params.BouncesParams,
            answer=insights.BouncesAnswer,
            stamped=True,
            cached=True,
            table=tables.BOUNCES,
            errors=("campaign_not_found",),
        ),
        Operation(
            "GET",
            "/v1/replies",
            "Replies by the class that Leadterra gave them, most first.",
            do.breakdowns.replies,
            Role.ANALYST,
            params=params.RepliesParams,
            answer=insights.RepliesAnswer,
            stamped=True,
            cached=True,
            table=tables.REPLIES,
            errors=("campaign_not_found",),
        ),
        Operation(
            "GET",
            "/v1/explain",
            "How a number came to be: definition, value, deliveries, and what is not in it.",
            do.explain.one,
            Role.ANALYST,
            params=params.ExplainParams,
            answer=insights.ExplainAnswer,
            stamped=True,
            cached=True,
            errors=("campaign_not_found",),
        ),
        Operation(
            "GET",
            "/v1/summary",
            "Figures and rates of all campaigns in a range, and how they changed.",
            do.summary.one,
            Role.ANALYST,
            params=params.SummaryParams,
            answer=insights.SummaryAnswer,
            stamped=True,
            cached=True,
        ),
        Operation(
            "GET",
            "/v1/series",
            "Figures over time, by campaign or step, with how far each bucket can be trusted.",
            do.series.list,
            Role.ANALYST,
            params=params.SeriesParams,
            answer=insights.SeriesAnswer,
            stamped=True,
            cached=True,
            table=tables.SERIES,
            errors=("too_many_rows", "campaign_not_found"),
        ),
    ]


def _of_reconciliation(do: Handlers) -> list[Operation]:
    return [
        Operation(
            "GET",
            "/v1/drift",
            "What differs from Leadterra's counters, what is missing, since when and why; alarms.",
            do.drift.list,
            Role.ANALYST,
            params=params.DriftParams,
            answer=insights.DriftAnswer,
            stamped=True,
            cached=True,
            table=tables.DRIFT,
        ),
        Operation(
            "GET",
            "/v1/reconciliations",
            "Runs that compared the figures with Leadterra's counters, newest first.",
            do.reconciliations.list,
            Role.ANALYST,
            params=params.ReconciliationsParams,
            answer=insights.ReconciliationsAnswer,
            stamped=True,
            table=tables.RECONCILIATIONS,
        ),
        Operation(
            "POST",
            "/v1/reconciliations",
            "Compare the named campaigns, or all, with Leadterra's counters now.",
            do.reconciliations.start,
            Role.ADMIN,
            params=params.ReconcileParams,
            body=params.ReconcileBody,
            answer=insights.ReconciliationAnswer,
            status=202,
            other_status=200,
            stamped=True,
            errors=("campaign_not_found", "reconciliation_off", "unavailable"),
        ),
    ]


def _of_deliveries(do: Handlers) -> list[Operation]:
    return [
        Operation(
            "GET",
            "/v1/events",
            "Events of the ledger while the journal keeps their bodies, newest first.",
            do.events.list,
            Role.ANALYST,
            params=params.EventsParams,
            answer=answers.EventsAnswer,
            stamped=True,
            cached=True,
            table=tables.EVENTS,
            errors=("campaign_not_found",),
        ),
        Operation(
            "GET",
            "/v1/quarantine",
            "What is signed and kept but not counted, newest first.",
            do.quarantine.list,
            Role.ANALYST,
            params=params.QuarantineParams,
            answer=answers.QuarantineAnswer,
            stamped=True,
            cached=True,
            table=tables.QUARANTINE,
        ),
        Operation(
            "POST",
            "/v1/quarantine/retry",
            "Read quarantined bodies again; what is understood now is counted.",
            do.quarantine.retry,
            Role.ADMIN,
            body=params.RetryBody,
            answer=answers.RetryAnswer,
            stamped=True,
            errors=("query_timeout",),
        ),
    ]


def _of_upkeep(do: Handlers) -> list[Operation]:
    return [
        Operation(
            "POST",
            "/v1/rebuild",
            "Recount the ledger and repair the figures.",
            do.rebuild.start,
            Role.ADMIN,
            answer=answers.RebuildAnswer,
            status=202,
            stamped=True,
        ),
        Operation(
            "GET",
            "/v1/rebuild",
            "How far the present or last recount is.",
            do.rebuild.state,
            Role.ADMIN,
            answer=answers.RebuildAnswer,
            stamped=True,
        ),
        Operation(
            "POST",
            "/v1/erase",
            "Take one address out of everything that is kept; figures stay.",
            do.erase.start,
            Role.ADMIN,
            body=params.EraseBody,
            answer=answers.EraseAnswer,
            status=202,
            stamped=True,
        ),
        Operation(
            "GET",
            "/v1/erase",
            "How far the present or last erasure is.",
            do.erase.state,
            Role.ADMIN,
            answer=answers.EraseAnswer,
            stamped=True,
        ),
        Operation(
            "POST",
            "/v1/webhooks",
            "Remember a webhook that was registered with Leadterra; `webhook register` does both.",
            do.registrations.add,
            Role.ADMIN,
            body=params.WebhookBody,
            answer=answers.WebhookAnswer,
            status=201,
            stamped=True,
            errors=("unavailable",),
        ),
    ]


def _of_the_process(do: Handlers) -> list[Operation]:
    return [
        Operation(
            "GET",
            "/livez",
            "Whether the process answers.",
            do.operations.livez,
            Role.OPEN,
            answer=answers.StatusAnswer,
        ),
        Operation(
            "GET",
            "/readyz",
            "Whether deliveries are taken in.",
            do.operations.readyz,
            Role.OPEN,
            answer=answers.StatusAnswer,
            errors=("unavailable", "query_timeout"),
        ),
        Operation(
            "GET",
            "/metrics",
            "The service's metrics, for Prometheus.",
            do.operations.metrics,
            Role.OPEN,
            media_type="text/plain",
        ),
    ]


def router(webhook: Webhook, operations: Sequence[Operation], surroundings: Surroundings) -> Router:
    """The ASGI application."""
    endpoints: dict[str, ASGIApp] = {WEBHOOK_PATH: webhook, f"{WEBHOOK_PATH}/": webhook}
    for path, group in groupby(operations, key=lambda operation: operation.path):
        endpoints[path] = Resource(list(group), surroundings)
    return Router(endpoints, NotFound(surroundings.request_ids))
