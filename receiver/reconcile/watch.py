"""Looks for breaches after every run and every minute, and keeps the alarms that they raise."""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import structlog

from receiver.clock import Clock
from receiver.errors import UnavailableError
from receiver.events import LATE_HORIZON_MS
from receiver.reconcile import alarms, cases, writes
from receiver.reconcile.alarms import Alarm, Breach, OpenGap
from receiver.reconcile.books import Books, Run
from receiver.reconcile.cases import Pins
from receiver.reconcile.drift import SKEW_MAX_MS
from receiver.reconcile.stretches import Stretch, merged
from receiver.storage.sqlite import reads
from receiver.storage.sqlite import reconciliation as rows

log = structlog.get_logger()

# Events that a counter tells of have this long to arrive before their subscription is called dead.
_ARRIVAL_MS = 60_000


class Intake(Protocol):
    """What the running service knows about deliveries, since it started."""

    def arrived_at(self, event: str) -> int | None:
        """When a webhook of this type was taken in last; None if none was."""

    def rejected_since(self) -> tuple[int, int] | None:
        """How many deliveries shaped like the sender's matched no secret, and since when; None after one that did."""

    def refused(self) -> int:
        """How many shaped like the sender's were refused for another reason (413, 415, 408, 503)."""

    def late(self) -> int:
        """How many came after the late horizon."""

    def is_accepting(self) -> bool:
        """Whether a delivery would be stored now, as far as the last commits tell."""


@dataclass(slots=True)
class _Silence:
    """Events that counters told of since a webhook of their type came last."""

    missing: int = 0
    since: int = 0
    last_at: int = 0


@dataclass(slots=True)
class _Seen:
    """Counts as of the last check; `silences` are, by type of event, what counters told of and no webhook did."""

    refused: int = 0
    late: int = 0
    silences: dict[str, _Silence] = field(default_factory=dict)


