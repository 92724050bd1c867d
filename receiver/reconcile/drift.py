"""Splits the difference between Leadterra's counters and the ledger into parts that explain it: no I/O.

"Now" is the time of the campaign's last snapshot, so a clock that jumps changes nothing. All times are epoch
milliseconds.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from receiver.events import LATE_HORIZON_MS
from receiver.leadterra.answers import Counters
from receiver.reconcile.definitions import CANDIDATES, FIGURES, Candidate
from receiver.reconcile.ledger import Counts, Curve
from receiver.reconcile.losses import Gap, Losses, Observation, fold
from receiver.reconcile.stretches import Stretch, all_attempts_inside, overlap

# How far a provider's counters may lag, and how near an event makes a snapshot unquiet.
NEAR_MS = 15 * 60_000
# How far the two clocks may be apart.
SKEW_MAX_MS = 60_000
# A gap without any refusal of ours is given this long: the first three retries.
RETRIED_SOON_MS = 45 * 60_000


class Status(StrEnum):
    """How a figure, or a campaign, stands."""

    IN_SYNC = "in_sync"
    UNKNOWN = "unknown"
    SETTLING = "settling"
    SURPLUS = "surplus"
    MISSING = "missing"


_WORST_FIRST = (Status.MISSING, Status.SURPLUS, Status.SETTLING, Status.UNKNOWN, Status.IN_SYNC)


def worst(statuses: Sequence[Status]) -> Status:
    """A campaign has the worst status of its figures."""
    return min(statuses, key=_WORST_FIRST.index, default=Status.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The same answer from `first_at` to `last_at`."""

    first_at: int
    last_at: int
    counters: Counters

    def times(self) -> Sequence[int]:
        return (self.first_at,) if self.first_at == self.last_at else (self.first_at, self.last_at)


@dataclass(frozen=True, slots=True)
class Baseline:
    """A campaign's first snapshot, and the ledger as of the earliest and the latest moment that it may be of."""

    at: int
    counters: Counters
    earliest: Counts
    latest: Counts


