"""All campaigns together: observed by event, rates by cohort, and how both changed."""

from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.figures import OBSERVED
from receiver.storage.sqlite.connection import open_for_reading
from receiver.web.access import Role
from receiver.web.operation import Call
from receiver.web.params import SummaryParams
from receiver.web.summary import _answer
from tests.storage.conftest import NOW
from tests.storage.test_order import CHECKS, Story, copy_of, empty_database, stories, tell
from tests.web.conftest import Api, bounced, invalid, replied, sent, started
from tests.web.test_campaigns import CAMPAIGNS, _world
from tests.web.test_series_recount import booked

__all__ = ["empty_database"]

NOTHING = dict.fromkeys(OBSERVED, 0)


def rate(value: float | None, numerator: int | None, denominator: int | None) -> dict[str, Any]:
    return {"value": value, "numerator": numerator, "denominator": denominator}


UNKNOWN = rate(None, None, None)
HISTORY = [
    started("a", "08:00"), sent("m1", "08:50"), sent("m2", "09:10"), sent("m3", "09:11", step=2),
    bounced("m1", "09:12"), replied("r1", "09:20", message="m2"),
]  # fmt: skip


async def test_a_summary_is_answered_exactly(api: Api) -> None:
    await api.post(*HISTORY)
    api.clock.now += 20 * 60_000
    url = "/v1/summary?from=2025-06-11T11:00:00%2B02:00&to=now&timezone=Europe/Berlin&compare=previous"
    assert await api.json(url) == {
        "from": "2025-06-11T11:00:00+02:00",
        "to": "2025-06-11T12:00:00+02:00",
        "observed": NOTHING
        | {"sent": 2, "attempted": 2, "accepted": 1, "contacted": 1, "bounced": 1, "bounced_hard": 1}
        | {"replies": 1, "replied": 1, "replied_human": 1},
        "rates": {
            "bounce_rate": rate(0.0, 0, 2),
            "hard_bounce_rate": rate(0.0, 0, 2),
            "reply_rate": rate(0.5, 1, 2),
            "lead_reply_rate": rate(1.0, 1, 1),
            "human_reply_rate": rate(1.0, 1, 1),
        },
        "previous": {
            "from": "2025-06-11T10:00:00+02:00",
            "to": "2025-06-11T11:00:00+02:00",
            "observed": dict.fromkeys(OBSERVED)
            | {"sent": 1, "attempted": 1, "accepted": 1, "contacted": 1, "starts": 1},
            "rates": {
                "bounce_rate": rate(1.0, 1, 1),
                "hard_bounce_rate": rate(1.0, 1, 1),
                "reply_rate": rate(None, 0, 0),
                "lead_reply_rate": rate(0.0, 0, 1),
                "human_reply_rate": rate(0.0, 0, 1),
            },
        },
        "change": {
            "observed": dict.fromkeys(OBSERVED)
            | {"sent": 1, "attempted": 1, "accepted": 0, "contacted": 0, "starts": -1},
            "rates": {
                "bounce_rate": -1.0,
                "hard_bounce_rate": -1.0,
                "reply_rate": None,
                "lead_reply_rate": 1.0,
                "human_reply_rate": 1.0,
            },
        },
        "as_of": "2025-06-11T09:50:00Z",
        "settled_until": "2025-06-10T22:59:00Z",
    }


async def test_without_a_range_it_is_the_sum_of_all_campaigns(api: Api) -> None:
    await api.post(*_world())
    found = await api.json("/v1/summary")
    rows = [await api.json(f"/v1/campaigns/{campaign}") for campaign in CAMPAIGNS]
    assert found["observed"] == {name: sum(row["observed"][name] for row in rows) for name in OBSERVED}
    for name, shown in found["rates"].items():
        parts = [row["rates"][name] for row in rows]
        assert shown["numerator"] == sum(part["numerator"] for part in parts)
        assert shown["denominator"] == sum(part["denominator"] for part in parts)
    assert (found["from"], found["to"], found["previous"], found["change"]) == (None, None, None, None)


async def test_reply_rates_of_a_range_need_every_reply_to_name_its_message(api: Api) -> None:
    await api.post(*HISTORY, replied("r2", "09:25", "old", "b@x.org"))
    found = (await api.json("/v1/summary?from=2025-06-11"))["rates"]
    assert (found["reply_rate"], found["lead_reply_rate"], found["human_reply_rate"]) == (UNKNOWN,) * 3
    assert found["bounce_rate"] == rate(0.333333, 1, 3)
    before = (await api.json("/v1/summary?from=2025-06-11&to=2025-06-11T09:15:00Z"))["rates"]
    assert before["reply_rate"] == rate(0.5, 1, 2), "a campaign without any event in the range does not matter"


