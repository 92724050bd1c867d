"""The dashboard's page: its shell, with the first figures in it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from receiver.errors import InvalidParameterError, UnauthorizedError
from receiver.figures import OBSERVED, RATES, rate
from receiver.masking import all_masked
from receiver.web.access import Access, Role
from receiver.web.campaigns import Campaigns
from receiver.web.dashboard.pages import Pages
from receiver.web.dashboard.params import ALL, PageParams
from receiver.web.drift import Drift
from receiver.web.operation import Call, Raw, Refused
from receiver.web.params import CampaignsParams, DriftParams, Params, SummaryParams
from receiver.web.summary import Summary
from receiver.web.times import rfc3339, settled_until

# As many as the scripts begin with: all of them are there and can be sorted as soon as these run.
_FIRST_ROWS = 100
_FIRST_GAPS = "open"

# What the scripts make new rows of: the shape of a campaign of which nothing is known.
_BLANK = {
    "campaign_id": "",
    "name": "",
    "status": "unknown",
    "observed": dict.fromkeys(OBSERVED),
    "rates": {name: rate(None, None) for name in RATES},
    "drift": {"status": "unknown"},
    "last_event_at": None,
}

Values = Mapping[str, Any]


class Dashboard:
    """Handler of `/`; the figures are the answers of the API's own handlers."""

    def __init__(self, access: Access, pages: Pages, campaigns: Campaigns, summary: Summary, drift: Drift) -> None:
        self._access = access
        self._pages = pages
        self._campaigns = campaigns
        self._summary = summary
        self._drift = drift
        self._views: Mapping[str, Callable[[Call], Awaitable[Values]]] = {
            "overview": self._overview,
            "campaign": self._campaign,
            "trust": self._trust,
        }

    async def page(self, call: Call) -> Raw:
        params: PageParams = call.params
        found = await self._views[params.view](call)
        shown = found if call.show_recipients else all_masked(dict(found))
        stamps = {"as_of": rfc3339(call.now_ms), "settled_until": rfc3339(settled_until(call.now_ms))}
        who = {"admin": call.role is Role.ADMIN, "keys": self._access.has_keys}
        values = {**shown, **stamps, **who, "asked": params.model_dump(by_alias=True)}
        # A hundred rows would hold the event loop, and with it those who deliver.
        return await asyncio.to_thread(self._pages.page, params.view, values)

    def refused(self, refused: Refused) -> Raw | None:
        """Whoever is not signed in is asked to, and comes back to the page that was wanted."""
        if isinstance(refused.error, UnauthorizedError):
            return self._pages.redirect("/sign-in", _wanted(refused.query))
        return self._pages.refusal(refused)

    async def _overview(self, call: Call) -> Values:
        params: PageParams = call.params
        whole = params.from_ == ALL
        begin = None if whole else params.from_
        summary = SummaryParams.model_validate(
            {"from": begin, "to": params.to, "timezone": params.timezone, "compare": None if whole else "previous"}
        )
        listed = CampaignsParams(
            sort=params.sort,
            order=params.order,
            status=params.status,
            activity=params.activity,
            q=params.q or None,
            limit=_FIRST_ROWS,
        )
        return {
            "blank": _BLANK,
            "summary": await self._summary.one(_asking(call, summary)),
            "campaigns": await self._campaigns.list(_asking(call, listed)),
        }

    async def _campaign(self, call: Call) -> Values:
        params: PageParams = call.params
        if params.campaign_id is None:
            raise InvalidParameterError("campaign_id", "'campaign_id' is missing; use the id of a campaign.")
        one = call._replace(path={"campaign_id": params.campaign_id})
        return {"campaign": await self._campaigns.one(one)}

    async def _trust(self, call: Call) -> Values:
        return {"drift": await self._drift.list(_asking(call, DriftParams(gaps=_FIRST_GAPS)))}


def _asking(call: Call, params: Params) -> Call:
    return call._replace(params=params)


def _wanted(query: bytes) -> str:
    """The query of the sign-in page that leads back to this one."""
    return urlencode({"page": query.decode("latin-1")}) if query else ""
