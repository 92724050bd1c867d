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

    `campaign_number` is the campaign's place in the order of creation, `kind` tells several events of one message,
    or several starts of one campaign, apart. `is_first`: of a reply, that its lead's campaign had none before.
    All of them are kept, so what can be worked out is.
    """

    event: Event
    at_ms: int
    campaign_number: int
    campaign_id: str
    campaign_name: str
    kind: str = ""
    email: str = ""
    message_id: str = ""
    step: int = 0
    sender_id: str = ""
    bounce_type: str = ""
    bounce_reason: str = ""
    reply_id: str = ""
    classification: str = ""
    snippet: str = ""
    is_first: bool = False

    @property
    def key(self) -> str:
        """Different for every event, and without any time: what chance about it depends on."""
        if self.event is Event.STARTED:
            return f"start:{self.campaign_number}:{self.kind}"
        return f"{self.event.value}:{self.campaign_number}:{self.email}:{self.step}:{self.kind}"

    @property
    def is_human(self) -> bool:
        """Whether a reply was written by a person."""
        return self.classification not in _AUTOMATIC
