"""Query strings and JSON bodies into parameter models; every refusal names parameter, value and what is allowed."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin
from urllib.parse import parse_qsl

import orjson
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from receiver.definitions import DEFINITIONS
from receiver.errors import InvalidParameterError
from receiver.figures import OBSERVED, RATES
from receiver.storage.sqlite.series import Basis, Group
from receiver.web.answers import DriftStatus
from receiver.web.buckets import ZONES_ALLOWED, Interval
from receiver.web.formats import Format
from receiver.web.times import ALLOWED as TIMES

M = TypeVar("M", bound="Params")

_SHOWN_MAX = 100
_PARAMETERS_MAX = 100
EventName = Literal["campaign.started", "message.sent", "message.bounced", "reply.received"]
Reason = Literal[
    "not_json",
    "unknown_event",
    "missing_field",
    "invalid_field",
    "bad_timestamp",
    "campaign_unknown",
    "campaign_missing",
    "conflict",
]
CAMPAIGN_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
CAMPAIGN_IDS = "1 to 128 letters, digits and _ . : -"
QUARANTINE_REASONS: tuple[str, ...] = get_args(Reason)
USUAL = ("sent", "bounced", "replied")
FIGURES_ALLOWED = f"a comma list, each once, of {', '.join(OBSERVED)}"
SORTS = (*OBSERVED, *RATES, "campaign_id", "last_event_at")


def allowed(text: str) -> Any:
    """A field whose refusals say what is allowed in these words."""
    return Field(default=None, json_schema_extra={"allowed": text})


class Params(BaseModel):
    """Parameters of one operation; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NoParams(Params):
    """An operation without parameters."""


def _plain_digits(value: object) -> object:
    """Refuses what pydantic would take for a whole number too: `1_000`, `+10`, `10.0`, blanks around it."""
    if isinstance(value, str) and not (value.isascii() and value.isdigit()):
        raise ValueError(value)
    return value


Whole = Annotated[int, BeforeValidator(_plain_digits)]
Limit = Annotated[Whole, Field(ge=1, le=2000, json_schema_extra={"allowed": "1 to 2000"})]
Cursor = Annotated[
    str | None, Field(max_length=2000, json_schema_extra={"allowed": "a next_cursor of an earlier answer"})
]
Time = Annotated[str | None, Field(max_length=40, json_schema_extra={"allowed": TIMES})]
CampaignIds = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=128)], ...],
    Field(json_schema_extra={"allowed": "a campaign id of 1 to 128 characters"}),
]
Zone = Annotated[str, Field(max_length=100, json_schema_extra={"allowed": ZONES_ALLOWED})]
OneCampaign = Annotated[
    str | None,
    Field(min_length=1, max_length=128, json_schema_extra={"allowed": "a campaign id of 1 to 128 characters"}),
]
RowFormat = Annotated[Format | None, Field(json_schema_extra={"allowed": "json, csv or ndjson"})]


class CampaignsParams(Params):
    """`GET /v1/campaigns`."""

    sort: str = Field("last_event_at", json_schema_extra={"allowed": ", ".join(SORTS), "enum": list(SORTS)})
    order: Literal["asc", "desc"] = Field("desc", json_schema_extra={"allowed": "asc or desc"})
    status: Literal["started", "gone", "unknown"] | None = allowed("started, gone or unknown")
    activity: Literal["active", "quiet"] | None = allowed("active or quiet")
    q: Annotated[str | None, Field(max_length=200)] = allowed("at most 200 characters")
    min_sent: Annotated[Whole | None, Field(ge=0, le=2**53)] = allowed("a whole number from 0")
    active_from: Time = None
    active_to: Time = None
    limit: Limit = 100
    cursor: Cursor = None
    format: RowFormat = None


class SeriesParams(Params):
    """`GET /v1/series`."""

    figures: Annotated[str, Field(max_length=200, json_schema_extra={"allowed": FIGURES_ALLOWED})] = ",".join(USUAL)
    interval: Interval = Field(Interval.DAY, json_schema_extra={"allowed": "15m, hour, day, week or month"})
    timezone: Zone = "UTC"
    from_: Time = Field("-30d", alias="from")
    to: Time = "now"
    campaign_id: CampaignIds = ()
    group_by: Group | None = allowed("campaign or step")
    basis: Basis = Field(Basis.EVENT, json_schema_extra={"allowed": "event or send"})
    format: RowFormat = None


