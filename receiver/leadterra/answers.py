"""Reads Leadterra's answers, in every envelope that its pages show, into what the receiver works with."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from receiver.errors import LeadterraError, LeadterraReason
from receiver.leadterra.payloads import epoch_ms

if TYPE_CHECKING:  # the process that writes needs counters, and no HTTP client
    from receiver.leadterra.exchange import Answer

_COUNTER_MAX = 2**53  # beyond it a JSON number is no longer exact
_ID_MAX = 512
_STATUS_MAX = 50

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Counters:
    """The figures of `/stats` as they came; None for what the answer lacks. Rates are 0 to 1."""

    sent: int | None = None
    delivered: int | None = None
    bounced: int | None = None
    replied: int | None = None
    queued: int | None = None
    total_enrolled: int | None = None
    open_rate: float | None = None
    reply_rate: float | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One answer of `/stats`. `at_ms` is its `Date` in epoch milliseconds; without one the caller's clock counts."""

    campaign_id: str
    at_ms: int | None
    counters: Counters


@dataclass(frozen=True, slots=True)
class CampaignState:
    """What a start or pause came to; `status` and `at_ms` (epoch milliseconds) are None if the answer lacks them."""

    campaign_id: str
    status: str | None
    at_ms: int | None


@dataclass(frozen=True, slots=True)
class RegisteredWebhook:
    """A webhook that Leadterra took; `secret` signs its deliveries, where the answer tells it."""

    id: str
    url: str
    events: tuple[str, ...]
    status: str | None
    secret: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class FetchedReply:
    """A row of `GET /v1/replies`; everything but `id` may be missing."""

    id: str
    email: str | None = field(repr=False)
    campaign_id: str | None
    classification: str | None
    received_at: str | None


@dataclass(frozen=True, slots=True)
class RepliesPage:
    """One page of `count` rows: those of the campaign that can be read, and every id that can be.

    `total` and `per_page` are None unless the answer says them.
    """

    rows: tuple[FetchedReply, ...]
    ids: frozenset[str]
    count: int
    total: int | None
    per_page: int | None


_COUNTERS = {
    "sent": "sent",
    "delivered": "delivered",
    "bounced": "bounced",
    "replied": "replied",
    "queued": "queued",
    "total_enrolled": "totalEnrolled",
}


def read_snapshot(answer: "Answer", campaign_id: str) -> Snapshot:
    """The counters of `campaign_id`. Raises LeadterraError: not_json, invalid_answer, wrong_campaign."""
    outer = _object(answer)
    body = _inside(outer, ("data", "stats", "campaign"), _COUNTERS.values())
    for place in (outer, body):
        _check_campaign(answer, place.get("campaignId"), campaign_id)
    counts = {name: _count(answer, body, path) for name, path in _COUNTERS.items()}
    if all(count is None for count in counts.values()):
        raise _invalid(answer, f"has none of {', '.join(_COUNTERS.values())}")
    open_rate, reply_rate = (_rate(answer, body, path) for path in ("openRate", "replyRate"))
    return Snapshot(campaign_id, answer.at_ms, Counters(**counts, open_rate=open_rate, reply_rate=reply_rate))


def read_state(answer: "Answer", campaign_id: str, time_field: str) -> CampaignState:
    """The state after a start or pause; an empty answer is good. Raises as `read_snapshot`."""
    if not answer.body:
        return CampaignState(campaign_id, None, None)
    body = _inside(_object(answer), ("campaign", "data"), ("id",))
    _check_campaign(answer, body.get("id"), campaign_id)
    return CampaignState(campaign_id, _text(body.get("status"), _STATUS_MAX), epoch_ms(body.get(time_field)))


