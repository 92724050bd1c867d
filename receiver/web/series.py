"""Figures over time: one row per bucket and group, each with how far it can be trusted (DESIGN, section 6)."""

import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby, islice
from operator import itemgetter
from typing import Any

from receiver.errors import TooManyRowsError
from receiver.figures import OBSERVED
from receiver.reconcile import trust
from receiver.reconcile.known import Known, known
from receiver.storage.sqlite.connection import one_moment
from receiver.storage.sqlite.series import Basis, Group, SeriesQuery, SeriesRow, series
from receiver.storage.sqlite.store import Readers
from receiver.storage.sqlite.trust import campaigns_with_life, campaigns_with_unplaced, steps_of, with_earlier_sends
from receiver.web.buckets import Buckets, Interval, buckets, local_time, zone_parameter
from receiver.web.operation import Call
from receiver.web.params import FIGURES_ALLOWED, SeriesParams, refusal
from receiver.web.ranges import known_numbers, time_span
from receiver.web.times import settled_until

# Which of Leadterra's counters tells that something of a figure is missing; nothing tells of starts.
_COUNTED_BY: Mapping[str, tuple[str, ...]] = {
    "sent": ("sent",),
    "attempted": ("sent", "bounced"),
    "accepted": ("sent", "bounced"),
    "contacted": ("sent",),
    "bounced": ("bounced",),
    "bounced_hard": ("bounced",),
    "bounced_soft": ("bounced",),
    "replies": ("replied",),
    "replied": ("replied",),
    "replied_human": ("replied",),
    "starts": (),
}
_LOST = {"lost": "sent", "lost_bounced": "bounced", "lost_replied": "replied"}
_TRUST = ("ended", "settled", "receiver_up", "coverage")
_KEYS: Mapping[Group | None, tuple[str, ...]] = {
    None: ("time",),
    Group.CAMPAIGN: ("time", "campaign_id"),
    Group.STEP: ("time", "step"),
}


class Series:
    """Handler of `/v1/series`."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    async def list(self, call: Call) -> dict[str, Any]:
        return await self._readers.run(_answer, call)


def _answer(conn: sqlite3.Connection, call: Call) -> dict[str, Any]:
    with one_moment(conn):
        asked = _asked(conn, call)
        return {"query": _shown(asked), "data": list(_rows(conn, asked, call))}


def series_rows(conn: sqlite3.Connection, call: Call) -> Iterator[dict[str, Any]]:
    """All rows of a series. Raises what a bad question raises."""
    return _rows(conn, _asked(conn, call), call)


def series_fields(call: Call) -> Collection[str]:
    """The fields of a row: those of its key, the figures that were asked, and how far they can be trusted."""
    params: SeriesParams = call.params
    return {*_KEYS[params.group_by], *figures_parameter(params.figures), *_losses(params), *_TRUST}


def figures_parameter(text: str) -> tuple[str, ...]:
    """The figures of a comma list, in documented order. Raises InvalidParameterError."""
    named = text.split(",")
    if len(set(named)) < len(named) or not set(named) <= set(OBSERVED):
        raise refusal("figures", text, FIGURES_ALLOWED)
    return tuple(figure for figure in OBSERVED if figure in named)


def _losses(params: SeriesParams) -> list[str]:
    """What is lost of sends, and of bounces and replies where a figure of theirs was named."""
    named = figures_parameter(params.figures) if "figures" in params.model_fields_set else ()
    by = {counter for figure in named if figure not in ("attempted", "accepted") for counter in _COUNTED_BY[figure]}
    return [name for name, counter in _LOST.items() if name == "lost" or counter in by]


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question that can be answered.

    `campaigns` are numbers with ids, None for all; `groups` are those to show in every bucket.
    """

    params: SeriesParams
    figures: tuple[str, ...]
    buckets: Buckets
    campaigns: Mapping[int, str] | None
    groups: Sequence[int | None]


