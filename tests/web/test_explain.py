"""How a number came to be: definition, value, the deliveries behind it, and what is not in it."""

import sqlite3
from dataclasses import replace
from typing import Any

import pytest

from receiver.definitions import DEFINITIONS
from receiver.figures import OBSERVED, RATES
from receiver.reconcile import cases
from receiver.storage.sqlite import explain
from tests.reconcile.made import counters
from tests.web.conftest import Api, body, bounced, invalid, replied, sent, started

HOUR = {"from": "2025-06-11T09:00:00Z", "to": "2025-06-11T10:00:00Z"}


@pytest.fixture
async def filled(api: Api) -> Api:
    await api.post(
        started("a"), sent("m1"), sent("m1"), sent("m2", "08:40"), sent("m3", step=2), sent("m4", campaign="b"),
        bounced("m1"), bounced("m1"), bounced("m2", "09:10", "soft"), bounced("m9", "09:11", campaign="a"),
        replied("r1", message="m1"), replied("r2", "09:25", lead="al@example.org", kind="out_of_office"),
        bounced("waits"), sent("m1", campaign="c"),
        body("message.sent", "09:00", messageId="bad", campaignId="a", sequenceStep="one"),
    )  # fmt: skip
    return api


def seqs(answer: Any) -> tuple[list[int], list[int]]:
    return tuple([row["seq"] for row in answer["samples"][side]] for side in ("first", "last"))  # type: ignore[return-value] # two of them


async def test_a_figure_is_explained_exactly(filled: Api) -> None:
    answer = await filled.json("/v1/explain", figure="bounced", campaign_id="a", **HOUR)
    samples = answer.pop("samples")
    assert answer == {
        "query": {
            "from": "2025-06-11T09:00:00Z", "to": "2025-06-11T10:00:00Z", "campaign_id": "a", "figure": "bounced",
        },
        "definition": "messages with a bounce, each once",
        "booked": "at the earliest bounce",
        "denominator": None,
        "source": ["message.bounced"],
        "counted": 3,
        "rate": None,
        "journal": {"since": "2025-06-11T09:30:00Z", "complete": True, "events": 3, "copies": 1, "fetched": 0},
        "quarantined": 0,
        "conflicts": 0,
        "provider": None,
        "reconciled": None,
        "as_of": "2025-06-11T09:30:00Z",
        "settled_until": "2025-06-10T22:39:00Z",
    }  # fmt: skip
    assert [row["message_id"] for row in samples["first"]] == ["m1", "m2", "m9"]
    assert samples["last"] == []


@pytest.mark.parametrize("figure", OBSERVED)
@pytest.mark.parametrize("campaign", ["a", "b", "c"])
async def test_the_value_is_that_of_the_campaign(filled: Api, figure: str, campaign: str) -> None:
    if campaign == "c":
        await filled.post(sent("m8", campaign="c"))
    held = (await filled.json(f"/v1/campaigns/{campaign}"))["observed"]
    answer = await filled.json("/v1/explain", figure=figure, campaign_id=campaign)
    assert answer["counted"] == held[figure]
    whole = await filled.json("/v1/explain", figure=figure)
    assert whole["counted"] >= held[figure]


@pytest.mark.parametrize("figure", RATES)
async def test_a_rate_is_that_of_the_campaign(filled: Api, figure: str) -> None:
    held = (await filled.json("/v1/campaigns/a"))["rates"]
    answer = await filled.json("/v1/explain", figure=figure, campaign_id="a")
    assert answer["rate"] == held[figure]
    assert answer["counted"] == held[figure]["value"]
    assert answer["denominator"] == RATES[figure][1]


async def test_a_rate_in_a_range_is_of_the_messages_sent_in_it(filled: Api) -> None:
    answer = await filled.json("/v1/explain", figure="bounce_rate", campaign_id="a", **HOUR)
    assert answer["rate"] == {"value": 0.666667, "numerator": 2, "denominator": 3}
    replies = await filled.json("/v1/explain", figure="reply_rate", campaign_id="a", **HOUR)
    assert replies["rate"] == {"value": None, "numerator": None, "denominator": None}  # r2 answers nothing known
    in_b = await filled.json("/v1/explain", figure="reply_rate", campaign_id="b", **HOUR)
    assert in_b["rate"] == {"value": 0.0, "numerator": 0, "denominator": 1}


@pytest.mark.parametrize("figure", DEFINITIONS)
async def test_every_figure_says_its_definition_and_source(filled: Api, figure: str) -> None:
    answer = await filled.json("/v1/explain", figure=figure)
    assert (answer["definition"], answer["booked"]) == (DEFINITIONS[figure].counts, DEFINITIONS[figure].booked)
    events = {row["event"] for side in ("first", "last") for row in answer["samples"][side]}
    assert events <= set(answer["source"])
    assert events


async def test_what_is_not_in_it_is_counted_beside_it(filled: Api) -> None:
    of_a = await filled.json("/v1/explain", figure="sent", campaign_id="a")
    assert (of_a["quarantined"], of_a["conflicts"], of_a["journal"]["copies"]) == (1, 0, 2)
    await filled.post(sent("m8", campaign="c"))
    of_c = await filled.json("/v1/explain", figure="sent", campaign_id="c")
    assert (of_c["counted"], of_c["quarantined"], of_c["conflicts"]) == (1, 0, 1)
    both = await filled.json("/v1/explain", figure="sent")
    assert (both["quarantined"], both["conflicts"]) == (1, 1)
    whole = await filled.json("/v1/explain", figure="bounced")
    assert (whole["counted"], whole["quarantined"]) == (3, 1)
    earlier = await filled.json("/v1/explain", figure="sent", to="2025-06-11T09:00:00Z")
    assert (earlier["quarantined"], earlier["conflicts"], earlier["journal"]["events"]) == (0, 0, 1)


