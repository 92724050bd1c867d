"""Any order, repetition and interleaving of deliveries ends in the same figures (DESIGN, promise P3).

The expected figures come from a plain recount in memory, written from the definitions and not from the
code: it groups the bodies by identity and takes minima over all copies.
"""

import hashlib
import hmac
import json
import shutil
import sqlite3
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from receiver.storage.deliveries import Stretch
from receiver.storage.sqlite.connection import open_for_writing
from receiver.storage.sqlite.migrate import migrate
from tests.storage.conftest import NOW, LedgerUnderTest

NO_STEP = 2**31
HOUR_MS = 3_600_000
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

# Bodies. Small pools, so that identities, times and campaigns meet often; the oldest times are about to
# fall out of the twelve hours of minutes, and the pairs share minutes, quarters of an hour and seconds.
OFFSETS_MS = (
    -12 * HOUR_MS + 59_000,
    -12 * HOUR_MS + 150_000,
    -30 * HOUR_MS,
    -HOUR_MS,
    -HOUR_MS + 7,
    -HOUR_MS + 61_000,
    -1,
    0,
    20 * HOUR_MS,
)
TIMES = st.sampled_from([NOW + offset for offset in OFFSETS_MS])
MESSAGES = st.sampled_from(["m1", "m2", "M_01HZA1TPNQ8RD4KF0000000000"])
CAMPAIGNS = st.sampled_from(["a", "b", "c"])
STEPS = st.sampled_from([None, 0, 1, 2])
LEADS = st.sampled_from([None, "jo@example.org", "al@example.net"])
CLASSES = st.sampled_from([None, "interested", "out_of_office", "bounce"])
REASONS = st.sampled_from([None, "550 5.1.1 unknown", "452 full", "453 full"])
REASON_CLASSES = {None: "", "550 5.1.1 unknown": "5.1.1", "452 full": "# full", "453 full": "# full"}
DOMAINS = st.sampled_from([None, None, "example.org", "example.net"])

Fields = dict[str, Any]


def optional(strategy: st.SearchStrategy[str]) -> st.SearchStrategy[str | None]:
    return st.none() | strategy


SENT = st.fixed_dictionaries(
    {
        "event": st.just("sent"),
        "at": TIMES,
        "message": MESSAGES,
        "campaign": CAMPAIGNS,
        "step": STEPS,
        "domain": DOMAINS,
    }
)
BOUNCED = st.fixed_dictionaries(
    {
        "event": st.sampled_from(["soft", "hard"]),
        "at": TIMES,
        "message": MESSAGES,
        "campaign": optional(CAMPAIGNS),
        "step": STEPS,
        "reason": REASONS,
        "domain": DOMAINS,
    }
)
REPLIED = st.fixed_dictionaries(
    {
        "event": st.just("reply"),
        "at": TIMES,
        "reply": st.sampled_from([None, "r1", "r2", "rpl_01HZA1TPNQ8RD4KF0000000000"]),
        "campaign": optional(CAMPAIGNS),
        "lead": LEADS,
        "class": CLASSES,
        "step": STEPS,
        "message": optional(MESSAGES),
    }
).filter(
    lambda reply: bool(
        (reply["reply"] or (reply["campaign"] and reply["lead"]))
        and (reply["campaign"] or (reply["reply"] and reply["message"]))
    )
)
STARTED = st.fixed_dictionaries({"event": st.just("start"), "at": TIMES, "campaign": CAMPAIGNS})
# Signed, with an identity that may be known, and never counted.
SPOILT = st.fixed_dictionaries(
    {"event": st.just("spoilt"), "at": st.just(0), "message": MESSAGES, "campaign": CAMPAIGNS, "step": STEPS}
)
EVENTS = st.one_of(SENT, SENT, BOUNCED, BOUNCED, REPLIED, REPLIED, STARTED, SPOILT)


