"""Folds what no retry can change any more, and takes from it the evidence of what counters mean."""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from receiver.events import LATE_HORIZON_MS
from receiver.figures import MINUTE_MS
from receiver.leadterra.answers import Counters
from receiver.reconcile.definitions import FIGURES, INTERVALS_KEPT, growth_fits
from receiver.reconcile.drift import Case, Circumstances, observations
from receiver.reconcile.ledger import Counts
from receiver.reconcile.losses import Observation, fold
from receiver.reconcile.stretches import overlap
from receiver.storage.sqlite import reconciliation as rows

# What is older is settled and is folded, some at a time; minutes are kept a little longer than that.
_SETTLED_MS = LATE_HORIZON_MS + 9 * MINUTE_MS
_FOLD_EVERY_MS = 30 * MINUTE_MS


def fold_settled(conn: sqlite3.Connection, campaign: int, case: Case, around: Circumstances) -> None:
    """Fold what no retry can change any more, so that a campaign's case stays small."""
    upto = case.snapshots[-1].last_at - _SETTLED_MS
    waiting = [at for snapshot in case.snapshots for at in snapshot.times() if case.folded_upto < at <= upto]
    if not waiting or upto - min(waiting) < _FOLD_EVERY_MS:
        return
    held = {row["figure"]: row for row in rows.losses(conn, campaign)}
    for figure in FIGURES:
        seen = observations(case, figure, around.definitions.get(figure), upto)
        quiet = _Quiet.of(held.get(figure), case)
        for observation in seen:
            quiet = quiet.next(conn, campaign, figure, observation, case, around)
        losses = fold(case.folded[figure], seen)
        gaps = [(gap.from_at, gap.to_at, gap.at_least) for gap in losses.gaps]
        rows.put_losses(conn, campaign, figure, upto, losses.quiet_at, gaps, quiet.dump())
    rows.fold_snapshots(conn, campaign, upto)


@dataclass(frozen=True, slots=True)
class _Quiet:
    """The last quiet snapshot of a figure, for the evidence of what its counter means."""

    at: int | None
    counters: Counters | None = None
    counts: Counts | None = None

    @classmethod
    def of(cls, row: Mapping[str, Any] | None, case: Case) -> "_Quiet":
        if row is None or row["quiet_counters"] is None:
            return cls(None)
        counts = Counts(*orjson.loads(row["quiet_counts"]))
        return cls(row["quiet_at"], Counters(**orjson.loads(row["quiet_counters"])), counts)

    def dump(self) -> tuple[bytes, bytes] | None:
        return None if self.counters is None else (orjson.dumps(self.counters), orjson.dumps(list(self.counts or ())))

    def next(
        self,
        conn: sqlite3.Connection,
        campaign: int,
        figure: str,
        observation: Observation,
        case: Case,
        around: Circumstances,
    ) -> "_Quiet":
        """The quiet snapshot after this one; between two of them lies an interval of evidence."""
        if not observation.quiet:
            return self
        counters = next(each.counters for each in case.snapshots if observation.at in each.times())
        now = _Quiet(observation.at, counters, case.curve.upto(observation.at))
        if self.at is None or self.counters is None or self.counts is None:
            return now
        seen = observations(case, figure, around.definitions.get(figure), observation.at)
        gaps = fold(case.folded[figure], seen).gaps
        clean = not overlap([(gap.from_at, gap.to_at) for gap in gaps], self.at, observation.at)
        if clean and not overlap(around.closed, self.at, observation.at):
            fits = growth_fits(figure, (self.counters, self.counts), (counters, now.counts or Counts()))
            if fits is not None:
                kept = INTERVALS_KEPT
                rows.add_evidence(conn, figure, campaign, self.at, observation.at, sorted(fits), kept)
        return now
