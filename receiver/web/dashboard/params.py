"""What the dashboard's pages are asked with: a whole view stands in its address, so that it can be shared."""

from typing import Annotated, Literal

from pydantic import Field

from receiver.web.params import SORTS, OneCampaign, Params, Zone, allowed
from receiver.web.times import ALLOWED as TIMES

# Of a range without a beginning.
ALL = "all"

Beginning = Annotated[str, Field(max_length=40, json_schema_extra={"allowed": f"{ALL}, or {TIMES}"})]
End = Annotated[str, Field(max_length=40, json_schema_extra={"allowed": TIMES})]


class PageParams(Params):
    """`GET /`."""

    view: Literal["overview", "campaign", "trust"] = Field(
        "overview", json_schema_extra={"allowed": "overview, campaign or trust"}
    )
    campaign_id: OneCampaign = None
    from_: Beginning = Field("-30d", alias="from")
    to: End = "now"
    timezone: Zone = "UTC"
    interval: Literal["hour", "day", "week"] = Field("day", json_schema_extra={"allowed": "hour, day or week"})
    sort: str = Field("last_event_at", json_schema_extra={"allowed": ", ".join(SORTS), "enum": list(SORTS)})
    order: Literal["asc", "desc"] = Field("desc", json_schema_extra={"allowed": "asc or desc"})
    status: Literal["started", "gone", "unknown"] | None = allowed("started, gone or unknown")
    activity: Literal["active", "quiet"] | None = allowed("active or quiet")
    q: Annotated[str | None, Field(max_length=200)] = allowed("at most 200 characters")


class SignInParams(Params):
    """`GET /sign-in`: the query of the page that was wanted."""

    page: Annotated[str | None, Field(max_length=2000)] = allowed("at most 2000 characters")


class SignInForm(Params):
    """`POST /sign-in`."""

    key: str
    page: str = ""
