"""What was registered with Leadterra, which has no call that lists it, and whether its deliveries have come."""

import sqlite3
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from receiver.storage.sqlite.queries import queries


@dataclass(frozen=True, slots=True)
class Registration:
    """A webhook that Leadterra took; `leadterra` is the API's base URL, `registered_at` in epoch milliseconds."""

    webhook_id: str
    leadterra: str
    url: str
    events: tuple[str, ...]
    registered_at: int


def add_registration(conn: sqlite3.Connection, registration: Registration) -> None:
    """Remember a registration; within the caller's transaction."""
    values = {
        "webhook_id": registration.webhook_id,
        "leadterra": registration.leadterra,
        "url": registration.url,
        "events": _joined(registration.events),
        "registered_at": registration.registered_at,
    }
    conn.execute(queries("webhooks.sql")["insert"], values)


def equal_registration(
    conn: sqlite3.Connection, leadterra: str, url: str, events: Iterable[str]
) -> Registration | None:
    """The newest one of this URL and these events, in any order."""
    values = {"leadterra": leadterra, "url": url, "events": _joined(events)}
    row = conn.execute(queries("webhooks.sql")["equal"], values).fetchone()
    return None if row is None else Registration(row[0], leadterra, url, tuple(events), row[1])


def is_any_registered(conn: sqlite3.Connection, leadterra: str) -> bool:
    """Whether a webhook was registered with this API from here."""
    return conn.execute(queries("webhooks.sql")["any_of"], {"leadterra": leadterra}).fetchone() is not None


def is_any_seen(conn: sqlite3.Connection, secret_ids: Collection[int]) -> bool:
    """Whether any of these secrets has signed one of the newest deliveries."""
    return any(secret in secret_ids for (secret,) in conn.execute(queries("webhooks.sql")["newest_signed"]))


def _joined(events: Iterable[str]) -> str:
    return ",".join(sorted(set(events)))
