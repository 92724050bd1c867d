"""Which events never reach an endpoint in a form that can be read, and why."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from receiver.sandbox.delivery import Webhook
from receiver.sandbox.happenings import Happening
from receiver.sandbox.times import iso

NOT_SUBSCRIBED = "not_subscribed"
NOT_REGISTERED = "not_registered"


@dataclass(frozen=True, slots=True)
class Withheld:
    """An event that does not arrive; `webhook_id` is None when no webhook was to bring it."""

    happening: Happening
    webhook_id: str | None
    reason: str
    at_ms: int

    def row(self) -> dict[str, Any]:
        happening = self.happening
        return {
            "webhookId": self.webhook_id,
            "event": happening.event.value,
            "campaignId": happening.campaign_id,
            "messageId": happening.message_id or None,
            "replyId": happening.reply_id or None,
            "bounceType": happening.bounce_type or None,
            "email": happening.email or None,
            "occurredAt": iso(happening.at_ms),
            "reason": self.reason,
            "withheldAt": iso(self.at_ms),
        }


def withheld(happened: Sequence[Happening], webhooks: Sequence[Webhook]) -> Iterator[Withheld]:
    """The events that none of these webhooks brought or may still bring, in the order in which they happened.

    The reason is that of the first webhook that was to bring it; without one, `not_registered` when none of them
    was there yet, else `not_subscribed`.
    """
    for number, happening in enumerate(happened):
        there = [webhook for webhook in webhooks if webhook.happened_before <= number]
        due = [webhook for webhook in there if happening.event.value in webhook.events]
        if not due:
            reason = NOT_SUBSCRIBED if there else NOT_REGISTERED
            yield Withheld(happening, None, reason, happening.at_ms)
            continue
        entries = [webhook.book.entry(happening) for webhook in due]
        if entries[0] is not None and None not in entries:
            yield Withheld(happening, due[0].id, *entries[0])
