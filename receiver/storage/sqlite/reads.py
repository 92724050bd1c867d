"""The queries behind the answers: functions over a reading connection that return plain rows."""

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from receiver.events import AHEAD_MAX_MS, Kind, message_key
from receiver.leadterra.payloads import message_id_of
from receiver.storage.sqlite.queries import queries

Row = Mapping[str, Any]

# How long after its last event a campaign is still called active.
ACTIVE_MS = 86_400_000

_KINDS = {
    "campaign.started": (Kind.STARTED, Kind.STARTED),
    "message.sent": (Kind.SENT, Kind.SENT),
    "message.bounced": (Kind.SOFT_BOUNCE, Kind.HARD_BOUNCE),
    "reply.received": (Kind.REPLY, Kind.REPLY),
}


@dataclass(frozen=True, slots=True)
class CampaignFilter:
    """Which campaigns, in what order, after which one; times in epoch milliseconds."""

    sort: str
    descending: bool
    limit: int
    active_since: int
    status: str | None = None
    activity: str | None = None
    q: str | None = None
    min_sent: int | None = None
    active_from: int | None = None
    active_to: int | None = None
    after_place: float | None = None
    after_id: str | None = None


class CampaignRow(NamedTuple):
    """A campaign with its figures, in the order of the query's columns; times in epoch milliseconds.

    `sent_before` is None where Leadterra never answered for it; `place` is its sort value, for the cursor.
    """

    id: int
    campaign_id: str
    name: str | None
    first_event_at: int | None
    last_event_at: int | None
    started_at: int | None
    last_started_at: int | None
    status: str
    failure: str | None
    sent_before: int | None
    sent: int | None
    attempted: int | None
    accepted: int | None
    contacted: int | None
    bounced: int | None
    bounced_hard: int | None
    bounced_soft: int | None
    replies: int | None
    replied: int | None
    replied_human: int | None
    starts: int | None
    place: float | None

    @property
    def observed(self) -> dict[str, int | None]:
        """The figures by their names, in the order of answers."""
        return {
            "sent": self.sent,
            "attempted": self.attempted,
            "accepted": self.accepted,
            "contacted": self.contacted,
            "bounced": self.bounced,
            "bounced_hard": self.bounced_hard,
            "bounced_soft": self.bounced_soft,
            "replies": self.replies,
            "replied": self.replied,
            "replied_human": self.replied_human,
            "starts": self.starts,
        }

    @property
    def was_answered_for(self) -> bool:
        """Whether Leadterra ever gave its counters."""
        return self.sent_before is not None


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events, newest first, before which one; `campaign` by number, times in epoch milliseconds, half-open."""

    limit: int
    event: str | None = None
    campaign: int | None = None
    message_id: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None
    before: int | None = None


def campaign(conn: sqlite3.Connection, campaign_id: str) -> CampaignRow | None:
    return next(_campaign_rows(conn, _sql("campaign"), {"campaign_id": campaign_id}), None)


def campaigns(conn: sqlite3.Connection, wanted: CampaignFilter) -> list[CampaignRow]:
    """A page of campaigns."""
    values = {field: getattr(wanted, field) for field in CampaignFilter.__dataclass_fields__}
    if wanted.sort == "campaign_id":
        text = _sql("campaigns_by_id")
    else:
        text = queries("reads.sql").with_value("campaigns_by_value", wanted.sort)
    return list(_campaign_rows(conn, text, values))


def _campaign_rows(conn: sqlite3.Connection, text: str, values: Mapping[str, object]) -> Iterator[CampaignRow]:
    cursor = conn.cursor()
    cursor.row_factory = None  # a plain tuple is made in half the time, whatever the connection's own rows are
    return map(CampaignRow._make, cursor.execute(text, values).fetchall())


def steps(conn: sqlite3.Connection, campaign_number: int) -> list[Row]:
    return conn.execute(_sql("steps"), {"campaign": campaign_number}).fetchall()


def hard_without_send(conn: sqlite3.Connection, campaign_number: int) -> dict[int, int]:
    """A campaign's hard bounces whose send is not held, by step as it is stored."""
    found = conn.execute(_sql("hard_without_send"), {"campaign": campaign_number})
    return {step: count for step, count in found}


def events(conn: sqlite3.Connection, wanted: EventFilter) -> list[Row]:
    """A page of events, at their first deliveries; `message_id` stands for the body, which is not kept."""
    first_kind, last_kind = _KINDS[wanted.event] if wanted.event else (None, None)
    values: dict[str, int | bytes | None] = {
        "campaign": wanted.campaign,
        "before": wanted.before,
        "first_kind": first_kind,
        "last_kind": last_kind,
        "from": wanted.from_ms,
        "to": wanted.to_ms,
        # An event is at most a day ahead of its arrival: what arrived earlier cannot lie in the range.
        "received_from": 0 if wanted.from_ms is None else wanted.from_ms - AHEAD_MAX_MS,
        "limit": wanted.limit,
    }
    if wanted.message_id is not None:
        values["key"] = message_key(wanted.message_id)
        name = "events_of_message"
    else:
        name = "events" if wanted.campaign is None else "events_of_campaign"
    # Row by row: a page of large bodies would be gigabytes.
    return [without_body(row) for row in conn.execute(_sql(name), values)]


def without_body(row: sqlite3.Row) -> Row:
    """An event with its `message_id` in place of its body."""
    found = dict(row)
    found["message_id"] = message_id_of(found.pop("body"), Kind(row["kind"]))
    return found


def quarantine(conn: sqlite3.Connection, reason: str | None, before: int | None, limit: int) -> list[Row]:
    """A page of what waits in quarantine, newest first."""
    values = {"reason": reason, "before": before, "limit": limit}
    return conn.execute(queries("quarantine.sql")["page"], values).fetchall()


def quarantined(conn: sqlite3.Connection, row_id: int) -> Row | None:
    row: Row | None = conn.execute(queries("quarantine.sql")["row"], {"id": row_id}).fetchone()
    return row


def quarantine_counts(conn: sqlite3.Connection) -> list[Row]:
    return conn.execute(queries("quarantine.sql")["count_open"]).fetchall()


def quarantine_ids(conn: sqlite3.Connection, reason: str | None, after: int) -> list[int]:
    """Up to 500 unresolved ids after one, in order."""
    values = {"reason": reason, "after": after}
    return [row[0] for row in conn.execute(queries("quarantine.sql")["open_ids"], values)]


def ping(conn: sqlite3.Connection) -> None:
    """Fails when the schema cannot be read."""
    conn.execute(_sql("ping")).fetchone()


def _sql(name: str) -> str:
    return queries("reads.sql")[name]


def session_key(conn: sqlite3.Connection) -> bytes:
    """The database's own key, under which sessions are signed."""
    return bytes(conn.execute(queries("meta.sql")["load_fact"], {"name": "session_key"}).fetchone()[0])
