"""Loads what is known of a campaign, takes a new answer in, and stores what follows: in the writer's transaction.

Every function here runs on a connection's thread, with all of one campaign in one transaction.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from receiver.events import LATE_HORIZON_MS
from receiver.figures import MINUTE_MS, QUARTER_MS
from receiver.leadterra.answers import Counters
from receiver.reconcile.definitions import FIGURES, INTERVALS_KEPT, Interval, growth_fits, proven
from receiver.reconcile.drift import (
    NEAR_MS,
    Baseline,
    Case,
    Circumstances,
    Evaluation,
    Missing,
    Snapshot,
    evaluate,
    observations,
)
from receiver.reconcile.ledger import Bucket, Counts, Curve
from receiver.reconcile.losses import Gap, Losses, Observation, fold
from receiver.reconcile.stretches import Stretch, not_accepting, overlap
from receiver.storage.sqlite import reconciliation as rows

# Which kind of webhook tells of a figure.
EVENTS = {"sent": "message.sent", "bounced": "message.bounced", "replied": "reply.received"}

# What is older is settled and is folded, some at a time; minutes are kept a little longer than that.
_SETTLED_MS = LATE_HORIZON_MS + 9 * MINUTE_MS
_FOLD_EVERY_MS = 30 * MINUTE_MS
# Stretches of acceptance older than this matter only while a gap is open that lies there.
_STRETCHES_MS = 40 * 86_400_000
# The stretch that is being extended is at most so far behind.
_HEARTBEAT_MS = 30_000

_CLOSED = ("healed", "superseded")


@dataclass(frozen=True, slots=True)
class Pins:
    """The meanings that the settings give; None is left to the evidence."""

    sent: str | None = None
    bounced: str | None = None
    replied: str | None = None

    def of(self, figure: str) -> str | None:
        pin: str | None = getattr(self, figure)
        return pin


def definitions(conn: sqlite3.Connection, pins: Pins) -> dict[str, str | None]:
    """Each figure's meaning: as pinned, else as proven, else None."""
    return {figure: pins.of(figure) or proven(figure, evidence(conn, figure)) for figure in FIGURES}


def evidence(conn: sqlite3.Connection, figure: str) -> list[Interval]:
    """The latest intervals that tell what a figure's counter means."""
    return [Interval(campaign, frozenset(fits)) for campaign, fits in rows.evidence(conn, figure, INTERVALS_KEPT)]


def timestamps(conn: sqlite3.Connection) -> str:
    """Whether retries carry the first try's timestamp: `stable`, `restamped` or `undetermined`."""
    copies = rows.copies(conn)
    if copies["copies_restamped"]:
        return "restamped"
    return "stable" if copies["copies_equal"] >= _COPIES_MIN else "undetermined"


_COPIES_MIN = 3


def circumstances(conn: sqlite3.Connection, pins: Pins, now_ms: int, speed: float = 1.0) -> Circumstances:
    """What holds for all campaigns at once."""
    oldest = rows.oldest_open_gap(conn)
    since = min(now_ms - _STRETCHES_MS, oldest if oldest is not None else now_ms)
    stretches = accepting_until(conn, since, now_ms, speed)
    since = max(since, min((start for start, _ in stretches), default=now_ms))
    closed = not_accepting(stretches, refusing(conn, since), since, now_ms)
    return Circumstances(definitions(conn, pins), closed, timestamps(conn) == "restamped")


def accepting_until(conn: sqlite3.Connection, since: int, now_ms: int, speed: float = 1.0) -> list[Stretch]:
    """Stretches of acceptance that end after `since`; the one that is being extended lasts until now."""
    found = [[row["started_at"], row["last_at"], row["stopped"]] for row in rows.accepting(conn, since)]
    if found and not found[-1][2] and now_ms - found[-1][1] < _HEARTBEAT_MS * max(1.0, speed):
        found[-1][1] = now_ms
    return [(start, end) for start, end, _ in found]


