"""Reads a webhook body of any documented variant into an `Event`, or says why it cannot.

The variants and the places where a field may stand are those of leadterra-api.md, section 1.
"""

import hashlib
import hmac
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from receiver.events import (
    AHEAD_MAX_MS,
    EARLIEST_MS,
    STEP_MAX,
    Event,
    Kind,
    Origin,
    Unread,
    erased_key,
    lead_reply_key,
    message_key,
    reply_key,
    start_key,
)

CAMPAIGN_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
ID_MAX = 512
REASON_MAX = 1000  # characters of a bounce reason that the ledger keeps; the raw body has all of it
_NAME_MAX = 500
_DOMAIN_MAX = 253  # RFC 1035
_EVENT_NAME_MAX = 100

# RFC 3339, section 5.6: seconds and an offset are required.
_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ](?:[01]\d|2[0-3]):[0-5]\d:(?:[0-5]\d|60)(?:\.\d+)?"
    r"(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

_BOUNCE_KINDS = {"soft": Kind.SOFT_BOUNCE, "hard": Kind.HARD_BOUNCE}

_REASON_ORDER = (
    "missing_field",
    "invalid_field",
    "bad_timestamp",
    "campaign_missing",
)


def epoch_ms(text: object) -> int | None:
    """Epoch milliseconds of an RFC 3339 time with offset, cut to milliseconds; None if it is not one."""
    if not isinstance(text, str) or not _RFC3339.fullmatch(text):
        return None
    text = text.upper()  # `fromisoformat` does not know the lower-case z
    leap = text[17:19] == "60"
    try:
        moment = datetime.fromisoformat(text[:17] + "59" + text[19:] if leap else text)
    except ValueError:
        return None
    milliseconds = (moment - _EPOCH) // _MILLISECOND
    return milliseconds + 1000 if leap else milliseconds


def address(text: str) -> str:
    """The address part of a recipient, trimmed and ASCII-lowered; of `Jo <JO@x.org>` that is `jo@x.org`."""
    _, opening, inside = text.rpartition("<")
    if opening and ">" in inside:
        text = inside[: inside.index(">")]
    return text.strip().encode().lower().decode()


def lead_of(text: str, lead_key: bytes) -> bytes:
    """The 16 bytes that stand for a recipient: an HMAC of the address part under the database's own key.

    An address that was erased names them itself.
    """
    whole = address(text)
    key = erased_key(whole.partition("@")[0])
    return hmac.digest(lead_key, whole.encode(), hashlib.sha256)[:16] if key is None else key


def domain_of(text: object) -> str | None:
    """The domain of a recipient's address, lowered; None when there is none."""
    if not isinstance(text, str):
        return None
    domain = address(text).rpartition("@")[2] if "@" in text else ""
    return domain if 0 < len(domain) <= _DOMAIN_MAX else None


class Parser:
    """Turns signed bodies into events; recipients are hashed under `lead_key`."""

    def __init__(self, lead_key: bytes) -> None:
        self.lead_key = lead_key

    def parse(self, body: bytes, now_ms: int | None) -> Event | Unread:
        """The event that a body tells of. With `now_ms` None no time is too far ahead."""
        try:
            payload = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            return Unread("not_json", f"The body is not JSON: {error.msg[:200]}.")
        if type(payload) is not dict:
            return Unread("not_json", "The body is not a JSON object.")
        name = payload.get("event")
        if name is not None and (type(name) is not str or name not in _READERS):
            shown = name[:_EVENT_NAME_MAX] if type(name) is str else None
            return Unread("unknown_event", "'event' is not one of Leadterra's four.", event=shown)
        if name is None:
            return Unread("missing_field", "Field 'event' is missing.")
        return _READERS[name](_Reading(payload, now_ms, self.lead_key))

    def parse_kept(self, body: bytes, origin: Origin) -> Event | None:
        """The event of a body that the journal keeps; None when it is not understood."""
        parsed = self.parse(body, None)
        if not isinstance(parsed, Event):
            return None
        parsed.origin = origin
        return parsed


