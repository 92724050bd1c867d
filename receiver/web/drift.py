"""Drift of all campaigns or of one: what differs, what is missing, since when and why."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from receiver.reconcile import cases, writes
from receiver.reconcile.alarms import Alarm
from receiver.reconcile.cases import Pins
from receiver.reconcile.definitions import CANDIDATES, FIGURES
from receiver.reconcile.standings import Standing
from receiver.storage.sqlite import reconciliation as rows
from receiver.storage.sqlite import standings as stored
from receiver.storage.sqlite.connection import one_moment
from receiver.storage.sqlite.store import Readers
from receiver.web.campaigns import known
from receiver.web.operation import Call
from receiver.web.paging import asked_limit, decode_cursor, encode_cursor
from receiver.web.params import DriftParams
from receiver.web.standing import Comparison, drift_json
from receiver.web.times import rfc3339

# More gaps than this are not shown at once: those that are open come first, then the newest.
_GAPS_MAX = 2000
_CHUNK = 500
_PAGE = 2000
_CLOSED = ("healed", "superseded")

Row = dict[str, Any]


class Drift:
    """Handlers of `/v1/drift` and `/v1/campaigns/{campaign_id}/drift`."""

    def __init__(self, readers: Readers, comparison: Comparison) -> None:
        self._readers = readers
        self._comparison = comparison

    async def list(self, call: Call) -> Row:
        return await self._readers.run(_all, self._comparison, call.params)

    async def one(self, call: Call) -> Row:
        return await self._readers.run(_one, self._comparison, call.path["campaign_id"], call.params.gaps)


def drift_page(
    conn: sqlite3.Connection, comparison: Comparison, params: DriftParams, after: str | None
) -> tuple[list[Row], list[Standing]]:
    """Drift of campaigns that follow `after`, one row more than a page has; and how those with any drift stand."""
    data: list[Row] = []
    found: list[Standing] = []
    while len(data) <= params.limit:
        page = stored.page(conn, after, min(_CHUNK, params.limit + 1))
        standings = comparison.of(conn, [row["id"] for row in page])
        for row in page:
            standing = standings.get(row["id"])
            shown = row_json(row["campaign_id"], standing)
            if params.status in (None, shown["status"]) and len(data) <= params.limit:
                data.append(shown)
                found += [standing] if standing is not None else []
        if not page:
            break
        after = page[-1]["campaign_id"]
    return data, found


def drift_rows(conn: sqlite3.Connection, call: Call) -> Iterator[Row]:
    """Drift of all campaigns that were asked for."""
    params: DriftParams = call.params
    comparison, left = Comparison.of_call(call), asked_limit(params)
    cursor = decode_cursor(params.cursor, str)
    after = cursor[0] if cursor else None
    while left is None or left > 0:
        size = _PAGE if left is None else min(left, _PAGE)
        found, _ = drift_page(conn, comparison, params.model_copy(update={"limit": size}), after)
        yield from found[:size]
        if len(found) <= size:
            return
        after = found[size - 1]["campaign_id"]
        left = None if left is None else left - size


def drift_of_campaign(conn: sqlite3.Connection, call: Call) -> Iterator[Row]:
    """One campaign's drift. Raises CampaignNotFoundError."""
    campaign_id = call.path["campaign_id"]
    number = known(conn, campaign_id).id
    yield row_json(campaign_id, Comparison.of_call(call).of(conn, [number]).get(number))


def whole_drift(conn: sqlite3.Connection, comparison: Comparison) -> list[Row]:
    """Drift of every campaign that is known, by id."""
    found: list[Row] = []
    with one_moment(conn):
        page, _ = drift_page(conn, comparison, DriftParams(limit=_PAGE), None)
        while page:
            found += page
            page, _ = drift_page(conn, comparison, DriftParams(limit=_PAGE), page[-1]["campaign_id"])
    return found


def row_json(campaign_id: str, standing: Standing | None) -> Row:
    """One campaign's drift."""
    at = None if standing is None else standing.at
    return {"campaign_id": campaign_id, **drift_json(standing), "snapshot_at": rfc3339(at)}


