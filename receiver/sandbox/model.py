"""The things of a workspace: leads, campaigns with their enrollments, and accounts that send."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from receiver.sandbox.happenings import Happening
from receiver.sandbox.tokens import Step

DAY_MS = 86_400_000
MINUTE_MS = 60_000
# Figures older than this are not needed for lagging answers.
_HISTORY_MAX = 1440


class Status(StrEnum):
    """Where a campaign is in its life."""

    DRAFT = "draft"
    RUNNING = "running"
    PAUSED = "paused"


class Place(IntEnum):
    """Where a lead is in a campaign."""

    WAITING = 0  # for the start, or for its next step's day
    READY = 1  # for capacity, or for a paused campaign
    DONE = 2  # finished, or taken out


@dataclass(slots=True)
class Lead:
    """A recipient, once in the workspace; `fields` are what tokens can name, `email` among them."""

    email: str
    fields: dict[str, str]


@dataclass(slots=True)
class Enrollment:
    """A lead in a campaign; `step` is the next one it gets, counted from 0."""

    lead: Lead
    step: int = 0
    place: Place = Place.WAITING
    replied: bool = False


@dataclass(slots=True)
class Counters:
    """What `/stats` is made of; `bounced_soft` are messages whose soft bounce has not turned hard."""

    enrolled: int = 0
    sent: int = 0
    delivered: int = 0
    queued: int = 0
    bounced_soft: int = 0
    bounced_hard: int = 0
    opened: int = 0
    replied: int = 0

    def copy(self) -> "Counters":
        return Counters(
            self.enrolled,
            self.sent,
            self.delivered,
            self.queued,
            self.bounced_soft,
            self.bounced_hard,
            self.opened,
            self.replied,
        )


@dataclass(slots=True)
class Upload:
    """What should be mended in a list of leads: malformed addresses, and those that come twice."""

    malformed: set[str] = field(default_factory=set)
    duplicates: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Campaign:
    """One campaign with everything in it, the `number`th of the workspace.

    `waiting_turn` says whether the senders know that it has ready leads; `upload` is the latest, taken or not.
    """

    number: int
    id: str
    name: str
    steps: tuple[Step, ...]
    created_ms: int
    status: Status = Status.DRAFT
    starts: int = 0
    started_ms: int = 0
    paused_ms: int = 0
    enrollments: dict[str, Enrollment] = field(default_factory=dict)
    ready: deque[Enrollment] = field(default_factory=deque)
    waiting_turn: bool = False
    counters: Counters = field(default_factory=Counters)
    replies: list[Happening] = field(default_factory=list)
    upload: Upload = field(default_factory=Upload)
    history: deque[tuple[int, Counters]] = field(default_factory=lambda: deque(maxlen=_HISTORY_MAX))

    def remember(self, now_ms: int) -> None:
        """Keep the counters as they are before the first change of a minute, for answers that lag."""
        minute = now_ms // MINUTE_MS
        if not self.history or self.history[-1][0] < minute:
            self.history.append((minute, self.counters.copy()))

    def counters_at(self, at_ms: int) -> Counters:
        """The counters as of the beginning of that minute; the oldest that are kept, if it is before them."""
        for minute, counters in self.history:
            if minute >= at_ms // MINUTE_MS:
                return counters
        return self.counters

    def fields(self) -> Iterator[dict[str, str]]:
        return (enrollment.lead.fields for enrollment in self.enrollments.values())


@dataclass(slots=True)
class Account:
    """A mailbox that sends at most `daily_capacity` messages within any 24 hours."""

    id: str
    email: str
    name: str
    daily_capacity: int
    sent_total: int = 0
    free_at_ms: int = 0
    _window: deque[int] = field(default_factory=deque)

    def remaining(self, now_ms: int) -> int:
        while self._window and self._window[0] <= now_ms - DAY_MS:
            self._window.popleft()
        return self.daily_capacity - len(self._window)

    def take(self, now_ms: int) -> None:
        """Use one message of the capacity."""
        self._window.append(now_ms)
        self.sent_total += 1

    def next_capacity_ms(self) -> int:
        """When the oldest message of a full window leaves it."""
        return self._window[0] + DAY_MS