class SummaryParams(Params):
    """`GET /v1/summary`."""

    from_: Time = Field(None, alias="from")
    to: Time = None
    timezone: Zone = "UTC"
    compare: Literal["previous"] | None = allowed("previous")


class StepsParams(Params):
    """`GET /v1/campaigns/{campaign_id}/steps`."""

    format: RowFormat = None


class EventsParams(Params):
    """`GET /v1/events`."""

    event: EventName | None = allowed("campaign.started, message.sent, message.bounced or reply.received")
    campaign_id: OneCampaign = None
    message_id: Annotated[str | None, Field(min_length=1, max_length=512)] = allowed(
        "a messageId of 1 to 512 characters"
    )
    from_: Time = Field(None, alias="from")
    to: Time = None
    limit: Limit = 100
    cursor: Cursor = None
    format: RowFormat = None


class QuarantineParams(Params):
    """`GET /v1/quarantine`."""

    reason: Reason | None = allowed(", ".join(QUARANTINE_REASONS[:-1]) + " or conflict")
    limit: Limit = 100
    cursor: Cursor = None
    format: RowFormat = None


def _known_figure(name: str) -> str:
    if name not in DEFINITIONS:
        raise ValueError(name)
    return name


class BouncesParams(Params):
    """`GET /v1/bounces`."""

    group_by: Literal["type", "reason", "domain", "step"] = Field(
        "reason", json_schema_extra={"allowed": "type, reason, domain or step"}
    )
    from_: Time = Field(None, alias="from")
    to: Time = None
    campaign_id: OneCampaign = None
    limit: Limit = 100
    format: RowFormat = None


class RepliesParams(Params):
    """`GET /v1/replies`."""

    from_: Time = Field(None, alias="from")
    to: Time = None
    campaign_id: OneCampaign = None
    limit: Limit = 100
    format: RowFormat = None


class ExplainParams(Params):
    """`GET /v1/explain`."""

    figure: Annotated[str, AfterValidator(_known_figure)] = Field(
        json_schema_extra={"allowed": ", ".join(DEFINITIONS), "enum": list(DEFINITIONS)}
    )
    from_: Time = Field(None, alias="from")
    to: Time = None
    campaign_id: OneCampaign = None


class RetryBody(Params):
    """`POST /v1/quarantine/retry`: the named rows, those of a reason, or all."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    ids: Annotated[list[Annotated[int, Field(ge=1, lt=2**63)]] | None, Field(max_length=10_000)] = allowed(
        "a list of at most 10000 quarantine ids"
    )
    reason: Reason | None = allowed(", ".join(QUARANTINE_REASONS[:-1]) + " or conflict")


class EraseBody(Params):
    """`POST /v1/erase`: whose address."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)

    email: str = Field(json_schema_extra={"allowed": "an e-mail address", "format": "email"})


class DriftOfCampaignParams(Params):
    """`GET /v1/campaigns/{campaign_id}/drift`: which gaps to show."""

    gaps: Literal["all", "open", "none"] = Field("all", json_schema_extra={"allowed": "all, open or none"})
    format: RowFormat = None


class DriftParams(DriftOfCampaignParams):
    """`GET /v1/drift`."""

    status: DriftStatus | None = allowed("in_sync, settling, missing, surplus or unknown")
    limit: Limit = 100
    cursor: Cursor = None


class ReconciliationsParams(Params):
    """`GET /v1/reconciliations`."""

    limit: Limit = 100
    cursor: Cursor = None
    format: RowFormat = None


class ReconcileParams(Params):
    """`POST /v1/reconciliations`: whether to answer when the run is over."""

    wait: Literal["true", "false"] = Field("false", json_schema_extra={"allowed": "true or false"})


CampaignId = Annotated[str, Field(pattern=rf"^{CAMPAIGN_ID.pattern}$")]


class ReconcileBody(Params):
    """`POST /v1/reconciliations`: the named campaigns, or all."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    campaign_ids: Annotated[list[CampaignId] | None, Field(min_length=1, max_length=10_000)] = allowed(
        f"a list of 1 to 10000 campaign ids, each {CAMPAIGN_IDS}"
    )


_Text = Annotated[str, Field(min_length=1, max_length=2000, json_schema_extra={"allowed": "1 to 2000 characters"})]


class CampaignBody(Params):
    """`POST /v1/campaigns`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    campaign_id: CampaignId = Field(json_schema_extra={"allowed": CAMPAIGN_IDS})
    name: Annotated[str | None, Field(min_length=1, max_length=200)] = allowed("1 to 200 characters")