def refusing(conn: sqlite3.Connection, since: int) -> list[Stretch]:
    """Stretches in which deliveries were refused that end after `since`."""
    return [(row["started_at"], row["last_at"]) for row in rows.refusing(conn, since)]


def load(conn: sqlite3.Connection, campaign: int, campaign_id: str) -> Case | None:
    """All that is known of a campaign; None before its first snapshot."""
    base = rows.baseline(conn, campaign)
    if base is None:
        return None
    ledgers = [Counts(*counted) for counted in rows.baseline_ledgers(conn, campaign)]
    first = Baseline(base["at"], _counters(base["counters"]), ledgers[0], ledgers[-1])
    snapshots = [_snapshot(row) for row in rows.snapshots(conn, campaign)]
    held = {row["figure"]: row for row in rows.losses(conn, campaign)}
    upto = min((row["upto"] for row in held.values()), default=first.at - 1)
    unfolded = (at for snapshot in snapshots for at in snapshot.times() if at > upto)
    oldest = min(unfolded, default=snapshots[-1].last_at)
    return Case(
        baseline=first,
        snapshots=snapshots,
        curve=curve(conn, campaign, oldest - NEAR_MS),
        folded={figure: _losses(held.get(figure), first.at) for figure in FIGURES},
        folded_upto=upto,
        quarantined=_quarantined(conn, campaign_id, first.at),
    )


