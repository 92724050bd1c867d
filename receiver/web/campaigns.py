"""Campaigns and their steps, answered from the totals."""

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from receiver.errors import CampaignNotFoundError
from receiver.events import STEP_NONE
from receiver.figures import OBSERVED, rates
from receiver.storage.sqlite import reads
from receiver.storage.sqlite.store import Readers
from receiver.web.operation import Call
from receiver.web.paging import asked_limit, every
from receiver.web.params import SORTS, CampaignsParams, decode_cursor, encode_cursor, refusal, time_parameter
from receiver.web.times import rfc3339

_OF_A_STEP = tuple(figure for figure in OBSERVED if figure != "starts")


class Campaigns:
    """Handlers of `/v1/campaigns…`."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    async def list(self, call: Call) -> dict[str, Any]:
        params: CampaignsParams = call.params
        rows = await self._readers.run(_page, _filter(params, call.now_ms), call.now_ms)
        more = len(rows) > params.limit
        page = rows[: params.limit]
        place, last = page[-1] if page else (None, {})
        cursor = encode_cursor(*_order(params), place, last["campaign_id"]) if more else None
        return {"data": [campaign for _, campaign in page], "next_cursor": cursor}

    async def one(self, call: Call) -> dict[str, Any]:
        return campaign_json(await self._row(call), call.now_ms)

    async def steps(self, call: Call) -> dict[str, Any]:
        return {"data": await self._readers.run(lambda conn: list(step_rows(conn, call)))}

    async def _row(self, call: Call) -> reads.Row:
        return await self._readers.run(_found, call)


def campaign_rows(conn: sqlite3.Connection, call: Call) -> Iterator[dict[str, Any]]:
    """All campaigns that were asked for, in the order that was asked for."""
    wanted = _filter(call.params, call.now_ms)
    for row in every(_rows_of, _after, conn, wanted, asked_limit(call.params)):
        yield campaign_json(row, call.now_ms)


def step_rows(conn: sqlite3.Connection, call: Call) -> Iterator[dict[str, Any]]:
    """The steps of a campaign. Raises CampaignNotFoundError."""
    rows = reads.steps(conn, _found(conn, call)["id"])
    lowest = next((step["step"] for step in rows if step["sent"]), None)
    for row in rows:
        yield _step_json(row, lowest)


def _found(conn: sqlite3.Connection, call: Call) -> reads.Row:
    campaign_id = call.path["campaign_id"]
    row = reads.campaign(conn, campaign_id)
    if row is None:
        raise CampaignNotFoundError(f"No event of campaign '{campaign_id[:128]}' has been seen here.")
    return row


def _rows_of(conn: sqlite3.Connection, wanted: reads.CampaignFilter, limit: int) -> list[reads.Row]:
    return reads.campaigns(conn, replace(wanted, limit=limit))


def _after(wanted: reads.CampaignFilter, last: reads.Row) -> reads.CampaignFilter:
    return replace(wanted, after_place=last["place"], after_id=last["campaign_id"])


def _filter(params: CampaignsParams, now_ms: int) -> reads.CampaignFilter:
    cursor = decode_cursor(params.cursor, str, str, (int, float, type(None)), str)
    if cursor is not None and tuple(cursor[:2]) != _order(params):
        raise refusal("cursor", params.cursor, "it with the 'sort' and 'order' of the answer that it came from")
    return reads.CampaignFilter(
        sort=_known_sort(params.sort),
        descending=params.order == "desc",
        limit=params.limit + 1,
        active_since=now_ms - reads.ACTIVE_MS,
        status=params.status,
        activity=params.activity,
        q=params.q,
        min_sent=params.min_sent,
        active_from=time_parameter("active_from", params.active_from, now_ms),
        active_to=time_parameter("active_to", params.active_to, now_ms),
        after_place=cursor[2] if cursor else None,
        after_id=cursor[3] if cursor else None,
    )


def _page(
    conn: sqlite3.Connection, wanted: reads.CampaignFilter, now_ms: int
) -> list[tuple[float | None, dict[str, Any]]]:
    """Campaigns with their sort values, made in the reader's thread: a large page would hold the event loop."""
    return [(row["place"], campaign_json(row, now_ms)) for row in reads.campaigns(conn, wanted)]


def _order(params: CampaignsParams) -> tuple[str, str]:
    return params.sort, params.order


def _known_sort(sort: str) -> str:
    if sort not in SORTS:
        raise refusal("sort", sort, ", ".join(SORTS))
    return sort


def campaign_json(row: Mapping[str, Any], now_ms: int) -> dict[str, Any]:
    """One campaign as every answer shows it."""
    observed = {figure: row[figure] for figure in OBSERVED}
    active = row["last_event_at"] >= now_ms - reads.ACTIVE_MS
    return {
        "campaign_id": row["campaign_id"],
        "name": row["name"],
        "status": "unknown" if row["started_at"] is None else "started",
        "activity": "active" if active else "quiet",
        "started_at": rfc3339(row["started_at"]),
        "last_started_at": rfc3339(row["last_started_at"]),
        "first_event_at": rfc3339(row["first_event_at"]),
        "last_event_at": rfc3339(row["last_event_at"]),
        "observed": observed,
        "provider": None,
        "reconciled": None,
        "rates": rates(observed),
        "drift": {"status": "unknown", "sent": None, "bounced": None, "replied": None},
    }


def _step_json(row: Mapping[str, Any], lowest: int | None) -> dict[str, Any]:
    contacted = row["sent"] if row["step"] == lowest else 0
    figures = {figure: contacted if figure == "contacted" else row[figure] for figure in _OF_A_STEP}
    step = None if row["step"] == STEP_NONE else row["step"]
    return {"step": step, **figures, "rates": rates(figures)}
