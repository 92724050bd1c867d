"""How a number came to be: the events behind a figure, as far as the journal keeps them.

Every function reads with several statements: call it inside one transaction of a reading connection. The work is
bounded: of a long journal only the first and the last part of the asked time is looked at.
"""

import json
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from receiver.definitions import DEFINITIONS
from receiver.events import AHEAD_MAX_MS, EVENT_NAMES, LATE_HORIZON_MS
from receiver.storage.sqlite import reads
from receiver.storage.sqlite.queries import queries

LOOKED_AT_MAX = 20_000
SAMPLES = 3

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """Which figure, of which campaign (None for all), in which half-open span of epoch milliseconds."""

    figure: str
    span: tuple[int, int]
    campaign: int | None = None
    campaign_id: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """The events that were looked at; `complete` when those are all that the journal keeps. `seqs` are in order."""

    complete: bool
    copies: int
    fetched: int
    seqs: Sequence[int]


def events_behind(conn: sqlite3.Connection, asked: Asked) -> Found:
    """The events that move a figure."""
    whole = _window(conn, "window", asked, 0, LOOKED_AT_MAX + 1)
    if whole[0] <= LOOKED_AT_MAX:
        return _found(_events(conn, asked, [whole[1:]]), complete=True)
    # An event is at most a day ahead of its arrival, and as a rule no later than its last retry.
    begin = _seq_at(conn, asked.span[0] - AHEAD_MAX_MS)
    end = _seq_at(conn, asked.span[1] + LATE_HORIZON_MS)
    first = _window(conn, "window", asked, begin, LOOKED_AT_MAX // 2)
    last = _window(conn, "window_back", asked, end, LOOKED_AT_MAX // 2)
    return _found(_events(conn, asked, [first[1:], last[1:]]), complete=False)


def _found(rows: Mapping[int, Row], *, complete: bool) -> Found:
    copies = sum(row["copies"] - 1 for row in rows.values())
    return Found(complete, copies, sum(row["origin"] for row in rows.values()), sorted(rows))


def _window(
    conn: sqlite3.Connection, name: str, asked: Asked, seq: int, limit: int
) -> tuple[int, int | None, int | None]:
    """How many events there are from a row of the journal on, up to a limit, and the first and last of them."""
    of = "" if asked.campaign is None else "_of_campaign"
    values = {"campaign": asked.campaign, "seq": seq, "limit": limit}
    count, first, last = conn.execute(_sql(f"{name}{of}"), values).fetchone()
    return count, first, last


def _events(
    conn: sqlite3.Connection, asked: Asked, windows: Collection[tuple[int | None, int | None]]
) -> dict[int, Row]:
    values = {
        "campaign": asked.campaign,
        "kinds": json.dumps([int(kind) for kind in DEFINITIONS[asked.figure].kinds]),
        "from": asked.span[0],
        "to": asked.span[1],
        "step": _lowest_step(conn, asked),
        "human": asked.figure in ("replied_human", "human_reply_rate"),
        "by_webhook": asked.figure == "replies",
    }
    text = _sql("events" if asked.campaign is None else "events_of_campaign")
    found: dict[int, Row] = {}
    for first, last in windows:
        rows = conn.execute(text, {**values, "first_seq": first, "last_seq": last})
        found.update({seq: {"copies": copies, "origin": origin} for seq, copies, origin in rows})
    return found


def _lowest_step(conn: sqlite3.Connection, asked: Asked) -> int | None:
    """The step that `contacted` of a campaign counts; None when steps do not matter or differ."""
    if asked.figure != "contacted" or asked.campaign is None:
        return None
    values = {"campaigns": json.dumps([asked.campaign])}
    row = conn.execute(queries("series.sql")["lowest_steps"], values).fetchone()
    return None if row is None else row[1]


def _seq_at(conn: sqlite3.Connection, at_ms: int) -> int:
    """About the first row of the journal that arrived at a time or later: arrivals are in order but for a few."""
    first, last = conn.execute(_sql("ends")).fetchone()
    low, high = first or 0, (last or 0) + 1
    while low < high:
        middle = (low + high) // 2
        row = conn.execute(_sql("arrival"), {"seq": middle}).fetchone()
        if row is None or row[1] >= at_ms:
            high = middle
        else:
            low = row[0] + 1
    return low


def sampled(conn: sqlite3.Connection, seqs: Collection[int]) -> list[Row]:
    """The events at these rows of the journal, in order."""
    rows = conn.execute(_sql("sampled"), {"seqs": json.dumps(list(seqs))})
    return [reads.without_body(row) for row in rows]


def journal_since(conn: sqlite3.Connection) -> int | None:
    """When the oldest kept body arrived."""
    row = conn.execute(_sql("arrival"), {"seq": 0}).fetchone()
    return None if row is None else int(row[1])


def not_counted(conn: sqlite3.Connection, asked: Asked) -> tuple[int, int]:
    """Bodies in quarantine that name such an event, and conflicts between copies, which arrived in the span.

    Of one campaign, or of all: then those that name none too. At most `LOOKED_AT_MAX` rows are looked at.
    """
    names = {EVENT_NAMES[kind] for kind in DEFINITIONS[asked.figure].kinds}
    values = {
        "campaign_id": asked.campaign_id,
        "names": json.dumps(sorted(names)),
        "from": asked.span[0],
        "to": asked.span[1],
        "limit": LOOKED_AT_MAX,
    }
    text = _sql("not_counted" if asked.campaign_id is None else "not_counted_of_campaign")
    bodies, conflicts = conn.execute(text, values).fetchone()
    return bodies or 0, conflicts or 0


def before_receiver(conn: sqlite3.Connection) -> bool:
    """Whether any campaign sent before we were installed: then leads that were contacted are not all known."""
    return bool(conn.execute(_sql("before_receiver")).fetchone()[0])


def _sql(name: str) -> str:
    return queries("explain.sql")[name]
