"""Figures beside the truth, and the words for what was planted."""

from typing import Any

import pytest

from receiver.demo.comparison import Comparison, compare, explanations, verdict
from receiver.demo.reading import Reading, outcomes


def held(reason: str, event: str = "message.sent") -> dict[str, str]:
    return {"reason": reason, "event": event}


def truth(*withheld: dict[str, str], duplicates: int = 0, late: int = 0) -> dict[str, Any]:
    """One campaign that sent ten, of which one never arrived."""
    campaign = {"campaignId": "c", "name": "Hotels", "figures": {"sent": 10}, "expected": {"sent": 9}}
    return {
        "campaigns": [campaign],
        "webhooks": [{"duplicates": duplicates, "late": late}],
        "withheld": list(withheld),
    }


def compared(
    *withheld: dict[str, str], sent: int = 9, pending: int = 0, duplicates: int = 0, late: int = 0, **more: Any
) -> Comparison:
    return compare(
        truth(*withheld, duplicates=duplicates, late=late), Reading({"c": {"sent": sent}}, **more), pending
    )


def test_what_was_withheld_may_be_missing() -> None:
    assert compared().ok
    assert verdict(compared()) == "All 1 figures of 1 campaigns are the truth less what was withheld."


@pytest.mark.parametrize("sent", [8, 10])
def test_anything_else_differs(sent: int) -> None:
    comparison = compared(sent=sent)
    assert not comparison.ok
    assert verdict(comparison) == (
        f"The figures differ other than by what was withheld. Hotels: sent is {sent}, not 9."
    )


def test_lost_replies_are_fetched_once_the_counter_shows_it() -> None:
    figures = {"replies": 4, "replied": 3, "replied_human": 2}
    given = truth()
    given["campaigns"][0] |= {"figures": figures, "expected": {"replies": 3, "replied": 2, "replied_human": 2}}
    assert compare(given, Reading({"c": {**figures, "replies": 3}}), 0).ok
    given["campaigns"][0]["expected"]["replied_human"] = 1
    for human, ok in ((0, False), (1, True), (2, True), (3, False)):
        assert compare(given, Reading({"c": {**figures, "replies": 3, "replied_human": human}}), 0).ok == ok
    assert compare(given, Reading({"c": {**figures, "replies": 3, "replied": 2}}), 0).campaigns[0].differing == [
        "replied"
    ]


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        ({"sent": 1}, "1 sent and 0 bounced missing, which is every one withheld."),
        ({"bounced": 1}, "at least 0 sent and 1 bounced missing; 1 sent and 0 bounced were withheld."),
        ({"sent": 2}, "at least 2 sent and 0 bounced missing; 1 sent and 0 bounced were withheld."),
    ],
)
def test_what_reconciliation_found_is_held_against_what_was_withheld(missing: dict[str, int], sentence: str) -> None:
    given = truth()
    given["campaigns"][0] |= {"figures": {"sent": 10, "bounced": 2}, "expected": {"sent": 9, "bounced": 2}}
    comparison = compare(given, Reading({"c": {"sent": 9, "bounced": 2}}, missing=missing), 0)
    assert explanations(comparison) == [f"Reconciliation, from Leadterra's counters alone: {sentence}"]


def test_a_campaign_that_never_arrived_differs() -> None:
    comparison = compare(truth(), Reading(), 0)
    assert comparison.campaigns[0].differing == ["sent"]


def test_events_under_way_are_no_agreement() -> None:
    comparison = compared(pending=2)
    assert not comparison.ok
    assert verdict(comparison) == "The figures are right so far, but events are still under way."
    assert explanations(comparison) == ["2 events still under way: the sandbox has not given them up."]


def test_drops_are_missing_as_they_must_be() -> None:
    comparison = compared(held("drop"), held("drop"), held("drop", "reply.received"))
    assert explanations(comparison)[:1] == [
        "3 events dropped on purpose (1 reply, 2 sent messages): missing, as they must be."
    ]


@pytest.mark.parametrize(
    ("comparison", "sentence"),
    [
        (
            compared(held("silence", "message.bounced")),
            "1 event in an hour and a half of silence (1 bounce): missing as well.",
        ),
        (
            compared(held("malformed_body"), held("missing_fields"), reasons={"not_json": 1, "missing_field": 1}),
            "2 events mangled: in quarantine (1 missing_field, 1 not_json), in no figure.",
        ),
        (
            compared(held("malformed_body")),
            "1 event mangled: in quarantine (nothing), in no figure.",
        ),
        (
            compared(held("gave_up", "campaign.started")),
            "1 event given up after six tries, not on purpose (1 start): missing.",
        ),
        (
            compared(duplicates=4, outcomes={"duplicate": 5}, repeated=1),
            "4 events sent twice: 4 copies recognised, and each counted once.",
        ),
        (compared(late=7), "7 events late or in another order: counted at the time they happened."),
        (
            compared(outcomes={"signature_invalid": 2}),
            "2 deliveries with a wrong signature: refused, and counted when they came again signed well.",
        ),
    ],
)
def test_every_fault_has_its_sentence(comparison: Comparison, sentence: str) -> None:
    assert sentence in explanations(comparison)


def test_json_has_figures_truth_and_what_was_withheld() -> None:
    assert compared(held("drop"), outcomes={"stored": 9}, missing={"sent": 1}).as_json() == {
        "ok": True,
        "campaigns": [
            {
                "campaign_id": "c",
                "name": "Hotels",
                "observed": {"sent": 9},
                "truth": {"sent": 10},
                "expected": {"sent": 9},
                "differing": [],
            }
        ],
        "withheld": [{"reason": "drop", "event": "message.sent", "events": 1}],
        "deliveries": {"stored": 9},
        "quarantine": {},
        "missing": {"sent": 1},
        "pending": 0,
        "explanations": [
            "1 event dropped on purpose (1 sent message): missing, as they must be.",
            "Reconciliation, from Leadterra's counters alone: "
            "1 sent and 0 bounced missing, which is every one withheld.",
        ],
    }


def test_outcomes_are_read_from_the_exposition() -> None:
    text = (
        "# TYPE receiver_deliveries_total counter\n"
        'receiver_deliveries_total{outcome="stored"} 12.0\n'
        'receiver_deliveries_total{outcome="gone"} 0.0\n'
        'receiver_deliveries_created{outcome="stored"} 1.7e+09\n'
    )
    assert outcomes(text) == {"stored": 12}
