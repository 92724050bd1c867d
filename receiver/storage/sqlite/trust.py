"""What is stored about how far figures can be trusted, and which campaigns and steps there are to show."""

import json
import sqlite3
from collections.abc import Collection, Sequence
from typing import NamedTuple

from receiver.storage.sqlite.queries import queries

Numbers = Collection[int] | None


class OpenGap(NamedTuple):
    """At least so many events of a figure are missing; times in epoch milliseconds."""

    campaign: int
    figure: str
    from_at: int
    to_at: int
    at_least: int
    state: str


def open_gaps(conn: sqlite3.Connection, campaigns: Numbers) -> list[OpenGap]:
    """Gaps that are not closed, as the last run left them."""
    return [OpenGap(*row) for row in conn.execute(_sql("open_gaps"), _listed(campaigns))]


def first_snapshots(conn: sqlite3.Connection, campaigns: Numbers) -> dict[int, int]:
    """When each campaign's counters were first asked."""
    return dict(tuple(row) for row in conn.execute(_sql("first_snapshots"), _listed(campaigns)))


def with_earlier_sends(conn: sqlite3.Connection, campaigns: Numbers) -> set[int]:
    """Campaigns that sent before we were there to hear of it: their lowest step is not all here."""
    return {row[0] for row in conn.execute(_sql("with_earlier_sends"), _listed(campaigns))}


def known_campaigns(conn: sqlite3.Connection, campaign_ids: Sequence[str]) -> dict[str, int]:
    """The numbers of those ids that are known."""
    values = {"campaign_ids": json.dumps(list(campaign_ids))}
    return {row[1]: row[0] for row in conn.execute(_sql("known_campaigns"), values)}


def campaigns_with_life(conn: sqlite3.Connection, from_ms: int, to_ms: int) -> dict[int, str]:
    """Campaigns whose events reach into a half-open range, in the order of their ids."""
    rows = conn.execute(_sql("campaigns_with_life"), {"from": from_ms, "to": to_ms})
    return dict(tuple(row) for row in rows)


def campaigns_with_unplaced(conn: sqlite3.Connection) -> dict[int, str]:
    """Campaigns with replies whose send is not held, which belong to no range."""
    return dict(tuple(row) for row in conn.execute(_sql("campaigns_with_unplaced")))


def steps_of(conn: sqlite3.Connection, campaigns: Numbers) -> list[int]:
    """The known steps in which anything counts, in order."""
    return [row[0] for row in conn.execute(_sql("steps_of"), _listed(campaigns))]


def installed_at(conn: sqlite3.Connection) -> int:
    """When this database was made, in epoch milliseconds."""
    row = conn.execute(queries("meta.sql")["load_fact"], {"name": "installed_at"}).fetchone()
    return int(row[0])


def _sql(name: str) -> str:
    return queries("trust.sql")[name]


def _listed(campaigns: Numbers) -> dict[str, str | None]:
    return {"campaigns": None if campaigns is None else json.dumps(list(campaigns))}
