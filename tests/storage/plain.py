"""A plain recount in memory of all figures, written from the definitions and not from the code.

It groups the bodies by identity and takes minima over all copies.
"""

import hashlib
import hmac
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

NO_STEP = 2**31
FIGURES = (
    "sent",
    "attempted",
    "accepted",
    "bounced",
    "bounced_hard",
    "bounced_soft",
    "replies",
    "replied",
    "replied_human",
    "starts",
)
UNSENT = ("bounced_unsent", "bounced_hard_unsent")
NO_SEND = 2**31  # the quarter of an hour of replies whose send is not known
MINUTE_FIGURES = ("sent", "bounced", "bounced_soft", "replied", "replied_human")
REASON_CLASSES = {None: "", "550 5.1.1 unknown": "5.1.1", "452 full": "# full", "453 full": "# full"}

Fields = dict[str, Any]


@dataclass
class Expected:
    """What every table should hold; only what is not 0."""

    totals: dict[tuple[str, int], dict[str, int]]
    series: dict[tuple[str, int, int], dict[str, int]]
    cohorts: dict[tuple[str, int, int], dict[str, int]]
    bounces: dict[tuple[str, int, int, str, str], dict[str, int]]
    workspace: dict[tuple[int, int], dict[str, int]]
    unsent: dict[tuple[str, int], dict[str, int]]
    minutes: dict[tuple[str, int], dict[str, int]]
    contacted: dict[str, int]
    spans: dict[str, tuple[int, int]]
    waiting: set[tuple[str, str]]
    conflicts: set[tuple[str, str]]


def last_if_none(*values: Any) -> tuple[Any, ...]:
    return tuple((value is None, value) for value in values)


def by_identity(deliveries: list[Fields], identity: Callable[[Fields], Any]) -> dict[Any, list[Fields]]:
    groups: dict[Any, list[Fields]] = defaultdict(list)
    for fields in deliveries:
        groups[identity(fields)].append(fields)
    return groups


def reply_identity(fields: Fields) -> str:
    return fields["reply"] or f"{fields['campaign']} {fields['lead']} {fields['at'] // 1000}"


def disagree(copies: list[Fields], names: tuple[str, ...]) -> bool:
    return any(len({copy[name] for copy in copies} - {None}) > 1 for name in names)


# Time, step as stored, time of the send that it answers, class.
LeadReply = tuple[int, int, int | None, str | None]


