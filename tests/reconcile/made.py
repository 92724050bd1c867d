"""Ledgers, snapshots and cases made by hand, in minutes after midnight of a day."""

from collections.abc import Iterable, Mapping, Sequence

from receiver.figures import MINUTE_MS, QUARTER_MS
from receiver.leadterra.answers import Counters
from receiver.reconcile.drift import Baseline, Case, Circumstances, Snapshot
from receiver.reconcile.ledger import Counts, Curve
from receiver.reconcile.losses import Losses
from receiver.reconcile.stretches import Stretch

DAY = 1_749_600_000_000  # 2025-06-11T00:00:00Z
HOUR_MS = 60 * MINUTE_MS

SENT = Counts(sent=1)
SOFT = Counts(bounced=1, bounced_soft=1)
HARD = Counts(bounced=1)
WORSE = Counts(bounced_soft=-1)  # a soft bounce becomes a hard one
REPLIED = Counts(replied=1, replied_human=1)
AWAY = Counts(replied=1)  # out of office
HUMAN = Counts(replied_human=1)  # after that

Booked = tuple[int, Counts]
PINNED = {"sent": "sent", "bounced": "any", "replied": "all"}


def at(minutes: float) -> int:
    """So many minutes after midnight, in epoch milliseconds."""
    return DAY + round(minutes * MINUTE_MS)


def every(minutes: Iterable[float], counts: Counts = SENT) -> list[Booked]:
    return [(at(minute), counts) for minute in minutes]


def summed(booked: Iterable[Booked], upto: float = float("inf")) -> Counts:
    total = Counts()
    for moment, counts in booked:
        if moment <= upto:
            total = total.plus(counts)
    return total


def curve(booked: Sequence[Booked], minutes_since: int = 0) -> Curve:
    """The rollups of what was booked; minutes before `minutes_since` are forgotten."""
    minutes, quarters = _buckets(booked, MINUTE_MS), _buckets(booked, QUARTER_MS)
    kept = [(number, counts) for number, counts in minutes if number >= minutes_since]
    return Curve(summed(booked), kept, minutes_since, quarters)


def _buckets(booked: Iterable[Booked], width_ms: int) -> list[tuple[int, Counts]]:
    buckets: dict[int, Counts] = {}
    for moment, counts in booked:
        number = moment // width_ms
        buckets[number] = buckets.get(number, Counts()).plus(counts)
    return sorted(buckets.items())


def counters(sent: int | None = 0, bounced: int | None = 0, replied: int | None = 0, **more: int | None) -> Counters:
    """Counters by the first meanings: of what was sent all that did not bounce was delivered."""
    if "delivered" not in more and sent is not None and bounced is not None:
        more["delivered"] = sent - bounced
    return Counters(sent=sent, bounced=bounced, replied=replied, queued=0, **more)


def case(
    snapshots: Sequence[tuple[float, Counters] | tuple[float, float, Counters]],
    booked: Sequence[Booked] = (),
    *,
    quarantined: Mapping[str, Sequence[int]] | None = None,
    minutes_since: int = 0,
) -> Case:
    """A case whose first snapshot is its baseline; times are minutes after midnight."""
    kept = [Snapshot(at(each[0]), at(each[-2]), each[-1]) for each in snapshots]
    first = kept[0].first_at
    base = summed(booked, first)
    return Case(
        baseline=Baseline(first, kept[0].counters, base, base),
        snapshots=kept,
        curve=curve(booked, minutes_since),
        folded={figure: Losses(quiet_at=first) for figure in PINNED},
        folded_upto=first - 1,
        quarantined=quarantined or {},
    )


def around(
    *closed: tuple[float, float], definitions: Mapping[str, str | None] | None = None, restamped: bool = False
) -> Circumstances:
    """What holds for all campaigns; stretches without acceptance are in minutes after midnight."""
    stretches: list[Stretch] = [(at(start), at(end)) for start, end in closed]
    return Circumstances(PINNED if definitions is None else definitions, stretches, restamped)
