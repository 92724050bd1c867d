"""Rows of reconciliation: snapshots, losses, gaps, runs, alarms. Functions run inside the caller's transaction.

Times are epoch milliseconds; counters are JSON as `orjson` writes it.
"""

import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import orjson

from receiver.events import Message
from receiver.figures import MINUTE_MS, REPLIED, REPLIED_HUMAN, Booking, first_replies, message_bookings
from receiver.storage.sqlite.queries import queries, select_by_keys
from receiver.storage.sqlite.rollups import counts

Row = Mapping[str, Any]

# More events of one campaign than this within a minute before its first snapshot are not looked at one by one.
_SUB_MINUTE_EVENTS = 5000


def _all(conn: sqlite3.Connection, name: str, /, **values: object) -> list[Any]:
    return _named(conn, name, values).fetchall()


def _one(conn: sqlite3.Connection, name: str, /, **values: object) -> Row | None:
    row: Row | None = _named(conn, name, values).fetchone()
    return row


def _named(conn: sqlite3.Connection, name: str, values: Mapping[str, object]) -> sqlite3.Cursor:
    """Rows whose columns go by name, whatever the connection's own rows are."""
    cursor = conn.cursor()
    cursor.row_factory = sqlite3.Row
    return cursor.execute(queries("reconciliation.sql")[name], values)


def _run(conn: sqlite3.Connection, name: str, /, **values: object) -> None:
    conn.execute(queries("reconciliation.sql")[name], values)


# Campaigns.


def campaign_number(conn: sqlite3.Connection, campaign_id: str) -> int | None:
    """The number of a campaign that is known."""
    row = conn.execute(queries("ingest.sql")["load_campaign"], (campaign_id,)).fetchone()
    return None if row is None else int(row[0])


def add_campaign(conn: sqlite3.Connection, campaign_id: str) -> int:
    """The campaign's number; one that no event has named gets one."""
    _run(conn, "insert_campaign", campaign_id=campaign_id)
    number = campaign_number(conn, campaign_id)
    assert number is not None  # noqa: S101 # it was just written
    return number


def add_by_hand(conn: sqlite3.Connection, campaign: int, name: str | None, now_ms: int) -> None:
    """Ask for this campaign too, whether or not it has events."""
    _run(conn, "add_poll", campaign=campaign, now=now_ms)
    if name is not None:
        _run(conn, "set_name", campaign=campaign, name=name)


def add_campaign_by_hand(conn: sqlite3.Connection, campaign_id: str, name: str | None, now_ms: int) -> None:
    """Know a campaign and ask for it too."""
    add_by_hand(conn, add_campaign(conn, campaign_id), name, now_ms)


def known_campaigns(conn: sqlite3.Connection) -> list[Row]:
    """Every campaign, with what decides when it is asked."""
    return _all(conn, "known")


def last_received_at(conn: sqlite3.Connection) -> int | None:
    """When a delivery was taken in last."""
    row = _one(conn, "last_received")
    return None if row is None else int(row["received_at"])


def never_asked(conn: sqlite3.Connection) -> list[str]:
    """Ids of campaigns that have an event and were never asked."""
    return [row["campaign_id"] for row in _all(conn, "never_asked")]


def note_attempt(
    conn: sqlite3.Connection,
    campaign: int,
    now_ms: int,
    *,
    answered: bool = False,
    moved: bool = False,
    gone_at: int | None = None,
    failure: str | None = None,
) -> None:
    """What became of asking a campaign. One that is gone stays so until it answers again."""
    _run(
        conn,
        "note_attempt",
        campaign=campaign,
        now=now_ms,
        answered_at=now_ms if answered else None,
        moved_at=now_ms if moved else None,
        gone_at=gone_at,
        failure=failure,
    )


# The ledger over time.

Counted = tuple[int, ...]


def totals(conn: sqlite3.Connection, campaign: int) -> Counted:
    """sent, bounced, bounced_soft, replied, replied_human of a campaign."""
    row = conn.execute(queries("reconciliation.sql")["totals"], {"campaign": campaign}).fetchone()
    return (0, 0, 0, 0, 0) if row is None else tuple(row)


def minutes(conn: sqlite3.Connection, campaign: int, since: int) -> list[tuple[int, Counted]]:
    """A campaign's minutes from one on, each with its counts."""
    return _buckets(_all(conn, "minutes", campaign=campaign, since=since))


def quarters(conn: sqlite3.Connection, campaign: int, since: int) -> list[tuple[int, Counted]]:
    """The same by quarter of an hour."""
    return _buckets(_all(conn, "quarters", campaign=campaign, since=since))


def _buckets(found: Iterable[Any]) -> list[tuple[int, Counted]]:
    return [(row[0], tuple(row)[1:]) for row in found]


def minutes_since(conn: sqlite3.Connection) -> int:
    """The first minute that is kept."""
    row = conn.execute(queries("meta.sql")["load_fact"], {"name": "minutes_since"}).fetchone()
    return 0 if row is None else int(row[0])