class PlainRecount:
    """All figures from all deliveries, definition by definition."""

    def __init__(self, deliveries: list[Fields], lead_key: bytes) -> None:
        self.lead_key = lead_key
        self.places: dict[tuple[str, int, int], Counter[str]] = defaultdict(Counter)
        self.cohorts: dict[tuple[str, int, int], Counter[str]] = defaultdict(Counter)
        self.bounces: dict[tuple[str, int, int, str, str], Counter[str]] = defaultdict(Counter)
        self.times: dict[str, list[int]] = defaultdict(list)
        self.sends: dict[str, tuple[str, int | None, int]] = {}
        self.waiting: set[tuple[str, str]] = set()
        self.conflicts: set[tuple[str, str]] = set()
        of_kind: dict[str, list[Fields]] = by_identity(deliveries, lambda fields: fields["event"])
        mails = of_kind["sent"] + of_kind["soft"] + of_kind["hard"]
        for message, copies in by_identity(mails, lambda fields: fields["message"]).items():
            self.count_message(message, by_identity(copies, lambda fields: fields["event"]))
        self.count_replies(by_identity(of_kind["reply"], reply_identity))
        for campaign, at in {(fields["campaign"], fields["at"]) for fields in of_kind["start"]}:
            self.add(campaign, None, at, "starts", 1)
            self.times[campaign].append(at)

    def add(self, campaign: str, step: int | None, at: int, figure: str, value: int) -> None:
        self.places[campaign, NO_STEP if step is None else step, at][figure] += value

    def add_to_cohort(self, campaign: str, step: int | None, sent_at: int | None, figures: list[str]) -> None:
        quarter = NO_SEND if sent_at is None else sent_at // 900_000
        self.cohorts[campaign, NO_STEP if step is None else step, quarter].update(figures)

    def count_message(self, message: str, copies: dict[str, list[Fields]]) -> None:
        for kind in ("sent", "soft", "hard"):
            if disagree(copies[kind], ("campaign", "step")):
                self.conflicts.add((kind, message))
        bounces = copies["soft"] + copies["hard"]
        sent_at = min((fields["at"] for fields in copies["sent"]), default=None)
        soft_at = min((fields["at"] for fields in copies["soft"]), default=None)
        hard_at = min((fields["at"] for fields in copies["hard"]), default=None)
        if copies["sent"]:
            best = min(copies["sent"], key=lambda c: last_if_none(c["at"], c["campaign"], c["step"]))
            self.sends[message] = (best["campaign"], best["step"], best["at"])
        else:
            best = min(bounces, key=lambda c: last_if_none(c["campaign"], c["step"]))
        campaign, step = best["campaign"], best["step"]
        if campaign is None:
            self.waiting |= {(fields["event"], message) for fields in bounces}
            return
        self.times[campaign] += [at for at in (sent_at, soft_at, hard_at) if at is not None]
        self.book_message(campaign, step, sent_at, soft_at, hard_at)
        self.book_cohort(campaign, step, sent_at, soft_at, hard_at)
        self.book_bounces(campaign, step, soft_at, hard_at, copies)

    def book_cohort(
        self, campaign: str, step: int | None, sent_at: int | None, soft_at: int | None, hard_at: int | None
    ) -> None:
        """All of a message in one row: that of its send, else that of its earliest bounce."""
        bounced_at = min((at for at in (soft_at, hard_at) if at is not None), default=None)
        figures = ["attempted"]
        if sent_at is not None:
            figures += ["sent"] if bounced_at is not None else ["sent", "accepted"]
        if bounced_at is not None:
            hard = hard_at is not None
            figures += ["bounced", "bounced_hard" if hard else "bounced_soft"]
            if sent_at is None:
                figures += list(UNSENT if hard else UNSENT[:1])
        self.add_to_cohort(campaign, step, sent_at if sent_at is not None else bounced_at, figures)

    def book_bounces(
        self,
        campaign: str,
        step: int | None,
        soft_at: int | None,
        hard_at: int | None,
        copies: dict[str, list[Fields]],
    ) -> None:
        """Under the reason of the earliest hard bounce, else of the earliest soft one."""
        stored_step = NO_STEP if step is None else step
        reasons = [
            min(copies[kind], key=lambda c: last_if_none(c["at"], c["reason"]))["reason"]
            for kind in ("hard", "soft")
            if copies[kind]
        ]
        reason = REASON_CLASSES[next((text for text in reasons if text is not None), None)]
        every = copies["sent"] + copies["soft"] + copies["hard"]
        domain = min((c["domain"] for c in every if c["domain"] is not None), default="")

        def add(at: int, figure: str, value: int) -> None:
            self.bounces[campaign, stored_step, at // 900_000, reason, domain][figure] += value

        if hard_at is not None:
            add(hard_at, "bounced_hard", 1)
        if soft_at is not None and (hard_at is None or soft_at < hard_at):
            add(soft_at, "bounced_soft", 1)
            if hard_at is not None:
                add(hard_at, "bounced_soft", -1)

    def book_message(
        self, campaign: str, step: int | None, sent_at: int | None, soft_at: int | None, hard_at: int | None
    ) -> None:
        bounced_at = min((at for at in (soft_at, hard_at) if at is not None), default=None)
        first_at = min(at for at in (sent_at, bounced_at) if at is not None)
        self.add(campaign, step, first_at, "attempted", 1)
        if sent_at is not None:
            self.add(campaign, step, sent_at, "sent", 1)
            self.add(campaign, step, sent_at, "accepted", 1)
        if bounced_at is not None:
            self.add(campaign, step, bounced_at, "bounced", 1)
            if sent_at is not None:
                self.add(campaign, step, bounced_at, "accepted", -1)
        if hard_at is not None:
            self.add(campaign, step, hard_at, "bounced_hard", 1)
        if soft_at is not None and hard_at is None:
            self.add(campaign, step, soft_at, "bounced_soft", 1)
        if soft_at is not None and hard_at is not None and soft_at < hard_at:
            self.add(campaign, step, soft_at, "bounced_soft", 1)
            self.add(campaign, step, hard_at, "bounced_soft", -1)

    def count_replies(self, groups: dict[str, list[Fields]]) -> None:
        leads: dict[tuple[str, bytes], list[LeadReply]] = defaultdict(list)
        for identity, copies in groups.items():
            if disagree(copies, ("campaign", "step", "lead", "class")):
                self.conflicts.add(("reply", identity))
            at = min(fields["at"] for fields in copies)
            own = self.value(copies, "campaign")
            campaign, step = own, min((c["step"] for c in copies if c["step"] is not None), default=None)
            links = [fields["message"] for fields in copies if fields["message"] is not None]
            link = min(links, key=message_hash, default=None)
            sent_at = None
            if link in self.sends:
                campaign, step, sent_at = self.sends[link]
            if campaign is None:
                self.waiting.add(("reply", identity))
                continue
            self.add(campaign, step, at, "replies", 1)
            self.add_to_cohort(campaign, step, sent_at, ["replies"])
            self.times[campaign].append(at)
            lead = self.value(copies, "lead")
            if lead is not None:
                stored_step = NO_STEP if step is None else step
                leads[campaign, lead].append((at, stored_step, sent_at, self.value(copies, "class")))
        self.count_leads(leads)

    def count_leads(self, leads: dict[tuple[str, bytes], list[LeadReply]]) -> None:
        for (campaign, _), replies in leads.items():
            human = [reply for reply in replies if reply[3] not in ("out_of_office", "bounce")]
            for figure, counted in (("replied", replies), ("replied_human", human)):
                if counted:
                    at, step, sent_at, _ = min(counted, key=lambda reply: last_if_none(*reply[:3]))
                    self.add(campaign, step, at, figure, 1)
                    self.add_to_cohort(campaign, step, sent_at, [figure])

    def value(self, copies: list[Fields], name: str) -> Any:
        """A field of the smallest copy; where that has none, the smallest that any copy has."""

        def fields_of(copy: Fields) -> dict[str, Any]:
            return copy | {"lead": self.hashed(copy["lead"])}

        ordered = sorted(
            map(fields_of, copies),
            key=lambda c: last_if_none(c["at"], c["campaign"], c["lead"], c["class"]),
        )
        values = [copy[name] for copy in ordered if copy[name] is not None]
        return ordered[0][name] if ordered[0][name] is not None else min(values, default=None)

    def hashed(self, lead: str | None) -> bytes | None:
        return None if lead is None else hmac.digest(self.lead_key, lead.encode(), "sha256")[:16]

    def result(self, oldest_minute: int) -> Expected:
        totals: dict[Any, Counter[str]] = defaultdict(Counter)
        series: dict[Any, Counter[str]] = defaultdict(Counter)
        minutes: dict[Any, Counter[str]] = defaultdict(Counter)
        workspace: dict[Any, Counter[str]] = defaultdict(Counter)
        unsent: dict[Any, Counter[str]] = defaultdict(Counter)
        for (campaign, step, _), figures in self.cohorts.items():
            for place in ((campaign, -1), (campaign, step)):
                unsent[place].update({name: figures[name] for name in UNSENT})
        for (campaign, step, at), figures in self.places.items():
            for place in ((campaign, -1), (campaign, step)):
                totals[place].update(figures)
            series[campaign, step, at // 900_000].update(figures)
            workspace[step, at // 900_000].update(figures)
            if at // 60_000 >= oldest_minute:
                counted = {name: figures[name] for name in MINUTE_FIGURES}
                minutes[campaign, at // 60_000].update(counted)
        steps_sent: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for (campaign, step), figures in totals.items():
            if step >= 0 and figures["sent"]:
                steps_sent[campaign].append((step, figures["sent"]))
        return Expected(
            not_zero(totals),
            not_zero(series),
            not_zero(self.cohorts),
            not_zero(self.bounces),
            not_zero(workspace),
            not_zero(unsent),
            not_zero(minutes),
            {campaign: min(steps)[1] for campaign, steps in steps_sent.items()},
            {campaign: (min(times), max(times)) for campaign, times in self.times.items()},
            self.waiting,
            self.conflicts,
        )


def message_hash(message_id: str) -> bytes:
    """The order of message links is that of their keys: a ULID's time, then SHA-256."""
    digest = hashlib.sha256(b"message\0" + message_id.encode()).digest()
    return bytes.fromhex("018fd41d5ab7") + digest[:10] if "_" in message_id else digest[:16]


def not_zero(rows: dict[Any, Counter[str]]) -> dict[Any, dict[str, int]]:
    plain = {place: {name: n for name, n in figures.items() if n} for place, figures in rows.items()}
    return {place: figures for place, figures in plain.items() if figures}