@dataclass(frozen=True, slots=True)
class Case:
    """All that is known of one campaign: its kept snapshots, in order; `folded` are the losses as of `folded_upto`.

    `quarantined` are the arrivals of quarantined events of each figure since the baseline.
    """

    baseline: Baseline
    snapshots: Sequence[Snapshot]
    curve: Curve
    folded: Mapping[str, Losses]
    folded_upto: int
    quarantined: Mapping[str, Sequence[int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What holds for all campaigns: known meanings, when we did not accept, whether retries are restamped."""

    definitions: Mapping[str, str | None]
    closed: Sequence[Stretch] = ()
    restamped: bool = False


@dataclass(frozen=True, slots=True)
class Missing:
    """A gap, or the share of one that has a cause of its own."""

    figure: str
    from_at: int
    to_at: int
    at_least: int
    cause: str
    state: str


@dataclass(frozen=True, slots=True)
class FigureDrift:
    """One figure's difference and its parts; from `before_receiver` to `unexplained` they add up to `delta`."""

    delta: int
    before_receiver: int
    definition: int
    skew: int
    quarantined: int
    settling: int
    not_accepting: int
    unexplained: int
    at_least: int

    @property
    def status(self) -> Status:
        if self.not_accepting > 0 or self.unexplained > 0:
            return Status.MISSING
        if self.unexplained < 0:
            return Status.SURPLUS
        if self.settling > 0 or self.quarantined > 0:
            return Status.SETTLING
        return Status.IN_SYNC


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One campaign's drift: None for a figure that Leadterra did not give."""

    at: int
    figures: Mapping[str, FigureDrift | None]
    gaps: Sequence[Missing]
    losses: Mapping[str, Losses]

    @property
    def status(self) -> Status:
        return worst([Status.UNKNOWN if drift is None else drift.status for drift in self.figures.values()])


def evaluate(case: Case, circumstances: Circumstances) -> Evaluation:
    """How a campaign with at least one snapshot stands, with the ledger as it is now."""
    at = case.snapshots[-1].last_at
    figures: dict[str, FigureDrift | None] = {}
    gaps: list[Missing] = []
    losses: dict[str, Losses] = {}
    moments = _moments(case, at)
    for figure in FIGURES:
        view = _View(case, figure, circumstances.definitions.get(figure))
        losses[figure] = fold(case.folded[figure], view.observations(moments))
        open_gaps = losses[figure].gaps
        waiting = _waiting(open_gaps, case.quarantined.get(figure, ()), at)
        missing = [
            share
            for gap, bodies in zip(open_gaps, waiting, strict=True)
            for share in _shares(gap, figure, at, bodies, circumstances)
        ]
        gaps += missing
        figures[figure] = view.drift(case.snapshots[-1], losses[figure].total, missing)
    return Evaluation(at, figures, gaps, losses)


def observations(case: Case, figure: str, definition: str | None, upto: int) -> list[Observation]:
    """What is not folded yet, up to a time, of one figure."""
    return _View(case, figure, definition).observations(_moments(case, upto))


# A time, its counters, the ledger a minute later, and what happened from a quarter of an hour before until then.
_Moment = tuple[int, Counters, Counts, Counts]


def _moments(case: Case, upto: int) -> list[_Moment]:
    """What is not folded yet, up to a time, with what all figures need of it."""
    curve = case.curve
    return [
        (at, snapshot.counters, curve.upto(at + SKEW_MAX_MS), curve.between(at - NEAR_MS, at + SKEW_MAX_MS))
        for snapshot in case.snapshots
        for at in snapshot.times()
        if case.folded_upto < at <= upto
    ]


@dataclass(frozen=True, slots=True)
class _Reading:
    """One figure at one time: counter less ledger, and how much of that was so before, or is a definition's."""

    delta: int
    before_receiver: int
    remainder: int


class _View:
    """One figure of a case, by its known definition or, while undetermined, by the kindest candidate."""

    def __init__(self, case: Case, figure: str, definition: str | None) -> None:
        self._case = case
        self._every = CANDIDATES[figure]
        self._primary = self._every[0]
        self._candidates = [each for each in self._every if definition in (None, each.name)]
        self._befores = [self._before(each) for each in self._candidates]

    def observations(self, moments: Sequence[_Moment]) -> list[Observation]:
        """Snapshots against the ledger a minute later: what came in by then cannot be missing."""
        found = []
        for at, counters, soon, near in moments:
            remainders = self._remainders(counters, soon)
            if remainders:
                # No event, whatever the figure means, from a quarter of an hour before to a minute after: quiet.
                quiet = not any(each.ledger(near) for each in self._every)
                # Only what is missing whatever the counter means is known to be.
                found.append(Observation(at, min(remainder for _, remainder in remainders), quiet))
        return found

    def drift(self, last: Snapshot, at_least: int, missing: Sequence[Missing]) -> FigureDrift | None:
        reading = self._read(last.counters, last.last_at)
        if reading is None:
            return None
        recent = self._primary.ledger(self._case.curve.between(last.last_at - NEAR_MS, last.last_at))
        skew = max(reading.remainder - at_least, -max(0, recent))
        quarantined, settling, lost = (
            sum(share.at_least for share in missing if _part_of(share) == part)
            for part in ("quarantined", "settling", "not_accepting")
        )
        explained = skew + quarantined + settling + lost
        return FigureDrift(
            delta=reading.delta,
            before_receiver=reading.before_receiver,
            definition=reading.delta - reading.before_receiver - reading.remainder,
            skew=skew,
            quarantined=quarantined,
            settling=settling,
            not_accepting=lost,
            unexplained=reading.remainder - explained,
            at_least=at_least,
        )

    def _read(self, counters: Counters, at: int) -> _Reading | None:
        shown = self._primary.provider(counters)
        now = self._case.curve.upto(at)
        remainders = self._remainders(counters, now)
        if shown is None or not remainders:
            return None
        delta = shown - self._primary.ledger(now)
        before, remainder = min(remainders, key=lambda reading: abs(reading[1]))
        if min(each for _, each in remainders) < 0 < max(each for _, each in remainders):
            remainder = 0  # one candidate lacks events and another has too many: nothing is known to be missing
        return _Reading(delta, before, remainder)

    def _before(self, candidate: Candidate) -> int | None:
        """What was there before us, if this candidate is right."""
        baseline = self._case.baseline
        first = candidate.provider(baseline.counters)
        if first is None:
            return None
        # All of it may be ours; what is not is a little more rather than a loss that is none.
        ours = first <= candidate.ledger(baseline.latest)
        return 0 if ours else max(0, first - candidate.ledger(baseline.earliest))

    def _remainders(self, counters: Counters, ledger: Counts) -> list[tuple[int, int]]:
        """What each candidate that has its counters would have had before us, and have missing in a ledger."""
        found = []
        if self._primary.provider(counters) is not None:
            for candidate, before in zip(self._candidates, self._befores, strict=True):
                value = candidate.provider(counters)
                if before is not None and value is not None:
                    found.append((before, value - before - candidate.ledger(ledger)))
        return found


def _part_of(share: Missing) -> str:
    if share.cause == "quarantined":
        return "quarantined"
    return "settling" if share.state == "settling" else share.cause


def _waiting(gaps: Sequence[Gap], arrivals: Sequence[int], now: int) -> list[int]:
    """How much of each gap waits in quarantine: what arrived in it, then what a retry may have brought later.

    No body explains two gaps.
    """
    left = sorted(at for at in arrivals if at <= now + SKEW_MAX_MS)
    found = [0] * len(gaps)
    for later in (SKEW_MAX_MS, LATE_HORIZON_MS):
        for index, gap in enumerate(gaps):
            begin, end = bisect_right(left, gap.from_at), bisect_right(left, gap.to_at + later)
            taken = min(end - begin, gap.at_least - found[index])
            del left[begin : begin + taken]
            found[index] += taken
    return found


def _shares(gap: Gap, figure: str, now: int, waiting: int, circumstances: Circumstances) -> list[Missing]:
    """A gap by causes: what waits in quarantine, and the rest."""
    cause, state = _judge(gap, now, circumstances)
    shares = [(waiting, "quarantined", "settling"), (gap.at_least - waiting, cause, state)]
    return [Missing(figure, gap.from_at, gap.to_at, amount, why, how) for amount, why, how in shares if amount > 0]


def _judge(gap: Gap, now: int, circumstances: Circumstances) -> tuple[str, str]:
    """Why a gap's events are missing, and whether they may still come."""
    age = now - gap.to_at
    refused = overlap(circumstances.closed, gap.from_at, gap.to_at)
    if age < RETRIED_SOON_MS or (age < LATE_HORIZON_MS and refused):
        return ("not_accepting" if refused else "unexplained"), "settling"
    late = "overdue" if age < LATE_HORIZON_MS or circumstances.restamped else "missing"
    if refused and all_attempts_inside(gap.from_at, gap.to_at, circumstances.closed):
        return "not_accepting", late
    return "unexplained", late