async def test_sends_from_before_the_receiver_make_what_counts_leads_unknown(api: Api) -> None:
    await api.post(*HISTORY, bounced("lost", "09:13", campaign="a", step=1))
    figures = '{"sent": {"before_receiver": 4}}'
    statement = "INSERT INTO drift VALUES (1, 0, 'in_sync', 0, 4, 0, '[0,0,0,0,0]', ?)"
    await api.service.database.store._writing.run(lambda _, conn: conn.execute(statement, (figures,)))
    found = await api.json("/v1/summary?from=2025-06-11")
    assert found["observed"]["contacted"] is None
    assert found["rates"] == {
        "bounce_rate": rate(0.333333, 1, 3),
        "hard_bounce_rate": rate(0.333333, 1, 3),
        "reply_rate": UNKNOWN,
        "lead_reply_rate": UNKNOWN,
        "human_reply_rate": UNKNOWN,
    }
    series = await api.json("/v1/series?from=2025-06-11&figures=contacted,sent&group_by=campaign")
    assert [(row["sent"], row["contacted"]) for row in series["data"]] == [(3, None)]


@pytest.mark.parametrize(
    ("query", "parameter", "text"),
    [
        ("compare=last", "compare", "'compare' is 'last'; use previous."),
        ("compare=previous", "compare",
         "'compare' is 'previous', which needs a 'from'; use it with one, or leave 'compare' out."),
        ("from=now&to=-1d", "from", "'from' is 'now'; use a time that is not after 'to', which is '-1d'."),
        ("from=2030-01-01&compare=previous", "from",
         "'from' is '2030-01-01'; use a time that is not after 'to', which is 'now'."),
        ("from=0002-01-01&to=9998-01-01&compare=previous", "from",
         "'from' is '0002-01-01'; use a time that leaves room to compare with, from the year 2 on."),
        ("to=9999-01-01T00:00:00Z", "to", "'to' is '9999-01-01T00:00:00Z'; use a year from 2 to 9998."),
        ("timezone=Mars", "timezone", "'timezone' is 'Mars'; use an IANA time zone such as UTC or Europe/Berlin."),
        ("from=x", "from", "'from' is 'x'; use RFC 3339 with offset, a date, epoch milliseconds, now, or -30m, -6h, "
         "-7d, -2w."),
        ("format=csv", "format", "'format' is not a parameter here; known are: from, to, timezone, compare."),
    ],
)  # fmt: skip
async def test_a_bad_parameter_is_named_with_its_value(api: Api, query: str, parameter: str, text: str) -> None:
    assert await api.refused(f"/v1/summary?{query}") == invalid(parameter, text)


@pytest.mark.parametrize(
    "query",
    ["from=5000-01-01&to=9998-01-01&compare=previous", "from=9990-01-01", "to=1969-01-01", "from=0&to=1",
     "from=now&to=now&compare=previous"],
)  # fmt: skip
async def test_any_range_has_an_answer(api: Api, query: str) -> None:
    await api.post(*HISTORY)
    assert (await api.get(f"/v1/summary?{query}")).status_code == 200


@settings(max_examples=60, deadline=None, suppress_health_check=CHECKS)
@given(story=stories(), bounds=st.tuples(st.integers(-150, 100), st.integers(0, 150)))
def test_a_summary_is_that_of_a_plain_recount(empty_database: Path, story: Story, bounds: tuple[int, int]) -> None:
    from_ms = NOW + bounds[0] * 900_000
    to_ms = from_ms + bounds[1] * 900_000
    known = [fields for fields in story.deliveries() if fields["event"] != "spoilt"]
    params = SummaryParams.model_validate({"from": str(from_ms), "to": str(to_ms)})
    with copy_of(empty_database) as ledger:
        tell(ledger, story)
        with closing(open_for_reading(ledger.path)) as conn:
            found = _answer(conn, Call(params, None, {}, Role.ANALYST, NOW))
    sums: dict[str, Counter[str]] = {basis: Counter() for basis in ("event", "send")}
    for basis, total in sums.items():
        for *_, at, row in booked(known, basis):
            if at is not None and from_ms <= at < to_ms:
                total.update(row)
    expected = {name: sums["event"][name] for name in OBSERVED}
    if to_ms <= NOW:
        expected = {name: value or None for name, value in expected.items()}  # type: ignore[misc]
    assert found["observed"] == expected
    cohort = sums["send"]
    assert found["rates"]["hard_bounce_rate"]["numerator"] == cohort["bounced_hard"]
    assert found["rates"]["bounce_rate"]["denominator"] == cohort["attempted"]
    if found["rates"]["lead_reply_rate"] != UNKNOWN:
        assert found["rates"]["lead_reply_rate"]["numerator"] == cohort["replied"]
        assert found["rates"]["human_reply_rate"]["denominator"] == cohort["contacted"]
