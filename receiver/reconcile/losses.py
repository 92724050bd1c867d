"""The known loss of one figure of one campaign, and the gaps in time that it lies in: no I/O.

Snapshots are taken one after another. The loss never falls below what one of them proves until a quiet one, which
proves it exactly; what it rises by between two of them is one gap.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Observation:
    """One snapshot against the ledger: what is missing at the least, and whether that is exact.

    `at` is the snapshot's time in epoch milliseconds; `lacking` is counter less ledger, above 0 when events are
    missing; `quiet` when no event of the figure lies near the snapshot.
    """

    at: int
    lacking: int
    quiet: bool


@dataclass(frozen=True, slots=True)
class Gap:
    """At least so many events are missing between `from_at` and `to_at` (epoch milliseconds)."""

    from_at: int
    to_at: int
    at_least: int


@dataclass(frozen=True, slots=True)
class Losses:
    """Open gaps in order, their sum being the known loss; and when the last quiet snapshot was.

    `fallen` are the gaps, by `to_at`, that a later snapshot closed because the loss itself fell.
    """

    quiet_at: int
    gaps: tuple[Gap, ...] = ()
    fallen: frozenset[int] = frozenset()

    @property
    def total(self) -> int:
        return sum(gap.at_least for gap in self.gaps)


def fold(losses: Losses, observations: Iterable[Observation]) -> Losses:
    """The losses after further snapshots, in order."""
    for observation in observations:
        losses = _step(losses, observation)
    return losses


def _step(losses: Losses, observation: Observation) -> Losses:
    held = losses.total
    loss = max(0 if observation.quiet else held, observation.lacking)
    gaps, fallen = losses.gaps, losses.fallen
    if loss > held:
        gaps = (*gaps, Gap(losses.quiet_at, observation.at, loss - held))
    elif loss < held:
        gaps, closed = _close_newest(gaps, held - loss)
        fallen |= closed
    return Losses(observation.at if observation.quiet else losses.quiet_at, gaps, fallen)


def _close_newest(gaps: tuple[Gap, ...], amount: int) -> tuple[tuple[Gap, ...], frozenset[int]]:
    closed = set()
    rest = list(gaps)
    while amount and rest:
        newest = rest.pop()
        taken = min(amount, newest.at_least)
        amount -= taken
        if taken < newest.at_least:
            rest.append(replace(newest, at_least=newest.at_least - taken))
        else:
            closed.add(newest.to_at)
    return tuple(rest), frozenset(closed)
