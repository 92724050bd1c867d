"""Loads what is known of a campaign, takes a new answer in, and stores what follows: in the writer's transaction.

Every function here runs on a connection's thread, with all of one campaign in one transaction.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
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
from receiver.storage.sqlite import kept
from receiver.storage.sqlite import reconciliation as rows
from receiver.storage.sqlite.kept import Kept

# Which kind of webhook tells of a figure.
EVENTS = {"sent": "message.sent", "bounced": "message.bounced", "replied": "reply.received"}

# Retries that say the same about their timestamps.
_COPIES_MIN = 3
# Stretches of acceptance older than this matter only while a gap is open that lies there.
_STRETCHES_MS = 40 * 86_400_000
# The stretch that is being extended is at most so far behind.
_HEARTBEAT_MS = 30_000

_COUNTERS_CACHED = 4096


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
    found = kept.load(conn, {campaign: campaign_id})[campaign]
    return None if found.baseline is None else _cases(conn, [found])[campaign]


def _cases(conn: sqlite3.Connection, found: Sequence[Kept]) -> dict[int, Case]:
    """What is known of campaigns that all have a snapshot."""
    since = {}
    for each in found:
        upto = _upto(each)
        oldest = (at for first, last, _ in each.snapshots for at in (first, last) if at > upto)
        since[each.campaign] = min(oldest, default=each.snapshots[-1][1]) - NEAR_MS
    curves = _curves(conn, found, since)
    return {each.campaign: _case(conn, each, curves[each.campaign]) for each in found}


def _case(conn: sqlite3.Connection, each: Kept, ledger: Curve) -> Case:
    assert each.baseline is not None  # noqa: S101 # there is a snapshot
    at, text = each.baseline
    return Case(
        baseline=Baseline(at, _counters(text), *(Counts(*counted) for counted in _ends(each.ledgers))),
        snapshots=[Snapshot(first_at, last_at, _counters(text)) for first_at, last_at, text in each.snapshots],
        curve=ledger,
        folded={figure: _losses(each.losses.get(figure), at) for figure in FIGURES},
        folded_upto=_upto(each),
        quarantined=_quarantined(conn, each.campaign_id, at) if each.waits else {},
    )


def _upto(each: Kept) -> int:
    """How far a campaign's snapshots are folded."""
    first_at = 0 if each.baseline is None else each.baseline[0]
    return min((upto for upto, _, _ in each.losses.values()), default=first_at - 1)


