"""Tokens, addresses, and what a check finds in a list of leads."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.sandbox.chance import Chance, ulid
from receiver.sandbox.model import Campaign, Counters
from receiver.sandbox.tokens import Findings, Gap, Step, check, is_address, render
from tests.sandbox.conftest import MINUTE_MS

STEPS = [Step("Hi {{firstName}} {{ firstName }}", "At {{company}} in {{city}}", 0)]


@pytest.mark.parametrize(
    "address", ["jo@x.org", "jo.li+tag@mail.x-y.co.uk", "JO@X.ORG", "o'neil@x.org", f"{'a' * 64}@x.org"]
)
def test_these_are_addresses(address: str) -> None:
    assert is_address(address)


@pytest.mark.parametrize(
    "address",
    ["", "jo", "@x.org", "jo@", "jo@x", "jo@@x.org", "jo @x.org", ".jo@x.org", "jo..li@x.org", "jo@-x.org", "jo@x.1",
     "jo@x..org", "Jo <jo@x.org>", "jo@x.org\n", f"{'a' * 65}@x.org", f"jo@{'x.' * 130}org", "jö@x.org"],
)  # fmt: skip
def test_these_are_not(address: str) -> None:
    assert not is_address(address)


def test_a_check_names_gaps_malformed_addresses_and_duplicates() -> None:
    leads = [
        {"email": "jo@x.org", "firstName": "Jo", "company": " ", "city": "Ulm"},
        {"email": "JO@x.org", "company": "X", "city": "Ulm"},
        {"email": "bad", "firstName": "Al", "company": "X", "city": "Ulm"},
    ]
    assert check(leads, STEPS) == Findings(
        [Gap("jo@x.org", 1, "bodyHtml", ("company",)), Gap("JO@x.org", 1, "subject", ("firstName",))],
        ["bad"],
        ["jo@x.org"],
    )


@given(st.dictionaries(st.sampled_from(["firstName", "company", "city"]), st.text(min_size=1).filter(str.strip)))
def test_a_gap_is_found_where_rendering_leaves_one(fields: dict[str, str]) -> None:
    found = {name for gap in check([{"email": "jo@x.org", **fields}], STEPS).gaps for name in gap.tokens}
    assert found == {"firstName", "company", "city"} - fields.keys()


def test_what_is_no_token_stays_as_it_is() -> None:
    assert render("{{1x}} {firstName} {{ }} {{a}}", {"a": "{{a}}"}) == "{{1x}} {firstName} {{ }} {{a}}"


def test_ids_sort_by_time() -> None:
    tails = [Chance(1).draws(str(n)).tail for n in range(50)]
    ids = [ulid(1_749_600_000_000 + n, tail) for n, tail in enumerate(tails)]
    assert ids == sorted(ids)
    assert all(len(made) == 26 for made in ids)


def test_counters_are_kept_as_they_were_before_each_minute() -> None:
    campaign = Campaign(1, "camp_1", "x", (), 0)
    for minute in range(1, 4):
        campaign.remember(minute * MINUTE_MS)
        campaign.counters.sent += 1
        campaign.remember(minute * MINUTE_MS + 1)
    sent = [campaign.counters_at(minute * MINUTE_MS).sent for minute in range(5)]
    assert sent == [0, 0, 1, 2, 3]
    assert campaign.counters_at(9 * MINUTE_MS) == Counters(sent=3)