def later_in_minute(conn: sqlite3.Connection, campaign: int, at: int) -> Counted:
    """What the ledger holds after `at` and within its minute: looked up in the campaign's newest events."""
    values = {"campaign": campaign, "limit": _SUB_MINUTE_EVENTS}
    sql = queries("reconciliation.sql")
    bookings = [
        booking
        for sent_at, soft_at, hard_at in conn.execute(sql["sub_minute_messages"], values)
        for booking in message_bookings(Message(sent_at=sent_at, soft_at=soft_at, hard_at=hard_at))
    ]
    for (lead,) in conn.execute(sql["sub_minute_leads"], values).fetchall():
        replies = conn.execute(queries("ingest.sql")["replies_of_lead"], (campaign, lead)).fetchall()
        first, first_human = first_replies([tuple(reply) for reply in replies])
        bookings += [
            Booking(reply.at, row)
            for reply, row in ((first, REPLIED), (first_human, REPLIED_HUMAN))
            if reply is not None
        ]
    end = (at // MINUTE_MS + 1) * MINUTE_MS
    inside = [counts(booking.row) for booking in bookings if at < booking.at < end]
    return tuple(map(sum, zip(*inside, strict=True))) if inside else (0, 0, 0, 0, 0)


# Snapshots.


def baseline(conn: sqlite3.Connection, campaign: int) -> Row | None:
    """A campaign's first snapshot."""
    return _one(conn, "baseline", campaign=campaign)


def baseline_ledgers(conn: sqlite3.Connection, campaign: int) -> list[Counted]:
    """The ledger as of it, known now: at the earliest and, where that is another moment, at the latest."""
    return [tuple(row) for row in _all(conn, "baseline_ledgers", campaign=campaign)]


def baseline_times(conn: sqlite3.Connection, campaigns: Collection[int] | None = None) -> dict[int, list[int]]:
    """The moments, in order, as of which the ledger of these campaigns, or of all, is kept."""
    times: dict[int, list[int]] = {}
    if campaigns is None:
        found: Iterable[Any] = conn.execute(queries("reconciliation.sql")["baseline_times"])
    else:
        found = select_by_keys(conn, "baseline_times_of", campaigns, "cases.sql")
    for campaign, at in found:
        times.setdefault(campaign, []).append(at)
    return times


def put_baseline(
    conn: sqlite3.Connection, campaign: int, at: int, counters: bytes, ledgers: Mapping[int, Sequence[int]]
) -> None:
    """A campaign's first snapshot, and the ledger as of the moments that it can have been taken at."""
    names = ("sent", "bounced", "bounced_soft", "replied", "replied_human")
    _run(conn, "insert_baseline", campaign=campaign, at=at, counters=counters.decode())
    for moment, ledger in ledgers.items():
        figures = dict(zip(names, ledger, strict=True))
        _run(conn, "insert_baseline_ledger", campaign=campaign, at=moment, **figures)


def forget_baseline(conn: sqlite3.Connection, campaign: int) -> None:
    """Forget a campaign's first snapshot and all that was built on it: the next one is the first."""
    for name in ("forget_baseline", "forget_baseline_ledgers", "forget_losses", "forget_all_snapshots"):
        _run(conn, name, campaign=campaign)


def snapshots(conn: sqlite3.Connection, campaign: int) -> list[Row]:
    """A campaign's kept snapshots, in order."""
    return _all(conn, "snapshots", campaign=campaign)


def fold_snapshots(conn: sqlite3.Connection, campaign: int, upto: int) -> None:
    """Snapshots that ended by `upto` are folded: they go, but for the last."""
    _run(conn, "forget_snapshots", campaign=campaign, upto=upto)


def losses(conn: sqlite3.Connection, campaign: int) -> list[Row]:
    """What folded snapshots proved, by figure."""
    return _all(conn, "losses", campaign=campaign)


def put_losses(
    conn: sqlite3.Connection,
    campaign: int,
    figure: str,
    upto: int,
    quiet_at: int,
    gaps: object,
    quiet: tuple[bytes, bytes] | None,
) -> None:
    """What snapshots up to `upto` prove of one figure; `quiet` are counters and counts of the last quiet one."""
    _run(
        conn,
        "put_losses",
        campaign=campaign,
        figure=figure,
        upto=upto,
        quiet_at=quiet_at,
        gaps=orjson.dumps(gaps).decode(),
        quiet_counters=None if quiet is None else quiet[0].decode(),
        quiet_counts=None if quiet is None else quiet[1].decode(),
    )


def quarantined(conn: sqlite3.Connection, campaign_id: str, since: int) -> list[Row]:
    """Event and arrival of what waits in quarantine and names this campaign."""
    return _all(conn, "quarantined", campaign_id=campaign_id, since=since)


def quarantined_unattributed(conn: sqlite3.Connection) -> int:
    """How much waits in quarantine and names no campaign."""
    return int(conn.execute(queries("reconciliation.sql")["quarantined_unattributed"]).fetchone()[0])


# What follows from them.


def open_gaps(conn: sqlite3.Connection, campaign: int) -> list[Row]:
    """Gaps that are not closed."""
    return _all(conn, "open_gaps", campaign=campaign)


def replace_open_gaps(conn: sqlite3.Connection, campaign: int, rows: Iterable[Mapping[str, object]]) -> None:
    """All gaps of a campaign that are open, or were until now."""
    _run(conn, "delete_open_gaps", campaign=campaign)
    conn.executemany(queries("reconciliation.sql")["put_gap"], [{"campaign": campaign, **row} for row in rows])


def forget_gaps(conn: sqlite3.Connection, before: int) -> None:
    """Closed gaps that ended before a time go."""
    _run(conn, "forget_gaps", before=before)


def accepting(conn: sqlite3.Connection, since: int) -> list[Row]:
    """Stretches of acceptance that end after `since`."""
    return _all(conn, "accepting", since=since)


def refusing(conn: sqlite3.Connection, since: int) -> list[Row]:
    """Runs of refusals that end after `since`."""
    return _all(conn, "refusing", since=since)


def oldest_open_gap(conn: sqlite3.Connection) -> int | None:
    """When the oldest open gap begins."""
    found = conn.execute(queries("reconciliation.sql")["oldest_open_gap"]).fetchone()[0]
    return None if found is None else int(found)


def evidence(conn: sqlite3.Connection, figure: str, kept: int) -> list[tuple[int, list[str]]]:
    """The latest intervals that tell what a counter means: campaign and the candidates that fitted."""
    return [(row["campaign"], orjson.loads(row["fits"])) for row in _all(conn, "evidence", figure=figure, kept=kept)]


def add_evidence(
    conn: sqlite3.Connection, figure: str, campaign: int, from_at: int, to_at: int, fits: Sequence[str], kept: int
) -> None:
    """One more interval; of the older ones only `kept` stay."""
    text = orjson.dumps(fits).decode()
    _run(conn, "insert_evidence", figure=figure, campaign=campaign, from_at=from_at, to_at=to_at, fits=text)
    _run(conn, "forget_evidence", figure=figure, kept=kept)


def copies(conn: sqlite3.Connection) -> dict[str, int]:
    """How many retries came with the same, and how many with another timestamp."""
    facts = dict(conn.execute(queries("meta.sql")["load_facts"]).fetchall())
    return {name: int(facts.get(name, 0)) for name in ("copies_equal", "copies_restamped")}


# Runs and alarms.


def begin_run(conn: sqlite3.Connection, trigger: str, now_ms: int) -> int:
    """The new run's id; there is no other."""
    values = {"trigger": trigger, "now": now_ms}
    abort_runs(conn, now_ms)  # whose end could not be written
    _run(conn, "forget_runs")
    return int(conn.execute(queries("reconciliation.sql")["insert_run"], values).fetchone()[0])


def end_run(conn: sqlite3.Connection, run_id: int, now_ms: int, status: str, **values: object) -> None:
    """Close a run: `campaigns`, `failed`, `differing`, `errors` (JSON)."""
    _run(conn, "end_run", id=run_id, now=now_ms, status=status, **values)


def abort_runs(conn: sqlite3.Connection, now_ms: int) -> None:
    """Close runs that a killed process left open."""
    _run(conn, "abort_runs", now=now_ms)


def run(conn: sqlite3.Connection, run_id: int) -> Row | None:
    """One run."""
    return _one(conn, "run", id=run_id)


def runs(conn: sqlite3.Connection, before: int | None, limit: int) -> list[Row]:
    """A page of runs, newest first."""
    return _all(conn, "runs", before=before, limit=limit)


def alarms(conn: sqlite3.Connection) -> list[Row]:
    """Alarms that are not over."""
    return _all(conn, "alarms")


def alarming_gaps(conn: sqlite3.Connection) -> list[Row]:
    """Gaps that somebody should be told of, with the "now" of their campaign."""
    return _all(conn, "alarming_gaps")


def last_scheduled(conn: sqlite3.Connection) -> int | None:
    """When the schedule last began a run."""
    row = _one(conn, "last_scheduled")
    return None if row is None else int(row["started_at"])


def put_alarm(conn: sqlite3.Connection, alarm: Mapping[str, object]) -> None:
    """An alarm, new or still there."""
    _run(conn, "put_alarm", **alarm)


def delete_alarm(conn: sqlite3.Connection, code: str, subject: str) -> None:
    """An alarm that is over."""
    _run(conn, "delete_alarm", code=code, subject=subject)


def unattributed_bounces(conn: sqlite3.Connection, before: int) -> int:
    """Bounces before a time whose campaign nobody has told."""
    return int(conn.execute(queries("reconciliation.sql")["unattributed_bounces"], {"before": before}).fetchone()[0])
