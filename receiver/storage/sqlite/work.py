"""What the service asks of the side that writes: named functions, so that they can be asked of another process."""

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Concatenate, NamedTuple, ParamSpec, TypeVar

from receiver.errors import StorageError
from receiver.events import EVENT_NAMES, LATE_HORIZON_MS, Event
from receiver.storage.deliveries import Committed, Delivery, Outcome, Posted, Refusals, Stretch
from receiver.storage.faults import explained
from receiver.storage.sqlite.connection import open_for_writing
from receiver.storage.sqlite.ledger import Ledger
from receiver.storage.sqlite.migrate import Tell, migrate
from receiver.storage.sqlite.soundness import check_pages

P = ParamSpec("P")
T = TypeVar("T")

_TYPES = frozenset(EVENT_NAMES.values())


class Prepared(NamedTuple):
    """The ledger, the one writing connection, and the tables whose pages there was no time to look at."""

    ledger: Ledger
    conn: sqlite3.Connection
    unchecked: Sequence[str]


def prepare(path: Path, now_ms: int, tell: Tell) -> Prepared:
    """Opens, checks and migrates the database. Raises StorageError naming what is wrong."""
    conn = open_for_writing(path)
    try:
        unchecked = check_pages(conn, path)
        migrate(conn, str(path), now_ms, tell)
        return Prepared(Ledger(conn), conn, unchecked)
    except sqlite3.DatabaseError as error:
        conn.close()
        raise StorageError(explained(path, error, "used")) from error
    except BaseException:
        conn.close()
        raise


def commit(
    ledger: Ledger,
    conn: sqlite3.Connection,
    posted: Sequence[Posted | Delivery],
    now_ms: int,
    stretch: Stretch,
    refusals: Refusals | None,
) -> Committed:
    """Deliveries and all that follows from them, and the proof that a commit worked."""
    deliveries = _read(ledger, posted)
    return _committed(ledger, deliveries, ledger.commit(conn, deliveries, now_ms, stretch, refusals))


def take_in(ledger: Ledger, conn: sqlite3.Connection, deliveries: Sequence[Delivery], now_ms: int) -> Committed:
    """Events that no delivery brought."""
    return _committed(ledger, deliveries, ledger.take_in(conn, deliveries, now_ms))


def plainly(
    _: Ledger,
    conn: sqlite3.Connection,
    function: Callable[Concatenate[sqlite3.Connection, P], T],
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Work that needs the connection only and sees to its transaction itself."""
    return function(conn, *args, **kwargs)


def _read(ledger: Ledger, posted: Sequence[Posted | Delivery]) -> list[Delivery]:
    parse = ledger.parser.parse
    return [
        Delivery(each.body, each.received_at, parse(each.body, each.received_at), each.secret, each.peer)
        if isinstance(each, Posted)
        else each
        for each in posted
    ]


def _committed(ledger: Ledger, deliveries: Sequence[Delivery], outcomes: list[Outcome]) -> Committed:
    arrived: dict[str, int] = {}
    late = 0
    for delivery, outcome in zip(deliveries, outcomes, strict=True):
        event, at = delivery.parsed, delivery.received_at
        name = EVENT_NAMES[event.kind] if isinstance(event, Event) else event.event
        if name in _TYPES:  # in quarantine or not, it came
            arrived[name] = max(at, arrived.get(name, 0))
        if outcome is Outcome.STORED and isinstance(event, Event) and at - event.occurred_at > LATE_HORIZON_MS:
            late += 1
    return Committed(outcomes, arrived, late, ledger.campaigns_made)
