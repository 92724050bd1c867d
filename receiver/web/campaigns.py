"""Campaigns and their steps, answered from the totals."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from receiver.errors import CampaignNotFoundError
from receiver.events import STEP_NONE
from receiver.figures import OBSERVED, REPLY_RATES, held_rates, rate, rates
from receiver.reconcile.books import Books
from receiver.reconcile.standings import Standing
from receiver.storage.sqlite import reads
from receiver.storage.sqlite import reconciliation as rows
from receiver.storage.sqlite.connection import one_moment
from receiver.storage.sqlite.points import PointReader
from receiver.storage.sqlite.series import with_replies_to_nothing
from receiver.storage.sqlite.store import Readers
from receiver.web.operation import Call
from receiver.web.paging import asked_limit, decode_cursor, encode_cursor, every
from receiver.web.params import (
    SORTS,
    CampaignBody,
    CampaignsParams,
    refusal,
)
from receiver.web.ranges import time_span
from receiver.web.standing import (
    Comparison,
    drift_json,
    honest_rates,
    misses_older,
    provider_json,
    reconciled_json,
)
from receiver.web.times import rfc3339

_CHUNK = 2000
_OF_A_STEP = tuple(figure for figure in OBSERVED if figure != "starts")


class Campaigns:
    """Handlers of `/v1/campaigns…`."""

    def __init__(self, readers: Readers, points: PointReader, books: Books, comparison: Comparison) -> None:
        self._readers = readers
        self._points = points
        self._books = books
        self._comparison = comparison

    async def list(self, call: Call) -> dict[str, Any]:
        params: CampaignsParams = call.params
        found = await self._readers.run(_page, self._comparison, filter_of(params, call.now_ms), call.now_ms)
        more = len(found) > params.limit
        page = found[: params.limit]
        place, last = page[-1] if page else (None, {})
        cursor = encode_cursor(*_order(params), place, last["campaign_id"]) if more else None
        return {"data": [campaign for _, campaign in page], "next_cursor": cursor}

    async def one(self, call: Call) -> dict[str, Any]:
        return await self._points.run(known_campaign, self._comparison, call.path["campaign_id"], call.now_ms)

    async def add(self, call: Call) -> dict[str, Any]:
        """Reconcile this campaign too. Twice is as good as once."""
        body: CampaignBody = call.body
        await self._books.write(
            partial(rows.add_campaign_by_hand, campaign_id=body.campaign_id, name=body.name, now_ms=call.now_ms)
        )
        return await self._readers.run(known_campaign, self._comparison, body.campaign_id, call.now_ms)

    async def steps(self, call: Call) -> dict[str, Any]:
        return {"data": await self._points.run(_steps, self._comparison, call.path["campaign_id"])}


def campaign_rows(conn: sqlite3.Connection, call: Call) -> Iterator[dict[str, Any]]:
    """All campaigns that were asked for, in the order that was asked for."""
    wanted = filter_of(call.params, call.now_ms)
    for row in every(_rows_of, _after, conn, wanted, asked_limit(call.params)):
        yield campaign_json(conn, row, _standings(conn, Comparison.of_call(call), [row]).get(row.id), call.now_ms)


def step_rows(conn: sqlite3.Connection, call: Call) -> Iterator[dict[str, Any]]:
    """The steps of a campaign. Raises CampaignNotFoundError."""
    yield from _of_steps(conn, known(conn, call.path["campaign_id"]), Comparison.of_call(call))


def _rows_of(conn: sqlite3.Connection, wanted: reads.CampaignFilter, limit: int) -> list[reads.CampaignRow]:
    return reads.campaigns(conn, replace(wanted, limit=limit))


def _after(wanted: reads.CampaignFilter, last: reads.CampaignRow) -> reads.CampaignFilter:
    return replace(wanted, after_place=last.place, after_id=last.campaign_id)


def known(conn: sqlite3.Connection, campaign_id: str) -> reads.CampaignRow:
    """A campaign that is known. Raises CampaignNotFoundError."""
    row = reads.campaign(conn, campaign_id)
    if row is None:
        raise CampaignNotFoundError(campaign_id)
    return row


def every_campaign(conn: sqlite3.Connection, comparison: Comparison, now_ms: int) -> list[dict[str, Any]]:
    """All campaigns that are known, by id."""
    wanted = reads.CampaignFilter("campaign_id", False, _CHUNK, now_ms - reads.ACTIVE_MS)
    found: list[dict[str, Any]] = []
    while page := [row for _, row in _page(conn, comparison, wanted, now_ms)]:
        found += page
        wanted = replace(wanted, after_id=page[-1]["campaign_id"])
    return found


def known_campaign(conn: sqlite3.Connection, comparison: Comparison, campaign_id: str, now_ms: int) -> dict[str, Any]:
    """One campaign. Raises CampaignNotFoundError."""
    with one_moment(conn):
        row = known(conn, campaign_id)
        return campaign_json(conn, row, _standings(conn, comparison, [row]).get(row.id), now_ms)


def _steps(conn: sqlite3.Connection, comparison: Comparison, campaign_id: str) -> list[dict[str, Any]]:
    with one_moment(conn):
        return _of_steps(conn, known(conn, campaign_id), comparison)


def _of_steps(conn: sqlite3.Connection, row: reads.CampaignRow, comparison: Comparison) -> list[dict[str, Any]]:
    standing = _standings(conn, comparison, [row]).get(row.id)
    unsent = reads.hard_without_send(conn, row.id) if misses_older(standing) else None
    steps = reads.steps(conn, row.id)
    lowest = next((step["step"] for step in steps if step["sent"]), None)
    shown = [_step_json(step, lowest, unsent) for step in steps]
    if with_replies_to_nothing(conn, [row.id]):
        for each in shown:  # such a reply is of no message of any step
            each["rates"] |= dict.fromkeys(REPLY_RATES, rate(None, None))
    return shown


def _standings(
    conn: sqlite3.Connection, comparison: Comparison, page: Sequence[reads.CampaignRow]
) -> dict[int, Standing]:
    return comparison.of(conn, [row.id for row in page if row.was_answered_for])


def filter_of(params: CampaignsParams, now_ms: int) -> reads.CampaignFilter:
    """What is asked for, and one row more. Raises InvalidParameterError."""
    cursor = decode_cursor(params.cursor, str, str, (int, float, type(None)), str)
    if cursor is not None and tuple(cursor[:2]) != _order(params):
        raise refusal("cursor", params.cursor, "it with the 'sort' and 'order' of the answer that it came from")
    given = {"active_from": params.active_from, "active_to": params.active_to}
    active_from, active_to = time_span(given, now_ms)
    return reads.CampaignFilter(
        sort=_known_sort(params.sort),
        descending=params.order == "desc",
        limit=params.limit + 1,
        active_since=now_ms - reads.ACTIVE_MS,
        status=params.status,
        activity=params.activity,
        q=params.q,
        min_sent=params.min_sent,
        active_from=active_from,
        active_to=active_to,
        after_place=cursor[2] if cursor else None,
        after_id=cursor[3] if cursor else None,
    )


def _page(
    conn: sqlite3.Connection, comparison: Comparison, wanted: reads.CampaignFilter, now_ms: int
) -> list[tuple[float | None, dict[str, Any]]]:
    """Campaigns with their sort values, made in the reader's thread: a large page would hold the event loop."""
    with one_moment(conn):
        page = reads.campaigns(conn, wanted)
        standings = _standings(conn, comparison, page)
        return [(row.place, campaign_json(conn, row, standings.get(row.id), now_ms)) for row in page]


