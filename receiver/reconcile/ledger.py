"""The ledger's counts as of any recent minute, from its rollups: no I/O."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from receiver.figures import MINUTE_MS, QUARTER_MS


class Counts(NamedTuple):
    """What the ledger holds of the figures that Leadterra has counters for, and what tells definitions apart."""

    sent: int = 0
    bounced: int = 0
    bounced_soft: int = 0
    replied: int = 0
    replied_human: int = 0

    def plus(self, other: "Counts") -> "Counts":
        a, b, c, d, e = other
        return Counts(self[0] + a, self[1] + b, self[2] + c, self[3] + d, self[4] + e)

    def minus(self, other: "Counts") -> "Counts":
        a, b, c, d, e = other  # thousands of times a run: a loop would take twice as long
        return Counts(self[0] - a, self[1] - b, self[2] - c, self[3] - d, self[4] - e)


# A bucket's number and what happened in it.
Bucket = tuple[int, Counts]


class Curve:
    """One campaign's counts over time.

    `minutes` are its buckets from the minute `minutes_since` on, `quarters` those of a quarter of an hour, both in
    order. Where minutes are forgotten the curve is known by the quarter only.
    """

    def __init__(
        self, totals: Counts, minutes: Sequence[Bucket], minutes_since: int, quarters: Sequence[Bucket] = ()
    ) -> None:
        self._minutes = _Later(totals, minutes)
        self._quarters = _Later(totals, quarters)
        self._minutes_since = minutes_since

    def upto(self, at: int) -> Counts:
        """The counts of all events up to `at`, rounded up to the end of its minute, or quarter of an hour."""
        minute = at // MINUTE_MS
        if minute >= self._minutes_since - 1:
            return self._minutes.upto(minute)
        return self._quarters.upto(at // QUARTER_MS)

    def between(self, start: int, end: int) -> Counts:
        """The events from the minute of `start`, or its quarter of an hour, to that of `end`, all included."""
        known_by_minute = start // MINUTE_MS >= self._minutes_since
        return self.upto(end).minus(self.upto(start - (MINUTE_MS if known_by_minute else QUARTER_MS)))


class _Later:
    """Totals less all later buckets."""

    def __init__(self, totals: Counts, buckets: Sequence[Bucket]) -> None:
        self._numbers = [number for number, _ in buckets]
        rest = totals
        self._upto = [totals]
        for _, counts in reversed(buckets):
            rest = rest.minus(counts)
            self._upto.append(rest)
        self._upto.reverse()

    def upto(self, number: int) -> Counts:
        return self._upto[bisect_right(self._numbers, number)]