def gaps_json(conn: sqlite3.Connection, standings: Sequence[Standing], which: str) -> list[Row]:
    """Gaps of these campaigns, newest first; `which` is all, open or none."""
    if which == "none":
        return []
    fresh = {each.campaign: each for each in standings if each.gaps is not None}
    found: dict[tuple[str, str, int, str], Mapping[str, Any]] = {}
    for row in stored.gaps(conn, [each.campaign for each in standings]):
        if row["campaign"] not in fresh or row["state"] in _CLOSED:
            found[_key(row["campaign_id"], row)] = row
    for each in fresh.values():
        found.update((_key(each.campaign_id, row), row) for row in each.gaps or ())
    shown = [(key, row) for key, row in found.items() if which == "all" or row["state"] not in _CLOSED]
    shown.sort(key=lambda item: (item[1]["state"] in _CLOSED, -item[1]["to_at"], item[0]))
    return [_gap_json(key[0], row) for key, row in sorted(shown[:_GAPS_MAX], key=lambda item: -item[1]["to_at"])]


def _key(campaign_id: str, row: Mapping[str, Any]) -> tuple[str, str, int, str]:
    return campaign_id, row["figure"], row["to_at"], row["cause"]


def _gap_json(campaign_id: str, row: Mapping[str, Any]) -> Row:
    return {
        "campaign_id": campaign_id,
        "figure": row["figure"],
        "from": rfc3339(row["from_at"]),
        "to": rfc3339(row["to_at"]),
        "at_least": row["at_least"],
        "cause": row["cause"],
        "state": row["state"],
    }


def _all(conn: sqlite3.Connection, comparison: Comparison, params: DriftParams) -> Row:
    cursor = decode_cursor(params.cursor, str)
    with one_moment(conn):
        data, standings = drift_page(conn, comparison, params, cursor[0] if cursor else None)
        page = data[: params.limit]
        shown = {row["campaign_id"] for row in page}
        standings = [each for each in standings if each.campaign_id in shown]
        answer = _answer(conn, comparison.pins, page, gaps_json(conn, standings, params.gaps), writes.active(conn))
    answer["next_cursor"] = encode_cursor(page[-1]["campaign_id"]) if len(data) > params.limit else None
    return answer


def _one(conn: sqlite3.Connection, comparison: Comparison, campaign_id: str, which: str) -> Row:
    """One campaign's drift, with the alarms of the campaign and of the whole workspace."""
    with one_moment(conn):
        number = known(conn, campaign_id).id
        standing = comparison.of(conn, [number]).get(number)
        gaps = gaps_json(conn, [] if standing is None else [standing], which)
        alarms = [each for each in writes.active(conn) if each.breach.campaign_id in (None, campaign_id)]
        answer = _answer(conn, comparison.pins, [row_json(campaign_id, standing)], gaps, alarms)
    answer["next_cursor"] = None
    return answer


def _answer(
    conn: sqlite3.Connection, pins: Pins, data: Sequence[Row], gaps: Sequence[Row], alarms: Iterable[Alarm]
) -> Row:
    return {
        "data": data,
        "gaps": gaps,
        "alarms": [_alarm_json(alarm) for alarm in alarms],
        "definitions": _definitions_json(conn, pins),
        "timestamps": cases.timestamps(conn),
        "quarantined_unattributed": rows.quarantined_unattributed(conn),
    }


def _alarm_json(alarm: Alarm) -> Row:
    breach = alarm.breach
    return {
        "code": breach.code,
        "campaign_id": breach.campaign_id,
        "since": rfc3339(breach.since),
        "deadline": rfc3339(breach.deadline),
        "detail": breach.detail,
    }


def _definitions_json(conn: sqlite3.Connection, pins: Pins) -> Row:
    """What each counter means, by settings or evidence, and that evidence."""
    meant = {figure: name or "undetermined" for figure, name in cases.definitions(conn, pins).items()}
    return {**meant, "evidence": {figure: _evidence_json(conn, pins, figure) for figure in FIGURES}}


def _evidence_json(conn: sqlite3.Connection, pins: Pins, figure: str) -> Row:
    intervals = cases.evidence(conn, figure)
    return {
        "intervals": len(intervals),
        "campaigns": len({interval.campaign for interval in intervals}),
        "fits": {
            candidate.name: sum(candidate.name in interval.fits for interval in intervals)
            for candidate in CANDIDATES[figure]
        },
        "pinned": pins.of(figure) is not None,
    }
