"""What Leadterra's counters may mean, and which meaning the evidence proves: no I/O.

Each figure has candidates: ways to compare a counter with the ledger. Its documentation contradicts itself
(leadterra-api.md, sections 1 and 2), so the counters themselves have to tell.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from receiver.leadterra.answers import Counters
from receiver.reconcile.ledger import Counts

FIGURES = ("sent", "bounced", "replied")

INTERVALS_MIN = 20
CAMPAIGNS_MIN = 3
# Evidence beyond the latest so many intervals is forgotten, so that one bad interval does not decide for ever.
INTERVALS_KEPT = 60


@dataclass(frozen=True, slots=True)
class Candidate:
    """One meaning of a figure: the counter that it compares with, and what of the ledger that counter counts."""

    name: str
    provider: Callable[[Counters], int | None]
    ledger: Callable[[Counts], int]


def _delivered_or_bounced(counters: Counters) -> int | None:
    if counters.delivered is None or counters.bounced is None:
        return None
    return counters.delivered + counters.bounced


def _sent(counters: Counters) -> int | None:
    return counters.sent if counters.sent is not None else _delivered_or_bounced(counters)


CANDIDATES: Mapping[str, tuple[Candidate, ...]] = {
    "sent": (
        Candidate("sent", _sent, lambda counts: counts.sent),
        Candidate("delivered", lambda counters: counters.delivered, lambda counts: counts.sent),
        Candidate("delivered+bounced", _delivered_or_bounced, lambda counts: counts.sent),
    ),
    "bounced": (
        Candidate("any", lambda counters: counters.bounced, lambda counts: counts.bounced),
        Candidate("hard", lambda counters: counters.bounced, lambda counts: counts.bounced - counts.bounced_soft),
    ),
    "replied": (
        Candidate("all", lambda counters: counters.replied, lambda counts: counts.replied),
        Candidate("human", lambda counters: counters.replied, lambda counts: counts.replied_human),
    ),
}


@dataclass(frozen=True, slots=True)
class Interval:
    """A settled, gap-free interval between two quiet snapshots, and the candidates that fit it (by name)."""

    campaign: int
    fits: frozenset[str]


def growth_fits(
    figure: str, before: tuple[Counters, Counts], after: tuple[Counters, Counts]
) -> frozenset[str] | None:
    """The candidates by which counter and ledger grew alike between two snapshots.

    None where the interval proves nothing: the candidates do not differ in it, none fits, or a counter is missing.
    """
    off: dict[str, int] = {}
    for candidate in CANDIDATES[figure]:
        first, last = candidate.provider(before[0]), candidate.provider(after[0])
        if first is None or last is None:
            return None
        off[candidate.name] = last - first - (candidate.ledger(after[1]) - candidate.ledger(before[1]))
    fits = frozenset(name for name, difference in off.items() if difference == 0)
    return fits if fits and len(fits) < len(off) else None


def proven(figure: str, evidence: Sequence[Interval]) -> str | None:
    """The candidate that fits every interval, once there are enough of them in enough campaigns; else None."""
    latest = evidence[-INTERVALS_KEPT:]
    if len(latest) < INTERVALS_MIN or len({interval.campaign for interval in latest}) < CAMPAIGNS_MIN:
        return None
    fitting = frozenset.intersection(*(interval.fits for interval in latest))
    return next((candidate.name for candidate in CANDIDATES[figure] if candidate.name in fitting), None)