def _curves(conn: sqlite3.Connection, found: Sequence[Kept], since: Mapping[int, int]) -> dict[int, Curve]:
    """The ledgers over time, each from a time on."""
    known = rows.minutes_since(conn)
    wanted = {campaign: at // MINUTE_MS - 2 for campaign, at in since.items()}
    minutes = kept.minutes(conn, {campaign: max(minute, known) for campaign, minute in wanted.items()})
    curves = {}
    for each in found:
        campaign = each.campaign
        forgotten = wanted[campaign] < known
        quarters = rows.quarters(conn, campaign, since[campaign] // QUARTER_MS - 1) if forgotten else ()
        begin = max(wanted[campaign], known)
        curves[campaign] = Curve(Counts(*each.totals), _buckets(minutes[campaign]), begin, _buckets(quarters))
    return curves


def _buckets(found: Iterable[tuple[int, tuple[int, ...]]]) -> list[Bucket]:
    return [(number, Counts(*counted)) for number, counted in found]


@lru_cache(_COUNTERS_CACHED)
def _counters(text: str) -> Counters:
    return Counters(**orjson.loads(text))


def _losses(row: tuple[int, int, str] | None, first_at: int) -> Losses:
    if row is None:
        return Losses(quiet_at=first_at)
    return Losses(row[1], tuple(Gap(*gap) for gap in orjson.loads(row[2])))


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
    return take_in_all(conn, [answer], now_ms, around)[0]


def take_in_all(
    conn: sqlite3.Connection, answers: Sequence[Answered], now_ms: int, around: Circumstances
) -> list[Taken]:
    """The same of answers of as many campaigns."""
    numbers = kept.numbers(conn, [answer.campaign_id for answer in answers])
    found = kept.load(conn, {number: campaign_id for campaign_id, number in numbers.items()})
    ordered = [found[numbers[answer.campaign_id]] for answer in answers]
    befores = [each.snapshots[-1] if each.snapshots else None for each in ordered]
    for each, answer in zip(ordered, answers, strict=True):
        _keep(conn, each, answer)
    kept.put_snapshots(conn, [(each.campaign, *each.snapshots[-1]) for each in ordered])
    moves = [_moves(before, answer) for before, answer in zip(befores, answers, strict=True)]
    moved = {each.campaign: any_moved for each, (any_moved, _) in zip(ordered, moves, strict=True)}
    kept.note_answers(conn, moved, now_ms)
    evaluations = _judge_all(conn, ordered, around)
    return [
        Taken(each.campaign, evaluation, any_moved, grown, each.snapshots[-1][1] if before is None else before[1])
        for each, evaluation, (any_moved, grown), before in zip(ordered, evaluations, moves, befores, strict=True)
    ]


def _keep(conn: sqlite3.Connection, each: Kept, answer: Answered) -> None:
    """Add an answer to what is kept of its campaign. Its time is never before the last one's."""
    # What is known to be missing stays known: a late arrival may make an old first answer vague.
    if _is_vague(each) and not each.open_gaps:
        rows.forget_baseline(conn, each.campaign)
        each.forget_baseline()
    at, text = answer.at, orjson.dumps(answer.counters)
    if each.snapshots:
        first_at, last_at, held = each.snapshots[-1]
        if held == text.decode():
            each.snapshots[-1] = (first_at, max(at, last_at), held)
            return
        at = max(at, last_at + 1)
    each.snapshots.append((at, at, text.decode()))
    if each.baseline is None:
        ledgers = {moment: _as_of(conn, each, moment) for moment in (answer.earliest, answer.latest)}
        rows.put_baseline(conn, each.campaign, at, text, ledgers)
        each.baseline = (at, text.decode())
        each.ledgers = [ledgers[moment] for moment in sorted(ledgers)]


def _moves(before: tuple[int, int, str] | None, answer: Answered) -> tuple[bool, dict[str, int]]:
    """Whether anything moved since the answer before, and by how much each counter did."""
    if before is None:
        return False, {}
    then = _counters(before[2])
    return _without_rates(then) != _without_rates(answer.counters), _grown(then, answer.counters)


def _grown(before: Counters, after: Counters) -> dict[str, int]:
    """What each counter that both have moved by."""
    counters = {figure: candidates[0].provider for figure, candidates in CANDIDATES.items()}
    values = {figure: (read(before), read(after)) for figure, read in counters.items()}
    return {
        figure: last - first for figure, (first, last) in values.items() if first is not None and last is not None
    }


def _is_vague(each: Kept) -> bool:
    """Whether events happened while the first answer was made, and some had before we were there.

    Nobody can say which of them it counts. Until one comes without any around, the latest answer is the first.
    """
    if each.baseline is None:
        return False
    earliest, latest = (Counts(*counted) for counted in _ends(each.ledgers))
    if earliest == latest:
        return False
    counters = _counters(each.baseline[1])
    return any(
        first.ledger(earliest) < first.ledger(latest) < (first.provider(counters) or 0)
        for first, *_ in CANDIDATES.values()
    )


def _ends(ledgers: Sequence[tuple[int, ...]]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return ledgers[0], ledgers[-1]


def _without_rates(counters: Counters) -> Counters:
    """What tells whether something was sent, or came back: mails are opened for weeks after that."""
    return replace(counters, open_rate=None, reply_rate=None)


def _as_of(conn: sqlite3.Connection, each: Kept, moment: int) -> Counts:
    """The ledger as of a recent moment, to the millisecond."""
    later = Counts(*rows.later_in_minute(conn, each.campaign, moment))
    return _curves(conn, [each], {each.campaign: moment})[each.campaign].upto(moment).minus(later)


def judge(conn: sqlite3.Connection, campaign: int, campaign_id: str, around: Circumstances) -> Evaluation:
    """Evaluate a campaign that has a snapshot, and store how it stands."""
    found = kept.load(conn, {campaign: campaign_id})[campaign]
    if found.baseline is None:
        raise ValueError(f"campaign {campaign_id!r} has no snapshot")
    return _judge_all(conn, [found], around)[0]


def _judge_all(conn: sqlite3.Connection, found: Sequence[Kept], around: Circumstances) -> list[Evaluation]:
    known = _cases(conn, found)
    evaluations = [evaluate(known[each.campaign], around) for each in found]
    drifts = []
    for each, evaluation in zip(found, evaluations, strict=True):
        case = known[each.campaign]
        fold_settled(conn, each.campaign, case, around)
        drifts.append((each.campaign, *_drift_row(case, evaluation)))
        kept.replace_gaps(conn, each, gap_rows(each.open_gaps, evaluation))
    kept.put_drifts(conn, drifts)
    return evaluations


def _drift_row(case: Case, evaluation: Evaluation) -> tuple[int, str, int, int, int, str, str]:
    at_least = sum(losses.total for losses in evaluation.losses.values())
    at_first = sum(case.baseline.earliest) + sum(case.baseline.latest)
    counts = orjson.dumps(tuple(case.curve.upto(evaluation.at + MINUTE_MS))).decode()
    figures = orjson.dumps(evaluation.figures).decode()
    sent_before = _sent_before(evaluation)
    return evaluation.at, str(evaluation.status), at_least, sent_before, at_first, counts, figures


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