class _Reading:
    """One pass over one payload: takes its fields and collects what is wrong with them."""

    __slots__ = ("_ahead", "_due_at", "_lead_key", "_now_ms", "_payload", "data", "problems", "reply")

    def __init__(self, payload: dict[str, Any], now_ms: int | None, lead_key: bytes) -> None:
        self._payload = payload
        self._now_ms = now_ms
        self._lead_key = lead_key
        self.problems: list[tuple[str, str]] = []
        self._due_at = 0
        self._ahead = 0
        self.data = self._object(payload, "data", "data")
        if "data" not in payload or payload["data"] is None:
            self.problem("missing_field", "Field 'data' is missing.")
        # Only a reply's own object must be one; in other events it is a place where fields may stand.
        reply = self.data.get("reply")
        if payload["event"] == "reply.received":
            reply = self._object(self.data, "reply", "data.reply")
        self.reply = reply if type(reply) is dict and reply else self.data

    def problem(self, reason: str, detail: str) -> None:
        self.problems.append((reason, detail))

    def unread(self, campaign: str | None, kind: Kind | None, key: bytes | None) -> Unread:
        """What was wrong: of several problems the first in the fixed order of reasons."""
        reason, detail = min(self.problems, key=lambda problem: _REASON_ORDER.index(problem[0]))
        due_at = self._due_at if self._ahead == len(self.problems) else None
        return Unread(reason, detail, self._payload["event"], campaign, kind, key, due_at)

    def _object(self, parent: dict[str, Any], name: str, path: str) -> dict[str, Any]:
        value = parent.get(name)
        if type(value) is dict:
            return value
        if value is not None:
            self.problem("invalid_field", f"Field '{path}' is not an object.")
        return {}

    def text(self, value: object, path: str) -> str | None:
        """An optional non-empty string of at most 512 characters."""
        if value is None or (type(value) is str and 0 < len(value) <= ID_MAX):
            return value
        self.problem("invalid_field", f"Field '{path}' is not a string of 1 to {ID_MAX} characters.")
        return None

    def required_text(self, value: object, path: str) -> str:
        """The same, required; empty when a problem was noted."""
        if value is None:
            self.problem("missing_field", f"Field '{path}' is missing.")
        return self.text(value, path) or ""

    def campaign(self, *, own_id: object = None) -> str | None:
        value = self.data.get("campaignId")
        if value is None:
            campaign = self.data.get("campaign")
            value = campaign.get("id") if type(campaign) is dict else None
        if value is None:
            value = self.reply.get("campaignId")
        if value is None:
            value = own_id
        if value is None or (type(value) is str and CAMPAIGN_ID.fullmatch(value)):
            return value
        self.problem("invalid_field", "The campaign's id is not 1 to 128 of A-Z a-z 0-9 _ . : -")
        return None

    def campaign_name(self) -> str | None:
        campaign = self.data.get("campaign")
        name = campaign.get("name") if type(campaign) is dict else None
        if name is None:
            name = self.data.get("campaignName")
        return _name(name)

    def step(self) -> int | None:
        value = self.data.get("sequenceStep")
        if value is None:
            value = self.reply.get("sequenceStep")
        if value is None or (type(value) is int and 0 <= value <= STEP_MAX):
            return value
        self.problem("invalid_field", f"Field 'data.sequenceStep' is not an integer from 0 to {STEP_MAX}.")
        return None

    def time(self, value: object, path: str) -> int:
        """Epoch milliseconds; 0 when a problem was noted."""
        if value is None:
            self.problem("missing_field", f"Field '{path}' is missing.")
            return 0
        at = epoch_ms(value)
        if at is None:
            self.problem("bad_timestamp", f"Field '{path}' is not an RFC 3339 time with offset.")
        elif at < EARLIEST_MS:
            self.problem("bad_timestamp", f"Field '{path}' is before 2015.")
        elif self._now_ms is not None and at > self._now_ms + AHEAD_MAX_MS:
            self.problem("bad_timestamp", f"Field '{path}' is more than a day ahead.")
            self._ahead += 1
            self._due_at = max(self._due_at, at - AHEAD_MAX_MS)
        else:
            return at
        return 0

    def timestamp(self) -> int:
        return self.time(self._payload.get("timestamp"), "timestamp")

    def recipient(self) -> object:
        data = self.data
        lead = data.get("lead")
        lead_email = lead.get("email") if type(lead) is dict else None
        found = (self.reply.get("email"), data.get("email"), lead_email, data.get("to"))
        return next((value for value in found if value is not None), None)

    def lead(self) -> bytes | None:
        text = self.text(self.recipient(), "data.reply.email")
        if text is None:
            return None
        if not address(text):
            # All blank addresses would be one lead.
            self.problem("invalid_field", "Field 'data.reply.email' is not an address.")
            return None
        return lead_of(text, self._lead_key)

    def link(self) -> str | None:
        """The `messageId` of the message that a reply answers."""
        value = self.reply.get("messageId")
        return self.text(self.data.get("messageId") if value is None else value, "data.messageId")