def read_webhook(answer: "Answer", url: str, events: Iterable[str]) -> RegisteredWebhook:
    """The webhook that was asked for. Raises LeadterraError: not_json, invalid_answer."""
    outer = _object(answer)
    body = _inside(outer, ("webhook", "data"), ("id",))
    webhook_id = _text(body.get("id"), _ID_MAX)
    if webhook_id is None:
        raise _invalid(answer, "has no 'id' of a webhook")
    taken = body.get("events")
    names = tuple(name for name in taken if isinstance(name, str)) if isinstance(taken, list) else tuple(events)
    secrets = [place.get(name) for place in (body, outer) for name in ("secret", "signingSecret")]
    secret = next((text for text in secrets if _text(text, _ID_MAX)), None)
    status = _text(body.get("status"), _STATUS_MAX)
    return RegisteredWebhook(webhook_id, _text(body.get("url"), 2000) or url, names, status, secret)


def read_replies(answer: "Answer", campaign_id: str) -> RepliesPage:
    """One page of the replies of `campaign_id`. Raises LeadterraError: not_json, invalid_answer."""
    body = _json(answer)
    outer = body if isinstance(body, dict) else {}
    places = [body, outer.get("replies"), outer.get("data")]
    found = next((place for place in places if isinstance(place, list)), None)
    if found is None:
        raise _invalid(answer, "has no list of replies")
    rows = [reply for row in found if (reply := _reply(row)) is not None]
    ids = frozenset(str(row["id"]) for row in found if isinstance(row, dict) and _text(row.get("id"), _ID_MAX))
    own = tuple(reply for reply in rows if reply.campaign_id == campaign_id)
    pagination = outer.get("pagination")
    pagination = pagination if isinstance(pagination, dict) else {}
    total, per_page = (_natural(pagination.get(name)) for name in ("total", "perPage"))
    return RepliesPage(own, ids, len(found), total, per_page)


def _reply(row: object) -> FetchedReply | None:
    if not isinstance(row, dict) or _text(row.get("id"), _ID_MAX) is None:
        return None
    others = [row.get(name) for name in ("email", "campaignId", "classification", "receivedAt")]
    if not all(isinstance(value, str | None) for value in others):
        return None
    return FetchedReply(row["id"], *others)


def _json(answer: "Answer") -> Any:
    try:
        return orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        raise _error(answer, "not_json", f"a body of {len(answer.body)} bytes that is not JSON") from None


def _object(answer: "Answer") -> Json:
    body = _json(answer)
    if not isinstance(body, dict):
        raise _invalid(answer, "is not an object")
    return body


def _inside(outer: Json, envelopes: Iterable[str], wanted: Iterable[str]) -> Json:
    """The object that has any of the `wanted` fields: the outer one, or the one under an envelope's name."""
    names = tuple(wanted)
    insides = (outer.get(name) for name in envelopes)
    places = [outer, *(inside for inside in insides if isinstance(inside, dict))]
    return next((place for place in places if any(place.get(name) is not None for name in names)), outer)


def _check_campaign(answer: "Answer", named: object, campaign_id: str) -> None:
    if named is not None and named != campaign_id:
        raise _error(answer, "wrong_campaign", f"another campaign than '{campaign_id}'")


def _count(answer: "Answer", body: Json, path: str) -> int | None:
    value = body.get(path)
    if value is None:
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value <= _COUNTER_MAX or value != int(value):
        raise _invalid(answer, f"has {_kind(value)} at '{path}' instead of an integer from 0 to 2^53")
    return int(value)


def _rate(answer: "Answer", body: Json, path: str) -> float | None:
    value = body.get(path)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise _invalid(answer, f"has {_kind(value)} at '{path}' instead of a number from 0 to 1")
    return float(value)


def _natural(value: object) -> int | None:
    return value if type(value) is int and value > 0 else None


def _text(value: object, longest: int) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= longest else None


def _kind(value: object) -> str:
    """A value as an error shows it: numbers as they are, of the rest, which may hold anything, the kind."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:g}"
    kinds = {bool: "a boolean", str: "a string", list: "a list", dict: "an object"}
    return kinds.get(type(value), "nothing")


def _invalid(answer: "Answer", fault: str) -> LeadterraError:
    return _error(answer, "invalid_answer", f"a body that {fault}")


def _error(answer: "Answer", reason: LeadterraReason, what: str) -> LeadterraError:
    text = f"Leadterra answered {answer.ask} with {what}; check 'leadterra.base_url', or ask Leadterra."
    return LeadterraError(text, reason, answer.status)
