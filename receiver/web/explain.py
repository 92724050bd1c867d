"""How a number came to be: its definition, its value, the deliveries behind it, and what is not in it."""

import sqlite3
from typing import Any

from receiver.definitions import DEFINITIONS, denominator
from receiver.events import EVENT_NAMES
from receiver.figures import RATES, REPLY_RATES, rate
from receiver.reconcile.standings import Standing
from receiver.storage.sqlite import explain as behind
from receiver.storage.sqlite import reads
from receiver.storage.sqlite.connection import one_moment
from receiver.storage.sqlite.explain import SAMPLES, Asked
from receiver.storage.sqlite.series import UNSENT, Basis, SeriesQuery, series, with_replies_to_nothing
from receiver.storage.sqlite.store import Readers
from receiver.storage.sqlite.trust import installed_at
from receiver.web.events import event_json
from receiver.web.operation import Call
from receiver.web.params import ExplainParams
from receiver.web.ranges import Range, asked_range
from receiver.web.standing import Comparison, misses_older, reconciled
from receiver.web.times import rfc3339

Json = dict[str, Any]

# What Leadterra has counters for, and reconciliation looks after.
_COUNTERS = ("sent", "bounced", "replied")


class Explain:
    """Handler of `/v1/explain`."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    async def one(self, call: Call) -> Json:
        return await self._readers.run(_explained, call)


def _explained(conn: sqlite3.Connection, call: Call) -> Json:
    params: ExplainParams = call.params
    with one_moment(conn):
        asked = asked_range(conn, params, call.now_ms)
        standing = _standing(conn, call, asked)
        older = misses_older(standing) if asked.campaigns else behind.before_receiver(conn)
        figure = params.figure
        definition = DEFINITIONS[figure]
        parts = _rate(conn, figure, asked, older=older) if figure in RATES else None
        counted = parts["value"] if parts else _counted(conn, figure, asked, older=older)
        quarantined, conflicts = behind.not_counted(conn, _of(figure, asked))
        return {
            "query": {**asked.as_json(), "figure": figure},
            "definition": definition.counts,
            "booked": definition.booked,
            "denominator": denominator(figure),
            "source": list(dict.fromkeys(EVENT_NAMES[kind] for kind in definition.kinds)),
            "counted": counted,
            "rate": parts,
            **_deliveries(conn, figure, asked),
            "quarantined": quarantined,
            "conflicts": conflicts,
            **_told(standing, figure, asked, counted),
        }


def _standing(conn: sqlite3.Connection, call: Call, asked: Range) -> Standing | None:
    """How the one campaign stands with Leadterra, with the ledger as it is now."""
    if asked.campaign is None:
        return None
    return Comparison.of_call(call).of(conn, [asked.campaign]).get(asked.campaign)


def _of(figure: str, asked: Range) -> Asked:
    return Asked(figure, asked.span, asked.campaign, asked.campaign_id)


def _sums(conn: sqlite3.Connection, figures: tuple[str, ...], asked: Range, basis: Basis) -> dict[str, int]:
    wanted = SeriesQuery(asked.span, figures, asked.campaigns, basis=basis)
    rows = [row for row in series(conn, wanted) if row.bucket is not None or asked.is_all_time]
    return {name: sum(row.values[place] or 0 for row in rows) for place, name in enumerate(figures)}


def _counted(conn: sqlite3.Connection, figure: str, asked: Range, *, older: bool) -> int | None:
    """The figure in the range; None, not 0, for a time before the receiver was there."""
    if figure == "contacted" and older:
        return None
    value = _sums(conn, (figure,), asked, Basis.EVENT)[figure]
    unknown = asked.span[1] <= installed_at(conn) or (asked.is_all_time and _is_unseen(conn, asked))
    return None if value == 0 and unknown else value


def _is_unseen(conn: sqlite3.Connection, asked: Range) -> bool:
    """Whether no event has named the campaign: then its figures are not known, as everywhere."""
    held = None if asked.campaign_id is None else reads.campaign(conn, asked.campaign_id)
    return held is not None and held.first_event_at is None


def _rate(conn: sqlite3.Connection, figure: str, asked: Range, *, older: bool) -> Json:
    """The rate of the messages sent in the range; None where it is of no cohort or not all of it is known."""
    top, bottom = RATES[figure]
    counted = _sums(conn, (top, bottom, *UNSENT), asked, Basis.SEND)
    if figure in REPLY_RATES:
        scattered = not asked.is_all_time and bool(with_replies_to_nothing(conn, asked.campaigns))
        return rate(None, None) if older or scattered else rate(counted[top], counted[bottom])
    unsent = counted[f"{top}_unsent"] if older else 0
    all_unsent = counted["bounced_unsent"] if older else 0
    return rate(counted[top] - unsent, counted[bottom] - all_unsent)


def _deliveries(conn: sqlite3.Connection, figure: str, asked: Range) -> Json:
    found = behind.events_behind(conn, _of(figure, asked))
    first = found.seqs[:SAMPLES]
    last = found.seqs[len(first) :][-SAMPLES:]
    shown = {row["seq"]: event_json(row) for row in behind.sampled(conn, [*first, *last])}
    journal = {
        "since": rfc3339(behind.journal_since(conn)),
        "complete": found.complete,
        "events": len(found.seqs),
        "copies": found.copies,
        "fetched": found.fetched,
    }
    return {
        "journal": journal,
        "samples": {"first": [shown[seq] for seq in first], "last": [shown[seq] for seq in last]},
    }


def _told(standing: Standing | None, figure: str, asked: Range, counted: int | None) -> Json:
    """What Leadterra says itself, and what follows from both: it has counters of whole campaigns only."""
    if standing is None or figure not in _COUNTERS or not asked.is_all_time:
        return {"provider": None, "reconciled": None}
    return {
        "provider": {"value": standing.counters[figure], "fetched_at": rfc3339(standing.at)},
        "reconciled": reconciled(standing.figures[figure], counted),
    }