class WebhookBody(Params):
    """`POST /v1/webhooks`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    webhook_id: _Text
    url: _Text
    events: Annotated[list[_Text], Field(min_length=1, max_length=100)] = Field(
        json_schema_extra={"allowed": "a list of names of events"}
    )
    leadterra: _Text


def parse_query(model: type[M], query: bytes) -> M:
    """The parameters of a query string. Raises InvalidParameterError."""
    return _parsed(model, query) if query else _of_nothing(model)


@cache
def _of_nothing(model: type[M]) -> M:
    """Parameters of which none is given: they cannot be changed, and are the same in every request."""
    return parse_values(model, {})


def _parsed(model: type[M], query: bytes) -> M:
    values: dict[str, Any] = {}
    known = _fields(model)
    if query.count(b"&") >= _PARAMETERS_MAX:
        text = f"The query string has more than {_PARAMETERS_MAX} parameters; send fewer."
        raise InvalidParameterError("query", text)
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict")
    except ValueError as error:
        raise InvalidParameterError("query", "The query string is not valid percent-encoded UTF-8.") from error
    for name, value in pairs:
        if name in known and is_repeatable(known[name]):
            values.setdefault(name, []).append(value)
            continue
        if name in values:
            text = f"{_shown(name)} is given as {_shown(values[name])} and as {_shown(value)}; give it once."
            raise InvalidParameterError(name, text)
        values[name] = value
    return parse_values(model, values)


@cache
def _fields(model: type["Params"]) -> Mapping[str, FieldInfo]:
    """The fields of a model by the names that they are given by."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def is_repeatable(field: FieldInfo) -> bool:
    """Whether a query string may give a parameter several times: its values are a tuple."""
    return get_origin(field.annotation) is tuple


def parse_json(model: type[M], body: bytes) -> M:
    """The parameters of a JSON body; an empty one is `{}`. Raises InvalidParameterError."""
    try:
        values = orjson.loads(body) if body.strip() else {}
    except orjson.JSONDecodeError as error:
        raise InvalidParameterError("body", "The body is not JSON; send an object.") from error
    if not isinstance(values, dict):
        raise InvalidParameterError("body", "The body is not a JSON object; send one.")
    return parse_values(model, values)


def parse_form(model: type[M], body: bytes) -> M:
    """The fields of an HTML form. Raises InvalidParameterError, which never tells a value: one may be a secret."""
    fields = {name: field.is_required() for name, field in model.model_fields.items()}
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=len(fields))
    except ValueError as error:
        raise InvalidParameterError("body", "The body is not the form of this path; send its fields once.") from error
    values = dict(pairs)
    for name, required in fields.items():
        if [given for given, _ in pairs].count(name) > 1 or (required and not values.get(name)):
            raise InvalidParameterError(name, f"'{name}' is missing or given twice; send it once.")
    if values.keys() - fields.keys():
        raise InvalidParameterError("body", f"The form has a field that is not known; use {', '.join(fields)}.")
    return model.model_validate(values)


def parse_values(model: type[M], values: Mapping[str, Any]) -> M:
    """The parameters of named values. Raises InvalidParameterError."""
    known = _fields(model)
    for name in values:
        if name not in known:
            names = ", ".join(known) or "none"
            raise InvalidParameterError(name, f"{_shown(name)} is not a parameter here; known are: {names}.")
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first, *place = error.errors(include_url=False, include_context=False)[0]["loc"]
        name, field = str(first), known[str(first)]
        if name not in values:
            raise InvalidParameterError(name, f"'{name}' is missing; use {_what_is_allowed(field)}.") from None
        value = values[name][int(place[0])] if place and is_repeatable(field) else values[name]
        raise refusal(name, value, _what_is_allowed(field)) from None


def _what_is_allowed(field: FieldInfo) -> str:
    extra = field.json_schema_extra
    found = extra.get("allowed") if isinstance(extra, dict) else None
    return str(found or "another value")


def refusal(name: str, value: object, allowed_text: str) -> InvalidParameterError:
    """`'limit' is '0'; use 1 to 2000.`"""
    return InvalidParameterError(name, f"'{name}' is {_shown(value)}; use {allowed_text}.")


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else orjson.dumps(value, default=str).decode()
    return f"'{text[:_SHOWN_MAX]}'"
