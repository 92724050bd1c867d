"""What is known about how far figures can be trusted, as of now: read inside the caller's transaction."""

import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from receiver.reconcile.cases import Pins, accepting_until, refusing, timestamps
from receiver.reconcile.standings import standings
from receiver.reconcile.stretches import Stretch, not_accepting
from receiver.storage.sqlite import trust as rows
from receiver.storage.sqlite.trust import OpenGap

_OPEN = ("settling", "overdue", "missing")


@dataclass(frozen=True, slots=True)
class Known:
    """What holds for some campaigns: `gaps` that are not closed, and when their counters were first asked."""

    installed_at: int
    closed: Sequence[Stretch]
    gaps: Sequence[OpenGap]
    first_snapshots: dict[int, int]
    restamped: bool


def known(
    conn: sqlite3.Connection,
    campaigns: Collection[int] | None,
    span: tuple[int, int],
    pins: Pins,
    now_ms: int,
    speed: float = 1.0,
) -> Known:
    """What is known of some campaigns, or of all; `closed` within `span`, in epoch milliseconds."""
    since, until = span[0], min(span[1], now_ms)
    accepted = accepting_until(conn, since, now_ms, speed)
    closed = not_accepting(accepted, refusing(conn, since), since, until) if since < until else []
    return Known(
        rows.installed_at(conn),
        closed,
        gaps_now(conn, campaigns, pins, now_ms, speed),
        rows.first_snapshots(conn, campaigns),
        timestamps(conn) == "restamped",
    )


def gaps_now(
    conn: sqlite3.Connection, campaigns: Collection[int] | None, pins: Pins, now_ms: int, speed: float = 1.0
) -> list[OpenGap]:
    """Gaps with the ledger as it is now: what came late has closed its gap in the answer that counts it."""
    held = rows.open_gaps(conn, campaigns)
    numbers = {gap.campaign for gap in held}
    found = standings(conn, pins, now_ms, speed, numbers)
    fresh = {each.campaign: each.gaps for each in found if each.gaps is not None and each.campaign in numbers}
    gaps = [gap for gap in held if gap.campaign not in fresh]
    for campaign, missing in fresh.items():
        gaps += [
            OpenGap(campaign, gap["figure"], gap["from_at"], gap["to_at"], gap["at_least"], str(gap["state"]))
            for gap in missing
            if gap["state"] in _OPEN
        ]
    return gaps
