"""How campaigns stand with Leadterra, as answers show it."""

import sqlite3
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from receiver.clock import Clock
from receiver.figures import held_rates, rates
from receiver.reconcile.cases import Pins
from receiver.reconcile.definitions import FIGURES
from receiver.reconcile.standings import Standing, standings
from receiver.storage.sqlite import reads
from receiver.web.operation import Call
from receiver.web.times import rfc3339

UNKNOWN: Mapping[str, Any] = {"status": "unknown", **dict.fromkeys(FIGURES)}


@dataclass(frozen=True, slots=True)
class Moment:
    """A clock that stands at the "now" of a call."""

    ms: int
    speed: float

    def now_ms(self) -> int:
        return self.ms

    def monotonic_ms(self) -> int:
        return self.ms


class Comparison:
    """Looks campaigns up by their numbers, with the ledger as it is now."""

    def __init__(self, pins: Pins, clock: Clock) -> None:
        self.pins = pins
        self._clock = clock

    @classmethod
    def of_call(cls, call: Call) -> "Comparison":
        """As of the call."""
        return cls(call.pins, Moment(call.now_ms, call.speed))

    def of(self, conn: sqlite3.Connection, campaigns: Collection[int]) -> dict[int, Standing]:
        """Those of these campaigns that Leadterra ever answered for."""
        if not campaigns:
            return {}
        now_ms, speed = self._clock.now_ms(), self._clock.speed
        return {each.campaign: each for each in standings(conn, self.pins, now_ms, speed, campaigns)}


def provider_json(standing: Standing | None, failure: str | None) -> dict[str, Any] | None:
    """The last snapshot as it came; stale when the attempt after it failed."""
    if standing is None:
        return None
    return {**standing.counters, "fetched_at": rfc3339(standing.at), "stale": failure is not None}


def reconciled_json(standing: Standing | None, observed: Mapping[str, int | None]) -> dict[str, int | None] | None:
    """What was observed, what came before the receiver, and what is missing at the least; never below observed."""
    if standing is None:
        return None
    return {figure: reconciled(standing.figures[figure], observed[figure]) for figure in FIGURES}


def reconciled(drift: Mapping[str, int] | None, observed: int | None) -> int | None:
    """The same of one figure; None when Leadterra did not give it."""
    return None if drift is None else (observed or 0) + drift["before_receiver"] + drift["at_least"]


def drift_json(standing: Standing | None) -> dict[str, Any]:
    """The status, and every figure's parts; null for a figure that Leadterra did not give."""
    return dict(UNKNOWN) if standing is None else {"status": standing.status, **standing.figures}


def misses_older(standing: Standing | None) -> bool:
    """Whether messages were sent before the receiver was there: then not every rate can be told."""
    return standing is not None and standing.sent_before > 0


def honest_rates(
    conn: sqlite3.Connection, campaign: int, observed: Mapping[str, int | None], *, older: bool
) -> dict[str, dict[str, float | int | None]]:
    """A campaign's rates, of what is held where `older` messages are not."""
    if not older:
        return rates(observed)
    return held_rates(observed, sum(reads.hard_without_send(conn, campaign).values()))
