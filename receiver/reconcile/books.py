"""What runs are made of: where they read and write, what they are told, and how far they are."""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from receiver.leadterra.payloads import Parser
from receiver.reconcile.cases import Pins
from receiver.storage.deliveries import Delivery

T = TypeVar("T")


class Books(Protocol):
    """Where runs read and write: the running service, or a command that holds the database alone."""

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """The result of `work` on a reading connection, all of it as of one moment."""

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """The result of `work` in a transaction. Raises UnavailableError when nothing can be stored."""

    async def take_in(self, deliveries: Sequence[Delivery], now_ms: int) -> None:
        """Take fetched events into the ledger."""

    @property
    def parser(self) -> Parser:
        """Reads bodies as the ledger does."""


@dataclass(slots=True)
class Run:
    """The present or a finished run; times in epoch milliseconds. `done` of `campaigns` have been asked.

    `unheard` is, by type of event, what counters told of in this run and no webhook did while we accepted: how many,
    and since when. `clock_off_ms` is how far our clock is ahead of Leadterra's, None before an answer.
    """

    id: int
    trigger: str
    started_at: int
    status: str = "running"
    ended_at: int | None = None
    campaigns: int = 0
    done: int = 0
    failed: int = 0
    differing: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)
    unheard: dict[str, tuple[int, int]] = field(default_factory=dict)
    clock_off_ms: int | None = None

    def note_unheard(self, event: str, count: int, since: int) -> None:
        """So many more since a time."""
        held, first = self.unheard.get(event, (0, since))
        self.unheard[event] = (held + count, min(first, since))


@dataclass(frozen=True, slots=True)
class Options:
    """What the settings say: the interval in simulated seconds (0: on demand only), campaigns to ask besides."""

    interval_s: float = 300.0
    campaign_ids: tuple[str, ...] = ()
    pins: Pins = field(default_factory=Pins)
    concurrency: int = 8