def wire(fields: Fields, turned: bool) -> bytes:
    """The body as Leadterra posts it; `turned` writes its keys and places in another of the known ways."""
    at = datetime.fromtimestamp(fields["at"] / 1000, UTC).isoformat(timespec="milliseconds")
    names = {"message": "messageId", "campaign": "campaignId", "step": "sequenceStep", "reason": "bounceReason"}
    data = {wire_name: fields[name] for name, wire_name in names.items() if fields.get(name) is not None}
    if fields.get("domain") is not None:
        data["email"] = f"someone@{fields['domain']}"
    event = {"start": "campaign.started", "reply": "reply.received"}.get(fields["event"], "message.sent")
    if fields["event"] in ("soft", "hard"):
        event = "message.bounced"
        data["bounceType"] = fields["event"].upper() if turned else fields["event"]
    if fields["event"] == "reply":
        names = {"reply": "id", "class": "classification", "lead": "email"}
        reply = {wire_name: fields[name] for name, wire_name in names.items() if fields[name] is not None}
        data |= reply if turned else {"reply": reply | {"receivedAt": at}}
    if turned and "campaignId" in data:
        data["campaign"] = {"id": data.pop("campaignId")}
    if turned:
        data = dict(reversed(data.items()))
    return json.dumps({"event": event, "timestamp": at, "data": data}).encode()


@dataclass(frozen=True)
class Story:
    """What is delivered, cut into batches, and what happens before each of them."""

    batches: list[tuple[str, list[tuple[Fields, bool]]]]

    def deliveries(self) -> list[Fields]:
        return [fields for _, batch in self.batches for fields, _ in batch]


@st.composite
def stories(draw: st.DrawFn) -> Story:
    events = draw(st.lists(EVENTS, min_size=2, max_size=12))
    repeated = draw(st.lists(st.sampled_from(events), max_size=6))
    order = draw(st.permutations(events + repeated))
    batches: list[tuple[str, list[tuple[Fields, bool]]]] = [("nothing", [])]
    for fields in order:
        if draw(st.integers(0, 2)) == 0:
            batches.append((draw(st.sampled_from(["nothing", "nothing", "restart", "failure"])), []))
        batches[-1][1].append((fields, draw(st.booleans())))
    return Story(batches)


# The plain recount.


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


# What the database holds.


def held(ledger: LedgerUnderTest, identities: dict[tuple[int, bytes], tuple[str, str]]) -> Expected:
    ledger.narrow()
    oldest_minute = (ledger.now - 12 * HOUR_MS) // 60_000

    def table(place: str, figures: tuple[str, ...], name: str, where: str = "1") -> dict[Any, dict[str, int]]:
        width = len(place.split(","))
        statement = f"SELECT {place}, {','.join(figures)} FROM {name} JOIN campaigns ON id = campaign WHERE {where}"
        rows = ledger.rows(statement)
        return not_zero({row[:width]: Counter(dict(zip(figures, row[width:], strict=True))) for row in rows})

    def listed(condition: str) -> set[tuple[str, str]]:
        rows = ledger.rows(f"SELECT kind, key FROM quarantine WHERE resolved_at IS NULL AND {condition}")
        assert len(rows) == len(set(rows)), "an event is listed twice"
        return {identities[row] for row in rows}

    return Expected(
        table("campaign_id, step", FIGURES, "totals"),
        table("campaign_id, step, quarter", FIGURES, "series"),
        cohorts(ledger),
        table("campaign_id, step, quarter, reason, domain", ("bounced_hard", "bounced_soft"), "bounces"),
        workspace(ledger),
        table("campaign_id, step", UNSENT, "totals"),
        table("campaign_id, minute", MINUTE_FIGURES, "minutes", f"minute >= {oldest_minute}"),
        dict(
            ledger.rows(
                "SELECT campaign_id, contacted FROM totals JOIN campaigns ON id = campaign WHERE contacted <> 0"
            )
        ),
        {
            campaign: (first, last)
            for campaign, first, last in ledger.rows(
                "SELECT campaign_id, first_event_at, last_event_at FROM campaigns WHERE first_event_at IS NOT NULL"
            )
        },
        listed("reason = 'campaign_unknown'"),
        listed("reason = 'conflict'"),
    )


