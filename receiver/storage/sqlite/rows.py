"""The ledger's rows as they are loaded, joined and written back."""

import sqlite3
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from receiver.events import STEP_NONE, Event, Kind, Message, Origin, Reply, smaller
from receiver.storage.sqlite.numbers import CampaignNumbers


def step_in(step: int) -> int | None:
    return None if step == STEP_NONE else step


def step_out(step: int | None) -> int:
    return STEP_NONE if step is None else step


@dataclass(slots=True, eq=False)
class MessageRow(Message):
    """A message with its first arrival and the journal rows of its events."""

    first_received_at: int | None = None
    sent_seq: int | None = None
    soft_seq: int | None = None
    hard_seq: int | None = None

    def seq(self, kind: Kind) -> int | None:
        return {Kind.SENT: self.sent_seq, Kind.SOFT_BOUNCE: self.soft_seq}.get(kind, self.hard_seq)

    def set_seq(self, kind: Kind, seq: int) -> None:
        if kind is Kind.SENT:
            self.sent_seq = seq
        elif kind is Kind.SOFT_BOUNCE:
            self.soft_seq = seq
        else:
            self.hard_seq = seq

    def seqs(self) -> list[int]:
        return [seq for seq in (self.sent_seq, self.soft_seq, self.hard_seq) if seq is not None]

    def times(self) -> list[int]:
        return [at for at in (self.sent_at, self.soft_at, self.hard_at) if at is not None]

    def _earliest(self) -> int:
        """What the first arrival is stored as a difference from."""
        return min(self.times(), default=0)

    @classmethod
    def load(cls, conn: sqlite3.Connection, numbers: CampaignNumbers, row: tuple[Any, ...]) -> "MessageRow":
        (_, campaign, step, sent_at, soft_at, hard_at, received_after, sent_seq, domain) = row[:9]
        soft_seq, hard_seq, soft_reason, hard_reason = row[9:]
        message = cls(
            campaign=None if campaign is None else numbers.campaign_id(conn, campaign),
            step=step_in(step),
            sent_at=sent_at,
            soft_at=soft_at,
            soft_reason=soft_reason,
            hard_at=hard_at,
            hard_reason=hard_reason,
            domain=domain,
            sent_seq=sent_seq,
            soft_seq=soft_seq,
            hard_seq=hard_seq,
        )
        message.first_received_at = message._earliest() + received_after
        return message

    def dump(self, key: bytes, campaign: int | None, domain: int | None) -> tuple[Any, ...]:
        return (
            key,
            campaign,
            step_out(self.step),
            self.sent_at,
            self.soft_at,
            self.hard_at,
            None if self.first_received_at is None else self.first_received_at - self._earliest(),
            self.sent_seq,
            domain,
            self.soft_seq,
            self.hard_seq,
            self.soft_reason,
            self.hard_reason,
        )


message_state = attrgetter(*MessageRow.__dataclass_fields__)


@dataclass(slots=True, eq=False)
class ReplyRow(Reply):
    """A reply with where it is booked: the campaign, step and send of the message it answers, else its own."""

    campaign: str | None = None
    step: int | None = None
    message_sent_at: int | None = None
    first_received_at: int | None = None
    seq: int | None = None

    def attribute(self, message: Message | None) -> None:
        if message is not None and message.sent_at is not None:
            self.campaign, self.step, self.message_sent_at = message.campaign, message.step, message.sent_at
        else:
            self.campaign, self.step, self.message_sent_at = self.own_campaign, self.other_step, None

    def arrive(self, event: Event, received_at: int) -> None:
        self.join(event)
        self.first_received_at = smaller(self.first_received_at, received_at)

    @classmethod
    def load(cls, conn: sqlite3.Connection, numbers: CampaignNumbers, row: tuple[Any, ...]) -> "ReplyRow":
        (_, campaign, step, at, origin, received_at, seq, message, best_campaign, best_lead, best_class) = row[:11]
        other_campaign, other_step, other_lead, other_class, sent_at = row[11:]

        def text(number: int | None) -> str | None:
            return None if number is None else numbers.campaign_id(conn, number)

        return cls(
            origin=Origin(origin),
            at=at,
            best_campaign=text(best_campaign),
            best_lead=best_lead,
            best_class=best_class,
            other_campaign=text(other_campaign),
            other_step=other_step,
            other_lead=other_lead,
            other_class=other_class,
            message_key=message,
            campaign=text(campaign),
            step=step_in(step),
            message_sent_at=sent_at,
            first_received_at=received_at,
            seq=seq,
        )

    def dump(self, conn: sqlite3.Connection, numbers: CampaignNumbers, key: bytes) -> tuple[Any, ...]:
        def number(campaign: str | None) -> int | None:
            return None if campaign is None else numbers.number(conn, campaign)

        return (
            key,
            number(self.campaign),
            step_out(self.step),
            self.at,
            self.origin,
            self.first_received_at,
            self.seq,
            self.message_key,
            number(self.best_campaign),
            self.best_lead,
            self.best_class,
            number(self.other_campaign),
            self.other_step,
            self.other_lead,
            self.other_class,
            self.message_sent_at,
        )


reply_state = attrgetter(*ReplyRow.__dataclass_fields__)
