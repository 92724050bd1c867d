"""What an operator must be told: breaches, and the alarms that they raise once and end slowly. No I/O.

All times are epoch milliseconds.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from receiver.reconcile.stretches import FROM_FIRST_FAILURE, FROM_LAST_TRY, Stretch

# An alarm is over after so many checks in a row without its breach.
CLEAN_RUNS = 3
# After so long everybody knows of a loss; it stays in the figures and the gaps.
TOLD_MS = 7 * 86_400_000
# So many events must be missing before a subscription is called dead.
DEAD_EVENTS_MIN = 3
# A rejected delivery or two may be a stranger's.
REJECTED_MIN = 3
# Less than this without acceptance delays nothing worth telling.
_OUTAGE_MIN_MS = 60_000
_LOST_FROM_MS = FROM_FIRST_FAILURE[-1]
_LOST_LATEST_MS = FROM_LAST_TRY[-1]

CODES = (
    "overdue",
    "missing",
    "not_accepting",
    "still_expected",
    "dead_subscription",
    "wrong_secret",
    "refused",
    "late_deliveries",
    "bounced_unattributed",
    "quarantine_bytes",
    "leadterra_unanswered",
)


@dataclass(frozen=True, slots=True)
class Breach:
    """Something that is not as it should be. `subject` tells breaches of one code apart."""

    code: str
    detail: str
    since: int
    subject: str = ""
    campaign_id: str | None = None
    deadline: int | None = None


@dataclass(frozen=True, slots=True)
class Alarm:
    """A breach that was told, and for how many checks it has not been seen."""

    breach: Breach
    clean_runs: int = 0

    @property
    def key(self) -> tuple[str, str]:
        return self.breach.code, self.breach.subject


@dataclass(frozen=True, slots=True)
class Changes:
    """What a check changed: alarms to tell of, alarms to keep (told already), alarms that are over."""

    raised: Sequence[Alarm]
    kept: Sequence[Alarm]
    over: Sequence[Alarm]


def check(active: Iterable[Alarm], breaches: Iterable[Breach], *, counts: bool) -> Changes:
    """The alarms after a check. Only one that `counts`, such as a run's, brings an alarm nearer its end."""
    held = {alarm.key: alarm for alarm in active}
    seen = {(breach.code, breach.subject): breach for breach in breaches}
    raised = [Alarm(breach) for key, breach in seen.items() if key not in held]
    kept, over = [], []
    for key, alarm in held.items():
        breach = seen.get(key)
        if breach is not None:
            since = min(alarm.breach.since, breach.since)
            shown = Breach(breach.code, breach.detail, since, breach.subject, breach.campaign_id, breach.deadline)
            kept.append(Alarm(shown))
        elif alarm.clean_runs + counts >= CLEAN_RUNS:
            over.append(alarm)
        else:
            kept.append(Alarm(alarm.breach, alarm.clean_runs + counts))
    return Changes(raised, kept, over)


@dataclass(frozen=True, slots=True)
class OpenGap:
    """A gap as it is stored, with the "now" of its campaign."""

    campaign_id: str
    figure: str
    from_at: int
    to_at: int
    at_least: int
    state: str
    now: int


def losses(gaps: Iterable[OpenGap]) -> list[Breach]:
    """Events that should have come and did not, by campaign: overdue, or missing."""
    found: dict[tuple[str, str], list[OpenGap]] = {}
    for gap in gaps:
        if gap.state in ("overdue", "missing") and gap.now - gap.to_at < TOLD_MS:
            found.setdefault((gap.state, gap.campaign_id), []).append(gap)
    return [_loss(state, campaign_id, each) for (state, campaign_id), each in found.items()]


def _loss(state: str, campaign_id: str, gaps: Sequence[OpenGap]) -> Breach:
    begin, end = min(gap.from_at for gap in gaps), max(gap.to_at for gap in gaps)
    counts: dict[str, int] = {}
    for gap in gaps:
        counts[gap.figure] = counts.get(gap.figure, 0) + gap.at_least
    what = ", ".join(f"{count} {figure}" for figure, count in counts.items())
    hope = "a retry may still bring them" if state == "overdue" else "no retry can bring them any more"
    detail = f"At least {what} missing between {clock_time(begin)} and {clock_time(end)}; {hope}."
    return Breach(state, detail, end, campaign_id, campaign_id)


def outages(closed: Sequence[Stretch], now: int, *, running: bool) -> list[Breach]:
    """A stretch in which we run and do not accept, with its countdown; and what the last one leaves to expect."""
    found = []
    for start, end in closed[-1:]:
        if end >= now and running and now - start >= _OUTAGE_MIN_MS:
            lost_from, latest = start + _LOST_FROM_MS, start + _LOST_LATEST_MS
            # All within half a day of the date that is named first.
            begin, first, last = (clock_time(moment)[-5:] for moment in (start, lost_from, latest))
            detail = (
                f"Nothing is accepted since {clock_time(start)}: "
                f"events from {begin} are lost from {first} on, at the latest {last}."
            )
            found.append(Breach("not_accepting", detail, start, deadline=lost_from))
    for start, end in closed:
        until = end + _longest_wait(end - start)
        if end < now < until and end - start >= _OUTAGE_MIN_MS:
            detail = (
                f"Nothing was accepted between {clock_time(start)} and {clock_time(end)}; "
                f"what was refused may still come until {clock_time(until)}."
            )
            if end - start > _LOST_FROM_MS:
                detail += f" Events before {clock_time(end - _LOST_FROM_MS)} may be lost."
            found.append(Breach("still_expected", detail, start, str(start), deadline=until))
    return found


def _longest_wait(outage_ms: int) -> int:
    """How long after an outage its events still come: the longest pause between tries that it can have reached."""
    return max(
        later - earlier
        for schedule in (FROM_FIRST_FAILURE, FROM_LAST_TRY)
        for earlier, later in itertools.pairwise(schedule)
        if earlier < outage_ms
    )


def dead_subscriptions(missing: Mapping[str, int], since: Mapping[str, int]) -> list[Breach]:
    """Events of which counters tell and no webhook came: counts and since when, by event type."""
    return [
        Breach(
            "dead_subscription",
            f"Leadterra counted {count} more and no '{event}' webhook came since {clock_time(since[event])}; "
            "check that the webhook is registered for it.",
            since[event],
            event,
        )
        for event, count in missing.items()
        if count >= DEAD_EVENTS_MIN
    ]


def clock_time(at: int) -> str:
    """A time for people, UTC, to the minute."""
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%d %H:%M")
