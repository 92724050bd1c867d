"""Figures over time, by campaign, step, reason or domain: read from the rollups, never from single messages.

Every function reads with several statements: call it inside one transaction of a reading connection.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice, pairwise
from typing import Any, NamedTuple

from receiver.events import STEP_NONE
from receiver.figures import FIGURES, OBSERVED, QUARTER_MS, QUARTERS_PER_DAY, SHIFTED, UNPLACED_MS
from receiver.storage.sqlite.queries import Queries, queries
from receiver.storage.sqlite.rollups import WHOLE_WORKSPACE
from receiver.storage.sqlite.rows import step_in

# From before the first event that is taken in until after the last.
ALL_TIME = (0, UNPLACED_MS)
UNSENT = SHIFTED[-2:]

_UNPLACED = UNPLACED_MS // QUARTER_MS


class Basis(StrEnum):
    """Where figures are booked: when each thing happened, or at the send that it goes back to."""

    EVENT = "event"
    SEND = "send"


class Group(StrEnum):
    """What rows of a series stand for beside their bucket."""

    CAMPAIGN = "campaign"
    STEP = "step"


class BounceGroup(StrEnum):
    """What bounces are counted by."""

    TYPE = "type"
    REASON = "reason"
    DOMAIN = "domain"
    STEP = "step"


@dataclass(frozen=True, slots=True)
class SeriesQuery:
    """What to count. Raises ValueError when that is not possible.

    `edges` are epoch milliseconds on whole quarters of an hour, ascending: n + 1 of them make n half-open
    buckets. `figures` are of `OBSERVED`, with the send basis also of `UNSENT`: bounced messages whose send is
    not held. `campaigns` are numbers, None stands for all.
    """

    edges: Sequence[int]
    figures: Sequence[str]
    campaigns: Sequence[int] | None = None
    group: Group | None = None
    basis: Basis = Basis.EVENT

    def __post_init__(self) -> None:
        _check_edges(self.edges)
        allowed = OBSERVED if self.basis is Basis.EVENT else (*OBSERVED, *UNSENT)
        unknown = [name for name in self.figures if name not in allowed]
        if unknown:
            raise ValueError(f"No figure '{unknown[0]}' with basis '{self.basis}'; there are {', '.join(allowed)}.")


class SeriesRow(NamedTuple):
    """One bucket, by its index, and one group: `values` are those of the figures asked, in their order.

    `bucket` is None for replies whose send is not held; `group` for all together, or the step that is not known.
    A value is None where the basis does not know the figure: starts have no send.
    """

    bucket: int | None
    group: int | None
    values: tuple[int | None, ...]


def series(conn: sqlite3.Connection, wanted: SeriesQuery) -> Iterator[SeriesRow]:
    """Rows in which something is counted, ordered by bucket, then group; with the send basis None comes last."""
    count = _Count(conn, wanted)
    for bucket, (first, last) in enumerate(pairwise(edge // QUARTER_MS for edge in wanted.edges)):
        yield from count.rows(bucket, first, last)
    if wanted.basis is Basis.SEND:
        yield from count.rows(None, _UNPLACED, _UNPLACED + 1)


class _Count:
    """Answers one series query, bucket by bucket: an index range each, and nothing to sort.

    Of one campaign, buckets as long as a row of their table are read in one go, in the order of its key.
    """

    def __init__(self, conn: sqlite3.Connection, wanted: SeriesQuery) -> None:
        self._conn = conn
        self._sql = queries("series.sql")
        self._wanted = wanted
        by = "" if wanted.group is None else f"_by_{wanted.group}"
        tables = {f"series{by}": FIGURES}
        if wanted.basis is Basis.SEND:
            tables[f"shifts{by}"] = SHIFTED
        numbers = wanted.campaigns
        if numbers is None:
            numbers = _all_campaigns(conn) if wanted.group is Group.CAMPAIGN else [WHOLE_WORKSPACE]
        self._is_one = len(numbers) == 1
        self._quarters = [edge // QUARTER_MS for edge in wanted.edges]
        self._row_length = _row_length(self._quarters) if self._is_one else None
        self._ahead: dict[str, dict[int, list[_Sums]]] = {}
        self._campaigns = numbers[0] if self._is_one else json.dumps(list(numbers))
        sources = (self._source(name, columns) for name, columns in tables.items())
        # Without a sum a query would give every quarter of an hour as a row.
        self._sources = [source for source in sources if source.figures]
        self._in_one_go = {each.text for each in self._sources if self._row_length in each.row_lengths}
        self._unknown: dict[str, int | None] = {"starts": None} if wanted.basis is Basis.SEND else {}
        self._contacted = json.dumps(self._contacted_parts()) if "contacted" in wanted.figures else None

    def _source(self, name: str, columns: Sequence[str]) -> "_Source":
        asked = [column for column in columns if column in self._wanted.figures]
        text = self._sql.with_sums(name, frozenset(asked), of_one=self._is_one)
        return _Source(text, asked, has_days=name.startswith("series"))

    def rows(self, bucket: int | None, first: int, last: int) -> Iterator[SeriesRow]:
        groups: dict[int | None, dict[str, int]] = {}
        values: dict[str, object] = {"campaigns": self._campaigns}
        for source in self._sources:
            in_one_go = bucket is not None and source.text in self._in_one_go
            found = self._row(source, first) if in_one_go else self._read(source, values, first, last)
            _add(groups, source.figures, found)
        if self._contacted is not None:
            values = {"parts": self._contacted, "group": self._wanted.group}
            source = _Source(self._sql["contacted"], ["contacted"])
            _add(groups, source.figures, self._read(source, values, first, last))
        for group in sorted(groups, key=lambda number: number or 0):
            counted: Mapping[str, int | None] = {**groups[group], **self._unknown}
            row = tuple([counted.get(name, 0) for name in self._wanted.figures])
            if any(row):
                yield SeriesRow(bucket, self._shown(group), row)

    def _read(self, source: "_Source", values: Mapping[str, object], first: int, last: int) -> Iterator["_Sums"]:
        for text, begin, end in source.parts(self._sql, first, last):
            yield from self._conn.execute(text, {**values, "first": begin, "last": end})

    def _row(self, source: "_Source", first: int) -> "Iterable[_Sums]":
        ahead = self._ahead.get(source.text)
        if ahead is None:
            text = self._sql.by_quarter(source.text)
            if self._row_length == QUARTERS_PER_DAY:
                text = self._sql.by_days(text)
            span = {"campaigns": self._campaigns, "first": self._quarters[0], "last": self._quarters[-1]}
            ahead = self._ahead[source.text] = {}
            for quarter, *sums in self._conn.execute(text, span):
                ahead.setdefault(quarter, []).append(sums)
        return ahead.get(first, ())

    def _shown(self, group: int | None) -> int | None:
        return step_in(group) if self._wanted.group is Group.STEP and group is not None else group

    def _contacted_parts(self) -> list[tuple[int, int, int]]:
        """Campaign, lowest step and sign: the sends that `contacted` is the sum of."""
        numbers = self._wanted.campaigns
        if numbers is None and self._wanted.group is not Group.CAMPAIGN:
            return [tuple(row) for row in self._conn.execute(self._sql["lowest_steps_of_all"])]
        values = {"campaigns": json.dumps(list(_all_campaigns(self._conn) if numbers is None else numbers))}
        return [(campaign, step, 1) for campaign, step in self._conn.execute(self._sql["lowest_steps"], values)]


# A group and its sums, as a query gives them.
_Sums = Sequence[Any]


def _add(groups: dict[int | None, dict[str, int]], figures: Sequence[str], found: Iterable[_Sums]) -> None:
    for group, *sums in found:
        held = groups.get(group)
        if held is None:
            groups[group] = {name: value or 0 for name, value in zip(figures, sums, strict=True)}
            continue
        for name, value in zip(figures, sums, strict=True):
            held[name] = held.get(name, 0) + (value or 0)


def _row_length(quarters: Sequence[int]) -> int | None:
    """How many quarters of an hour every bucket has, where that is what a row of a table has."""
    for length in (QUARTERS_PER_DAY, 1):
        if quarters[0] % length == 0 and all(last - first == length for first, last in pairwise(quarters)):
            return length
    return None


@dataclass(frozen=True, slots=True)
class _Source:
    """A query over quarters of an hour, and the figures that it gives after the group."""

    text: str
    figures: Sequence[str]
    has_days: bool = True

    @property
    def row_lengths(self) -> tuple[int, ...]:
        """How many quarters a row of its tables stands for."""
        return (1, QUARTERS_PER_DAY) if self.has_days else (1,)

    def parts(self, sql: Queries, first: int, last: int) -> Iterator[tuple[str, int, int]]:
        """What to ask for a half-open range: whole days of the days, and what is left at its ends."""
        begin = -(-first // QUARTERS_PER_DAY) * QUARTERS_PER_DAY
        end = last // QUARTERS_PER_DAY * QUARTERS_PER_DAY
        if not self.has_days or begin >= end:
            yield self.text, first, last
            return
        if first < begin:
            yield self.text, first, begin
        yield sql.by_days(self.text), begin, end
        if end < last:
            yield self.text, end, last


class BounceRow(NamedTuple):
    """Bounces of one group. `others` is above 0 in the row that stands for so many smaller groups together."""

    group: str | int | None
    bounced: int
    bounced_hard: int
    bounced_soft: int
    others: int = 0


def bounces(
    conn: sqlite3.Connection,
    span: tuple[int, int],
    by: BounceGroup,
    campaigns: Sequence[int] | None = None,
    groups_max: int | None = None,
) -> Iterator[BounceRow]:
    """Bounces in a half-open span of epoch milliseconds, as the event basis books them; most first.

    Their sums are those of the series, whatever they are grouped by. At most `groups_max` groups are told
    apart. Raises ValueError for a span that is not on whole quarters of an hour.
    """
    _check_edges(span)
    found = conn.execute(queries("series.sql")[f"bounces_by_{by}"], _bounce_values(conn, span, by, campaigns))
    rows = _by_type(found.fetchone()) if by is BounceGroup.TYPE else map(_bounce_row, found)
    yield from islice(rows, groups_max)
    others, hard, soft = 0, 0, 0
    for row in rows:
        others, hard, soft = others + 1, hard + row.bounced_hard, soft + row.bounced_soft
    if others:
        yield BounceRow(None, hard + soft, hard, soft, others)


def _bounce_row(row: sqlite3.Row) -> BounceRow:
    group, hard, soft = row
    return BounceRow(None if group == STEP_NONE else group, hard + soft, hard, soft)


def _by_type(row: sqlite3.Row) -> Iterator[BounceRow]:
    hard, soft = row[0] or 0, row[1] or 0
    rows = [BounceRow("hard", hard, hard, 0), BounceRow("soft", soft, 0, soft)]
    return iter(sorted((row for row in rows if row.bounced), key=lambda row: -row.bounced))


def _bounce_values(
    conn: sqlite3.Connection, span: tuple[int, int], by: BounceGroup, campaigns: Sequence[int] | None
) -> dict[str, object]:
    if campaigns is None:
        in_series = by in (BounceGroup.TYPE, BounceGroup.STEP)
        campaigns = [WHOLE_WORKSPACE] if in_series else _all_campaigns(conn)
    first, last = (at // QUARTER_MS for at in span)
    return {"campaigns": json.dumps(list(campaigns)), "first": first, "last": last}


class ReplyRow(NamedTuple):
    """Replies by webhook of one class, and leads whose first reply is of it."""

    classification: str | None
    replies: int
    replied: int


def replies_by_class(
    conn: sqlite3.Connection, span: tuple[int, int], campaigns: Sequence[int] | None = None
) -> list[ReplyRow]:
    """Replies in a half-open span of epoch milliseconds by their class, most first; counted in the ledger."""
    sql = queries("series.sql")
    values: dict[str, object] = {"from": span[0], "to": span[1]}
    if campaigns is not None:
        values["campaigns"] = json.dumps(list(campaigns))
    text = sql["replies_by_class_everywhere" if campaigns is None else "replies_by_class"]
    rows = [ReplyRow(*row) for row in conn.execute(text, values)]
    counted = [row for row in rows if row.replies or row.replied]
    return sorted(counted, key=lambda row: (-row.replies, row.classification is None, row.classification))


def with_replies_to_nothing(conn: sqlite3.Connection, campaigns: Sequence[int] | None = None) -> set[int]:
    """Those of the campaigns that have a reply without `messageId`: their reply rates are of no cohort."""
    numbers = _all_campaigns(conn) if campaigns is None else campaigns
    values = {"campaigns": json.dumps(list(numbers))}
    return {row[0] for row in conn.execute(queries("series.sql")["with_replies_to_nothing"], values)}


def _all_campaigns(conn: sqlite3.Connection) -> list[int]:
    return [row[0] for row in conn.execute(queries("series.sql")["all_campaigns"])]


def _check_edges(edges: Sequence[int]) -> None:
    if any(edge % QUARTER_MS for edge in edges):
        raise ValueError("An edge is not on a whole quarter of an hour.")
    if list(edges) != sorted(edges) or len(edges) < 2 or edges[0] < 0 or edges[-1] > UNPLACED_MS:
        raise ValueError("The edges are not two or more in ascending order within all time.")