def _asked(conn: sqlite3.Connection, call: Call) -> _Asked:
    """Checks parameters first, then whether the campaigns are known, then how many rows that makes."""
    params: SeriesParams = call.params
    figures = figures_parameter(params.figures)
    zone = zone_parameter("timezone", params.timezone)
    from_ms, to_ms = time_span({"from": params.from_, "to": params.to}, call.now_ms, zone)
    assert from_ms is not None  # noqa: S101 # both have a default
    assert to_ms is not None  # noqa: S101 # likewise

    @cache  # edges of days cost as much as reading a week of them
    def cut(groups: int, interval: Interval = params.interval) -> Buckets:
        return buckets(from_ms, to_ms, interval, zone, groups, groups if params.basis is Basis.SEND else 0)

    ids = list(dict.fromkeys(params.campaign_id))
    cut(len(ids) if params.group_by is Group.CAMPAIGN else 1)
    campaigns = _known(conn, ids) if ids else None
    if params.group_by is None:
        return _Asked(params, figures, cut(1), campaigns, [None])
    if params.group_by is Group.STEP:
        steps = steps_of(conn, campaigns)
        return _Asked(params, figures, cut(len(steps) + 1), campaigns, steps)
    if campaigns is None:
        edges = cut(1).edges
        living = campaigns_with_life(conn, edges[0], edges[-1])
        try:
            cut(len(living))
        except TooManyRowsError:
            edges = cut(1, Interval.MONTH).edges  # of a coarser interval more campaigns can be part
            cut(len(campaigns_with_life(conn, edges[0], edges[-1])))
        others = campaigns_with_unplaced(conn) if params.basis is Basis.SEND else {}
        campaigns = dict(sorted((living | others).items(), key=itemgetter(1)))
        return _Asked(params, figures, cut(len(campaigns)), campaigns, list(living))
    return _Asked(params, figures, cut(len(campaigns)), campaigns, list(campaigns))


def _known(conn: sqlite3.Connection, ids: Sequence[str]) -> dict[int, str]:
    """Numbers and ids, in the order of the ids. Raises CampaignNotFoundError."""
    numbers = known_numbers(conn, ids)
    return {numbers[campaign_id]: campaign_id for campaign_id in sorted(numbers)}


def _shown(asked: _Asked) -> dict[str, Any]:
    """The question as it was understood."""
    params = asked.params
    return {
        "figures": list(asked.figures),
        "interval": params.interval,
        "timezone": params.timezone,
        "from": local_time(asked.buckets.from_ms, asked.buckets.zone),
        "to": local_time(asked.buckets.to_ms, asked.buckets.zone),
        "campaign_id": sorted(set(params.campaign_id)) or None,
        "group_by": params.group_by,
        "basis": params.basis,
    }


def _rows(conn: sqlite3.Connection, asked: _Asked, call: Call) -> Iterator[dict[str, Any]]:
    if len(asked.buckets) == 0:
        return
    span = (asked.buckets.from_ms, asked.buckets.to_ms)
    facts = known(conn, asked.campaigns, span, call.pins, call.now_ms, call.speed)
    grid = _Grid(asked, facts, with_earlier_sends(conn, asked.campaigns), call.now_ms)
    found = groupby(_counted(conn, asked), key=lambda row: row.bucket)
    bucket, rows = next(found, (None, None))
    for place in range(len(asked.buckets)):
        here: dict[int | None, Sequence[int | None]] = {}
        if rows is not None and bucket == place:
            here = {row.group: row.values for row in rows}
            bucket, rows = next(found, (None, None))
        yield from grid.rows(place, here)
    if rows is not None:
        yield from grid.unplaced({row.group: row.values for row in rows})


def _counted(conn: sqlite3.Connection, asked: _Asked) -> Iterator[SeriesRow]:
    """What is counted, by the index of its bucket. Before 1970 there is nothing, and nobody can ask for it."""
    edges = asked.buckets.edges
    first = max((place for place, edge in enumerate(edges[:-1]) if edge <= 0), default=0)
    clipped = [max(0, edge) for edge in islice(edges, first, None)]
    numbers = None if asked.campaigns is None else list(asked.campaigns)
    wanted = SeriesQuery(clipped, asked.figures, numbers, asked.params.group_by, asked.params.basis)
    for row in series(conn, wanted):
        yield row._replace(bucket=row.bucket + first) if first and row.bucket is not None else row