def curve(conn: sqlite3.Connection, campaign: int, since: int) -> Curve:
    """The ledger over time, from `since` on."""
    kept = rows.minutes_since(conn)
    wanted = since // MINUTE_MS - 2
    return Curve(
        Counts(*rows.totals(conn, campaign)),
        _buckets(rows.minutes(conn, campaign, max(wanted, kept))),
        max(wanted, kept),
        _buckets(rows.quarters(conn, campaign, since // QUARTER_MS - 1)) if wanted < kept else (),
    )


def _buckets(found: Iterable[tuple[int, tuple[int, ...]]]) -> list[Bucket]:
    return [(number, Counts(*counted)) for number, counted in found]


def _snapshot(row: rows.Row) -> Snapshot:
    return Snapshot(row["first_at"], row["last_at"], _counters(row["counters"]))


def _counters(text: str) -> Counters:
    return Counters(**orjson.loads(text))


def _losses(row: rows.Row | None, first_at: int) -> Losses:
    if row is None:
        return Losses(quiet_at=first_at)
    return Losses(row["quiet_at"], tuple(Gap(*gap) for gap in orjson.loads(row["gaps"])))


def _quarantined(conn: sqlite3.Connection, campaign_id: str, since: int) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {figure: [] for figure in FIGURES}
    figures = {event: figure for figure, event in EVENTS.items()}
    for row in rows.quarantined(conn, campaign_id, since):
        if row["event"] in figures:
            found[figures[row["event"]]].append(row["received_at"])
    return found


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer of `/stats` and its time, and the earliest and the latest moment that it may be of."""

    campaign_id: str
    counters: Counters
    at: int
    earliest: int
    latest: int


@dataclass(frozen=True, slots=True)
class Taken:
    """One answer of Leadterra's, taken in: how the campaign stands now."""

    campaign: int
    evaluation: Evaluation
    moved: bool


def take_in(conn: sqlite3.Connection, answer: Answered, now_ms: int, around: Circumstances) -> Taken:
    """Keep an answer and say how the campaign stands with it."""
    campaign_id = answer.campaign_id
    campaign = rows.add_campaign(conn, campaign_id)
    text = orjson.dumps(answer.counters)
    at, moved = rows.put_snapshot(conn, campaign, answer.at, text)
    rows.note_attempt(conn, campaign, now_ms, answered=True, moved=moved)
    if rows.baseline(conn, campaign) is None:
        ledgers = {moment: _as_of(conn, campaign, moment) for moment in (answer.earliest, answer.latest)}
        rows.put_baseline(conn, campaign, at, text, ledgers)
    return Taken(campaign, judge(conn, campaign, campaign_id, around), moved)


def _as_of(conn: sqlite3.Connection, campaign: int, moment: int) -> Counts:
    """The ledger as of a recent moment, to the millisecond."""
    later = Counts(*rows.later_in_minute(conn, campaign, moment))
    return curve(conn, campaign, moment).upto(moment).minus(later)


def judge(conn: sqlite3.Connection, campaign: int, campaign_id: str, around: Circumstances) -> Evaluation:
    """Evaluate a campaign that has a snapshot, and store how it stands."""
    case = load(conn, campaign, campaign_id)
    if case is None:
        raise ValueError(f"campaign {campaign_id!r} has no snapshot")
    evaluation = evaluate(case, around)
    _fold_settled(conn, campaign, case, around)
    at_least = sum(losses.total for losses in evaluation.losses.values())
    ledger = case.curve.upto(evaluation.at + MINUTE_MS)
    rows.put_drift(conn, campaign, evaluation.at, evaluation.status, at_least, figures_json(evaluation), list(ledger))
    rows.replace_open_gaps(conn, campaign, _gap_rows(rows.open_gaps(conn, campaign), evaluation))
    return evaluation


def figures_json(evaluation: Evaluation) -> dict[str, dict[str, int] | None]:
    """Every figure's parts."""
    return {figure: None if drift is None else asdict(drift) for figure, drift in evaluation.figures.items()}


def _gap_rows(before: Sequence[rows.Row], evaluation: Evaluation) -> list[dict[str, Any]]:
    """The gaps as they are now, and those that closed since: healed, or superseded by a later first reply."""
    still = {(gap.figure, gap.to_at) for gap in evaluation.gaps}
    now = [asdict(gap) for gap in evaluation.gaps]
    for row in before:
        figure, to_at = row["figure"], row["to_at"]
        was_told = row["state"] != "settling" or row["cause"] == "not_accepting"
        if (figure, to_at) not in still and was_told:
            superseded = figure == "replied" and to_at in evaluation.losses[figure].fallen
            now.append({**dict(row), "state": "superseded" if superseded else "healed"})
    return now


def _fold_settled(conn: sqlite3.Connection, campaign: int, case: Case, around: Circumstances) -> None:
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
        return cls(row["quiet_at"], _counters(row["quiet_counters"]), counts)

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


@dataclass(frozen=True, slots=True)
class Standing:
    """How a campaign stands with the ledger as it is now; `figures` as stored, None for what Leadterra left out."""

    campaign: int
    campaign_id: str
    at: int
    status: str
    figures: Mapping[str, Mapping[str, int] | None]
    gaps: Sequence[Missing] | None


def standings(
    conn: sqlite3.Connection, pins: Pins, now_ms: int, speed: float = 1.0, campaign: int | None = None
) -> list[Standing]:
    """Every campaign that was ever asked, or one of them.

    Where the ledger as of the last snapshot is another than it was at the last run, and something was missing then
    or has gone since, the campaign is judged anew: a late arrival closes its gap in the same answer that counts it.
    `gaps` is None where those of the last run hold.
    """
    around: Circumstances | None = None
    found = []
    for row in rows.evaluated(conn, campaign):
        then = Counts(*orjson.loads(row["counts"]))
        now = Counts(*(row[figure] or 0 for figure in Counts._fields))
        if now != then and (row["at_least"] or any(a < b for a, b in zip(now, then, strict=True))):
            around = around or circumstances(conn, pins, now_ms, speed)
            case = load(conn, row["id"], row["campaign_id"])
            if case is not None:
                fresh = evaluate(case, around)
                found.append(_standing(row, str(fresh.status), figures_json(fresh), fresh.gaps))
                continue
        found.append(_standing(row, row["status"], orjson.loads(row["figures"]), None))
    return found


def _standing(
    row: rows.Row, status: str, figures: Mapping[str, Mapping[str, int] | None], gaps: Sequence[Missing] | None
) -> Standing:
    return Standing(row["id"], row["campaign_id"], row["at"], status, figures, gaps)
