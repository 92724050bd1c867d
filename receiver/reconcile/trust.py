"""How far a bucket of time can be trusted: arithmetic over stretches of time, no I/O.

`edges` are epoch milliseconds in order, one more than the half-open buckets between them. Nothing is known of
buckets before the one in which the receiver was installed (DESIGN, section 6).
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import pairwise

from receiver.reconcile.stretches import Stretch, merged

# By send a bucket changes with its bounces and replies: most have come after so long.
COHORT_MS = 7 * 86_400_000

_DECIMALS = 10**6


def first_known(edges: Sequence[int], since: int) -> int:
    """The index of the first bucket that does not end at or before a time."""
    return max(0, bisect_right(edges, since) - 1)


def inside_ms(edges: Sequence[int], stretches: Sequence[Stretch]) -> list[int]:
    """How much of every bucket lies in stretches that are in order and do not overlap."""
    if not stretches:
        return [0] * (len(edges) - 1)
    found = []
    place = 0
    for start, end in pairwise(edges):
        while place < len(stretches) and stretches[place][1] <= start:
            place += 1
        total, at = 0, place
        while at < len(stretches) and stretches[at][0] < end:
            total += min(end, stretches[at][1]) - max(start, stretches[at][0])
            at += 1
        found.append(total)
    return found


def ended(edges: Sequence[int], now: int) -> list[bool]:
    """Whether each bucket is over."""
    return [edge <= now for edge in edges[1:]]


def receiver_up(edges: Sequence[int], closed: Sequence[Stretch], installed_at: int, now: int) -> list[float | None]:
    """The share of every bucket in which we accepted, of the passed part for the one that runs.

    `closed` are the stretches in which we did not. None before the bucket of installation and for what is to come.
    """
    known = first_known(edges, installed_at)
    passed = [min(edge, now) for edge in edges]
    missed = inside_ms(passed, merged(closed))
    lengths = [end - start for start, end in pairwise(passed)]
    return [
        _share(length - lacking, length) if place >= known and length > 0 else None
        for place, (length, lacking) in enumerate(zip(lengths, missed, strict=True))
    ]


def coverage(
    edges: Sequence[int], gaps: Iterable[Stretch], since: int | None, installed_at: int, now: int
) -> list[float | None]:
    """1 less the share of every bucket that lies in a gap.

    None before the bucket of `since`, the first snapshot, before that of installation, and for what is to come.
    """
    if since is None:
        return [None] * (len(edges) - 1)
    known = first_known(edges, max(since, installed_at))
    missing = inside_ms(edges, merged(gaps))
    return [
        _share(edges[place + 1] - edges[place] - lacking, edges[place + 1] - edges[place])
        if place >= known and edges[place] < now
        else None
        for place, lacking in enumerate(missing)
    ]


def lost(edges: Sequence[int], losses: Iterable[tuple[int, int]], installed_at: int) -> list[int | None]:
    """What is missing for good: (time, amount), each whole in the bucket of its time. None before installation."""
    sums = [0] * (len(edges) - 1)
    for at, amount in losses:
        if edges[0] <= at < edges[-1]:
            sums[bisect_right(edges, at) - 1] += amount
    known = first_known(edges, installed_at)
    return [total if total or place >= known else None for place, total in enumerate(sums)]


def settled(
    edges: Sequence[int], gaps: Iterable[Stretch], settled_until: int, matured_until: int | None = None
) -> list[bool | None]:
    """Whether no retry can change a bucket: it lies before `settled_until` and in no gap.

    None for one that ends after `matured_until`, where that is given.
    """
    missing = inside_ms(edges, merged(gaps))
    return [
        None if matured_until is not None and end > matured_until else end <= settled_until and not lacking
        for end, lacking in zip(edges[1:], missing, strict=True)
    ]


def _share(part: int, whole: int) -> float:
    """Six decimals, rounded down: what lacks a second of a month is not whole."""
    return part * _DECIMALS // whole / _DECIMALS