def _read_started(reading: _Reading) -> Event | Unread:
    own_id = reading.data.get("id")
    campaign = reading.campaign(own_id=own_id)
    at = reading.timestamp()
    if campaign is None:
        reading.problem("campaign_missing", "The campaign is not named.")
    key = start_key(campaign, at) if campaign and at else None
    if reading.problems or key is None:
        return reading.unread(campaign, Kind.STARTED, key)
    name = reading.campaign_name()
    if name is None and own_id == campaign:
        name = _name(reading.data.get("name"))
    return Event(Kind.STARTED, key, at, campaign, campaign_name=name)


def _read_sent(reading: _Reading) -> Event | Unread:
    message_id = reading.required_text(reading.data.get("messageId"), "data.messageId")
    campaign, step, at = reading.campaign(), reading.step(), reading.timestamp()
    if campaign is None:
        reading.problem("campaign_missing", "The campaign is not named.")
    key = message_key(message_id) if message_id else None
    if reading.problems or key is None:
        return reading.unread(campaign, Kind.SENT, key)
    domain = domain_of(reading.recipient())
    return Event(Kind.SENT, key, at, campaign, step, None, domain, reading.campaign_name())


def _read_bounced(reading: _Reading) -> Event | Unread:
    data = reading.data
    message_id = reading.required_text(data.get("messageId"), "data.messageId")
    bounce_type = reading.required_text(data.get("bounceType"), "data.bounceType")
    kind = _BOUNCE_KINDS.get(bounce_type.lower())
    if bounce_type and kind is None:
        reading.problem("invalid_field", "Field 'data.bounceType' is neither 'hard' nor 'soft'.")
    campaign, step, at = reading.campaign(), reading.step(), reading.timestamp()
    key = message_key(message_id) if message_id and kind is not None else None
    if reading.problems or key is None or kind is None:
        return reading.unread(campaign, kind, key)
    reason = data.get("bounceReason")
    reason = reason[:REASON_MAX] if type(reason) is str and reason else None
    return Event(kind, key, at, campaign, step, reason, domain_of(reading.recipient()), reading.campaign_name())


def _read_reply(reading: _Reading) -> Event | Unread:
    reply = reading.reply
    reply_id = reading.text(reply.get("id"), "data.reply.id")
    message_id = reading.link()
    classification = reading.text(reply.get("classification"), "data.reply.classification")
    lead, campaign, step = reading.lead(), reading.campaign(), reading.step()
    received_at = reply.get("receivedAt")
    at = reading.timestamp()
    if received_at is not None:
        at = reading.time(received_at, "data.reply.receivedAt")
    if reply.get("id") is None and reading.recipient() is None:
        reading.problem("missing_field", "Field 'data.reply.id' is missing, and so is the lead.")
    if campaign is None and (message_id is None or reply_id is None):
        reading.problem("campaign_missing", "The campaign is not named.")
    key = reply_key(reply_id) if reply_id else None
    if key is None and campaign and lead and at:
        key = lead_reply_key(campaign, lead, at)
    if reading.problems or key is None:
        return reading.unread(campaign, Kind.REPLY, key)
    link = message_key(message_id) if message_id else None
    return Event(
        Kind.REPLY,
        key,
        at,
        campaign,
        step,
        campaign_name=reading.campaign_name(),
        message_key=link,
        lead=lead,
        classification=classification,
    )


def timestamp_of(body: bytes) -> object:
    """The `timestamp` of a body as it came; None when there is none to be read."""
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return payload.get("timestamp") if type(payload) is dict else None


def message_id_of(body: bytes, kind: Kind) -> str | None:
    """The messageId that an understood body names, to be shown beside its event; a reply's own comes first."""
    data = orjson.loads(body)["data"]
    places = (data.get("reply"), data) if kind is Kind.REPLY else (data,)
    found = (place.get("messageId") for place in places if type(place) is dict)
    return next((value for value in found if type(value) is str), None)


def _name(value: object) -> str | None:
    return value[:_NAME_MAX] if type(value) is str and value else None


_READERS: dict[str, Callable[[_Reading], Event | Unread]] = {
    "campaign.started": _read_started,
    "message.sent": _read_sent,
    "message.bounced": _read_bounced,
    "reply.received": _read_reply,
}
