"""What is kept of many campaigns' cases, read and written with few statements.

A statement gives the interpreter's lock away and takes it back; beside a busy event loop that costs more than what
it does. Functions run inside the caller's transaction. Times are epoch milliseconds.
"""

import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from receiver.storage.sqlite import reconciliation as rows
from receiver.storage.sqlite.queries import padded, queries, select_by_keys, write_rows
from receiver.storage.sqlite.reconciliation import Counted

_FILE = "cases.sql"
_GAP = ("figure", "to_at", "cause", "from_at", "at_least", "state")


@dataclass(slots=True)
class Kept:
    """One campaign: its first snapshot, the ledger as of it, all snapshots, folded losses, open gaps.

    Counters and lists of gaps are JSON as stored; `waits` is whether anything of it is in quarantine.
    """

    campaign: int
    campaign_id: str
    baseline: tuple[int, str] | None = None
    ledgers: list[Counted] = field(default_factory=list)
    snapshots: list[tuple[int, int, str]] = field(default_factory=list)
    losses: dict[str, tuple[int, int, str]] = field(default_factory=dict)
    totals: Counted = (0, 0, 0, 0, 0)
    open_gaps: list[Mapping[str, Any]] = field(default_factory=list)
    waits: bool = False

    def forget_baseline(self) -> None:
        """What goes with a campaign's first snapshot."""
        self.baseline = None
        self.ledgers, self.snapshots, self.losses = [], [], {}


def numbers(conn: sqlite3.Connection, campaign_ids: Collection[str]) -> dict[str, int]:
    """The campaigns' numbers; those that no event has named get one."""
    found = dict(tuple(row) for row in select_by_keys(conn, "numbers", campaign_ids, _FILE))
    return {each: found.get(each) or rows.add_campaign(conn, each) for each in campaign_ids}


def load(conn: sqlite3.Connection, campaigns: Mapping[int, str]) -> dict[int, Kept]:
    """What is kept of these campaigns, which are given with their ids."""
    found = {campaign: Kept(campaign, campaign_id) for campaign, campaign_id in campaigns.items()}
    for campaign, at, counters in select_by_keys(conn, "baselines", campaigns, _FILE):
        found[campaign].baseline = (at, counters)
    for campaign, *counted in select_by_keys(conn, "baseline_ledgers", campaigns, _FILE):
        found[campaign].ledgers.append(tuple(counted))
    for campaign, *snapshot in select_by_keys(conn, "snapshots", campaigns, _FILE):
        found[campaign].snapshots.append((snapshot[0], snapshot[1], snapshot[2]))
    for campaign, figure, upto, quiet_at, gaps in select_by_keys(conn, "losses", campaigns, _FILE):
        found[campaign].losses[figure] = (upto, quiet_at, gaps)
    for campaign, *counted in select_by_keys(conn, "totals", campaigns, _FILE):
        found[campaign].totals = tuple(counted)
    for campaign, *gap in select_by_keys(conn, "open_gaps", campaigns, _FILE):
        found[campaign].open_gaps.append(dict(zip(_GAP, gap, strict=True)))
    for (campaign,) in select_by_keys(conn, "waiting", campaigns, _FILE):
        found[campaign].waits = True
    return found


def minutes(conn: sqlite3.Connection, since: Mapping[int, int]) -> dict[int, list[tuple[int, Counted]]]:
    """Campaigns' minutes, each from one on, with their counts."""
    found: dict[int, list[tuple[int, Counted]]] = {campaign: [] for campaign in since}
    earliest = min(since.values(), default=0)
    sql = queries(_FILE)
    for chunk in padded(since):
        for campaign, minute, *counted in conn.execute(sql.with_list("minutes", len(chunk)), [earliest, *chunk]):
            if minute >= since[campaign]:
                found[campaign].append((minute, tuple(counted)))
    return found


def put_snapshots(conn: sqlite3.Connection, snapshots: Sequence[tuple[int, int, int, str]]) -> None:
    """Keep answers: campaign, first and last time, counters."""
    write_rows(conn, "put_snapshots", snapshots, _FILE)


def note_answers(conn: sqlite3.Connection, moved: Mapping[int, bool], now_ms: int) -> None:
    """Campaigns were asked and answered; and whether a counter moved."""
    values = [(campaign, now_ms, now_ms, now_ms if each else None) for campaign, each in moved.items()]
    write_rows(conn, "note_answers", values, _FILE)


def put_drifts(conn: sqlite3.Connection, drifts: Sequence[tuple[Any, ...]]) -> None:
    """Campaigns' drift as of their last snapshots, and the ledgers that it was computed with."""
    write_rows(conn, "put_drifts", drifts, _FILE)


def replace_gaps(conn: sqlite3.Connection, kept: Kept, gaps: Iterable[Mapping[str, object]]) -> None:
    """All gaps of a campaign that are open, or were until now."""
    gaps = list(gaps)
    if kept.open_gaps or gaps:
        rows.replace_open_gaps(conn, kept.campaign, gaps)


def set_waits(conn: sqlite3.Connection, waits: Sequence[tuple[int, int]]) -> None:
    """How long after their last attempts campaigns are asked again: waits and campaigns."""
    conn.executemany(queries(_FILE)["set_wait"], waits)


def watch_baselines(conn: sqlite3.Connection, note: Callable[[int], None]) -> None:
    """Have each campaign noted whose moments this connection changes."""
    conn.create_function("note_baseline", 1, note)
    for name in ("watch_new_baselines", "watch_old_baselines"):
        conn.execute(queries(_FILE)[name])