class Watch:
    """The alarms of one database. Without an `intake` (a command beside no service) only the ledger is looked at."""

    def __init__(
        self,
        books: Books,
        clock: Clock,
        pins: Pins,
        intake: Intake | None = None,
        quarantine_bytes_max: int | None = None,
        on_change: Callable[[Sequence[Alarm]], None] = lambda active: None,
    ) -> None:
        self._books = books
        self._clock = clock
        self._pins = pins
        self._intake = intake
        self._quarantine_bytes_max = quarantine_bytes_max
        self._on_change = on_change
        self._started_at = clock.now_ms()
        self._seen = _Seen()
        self._unwritten: Sequence[Alarm] = ()

    async def after_run(self, run: Run) -> None:
        """A check that counts: alarms whose breach is gone come nearer to their end."""
        for event, (count, since) in run.unheard.items():
            self._note_unheard(event, count, since, run.started_at)
        await self._check(run, counts=True)

    async def tick(self, *, counts: bool = False) -> None:
        """A check between runs: it only raises alarms, unless there are no runs that count."""
        await self._check(None, counts=counts)

    def _note_unheard(self, event: str, count: int, since: int, at: int) -> None:
        silence = self._seen.silences.setdefault(event, _Silence(since=since))
        silence.missing += count
        silence.last_at = at

    async def _check(self, run: Run | None, *, counts: bool) -> None:
        now = self._clock.now_ms()
        found, stored = await self._books.read(lambda conn: (self._of_ledger(conn, now), writes.active(conn)))
        own = [*self._of_intake(now), *self._late(run, now, counts=counts), *self._of_run(run, now)]
        breaches = [*own, *found]
        try:
            changes = await self._books.write(
                partial(writes.update_alarms, unwritten=self._unwritten, breaches=breaches, counts=counts)
            )
            self._unwritten = ()
        except UnavailableError:  # a full disk must not keep anybody from being told of it
            changes = alarms.check(writes.together(stored, self._unwritten), breaches, counts=False)
            self._unwritten = (*changes.raised, *changes.kept)
        for alarm in changes.raised:
            breach = alarm.breach
            log.warning("alarm", code=breach.code, campaign_id=breach.campaign_id, detail=breach.detail)
        for alarm in changes.over:
            log.info("alarm_over", code=alarm.breach.code, campaign_id=alarm.breach.campaign_id)
        self._on_change([*changes.raised, *changes.kept])

    def _of_intake(self, now: int) -> list[Breach]:
        intake = self._intake
        if intake is None:
            return []
        found = self._silent(intake, now)
        rejected = intake.rejected_since()
        if rejected is not None and rejected[0] >= alarms.REJECTED_MIN:
            count, since = rejected
            detail = f"{count} deliveries matched no secret and none did; check 'webhook.secrets'."
            found.append(Breach("wrong_secret", detail, since))
        refused = intake.refused()
        if refused > self._seen.refused:
            detail = f"{refused} deliveries that may have been signed were refused; the metrics say why."
            found.append(Breach("refused", detail, now))
        self._seen.refused = refused
        return found

    def _late(self, run: Run | None, now: int, *, counts: bool) -> list[Breach]:
        """Events after the late horizon, unless it is our clock that is ahead: an answer of Leadterra's tells."""
        off_ms = 0 if run is None else run.clock_off_ms
        if self._intake is None or not counts or off_ms is None:
            return []
        late, before = self._intake.late(), self._seen.late
        self._seen.late = late
        if late == before or off_ms > SKEW_MAX_MS:
            return []
        detail = f"{late} events came later than any retry should; what was called settled was not."
        return [Breach("late_deliveries", detail, now)]

    def _silent(self, intake: Intake, now: int) -> list[Breach]:
        missing, since = {}, {}
        for event, silence in list(self._seen.silences.items()):
            arrived = intake.arrived_at(event)
            if arrived is not None and arrived >= silence.since:
                del self._seen.silences[event]
            elif now - silence.last_at >= _ARRIVAL_MS:
                missing[event] = silence.missing
                since[event] = arrived if arrived is not None else self._started_at
        return alarms.dead_subscriptions(missing, since)

    def _of_run(self, run: Run | None, now: int) -> list[Breach]:
        if run is None or run.status != "failed" or not run.errors:
            return []
        detail = f"No campaign could be asked: {run.errors[0]['detail']}"
        return [Breach("leadterra_unanswered", detail, now)]

    def _of_ledger(self, conn: sqlite3.Connection, now: int) -> list[Breach]:
        around = cases.circumstances(conn, self._pins, now, self._clock.speed)
        found = alarms.losses(_open_gaps(conn))
        # A clock that was set forward makes the last commit look long ago.
        intake = self._intake
        refusing = intake is not None and (not intake.is_accepting() or self._rejecting_since() is not None)
        found += alarms.outages(self._closed(around.closed, now), now, running=refusing)
        unattributed = rows.unattributed_bounces(conn, now - LATE_HORIZON_MS)
        if unattributed:
            detail = f"{unattributed} bounced messages belong to no campaign that is known; they count in none."
            found.append(Breach("bounced_unattributed", detail, now))
        size = sum(row["size_bytes"] for row in reads.quarantine_counts(conn))
        limit = self._quarantine_bytes_max
        if limit is not None and size > limit:
            detail = f"Quarantine holds {size} bytes, over 'retention.quarantine_bytes' ({limit}); look through it."
            found.append(Breach("quarantine_bytes", detail, now))
        return found

    def _closed(self, closed: Sequence[Stretch], now: int) -> Sequence[Stretch]:
        """When nothing was accepted; refusing goes on until something is."""
        since = self._rejecting_since()
        return closed if since is None else merged([*closed, (since, now)])

    def _rejecting_since(self) -> int | None:
        """Since when every delivery has matched no secret, once there are enough of them."""
        rejected = None if self._intake is None else self._intake.rejected_since()
        return None if rejected is None or rejected[0] < alarms.REJECTED_MIN else rejected[1]


def _open_gaps(conn: sqlite3.Connection) -> list[OpenGap]:
    return [
        OpenGap(
            row["campaign_id"],
            row["figure"],
            row["from_at"],
            row["to_at"],
            row["at_least"],
            row["state"],
            row["now"],
        )
        for row in rows.alarming_gaps(conn)
    ]


def alarm_counts(held: Sequence[Alarm]) -> dict[str, int]:
    """How many alarms there are of each code."""
    return {code: sum(alarm.breach.code == code for alarm in held) for code in alarms.CODES}
