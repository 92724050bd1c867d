"""Any order, repetition and interleaving of deliveries ends in the same figures (DESIGN, promise P3).

The expected figures come from the plain recount beside this file.
"""

import json
import shutil
import sqlite3
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
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
from tests.storage.plain import (
    FIGURES,
    MINUTE_FIGURES,
    UNSENT,
    Expected,
    Fields,
    PlainRecount,
    not_zero,
    reply_identity,
)

HOUR_MS = 3_600_000

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
DOMAINS = st.sampled_from([None, None, "example.org", "example.net"])


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


# What the database holds.


def held(ledger: LedgerUnderTest, identities: dict[tuple[int, bytes], tuple[str, str]]) -> Expected:
    ledger.narrow()
    oldest_minute = (ledger.now - 12 * HOUR_MS) // 60_000

    def table(place: str, figures: tuple[str, ...], name: str, where: str = "1") -> dict[Any, dict[str, int]]:
        width = len(place.split(","))
        statement = f"SELECT {place}, {','.join(figures)} FROM {name} JOIN campaigns ON id = campaign WHERE {where}"
        rows = ledger.rows(statement)
        return not_zero({row[:width]: Counter(dict(zip(figures, row[width:], strict=True))) for row in rows})

    assert by_days(ledger, "series") == by_days(ledger, "days")

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


def by_days(ledger: LedgerUnderTest, table: str) -> dict[Any, dict[str, int]]:
    """Sums of every day (UTC), of the workspace's too."""
    sums = ", ".join(f"sum({figure})" for figure in FIGURES)
    rows = ledger.rows(f"SELECT campaign, step, quarter / 96, {sums} FROM {table} GROUP BY 1, 2, 3")
    return not_zero({row[:3]: Counter(dict(zip(FIGURES, row[3:], strict=True))) for row in rows})


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


@settings(max_examples=200, deadline=None, suppress_health_check=CHECKS)
@given(story=stories())
def test_the_figures_do_not_depend_on_order_repetition_or_batches(empty_database: Path, story: Story) -> None:
    check(story, empty_database)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(max_examples=2000, deadline=None, suppress_health_check=CHECKS)
@given(story=stories())
def test_the_figures_do_not_depend_on_order_in_thousands_of_stories(empty_database: Path, story: Story) -> None:
    check(story, empty_database)
