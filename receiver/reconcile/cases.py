"""Loads what is known of a campaign, takes a new answer in, and stores what follows: in the writer's transaction.

Every function here runs on a connection's thread, with all of one campaign in one transaction.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import orjson

from receiver.figures import MINUTE_MS, QUARTER_MS
from receiver.leadterra.answers import Counters
from receiver.reconcile.definitions import CANDIDATES, FIGURES, INTERVALS_KEPT, Interval, proven
from receiver.reconcile.drift import (
    NEAR_MS,
    Baseline,
    Case,
    Circumstances,
    Evaluation,
    FigureDrift,
    Snapshot,
    evaluate,
)
from receiver.reconcile.ledger import Bucket, Counts, Curve
from receiver.reconcile.losses import Gap, Losses
from receiver.reconcile.settled import fold_settled
from receiver.reconcile.stretches import Stretch, not_accepting
from receiver.storage.sqlite import reconciliation as rows

# Which kind of webhook tells of a figure.
EVENTS = {"sent": "message.sent", "bounced": "message.bounced", "replied": "reply.received"}

# Retries that say the same about their timestamps.
_COPIES_MIN = 3
# Stretches of acceptance older than this matter only while a gap is open that lies there.
_STRETCHES_MS = 40 * 86_400_000
# The stretch that is being extended is at most so far behind.
_HEARTBEAT_MS = 30_000


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
    if copies["copies_restamped"] > copies["copies_equal"]:
        return "restamped"
    return "stable" if copies["copies_equal"] >= _COPIES_MIN else "undetermined"


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
    ledgers = (Counts(*counted) for counted in _ends(rows.baseline_ledgers(conn, campaign)))
    first = Baseline(base["at"], _counters(base["counters"]), *ledgers)
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
    """One answer of Leadterra's, taken in: how the campaign stands now.

    `grown` is what each counter moved by since the answer before, which was at `before_at`.
    """

    campaign: int
    evaluation: Evaluation
    moved: bool
    grown: Mapping[str, int]
    before_at: int


def take_in(conn: sqlite3.Connection, answer: Answered, now_ms: int, around: Circumstances) -> Taken:
    """Keep an answer and say how the campaign stands with it."""
    campaign_id = answer.campaign_id
    campaign = rows.add_campaign(conn, campaign_id)
    text = orjson.dumps(answer.counters)
    last = rows.last_snapshot(conn, campaign)
    # What is known to be missing stays known: a late arrival may make an old first answer vague.
    if _is_vague(conn, campaign) and not rows.open_gaps(conn, campaign):
        rows.forget_baseline(conn, campaign)
    at = rows.put_snapshot(conn, campaign, answer.at, text)
    moved = last is not None and _without_rates(_counters(last["counters"])) != _without_rates(answer.counters)
    rows.note_attempt(conn, campaign, now_ms, answered=True, moved=moved)
    if rows.baseline(conn, campaign) is None:
        ledgers = {moment: _as_of(conn, campaign, moment) for moment in (answer.earliest, answer.latest)}
        rows.put_baseline(conn, campaign, at, text, ledgers)
    grown = {} if last is None else _grown(_counters(last["counters"]), answer.counters)
    evaluation = judge(conn, campaign, campaign_id, around)
    return Taken(campaign, evaluation, moved, grown, at if last is None else last["last_at"])


def _grown(before: Counters, after: Counters) -> dict[str, int]:
    """What each counter that both have moved by."""
    counters = {figure: candidates[0].provider for figure, candidates in CANDIDATES.items()}
    values = {figure: (read(before), read(after)) for figure, read in counters.items()}
    return {
        figure: last - first for figure, (first, last) in values.items() if first is not None and last is not None
    }


def _is_vague(conn: sqlite3.Connection, campaign: int) -> bool:
    """Whether events happened while the first answer was made, and some had before we were there.

    Nobody can say which of them it counts. Until one comes without any around, the latest answer is the first.
    """
    first = rows.baseline(conn, campaign)
    if first is None:
        return False
    counters = _counters(first["counters"])
    earliest, latest = (Counts(*counted) for counted in _ends(rows.baseline_ledgers(conn, campaign)))
    return any(
        each.ledger(earliest) < each.ledger(latest) < (each.provider(counters) or 0)
        for candidates in CANDIDATES.values()
        for each in candidates[:1]
    )


def _ends(ledgers: Sequence[tuple[int, ...]]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return ledgers[0], ledgers[-1]


def _without_rates(counters: Counters) -> Counters:
    """What tells whether something was sent, or came back: mails are opened for weeks after that."""
    return replace(counters, open_rate=None, reply_rate=None)


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
    fold_settled(conn, campaign, case, around)
    at_least = sum(losses.total for losses in evaluation.losses.values())
    drift = {
        "at": evaluation.at,
        "status": evaluation.status,
        "at_least": at_least,
        "sent_before": _sent_before(evaluation),
        "at_first": sum(case.baseline.earliest) + sum(case.baseline.latest),
        "counts": orjson.dumps(list(case.curve.upto(evaluation.at + MINUTE_MS))).decode(),
        "figures": orjson.dumps(figures_json(evaluation)).decode(),
    }
    rows.put_drift(conn, campaign, drift)
    rows.replace_open_gaps(conn, campaign, gap_rows(rows.open_gaps(conn, campaign), evaluation))
    return evaluation


def _sent_before(evaluation: Evaluation) -> int:
    sent = evaluation.figures["sent"]
    return 0 if sent is None else sent.before_receiver


def figures_json(evaluation: Evaluation) -> dict[str, dict[str, int] | None]:
    """Every figure's parts."""
    return {figure: None if drift is None else _parts(drift) for figure, drift in evaluation.figures.items()}


def _parts(drift: FigureDrift) -> dict[str, int]:
    return {name: getattr(drift, name) for name in FigureDrift.__slots__}  # ten times as fast as `asdict`


def gap_rows(before: Sequence[rows.Row], evaluation: Evaluation) -> list[dict[str, Any]]:
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
