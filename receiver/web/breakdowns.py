"""Bounces by reason, domain, type or step, and replies by class."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Any

from receiver.storage.sqlite.connection import one_moment
from receiver.storage.sqlite.series import BounceGroup, BounceRow, bounces, replies_by_class
from receiver.storage.sqlite.store import Readers
from receiver.web.operation import Call
from receiver.web.paging import asked_limit
from receiver.web.params import BouncesParams
from receiver.web.ranges import Range, asked_range

Row = dict[str, Any]


class Breakdowns:
    """Handlers of `/v1/bounces` and `/v1/replies`."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    async def bounces(self, call: Call) -> Row:
        return await self._readers.run(_answer, call, _bounces, {"group_by": call.params.group_by})

    async def replies(self, call: Call) -> Row:
        return await self._readers.run(_answer, call, _replies, {})


def bounce_rows(conn: sqlite3.Connection, call: Call) -> Iterator[Row]:
    """Every group, or as many as were asked for. Raises CampaignNotFoundError."""
    return islice(_bounces(conn, call, asked_range(conn, call.params, call.now_ms)), asked_limit(call.params))


def reply_rows(conn: sqlite3.Connection, call: Call) -> Iterator[Row]:
    """Every class, or as many as were asked for. Raises CampaignNotFoundError."""
    return islice(_replies(conn, call, asked_range(conn, call.params, call.now_ms)), asked_limit(call.params))


def bounce_fields(call: Call) -> set[str]:
    """The columns of a call: its group, and the counts."""
    return {call.params.group_by, "bounced", "bounced_hard", "bounced_soft", "share"}


def _answer(
    conn: sqlite3.Connection,
    call: Call,
    read: Callable[[sqlite3.Connection, Call, Range], Iterator[Row]],
    query: Mapping[str, str],
) -> Row:
    with one_moment(conn):
        asked = asked_range(conn, call.params, call.now_ms)
        rows = read(conn, call, asked)
        data = list(islice(rows, call.params.limit))
        return {"query": {**asked.as_json(), **query}, "data": data, "other": _together(rows)}


def _together(rows: Iterable[Row]) -> Row | None:
    """The sums of groups, and how many they are; None of none."""
    sums: Row = {}
    groups = 0
    for row in rows:
        groups += 1
        for name, value in row.items():
            if name in _SUMMED:
                sums[name] = sums.get(name, 0) + (value or 0)
    if "share" in sums:
        sums["share"] = round(sums["share"], 6)
    return {**sums, "groups": groups} if groups else None


_SUMMED = {"bounced", "bounced_hard", "bounced_soft", "share", "replies", "replied"}


def _bounces(conn: sqlite3.Connection, call: Call, asked: Range) -> Iterator[Row]:
    params: BouncesParams = call.params
    read = partial(bounces, conn, asked.span)
    whole = sum(row.bounced for row in read(BounceGroup.TYPE, asked.campaigns))
    for row in read(BounceGroup(params.group_by), asked.campaigns):
        yield {params.group_by: row.group, **_counts(row, whole)}


def _counts(row: BounceRow, whole: int) -> Row:
    return {
        "bounced": row.bounced,
        "bounced_hard": row.bounced_hard,
        "bounced_soft": row.bounced_soft,
        "share": round(row.bounced / whole, 6) if whole > 0 else None,
    }


def _replies(conn: sqlite3.Connection, call: Call, asked: Range) -> Iterator[Row]:
    for row in replies_by_class(conn, asked.span, asked.campaigns):
        yield row._asdict()