def _order(params: CampaignsParams) -> tuple[str, str]:
    return params.sort, params.order


def _known_sort(sort: str) -> str:
    if sort not in SORTS:
        raise refusal("sort", sort, ", ".join(SORTS))
    return sort


def campaign_json(
    conn: sqlite3.Connection, row: reads.CampaignRow, standing: Standing | None, now_ms: int
) -> dict[str, Any]:
    """One campaign as every answer shows it."""
    observed = row.observed
    older = misses_older(standing)
    shown = {**observed, "contacted": None} if older else observed
    last_event_at = row.last_event_at
    active = last_event_at is not None and last_event_at >= now_ms - reads.ACTIVE_MS
    return {
        "campaign_id": row.campaign_id,
        "name": row.name,
        "status": row.status,
        "activity": "active" if active else "quiet",
        "started_at": rfc3339(row.started_at),
        "last_started_at": rfc3339(row.last_started_at),
        "first_event_at": rfc3339(row.first_event_at),
        "last_event_at": rfc3339(last_event_at),
        "observed": shown,
        "provider": provider_json(standing, row.failure),
        "reconciled": reconciled_json(standing, observed),
        "rates": honest_rates(conn, row.id, observed, older=older),
        "drift": drift_json(standing),
    }


def _step_json(row: Mapping[str, Any], lowest: int | None, unsent: Mapping[int, int] | None) -> dict[str, Any]:
    """`unsent` are hard bounces by step whose send is not held, where the campaign's older messages are not."""
    contacted = row["sent"] if row["step"] == lowest else 0
    figures = {figure: contacted if figure == "contacted" else row[figure] for figure in _OF_A_STEP}
    step = None if row["step"] == STEP_NONE else row["step"]
    if unsent is None:
        return {"step": step, **figures, "rates": rates(figures)}
    return {"step": step, **figures, "contacted": None, "rates": held_rates(figures, unsent.get(row["step"], 0))}
