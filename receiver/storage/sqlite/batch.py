"""One batch of deliveries: load the rows that it touches, join, and write everything that follows.

Runs inside the caller's transaction. Within a batch the order of deliveries does not matter to any
state; the first delivery of an event is the first in the batch.
"""

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from receiver.events import Event, Kind, Origin, Unread, smaller
from receiver.figures import STARTED, Booking, reply_bookings
from receiver.storage.deliveries import Delivery, Outcome
from receiver.storage.sqlite.copies import FIRST, Copies
from receiver.storage.sqlite.leads import Leads
from receiver.storage.sqlite.numbers import CampaignNumbers, DomainNumbers
from receiver.storage.sqlite.quarantine import Quarantine
from receiver.storage.sqlite.queries import queries, select_by_keys, write_rows
from receiver.storage.sqlite.rollups import Rollups
from receiver.storage.sqlite.rows import MessageRow, ReplyRow, message_state, reply_state
from receiver.storage.sqlite.spans import Spans

_MESSAGE_KINDS = (Kind.SENT, Kind.SOFT_BOUNCE, Kind.HARD_BOUNCE)


class Batch:
    """Takes deliveries into the ledger within one transaction; `apply` gives each one's outcome."""

    def __init__(
        self,
        conn: sqlite3.Connection,
        numbers: CampaignNumbers,
        domains: DomainNumbers,
        copies: Copies,
        now_ms: int,
        rollups: Rollups,
    ) -> None:
        self._conn = conn
        self._sql = queries("ingest.sql")
        self._numbers = numbers
        self._domains = domains
        self._copies = copies
        self._now_ms = now_ms
        self._quarantine = Quarantine(conn)
        self._rollups = rollups
        self._spans = Spans(conn)
        self._messages: dict[bytes, MessageRow] = {}
        self._messages_before: dict[bytes, tuple[Any, ...]] = {}
        self._replies: dict[bytes, ReplyRow] = {}
        self._replies_before: dict[bytes, tuple[Any, ...]] = {}
        self._reply_deliveries: dict[bytes, tuple[Delivery, Event]] = {}
        self._starts: dict[bytes, int | None] = {}
        self._new_starts: list[tuple[Event, int, int]] = []
        self._new: list[tuple[int, Delivery, Event, int]] = []
        self._names: dict[str, tuple[int, str]] = {}
        self._outranked: list[tuple[int]] = []

    def apply(self, deliveries: Sequence[Delivery]) -> list[Outcome]:
        """Every delivery's outcome, in their order."""
        self._load(deliveries)
        outcomes = [Outcome.STORED] * len(deliveries)
        for index, delivery in enumerate(deliveries):
            event = delivery.parsed
            if isinstance(event, Event) and not self._take_in(index, delivery, event):
                outcomes[index] = Outcome.DUPLICATE
        self._attribute_replies()
        for index, delivery in enumerate(deliveries):
            if isinstance(delivery.parsed, Unread):
                outcomes[index] = self._set_aside(delivery, delivery.parsed)
        for index in self._write_journal():
            outcomes[index] = Outcome.QUARANTINED
        self._write_ledger()
        self._resolve(deliveries)
        self._spans.write()
        self._rollups.write(self._conn)
        return outcomes

    # Loading: one query per table and batch.

    def _load(self, deliveries: Sequence[Delivery]) -> None:
        keys: dict[Kind, set[bytes]] = {kind: set() for kind in Kind}
        links = set()
        for delivery in deliveries:
            parsed = delivery.parsed
            if parsed.kind is not None and parsed.key is not None:
                keys[parsed.kind].add(parsed.key)
            if isinstance(parsed, Event) and parsed.message_key is not None:
                links.add(parsed.message_key)
        sends = keys[Kind.SENT]
        for row in self._rows("load_replies", keys[Kind.REPLY]):
            self._hold_reply(row)
        for row in self._rows("load_replies_to", sends):
            if row[0] not in self._replies:
                self._hold_reply(row)
        links.update(reply.message_key for reply in self._replies.values() if reply.message_key is not None)
        for row in self._rows("load_messages", sends | keys[Kind.SOFT_BOUNCE] | keys[Kind.HARD_BOUNCE] | links):
            message = MessageRow.load(self._conn, self._numbers, row)
            self._messages[row[0]] = message
            self._messages_before[row[0]] = message_state(message)
        self._starts = dict(self._rows("load_starts", keys[Kind.STARTED]))

    def _hold_reply(self, row: tuple[Any, ...]) -> None:
        reply = ReplyRow.load(self._conn, self._numbers, row)
        self._replies[row[0]] = reply
        self._replies_before[row[0]] = reply_state(reply)

    def _rows(self, name: str, keys: Collection[bytes]) -> Iterator[tuple[Any, ...]]:
        return select_by_keys(self._conn, name, keys)

    # Joining.

    def _take_in(self, index: int, delivery: Delivery, event: Event) -> bool:
        """Join one event; whether it is new."""
        if event.campaign_name is not None and event.campaign is not None:
            self._note_name(event.campaign, event.occurred_at, event.campaign_name)
        if event.kind in _MESSAGE_KINDS:
            known, seq = self._join_message(delivery, event)
        elif event.kind is Kind.REPLY:
            known, seq = self._join_reply(delivery, event)
        else:
            known, seq = self._join_start(delivery, event)
        if known:
            if event.origin is Origin.WEBHOOK:
                self._copies.note(delivery, event.kind, event.key, seq)
            return False
        self._new.append((index, delivery, event, self._copies.take_seq(delivery)))
        return True

    def _join_message(self, delivery: Delivery, event: Event) -> tuple[bool, int | None]:
        message = self._messages.get(event.key)
        if message is None:
            message = self._messages[event.key] = MessageRow()
        known, seq = message.holds(event.kind), message.seq(event.kind)
        message.join(event)
        message.first_received_at = smaller(message.first_received_at, delivery.received_at)
        if not known:
            message.set_seq(event.kind, self._copies.next_seq)
        return known, seq

    def _join_reply(self, delivery: Delivery, event: Event) -> tuple[bool, int | None]:
        reply = self._replies.get(event.key)
        known = reply is not None and reply.origin is not None and reply.origin <= event.origin
        if reply is None:
            reply = self._replies[event.key] = ReplyRow()
        seq = reply.seq
        if not known:
            if seq is not None:
                self._outranked.append((seq,))
            reply.seq = self._copies.next_seq
        reply.arrive(event, delivery.received_at)
        self._reply_deliveries[event.key] = (delivery, event)
        return known, seq

    def _join_start(self, delivery: Delivery, event: Event) -> tuple[bool, int | None]:
        known, seq = event.key in self._starts, self._starts.get(event.key)
        if not known:
            self._starts[event.key] = self._copies.next_seq
            self._new_starts.append((event, delivery.received_at, self._copies.next_seq))
        return known, seq

    def _note_name(self, campaign: str, at: int, name: str) -> None:
        held = self._names.get(campaign)
        if held is None or (-at, name) < (-held[0], held[1]):
            self._names[campaign] = (at, name)

    def _attribute_replies(self) -> None:
        for reply in self._replies.values():
            link = reply.message_key
            reply.attribute(self._messages.get(link) if link is not None else None)

    def _set_aside(self, delivery: Delivery, unread: Unread) -> Outcome:
        if unread.kind is not None and unread.key is not None:
            known, seq = self._held(unread.kind, unread.key)
            if known:
                self._copies.note(delivery, unread.kind, unread.key, seq)
                return Outcome.DUPLICATE
        return self._quarantine.add(delivery, unread)

    def _held(self, kind: Kind, key: bytes) -> tuple[bool, int | None]:
        if kind in _MESSAGE_KINDS:
            message = self._messages.get(key)
            return (False, None) if message is None else (message.holds(kind), message.seq(kind))
        if kind is Kind.REPLY:
            reply = self._replies.get(key)
            return reply is not None, reply.seq if reply is not None else None
        return key in self._starts, self._starts.get(key)

    # Writing.

    def _write_journal(self) -> list[int]:
        """Journal the new events; gives those that wait for a campaign, which are quarantined."""
        rows, waiting = [], []
        for index, delivery, event, seq in self._new:
            campaign = self._campaign_of(event)
            if campaign is None:
                waiting.append(index)
                self._quarantine.add_waiting(delivery, event)
            number = None if campaign is None else self._numbers.number(self._conn, campaign)
            place = (seq, delivery.received_at, event.kind, event.key, number, FIRST)
            rows.append((*place, delivery.secret, delivery.peer, delivery.body, event.origin))
        write_rows(self._conn, "insert_journal", rows)
        self._conn.executemany(self._sql["outrank"], self._outranked)
        self._copies.write(self._quarantine)
        return waiting

    def _campaign_of(self, event: Event) -> str | None:
        if event.kind in _MESSAGE_KINDS:
            return self._messages[event.key].campaign
        return self._replies[event.key].campaign if event.kind is Kind.REPLY else event.campaign

    def _write_ledger(self) -> None:
        self._write_messages()
        self._write_replies()
        self._write_starts()
        for campaign, (at, name) in self._names.items():
            values = {"id": self._numbers.number(self._conn, campaign), "at": at, "name": name}
            self._conn.execute(self._sql["name_campaign"], values)

    def _write_messages(self) -> None:
        changed = {
            key: message
            for key, message in self._messages.items()
            if self._messages_before.get(key) != message_state(message)
        }
        texts = {message.domain for message in changed.values() if message.domain is not None}
        domains = self._domains.numbers(self._conn, texts)
        rows = []
        moved: list[tuple[int | None, int]] = []
        for key, message in changed.items():
            before = self._messages_before.get(key)
            if before is not None:
                self._unbook_message(MessageRow(*before), moved, message)
            number = None if message.campaign is None else self._numbers.number(self._conn, message.campaign)
            rows.append(message.dump(key, number, None if message.domain is None else domains[message.domain]))
            if number is not None:
                self._rollups.book_message(number, message)
                self._spans.add(number, message.times())
        write_rows(self._conn, "write_message", rows)
        self._conn.executemany(self._sql["move_journal"], moved)

    def _unbook_message(self, before: MessageRow, moved: list[tuple[int | None, int]], now: MessageRow) -> None:
        if before.campaign is not None:
            number = self._numbers.number(self._conn, before.campaign)
            self._rollups.unbook_message(number, before)
            self._spans.remove(number, before.times())
        if now.campaign is not None and now.campaign != before.campaign:
            number = self._numbers.number(self._conn, now.campaign)
            moved.extend((number, seq) for seq in before.seqs())

    def _write_replies(self) -> None:
        changed = {
            key: reply for key, reply in self._replies.items() if self._replies_before.get(key) != reply_state(reply)
        }
        befores = [ReplyRow(*self._replies_before[key]) for key in changed if key in self._replies_before]
        leads = Leads(self._conn, self._numbers, [*befores, *changed.values()])
        leads.unbook(self._rollups)
        self._list_detached(changed)
        for before in befores:
            if before.campaign is not None and before.at is not None:
                number = self._numbers.number(self._conn, before.campaign)
                self._rollups.unbook_reply(number, before.step, reply_bookings(before), before.message_sent_at)
                self._spans.remove(number, [before.at])
        rows = [reply.dump(self._conn, self._numbers, key) for key, reply in changed.items()]
        self._conn.executemany(self._sql["write_reply"], rows)
        for reply in changed.values():
            owner = None
            if reply.campaign is not None and reply.at is not None:
                owner = self._numbers.number(self._conn, reply.campaign)
                self._rollups.book_reply(owner, reply.step, reply_bookings(reply), reply.message_sent_at)
                self._spans.add(owner, [reply.at])
            if reply.seq is not None:
                self._conn.execute(self._sql["move_journal"], (owner, reply.seq))
        leads.book(self._rollups)

    def _list_detached(self, changed: dict[bytes, ReplyRow]) -> None:
        """A copy that names a smaller `messageId` may take a reply's send away: then it waits again."""
        for key, reply in changed.items():
            before = self._replies_before.get(key)
            had_campaign = before is not None and ReplyRow(*before).campaign is not None
            if had_campaign and reply.campaign is None:
                self._quarantine.add_waiting(*self._reply_deliveries[key])

    def _write_starts(self) -> None:
        rows = []
        for event, received_at, seq in self._new_starts:
            number = self._numbers.number(self._conn, event.campaign or "")
            rows.append((event.key, number, event.occurred_at, received_at, seq))
            self._rollups.book(number, None, [Booking(event.occurred_at, STARTED)])
            self._spans.add(number, [event.occurred_at])
        self._conn.executemany(self._sql["write_start"], rows)

    def _resolve(self, deliveries: Sequence[Delivery]) -> None:
        """Understood bodies resolve what is quarantined under the same identity."""
        taken = {
            (delivery.parsed.kind, delivery.parsed.key)
            for delivery in deliveries
            if isinstance(delivery.parsed, Event)
        }
        keys = {key for _, key in taken} | self._replies.keys()
        for row_id, kind, key, reason in self._rows_open(keys):
            waits = reason == "campaign_unknown"
            settled = self._has_campaign(kind, key) if waits else (kind, key) in taken
            if settled:
                self._quarantine.resolve(row_id, self._now_ms)

    def _rows_open(self, keys: Collection[bytes]) -> list[tuple[Any, ...]]:
        return list(select_by_keys(self._conn, "open_of_keys", keys, "quarantine.sql"))

    def _has_campaign(self, kind: int, key: bytes) -> bool:
        held = self._replies.get(key) if kind == Kind.REPLY else self._messages.get(key)
        return held is not None and held.campaign is not None