class _Grid:
    """Makes the rows of buckets from what is counted in them: zero-filled, with how far they can be trusted."""

    def __init__(self, asked: _Asked, facts: Known, earlier: set[int], now_ms: int) -> None:
        self._asked = asked
        self._times = asked.buckets.times()
        self._first_known = trust.first_known(asked.buckets.edges, facts.installed_at)
        self._by = asked.params.group_by
        self._trust = _Trust(asked, facts, now_ms)
        nothing: list[int | None] = [0] * len(asked.figures)
        if asked.params.basis is Basis.SEND and "starts" in asked.figures:
            nothing[asked.figures.index("starts")] = None
        self._nothing = nothing
        self._contacted = asked.figures.index("contacted") if "contacted" in asked.figures else None
        self._earlier = earlier

    def rows(self, place: int, counted: Mapping[int | None, Sequence[int | None]]) -> Iterator[dict[str, Any]]:
        """The rows of one bucket. Before the installation a figure that is 0 is not known."""
        before = place < self._first_known
        for group in self._groups(counted):
            values = self._values(group, counted.get(group, self._nothing))
            shown = [value or None for value in values] if before else values
            yield self._row(self._times[place], group, shown, self._trust.of(group, place))

    def unplaced(self, counted: Mapping[int | None, Sequence[int | None]]) -> Iterator[dict[str, Any]]:
        """Replies whose send is not held."""
        for group in self._order(counted):
            yield self._row(None, group, self._values(group, counted[group]), self._trust.of_none())

    def _groups(self, counted: Mapping[int | None, Any]) -> list[int | None]:
        """All that are shown; the step that is not known only where something counts in it."""
        if self._by is Group.STEP:
            return self._order({*self._asked.groups, *counted})
        return list(self._asked.groups)

    def _order(self, groups: Collection[int | None]) -> list[int | None]:
        if self._by is Group.CAMPAIGN:
            return [group for group in self._asked.campaigns or () if group in groups]
        return sorted(groups, key=lambda group: (group is None, group))

    def _values(self, group: int | None, values: Sequence[int | None]) -> list[int | None]:
        """Whom campaigns have contacted is not known where their first sends came before us."""
        found = list(values)
        unknown = group in self._earlier if self._by is Group.CAMPAIGN else bool(self._earlier)
        if self._contacted is not None and unknown:
            found[self._contacted] = None
        return found

    def _row(
        self, time: str | None, group: int | None, values: Sequence[int | None], trusted: Mapping[str, Any]
    ) -> dict[str, Any]:
        row: dict[str, Any] = {"time": time}
        if self._by is Group.CAMPAIGN and group is not None:
            row["campaign_id"] = (self._asked.campaigns or {})[group]
        elif self._by is Group.STEP:
            row["step"] = group
        row.update(zip(self._asked.figures, values, strict=True))
        row.update(trusted)
        return row


class _Trust:
    """How far each bucket can be trusted, group by group."""

    def __init__(self, asked: _Asked, facts: Known, now_ms: int) -> None:
        edges = asked.buckets.edges
        self._asked, self._facts, self._now = asked, facts, now_ms
        self._losses = _losses(asked.params)
        self._counters = {counter for figure in asked.figures for counter in _COUNTED_BY[figure]}
        self._ended = trust.ended(edges, now_ms)
        self._up = trust.receiver_up(edges, facts.closed, facts.installed_at, now_ms)
        self._by_group: dict[int | None, dict[str, Sequence[Any]]] = {}

    def of(self, group: int | None, place: int) -> dict[str, Any]:
        """What a row says of its bucket."""
        one = group if self._asked.params.group_by is Group.CAMPAIGN else None
        columns = self._by_group.get(one)
        if columns is None:
            columns = self._by_group[one] = self._columns(one)
        return {name: column[place] for name, column in columns.items()}

    def of_none(self) -> dict[str, Any]:
        """What a row says that is of no bucket."""
        return dict.fromkeys([*self._losses, *_TRUST])

    def _columns(self, campaign: int | None) -> dict[str, Sequence[Any]]:
        """Of one campaign, or of all that are asked."""
        edges, facts = self._asked.buckets.edges, self._facts
        gaps = [gap for gap in facts.gaps if campaign is None or gap.campaign == campaign]
        asked = [(gap.from_at, gap.to_at) for gap in gaps if gap.figure in self._counters]
        by_step = self._asked.params.group_by is Group.STEP
        columns: dict[str, Sequence[Any]] = {}
        for name in self._losses:
            missing = [gap for gap in gaps if gap.figure == _LOST[name] and gap.state == "missing"]
            amounts = [(gap.from_at, gap.at_least) for gap in missing]
            unknown: list[None] = [None] * (len(edges) - 1)
            columns[name] = unknown if by_step else trust.lost(edges, amounts, facts.installed_at)
        columns["ended"] = self._ended
        columns["settled"] = self._settled(asked)
        columns["receiver_up"] = self._up
        since = self._first_snapshot(campaign) if self._counters else None
        columns["coverage"] = trust.coverage(edges, asked, since, facts.installed_at, self._now)
        return columns

    def _settled(self, gaps: list[tuple[int, int]]) -> list[bool | None]:
        edges, now = self._asked.buckets.edges, self._now
        if self._facts.restamped:
            return [None] * (len(edges) - 1)
        matured = now - trust.COHORT_MS if self._asked.params.basis is Basis.SEND else None
        return trust.settled(edges, gaps, settled_until(now), matured)

    def _first_snapshot(self, campaign: int | None) -> int | None:
        if campaign is not None:
            return self._facts.first_snapshots.get(campaign)
        return min(self._facts.first_snapshots.values(), default=None)
