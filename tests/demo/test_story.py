"""The story is the same for a seed, harmless, and over early enough for the last retry."""

from receiver.demo.story import CALM_S, PITCHES, SPAN_S, faults, steps, uploads
from receiver.sandbox.delivery import WAITS_MS
from receiver.sandbox.tokens import Step, check

EMAILS = [lead["email"] for upload in uploads(1) for lead in upload.leads]


def test_the_same_seed_makes_the_same_leads() -> None:
    assert uploads(1) == uploads(1) != uploads(2)


def test_addresses_are_reserved_ones_and_come_once() -> None:
    assert all(email.endswith(".example") for email in EMAILS)
    assert len(set(EMAILS)) == len(EMAILS)


def test_no_lead_leaves_a_gap_in_any_step() -> None:
    for number, pitch in enumerate(PITCHES):
        texts = [Step(step["subject"], step["bodyHtml"], step["delayDays"]) for step in steps(pitch)]
        leads = [lead for upload in uploads(1) if upload.campaign == number for lead in upload.leads]
        assert not check(leads, texts)


def test_every_campaign_starts_once_with_its_first_upload() -> None:
    starting = [upload.campaign for upload in uploads(1) if upload.starts]
    first = [next(upload for upload in uploads(1) if upload.campaign == number) for number in range(len(PITCHES))]
    assert sorted(starting) == list(range(len(PITCHES)))
    assert all(upload.starts for upload in first)


def test_what_goes_wrong_is_over_before_the_last_retry_would_be_late() -> None:
    assert sum(WAITS_MS) / 1000 < CALM_S
    assert all(rule.to_s <= SPAN_S - CALM_S for rule in faults())


def test_no_fault_takes_a_start_away() -> None:
    last_start_s = max(upload.at_s for upload in uploads(1) if upload.starts)
    harmless = ("duplicate", "delay", "reorder")
    assert all(rule.from_s > last_start_s for rule in faults() if rule.fault not in harmless)
