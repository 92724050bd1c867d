"""The envelopes that Leadterra's three sets of pages document, for answers, errors and webhooks.

Where the pages differ is in leadterra-api.md; what they leave open (signature encoding, where the campaign
stands) is filled differently in each shape, so that a receiver tried on all three has met every variant.
"""

import base64
from typing import Any, Protocol

import orjson

from receiver.sandbox.happenings import Event, Happening
from receiver.sandbox.model import Account, Campaign, Counters
from receiver.sandbox.options import BouncedMeans, ShapesName
from receiver.sandbox.times import iso

Json = dict[str, Any]


class Shapes(Protocol):
    """One consistent set of envelopes."""

    counts_sent: bool

    def campaign(self, body: Json) -> Json: ...
    def webhook(self, body: Json) -> Json: ...
    def stats(self, body: Json) -> Json: ...
    def enrolled(self, enrolled: int, updated: int, skipped: int) -> Json: ...
    def replies(self, rows: list[Json], pagination: Json) -> Json | list[Json]: ...
    def pools(self, rows: list[tuple[str, list[Account]]], now_ms: int) -> Json | list[Json]: ...
    def accounts(self, rows: list[Json]) -> Json | list[Json]: ...
    def suppressed(self, new: int, known: int) -> Json: ...
    def error(self, code: str, message: str) -> Json: ...
    def data(self, happening: Happening) -> Json: ...
    def signature(self, digest: bytes) -> str: ...


class Reference:
    """Bare objects and arrays, flat webhooks, hex."""

    counts_sent = True

    def campaign(self, body: Json) -> Json:
        return body

    def webhook(self, body: Json) -> Json:
        return body

    def stats(self, body: Json) -> Json:
        return body

    def enrolled(self, enrolled: int, updated: int, skipped: int) -> Json:
        return {"enrolled": enrolled, "updated": updated, "total": enrolled + updated}

    def replies(self, rows: list[Json], pagination: Json) -> Json | list[Json]:
        return rows

    def pools(self, rows: list[tuple[str, list[Account]]], now_ms: int) -> Json | list[Json]:
        return [
            {**_pool(pool, accounts), "remainingVolume": _remaining(accounts, now_ms), "senderCount": len(accounts)}
            for pool, accounts in rows
        ]

    def accounts(self, rows: list[Json]) -> Json | list[Json]:
        return rows

    def suppressed(self, new: int, known: int) -> Json:
        return {"suppressed": new}

    def error(self, code: str, message: str) -> Json:
        return {"error": {"code": code, "message": message}}

    def data(self, happening: Happening) -> Json:
        if happening.event is Event.STARTED:
            return {
                "id": happening.campaign_id,
                "name": happening.campaign_name,
                "status": "running",
                "startedAt": iso(happening.at_ms),
            }
        if happening.event is Event.REPLY:
            return {**reply(happening), "messageId": happening.message_id}
        data = {**_message(happening), "campaignId": happening.campaign_id, "email": happening.email}
        return data if happening.event is Event.BOUNCED else {**data, "sequenceStep": happening.step + 1}

    def signature(self, digest: bytes) -> str:
        return digest.hex()


class Guide(Reference):
    """Everything under its own name, nested webhooks, steps from 0, hex with a prefix."""

    def campaign(self, body: Json) -> Json:
        return {"campaign": body}

    def webhook(self, body: Json) -> Json:
        return {"webhook": body}

    def stats(self, body: Json) -> Json:
        return {"stats": body}

    def enrolled(self, enrolled: int, updated: int, skipped: int) -> Json:
        return {"enrolled": enrolled, "updated": updated, "skipped": skipped, "total": enrolled + updated}

    def replies(self, rows: list[Json], pagination: Json) -> Json | list[Json]:
        return {"replies": rows, "pagination": pagination}

    def pools(self, rows: list[tuple[str, list[Account]]], now_ms: int) -> Json | list[Json]:
        pools = [
            {
                **_pool(pool, accounts),
                "remainingToday": _remaining(accounts, now_ms),
                "senderAccountIds": [account.id for account in accounts],
            }
            for pool, accounts in rows
        ]
        return {"senderPools": pools}

    def accounts(self, rows: list[Json]) -> Json | list[Json]:
        return {"data": rows}

    def suppressed(self, new: int, known: int) -> Json:
        return {"result": {"suppressed": new, "alreadySuppressed": known, "total": new + known}}

    def error(self, code: str, message: str) -> Json:
        return {"code": code, "message": message}

    def data(self, happening: Happening) -> Json:
        campaign = {"id": happening.campaign_id, "name": happening.campaign_name}
        if happening.event is Event.STARTED:
            return {"campaign": {**campaign, "status": "running"}}
        if happening.event is Event.REPLY:
            return {"reply": reply(happening), "messageId": happening.message_id}
        nested = {"campaign": campaign, "lead": {"email": happening.email}, "senderAccountId": happening.sender_id}
        return {**_message(happening), **nested, "sequenceStep": happening.step}

    def signature(self, digest: bytes) -> str:
        return f"sha256={digest.hex()}"


