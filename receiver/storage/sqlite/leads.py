"""Leads that replied: each counts once per campaign, at its first (human) reply and in that reply's step."""

import sqlite3
from collections.abc import Iterable

from receiver.figures import REPLIED, REPLIED_HUMAN, Booking, FirstReply, first_replies
from receiver.storage.sqlite.numbers import CampaignNumbers
from receiver.storage.sqlite.queries import queries
from receiver.storage.sqlite.rollups import Rollups
from receiver.storage.sqlite.rows import ReplyRow, step_in


class Leads:
    """The (campaign, lead) pairs that changed replies touch: unbook what they counted, later book it anew."""

    def __init__(self, conn: sqlite3.Connection, numbers: CampaignNumbers, replies: Iterable[ReplyRow]) -> None:
        self._conn = conn
        self._pairs = {
            (numbers.number(conn, reply.campaign), reply.lead)
            for reply in replies
            if reply.campaign is not None and reply.lead is not None
        }

    def unbook(self, rollups: Rollups) -> None:
        """Call before the replies are written."""
        for campaign, first, row in self._firsts():
            rollups.unbook_reply(campaign, step_in(first.step), [Booking(first.at, row)], first.sent_at)

    def book(self, rollups: Rollups) -> None:
        """Call after the replies are written."""
        for campaign, first, row in self._firsts():
            rollups.book_reply(campaign, step_in(first.step), [Booking(first.at, row)], first.sent_at)

    def _firsts(self) -> Iterable[tuple[int, FirstReply, tuple[int, ...]]]:
        for campaign, lead in self._pairs:
            rows = self._conn.execute(queries("ingest.sql")["replies_of_lead"], (campaign, lead)).fetchall()
            first, first_human = first_replies(rows)
            if first is not None:
                yield campaign, first, REPLIED
            if first_human is not None:
                yield campaign, first_human, REPLIED_HUMAN
