"""Turns a reply that was fetched from the API into the same event that its webhook would have become."""

import orjson

from receiver.events import Event, Origin, Unread
from receiver.leadterra.answers import FetchedReply
from receiver.leadterra.payloads import Parser


def body_of(reply: FetchedReply) -> bytes:
    """The reply as its webhook would have told it: what the journal keeps of it."""
    row = {
        "id": reply.id,
        "email": reply.email,
        "campaignId": reply.campaign_id,
        "classification": reply.classification,
        "receivedAt": reply.received_at,
    }
    return orjson.dumps({"event": "reply.received", "timestamp": reply.received_at, "data": {"reply": row}})


def event_of(reply: FetchedReply, parser: Parser, now_ms: int | None) -> Event | Unread:
    """The event of `Origin.API`, or why there is none. With `now_ms` None no time is too far ahead.

    It goes through the webhook's own parser, so that key, lead, class and time are the same, and both copies
    meet in one row.
    """
    if reply.received_at is None:
        return Unread("missing_field", "Field 'receivedAt' is missing.", "reply.received", reply.campaign_id)
    event = parser.parse(body_of(reply), now_ms)
    if isinstance(event, Unread):
        # In the words of the row: the webhook around it is ours.
        event.detail = event.detail.replace("'timestamp'", "'receivedAt'").replace("'data.reply.", "'")
        return event
    event.origin = Origin.API
    return event
