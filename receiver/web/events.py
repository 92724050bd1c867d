"""Events of the ledger, one row each."""

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from receiver.events import EVENT_NAMES, STEP_NONE, Kind, Origin
from receiver.storage.sqlite import reads
from receiver.storage.sqlite.connection import one_moment
from receiver.storage.sqlite.store import Readers
from receiver.web.operation import Call
from receiver.web.paging import asked_limit, decode_cursor, encode_cursor, every
from receiver.web.params import EventsParams
from receiver.web.ranges import known_campaign, time_span
from receiver.web.times import rfc3339


class Events:
    """Handler of `/v1/events`."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    async def list(self, call: Call) -> dict[str, Any]:
        params: EventsParams = call.params
        rows = await self._readers.run(_page, params, call.now_ms)
        page = rows[: params.limit]
        next_cursor = encode_cursor(page[-1]["seq"]) if len(rows) > params.limit else None
        return {"data": [event_json(row) for row in page], "next_cursor": next_cursor}


def event_rows(conn: sqlite3.Connection, call: Call) -> Iterator[dict[str, Any]]:
    """All events that were asked for, newest first."""
    wanted = _filter(conn, call.params, call.now_ms)
    for row in every(_rows_of, _after, conn, wanted, asked_limit(call.params)):
        yield event_json(row)


def _page(conn: sqlite3.Connection, params: EventsParams, now_ms: int) -> list[reads.Row]:
    with one_moment(conn):
        return reads.events(conn, _filter(conn, params, now_ms))


def _filter(conn: sqlite3.Connection, params: EventsParams, now_ms: int) -> reads.EventFilter:
    """What is asked for, and one row more. Raises InvalidParameterError and CampaignNotFoundError."""
    cursor = decode_cursor(params.cursor, int)
    from_ms, to_ms = time_span({"from": params.from_, "to": params.to}, now_ms)
    return reads.EventFilter(
        limit=params.limit + 1,
        event=params.event,
        campaign=known_campaign(conn, params.campaign_id),
        message_id=params.message_id,
        from_ms=from_ms,
        to_ms=to_ms,
        before=cursor[0] if cursor else None,
    )


def _rows_of(conn: sqlite3.Connection, wanted: reads.EventFilter, limit: int) -> list[reads.Row]:
    return reads.events(conn, replace(wanted, limit=limit))


def _after(wanted: reads.EventFilter, last: reads.Row) -> reads.EventFilter:
    return replace(wanted, before=last["seq"])


def event_json(row: Mapping[str, Any]) -> dict[str, Any]:
    """One event as every answer shows it."""
    step = row["step"]
    return {
        "seq": row["seq"],
        "event": EVENT_NAMES[Kind(row["kind"])],
        "campaign_id": row["campaign_id"],
        "message_id": row["message_id"],
        "step": None if step == STEP_NONE else step,
        "occurred_at": rfc3339(row["occurred_at"]),
        "received_at": rfc3339(row["received_at"]),
        "origin": Origin(row["origin"]).name.lower(),
        "copies": row["copies"],
    }
