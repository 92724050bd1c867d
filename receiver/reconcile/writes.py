"""What runs and alarms write: functions with a name, so that another process can be asked to do them.

Each runs inside the caller's transaction. Times are epoch milliseconds.
"""

import sqlite3
from collections.abc import Iterable, Sequence

import orjson

from receiver.reconcile import alarms, cases
from receiver.reconcile.alarms import Alarm, Breach
from receiver.reconcile.books import Run
from receiver.reconcile.drift import Circumstances
from receiver.storage.sqlite import reconciliation as rows

_ERRORS_KEPT = 100
_GAPS_KEPT_MS = 400 * 86_400_000


def begin_anew(conn: sqlite3.Connection, campaign_ids: Iterable[str], now_ms: int) -> None:
    """Close runs that a killed process left open, and know the configured campaigns."""
    rows.abort_runs(conn, now_ms)
    for campaign_id in campaign_ids:
        rows.add_campaign_by_hand(conn, campaign_id, None, now_ms)


def end_run(conn: sqlite3.Connection, run: Run) -> None:
    """Record how a run ended."""
    rows.end_run(
        conn,
        run.id,
        run.ended_at or run.started_at,
        run.status,
        campaigns=run.campaigns,
        done=run.done,
        failed=run.failed,
        differing=run.differing,
        errors=orjson.dumps(run.errors[:_ERRORS_KEPT]).decode(),
    )
    rows.forget_gaps(conn, run.started_at - _GAPS_KEPT_MS)


def note_failures(
    conn: sqlite3.Connection, failures: Sequence[tuple[str, str]], now_ms: int, gone_at: int | None = None
) -> None:
    """Campaigns that were asked in vain, each with why; `gone_at` when Leadterra does not know them any more."""
    for campaign_id, failure in failures:
        rows.note_attempt(conn, rows.add_campaign(conn, campaign_id), now_ms, gone_at=gone_at, failure=failure)


def judge_replies(conn: sqlite3.Connection, campaign_id: str, around: Circumstances) -> int:
    """Evaluate a campaign anew; how many leads' replies are missing now."""
    evaluation = cases.judge(conn, rows.add_campaign(conn, campaign_id), campaign_id, around)
    return evaluation.losses["replied"].total


def active(conn: sqlite3.Connection) -> list[Alarm]:
    """The alarms that are not over."""
    return [
        Alarm(
            Breach(row["code"], row["detail"], row["since"], row["subject"], row["campaign_id"], row["deadline"]),
            row["clean_runs"],
        )
        for row in rows.alarms(conn)
    ]


def together(stored: Iterable[Alarm], unwritten: Iterable[Alarm]) -> list[Alarm]:
    """The alarms that were told; those that could not be written yet are the newer ones."""
    return list({alarm.key: alarm for alarm in (*stored, *unwritten)}.values())


def update_alarms(
    conn: sqlite3.Connection, unwritten: Sequence[Alarm], breaches: Sequence[Breach], *, counts: bool
) -> alarms.Changes:
    """Keep the alarms that breaches raise, and forget those that are over."""
    stored = active(conn)
    changes = alarms.check(together(stored, unwritten), breaches, counts=counts)
    for alarm in (*changes.raised, *changes.kept):
        if alarm not in stored:
            rows.put_alarm(conn, _row(alarm))
    for alarm in changes.over:
        rows.delete_alarm(conn, *alarm.key)
    return changes


def _row(alarm: Alarm) -> dict[str, object]:
    breach = alarm.breach
    return {
        "code": breach.code,
        "subject": breach.subject,
        "campaign_id": breach.campaign_id,
        "since": breach.since,
        "deadline": breach.deadline,
        "detail": breach.detail,
        "clean_runs": alarm.clean_runs,
    }