async def test_samples_are_of_what_counts(filled: Api) -> None:
    contacted = await filled.json("/v1/explain", figure="contacted", campaign_id="a")
    assert contacted["journal"]["events"] == contacted["counted"] == 2
    human = await filled.json("/v1/explain", figure="replied_human")
    assert human["journal"]["events"] == human["counted"] == 1
    hard = await filled.json("/v1/explain", figure="bounced_hard")
    assert hard["journal"]["events"] == hard["counted"] == 2


async def test_before_the_receiver_was_there_nothing_is_null_and_not_0(filled: Api) -> None:
    await filled.post(sent("old", "2025-05-01T00:00:00Z"))
    before = {"from": "2025-05-02", "to": "2025-05-03"}
    assert (await filled.json("/v1/explain", figure="sent", **before))["counted"] is None
    before = {"from": "2025-05-01", "to": "2025-05-02"}
    assert (await filled.json("/v1/explain", figure="sent", **before))["counted"] == 1
    assert (await filled.json("/v1/explain", figure="starts", **HOUR))["counted"] == 0


async def test_a_long_journal_is_looked_at_from_both_ends(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explain, "LOOKED_AT_MAX", 20)
    for day in range(1, 9):
        api.clock.now = 1_748_736_000_000 + day * 86_400_000
        at = [f"2025-06-{day:02d}T{hour:02d}:00:00Z" for hour in range(10)]
        await api.post(*(sent(f"m{day}-{n}", when, campaign="ab"[n % 2]) for n, when in enumerate(at)))
    answer = await api.json("/v1/explain", figure="sent")
    assert (answer["counted"], answer["journal"]["complete"]) == (80, False)
    assert seqs(answer) == ([1, 2, 3], [78, 79, 80])
    params = {"from": "2025-06-05", "to": "2025-06-06"}
    answer = await api.json("/v1/explain", figure="sent", **params)
    assert (answer["counted"], answer["journal"]["complete"]) == (10, False)
    assert seqs(answer) == ([41, 42, 43], [48, 49, 50])
    answer = await api.json("/v1/explain", figure="sent", campaign_id="a", **params)
    assert seqs(answer) == ([41, 43], [45, 47, 49]) or seqs(answer) == ([41, 43, 45], [47, 49])


async def test_an_empty_database_explains_nothing_as_nothing(api: Api) -> None:
    answer = await api.json("/v1/explain", figure="sent")
    assert answer["journal"] == {"since": None, "complete": True, "events": 0, "copies": 0, "fetched": 0}
    assert (answer["counted"], answer["samples"]) == (0, {"first": [], "last": []})


async def test_a_campaign_is_explained_with_what_leadterra_says(filled: Api) -> None:
    when = filled.clock.now - 60_000
    told = replace(counters(7, replied=2), delivered=None, bounced=None)

    def answer_with(conn: sqlite3.Connection) -> object:
        around = cases.circumstances(conn, cases.Pins(), filled.clock.now)
        return cases.take_in(conn, cases.Answered("a", told, when, when, when), when, around)

    await filled.service.database.store.transact(answer_with)
    shown = await filled.json("/v1/campaigns/a")
    answer = await filled.json("/v1/explain", figure="sent", campaign_id="a")
    assert answer["provider"] == {"value": 7, "fetched_at": "2025-06-11T09:29:00Z"}
    assert (answer["counted"], answer["reconciled"], shown["reconciled"]["sent"]) == (3, 7, 7)
    bounces = await filled.json("/v1/explain", figure="bounced", campaign_id="a")
    assert (bounces["provider"]["value"], bounces["reconciled"]) == (None, None)
    ranged = await filled.json("/v1/explain", figure="sent", campaign_id="a", **HOUR)
    assert (ranged["provider"], ranged["reconciled"]) == (None, None)
    assert (await filled.json("/v1/explain", figure="contacted", campaign_id="a"))["counted"] is None
    assert (await filled.json("/v1/explain", figure="lead_reply_rate"))["rate"]["numerator"] is None
    rate = (await filled.json("/v1/explain", figure="bounce_rate", campaign_id="a"))["rate"]
    assert (rate["numerator"], rate["denominator"]) == (2, 3)  # the bounce of m9 has no send
    await filled.post(bounced("m8", "09:12", "soft", campaign="a"))
    hard = (await filled.json("/v1/explain", figure="hard_bounce_rate", campaign_id="a"))["rate"]
    assert (hard["numerator"], hard["denominator"]) == (1, 3)  # two have no send, one of them is hard


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("", "'figure' is missing; use "),
        ("?figure=clicks", "'figure' is 'clicks'; use "),
        ("?figure=", "'figure' is ''; use "),
        ("?figure=sent%00", "'figure' is 'sent\0'; use "),
    ],
)
async def test_a_figure_that_there_is_not_is_refused(api: Api, query: str, text: str) -> None:
    assert await api.refused(f"/v1/explain{query}") == invalid("figure", f"{text}{', '.join(DEFINITIONS)}.")
