"""How campaigns stand with the ledger as it is when asked."""

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from receiver.reconcile.cases import Pins, circumstances, figures_json, gap_rows, load
from receiver.reconcile.drift import Circumstances, evaluate
from receiver.reconcile.ledger import Counts
from receiver.storage.sqlite import reconciliation as rows
from receiver.storage.sqlite.connection import one_moment
from receiver.storage.sqlite.standings import evaluated


@dataclass(frozen=True, slots=True)
class Standing:
    """How a campaign stands with the ledger as it is now; `figures` as stored, None for what Leadterra left out.

    `counters` are those of the last snapshot, which was taken at `at`. `gaps` are the campaign's rows of gaps that
    are open or have just closed; None where those that are stored hold.
    """

    campaign: int
    campaign_id: str
    at: int
    status: str
    figures: Mapping[str, Mapping[str, int] | None]
    counters: Mapping[str, int | float | None]
    gaps: Sequence[Mapping[str, Any]] | None

    @property
    def sent_before(self) -> int:
        """How many messages were sent before the receiver was there; 0 where that is not known."""
        sent = self.figures["sent"]
        return 0 if sent is None else sent["before_receiver"]


def standings(
    conn: sqlite3.Connection, pins: Pins, now_ms: int, speed: float = 1.0, campaigns: Collection[int] | None = None
) -> list[Standing]:
    """These campaigns, or all, as far as they were ever answered for, in no order.

    Where the ledger as of the last snapshot is another than it was at the last run, and something was missing then
    or has gone since, or came from before the first snapshot, the campaign is judged anew: a late arrival closes its
    gap in the same answer that counts it.
    """
    with one_moment(conn):
        return _standings(conn, pins, now_ms, speed, campaigns)


def _standings(
    conn: sqlite3.Connection, pins: Pins, now_ms: int, speed: float, campaigns: Collection[int] | None
) -> list[Standing]:
    around: Circumstances | None = None
    found = []
    for row in evaluated(conn, campaigns):
        if _has_moved(row):
            around = around or circumstances(conn, pins, now_ms, speed)
            case = load(conn, row["id"], row["campaign_id"])
            if case is not None:
                fresh = evaluate(case, around)
                gaps = gap_rows(rows.open_gaps(conn, row["id"]), fresh)
                found.append(_standing(row, str(fresh.status), figures_json(fresh), gaps))
                continue
        found.append(_standing(row, row["status"], orjson.loads(row["figures"]), None))
    return found


def _has_moved(row: rows.Row) -> bool:
    """Whether the ledger has changed since the last run in a way that changes what is missing."""
    if row["at_first"] != row["at_first_now"]:
        return True
    then, now = orjson.loads(row["counts"]), [row[figure] or 0 for figure in Counts._fields]
    return now != then and (row["at_least"] > 0 or any(a < b for a, b in zip(now, then, strict=True)))


def _standing(
    row: rows.Row,
    status: str,
    figures: Mapping[str, Mapping[str, int] | None],
    gaps: Sequence[Mapping[str, Any]] | None,
) -> Standing:
    counters = orjson.loads(row["counters"])
    return Standing(row["id"], row["campaign_id"], row["fetched_at"], status, figures, counters, gaps)