def cohorts(ledger: LedgerUnderTest) -> dict[Any, dict[str, int]]:
    """Series and shifts together, but for starts, which no message has; also those of the workspace are sums."""
    rows: dict[Any, Counter[str]] = defaultdict(Counter)
    for table, figures in (("series", FIGURES[:-1]), ("shifts", (*FIGURES[1:-1], *UNSENT))):
        statement = f"SELECT campaign, step, quarter, {','.join(figures)} FROM {table}"
        for campaign, step, quarter, *values in ledger.rows(statement):
            rows[campaign, step, quarter].update(dict(zip(figures, values, strict=True)))
    whole = {place[1:]: row for place, row in not_zero(rows).items() if place[0] == 0}
    sums: dict[Any, Counter[str]] = defaultdict(Counter)
    for (campaign, step, quarter), row in rows.items():
        if campaign:
            sums[step, quarter].update(row)
    assert whole == not_zero(sums)
    names = dict(ledger.rows("SELECT id, campaign_id FROM campaigns"))
    return not_zero({(names[place[0]], *place[1:]): row for place, row in rows.items() if place[0]})


def workspace(ledger: LedgerUnderTest) -> dict[Any, dict[str, int]]:
    rows = ledger.rows(f"SELECT step, quarter, {','.join(FIGURES)} FROM series WHERE campaign = 0")
    return not_zero({row[:2]: Counter(dict(zip(FIGURES, row[2:], strict=True))) for row in rows})


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("order") / "empty.db"
    with closing(open_for_writing(path)) as conn:
        migrate(conn, str(path), NOW)
    return path


@contextmanager
def copy_of(database: Path) -> Iterator[LedgerUnderTest]:
    memory = Path("/dev/shm")  # noqa: S108 # without fsync ten times as many examples fit in the time
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        ledger = LedgerUnderTest(Path(shutil.copy(database, folder)))
        try:
            yield ledger
        finally:
            ledger.conn.close()


def tell(ledger: LedgerUnderTest, story: Story) -> dict[tuple[int, bytes], tuple[str, str]]:
    """Deliver everything; gives the key under which each identity is stored."""
    identities: dict[tuple[int, bytes], tuple[str, str]] = {}
    for incident, batch in story.batches:
        ledger.now += 47_000
        bodies = [wire(fields, turned) for fields, turned in batch]
        if incident == "restart":
            ledger.restart()
        if incident == "failure":
            fail(ledger, bodies)
        outcomes = ledger.deliver(*bodies)
        for raw, (fields, _), outcome in zip(bodies, batch, outcomes, strict=True):
            parsed = ledger.delivery(raw).parsed
            assert parsed.kind is not None
            assert parsed.key is not None
            name = reply_identity(fields) if fields["event"] == "reply" else fields.get("message", "")
            kind = "sent" if fields["event"] == "spoilt" else fields["event"]
            identities[parsed.kind, parsed.key] = (kind, name)
            assert fields["event"] != "spoilt" or outcome != "stored"
    return identities


def fail(ledger: LedgerUnderTest, bodies: list[bytes]) -> None:
    """The same batch, and at its very end something that cannot be stored: nothing of it may be."""
    impossible = Stretch("never", "never")  # type: ignore[arg-type] # the table takes integers only
    with pytest.raises(sqlite3.IntegrityError, match="cannot store TEXT value in INTEGER column"):
        ledger.commit([ledger.delivery(raw) for raw in bodies], impossible)


def check(story: Story, database: Path) -> None:
    with copy_of(database) as ledger:
        lead_key = ledger.rows("SELECT value FROM meta WHERE name = 'lead_key'")[0][0]
        identities = tell(ledger, story)
        known = [fields for fields in story.deliveries() if fields["event"] != "spoilt"]
        expected = PlainRecount(known, lead_key).result((ledger.now - 12 * HOUR_MS) // 60_000)
        assert held(ledger, identities) == expected
        assert ledger.recount().rows == 0
        assert ledger.check_journal().mismatches == 0


CHECKS = [HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=500, deadline=None, suppress_health_check=CHECKS)
@given(story=stories())
def test_the_figures_do_not_depend_on_order_repetition_or_batches(empty_database: Path, story: Story) -> None:
    check(story, empty_database)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(max_examples=2000, deadline=None, suppress_health_check=CHECKS)
@given(story=stories())
def test_the_figures_do_not_depend_on_order_in_thousands_of_stories(empty_database: Path, story: Story) -> None:
    check(story, empty_database)