class Concepts(Reference):
    """Everything under `data`, statistics without `sent`, base64."""

    counts_sent = False

    def campaign(self, body: Json) -> Json:
        return {"campaign": body}

    def stats(self, body: Json) -> Json:
        return {"data": body}

    def replies(self, rows: list[Json], pagination: Json) -> Json | list[Json]:
        return {"data": rows}

    def pools(self, rows: list[tuple[str, list[Account]]], now_ms: int) -> Json | list[Json]:
        return {"data": super().pools(rows, now_ms)}

    def accounts(self, rows: list[Json]) -> Json | list[Json]:
        return {"data": rows}

    def error(self, code: str, message: str) -> Json:
        return {"error": code, "message": message}

    def data(self, happening: Happening) -> Json:
        if happening.event is Event.STARTED:
            return {"campaignId": happening.campaign_id}
        if happening.event is Event.REPLY:
            return {"reply": reply(happening)}
        place = {"campaignId": happening.campaign_id, "to": happening.email, "sequenceStep": happening.step + 1}
        return {**_message(happening), **place}

    def signature(self, digest: bytes) -> str:
        return base64.b64encode(digest).decode()


_SHAPES: dict[ShapesName, Shapes] = {"reference": Reference(), "guide": Guide(), "concepts": Concepts()}


def shapes_named(name: ShapesName) -> Shapes:
    """The envelopes of one set of pages."""
    return _SHAPES[name]


def reply(happening: Happening) -> Json:
    """A reply, in lists and in webhooks."""
    return {
        "id": happening.reply_id,
        "email": happening.email,
        "campaignId": happening.campaign_id,
        "classification": happening.classification,
        "receivedAt": iso(happening.at_ms),
        "threadSnippet": happening.snippet,
    }


def stats(campaign: Campaign, counters: Counters, bounced_means: BouncedMeans, *, counts_sent: bool) -> Json:
    """The figures of `/stats`, before their envelope."""
    soft = counters.bounced_soft if bounced_means == "any" else 0
    body: Json = {
        "campaignId": campaign.id,
        "totalEnrolled": counters.enrolled,
        "sent": counters.sent,
        "delivered": counters.delivered,
        "queued": counters.queued,
        "bounced": counters.bounced_hard + soft,
        "replied": counters.replied,
        "openRate": _rate(counters.opened, counters.delivered),
        "replyRate": _rate(counters.replied, counters.delivered),
    }
    if not counts_sent:
        del body["sent"]
    return body


def payload(shapes: Shapes, happening: Happening, stamped_ms: int) -> bytes:
    """The webhook body of an event."""
    data = shapes.data(happening)
    return orjson.dumps({"event": happening.event.value, "timestamp": iso(stamped_ms), "data": data})


def _rate(part: int, whole: int) -> float:
    return round(part / whole, 6) if whole else 0.0


def _message(happening: Happening) -> Json:
    if happening.event is Event.SENT:
        return {"messageId": happening.message_id}
    return {
        "messageId": happening.message_id,
        "bounceType": happening.bounce_type,
        "bounceReason": happening.bounce_reason,
    }


def _pool(pool: str, accounts: list[Account]) -> Json:
    capacity = sum(account.daily_capacity for account in accounts)
    return {"id": pool, "name": f"Pool {pool.rpartition('_')[2]}", "dailyCapacity": capacity}


def _remaining(accounts: list[Account], now_ms: int) -> int:
    return sum(account.remaining(now_ms) for account in accounts)
