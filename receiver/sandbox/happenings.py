"""What happens in the workspace and is posted to webhooks."""

from dataclasses import dataclass
from enum import StrEnum


class Event(StrEnum):
    """The four events that Leadterra posts."""

    STARTED = "campaign.started"
    SENT = "message.sent"
    BOUNCED = "message.bounced"
    REPLY = "reply.received"


EVENTS = tuple(event.value for event in Event)
# These two say that nobody wrote back by hand.
_AUTOMATIC = ("out_of_office", "bounce")


@dataclass(frozen=True, slots=True)
class Happening:
    """One event, before any envelope. Fields that its kind does not have are empty; `step` counts from 0.

    `key` is different for every event and holds no time: what chance about it depends on.
    """

    event: Event
    key: str
    at_ms: int
    campaign_id: str
    campaign_name: str
    email: str = ""
    message_id: str = ""
    step: int = 0
    sender_id: str = ""
    bounce_type: str = ""
    bounce_reason: str = ""
    reply_id: str = ""
    classification: str = ""
    snippet: str = ""

    @property
    def is_human(self) -> bool:
        """Whether a reply was written by a person."""
        return self.classification not in _AUTOMATIC
