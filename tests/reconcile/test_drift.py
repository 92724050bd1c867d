"""The parts of a difference, each at its boundaries, and what follows from them."""

from collections.abc import Sequence

import pytest

from receiver.reconcile.drift import (
    Baseline,
    Case,
    Evaluation,
    FigureDrift,
    Status,
    evaluate,
    observations,
    worst,
)
from tests.reconcile.made import (
    AWAY,
    HARD,
    HUMAN,
    PINNED,
    REPLIED,
    SOFT,
    WORSE,
    around,
    at,
    case,
    counters,
    every,
    summed,
)

PARTS = ("before_receiver", "definition", "skew", "quarantined", "settling", "not_accepting", "unexplained")
UNDETERMINED = {"sent": None, "bounced": None, "replied": None}
HORIZON = 10 * 60 + 51
# Ten sends long ago, a first snapshot that agrees, and one more counted an hour later that never came.
BEFORE = every(range(100, 110))
LOST_AT = 260
LOSS = [(200, counters(10)), (LOST_AT, counters(11))]


def shown(evaluation: Evaluation, figure: str = "sent") -> dict[str, int]:
    """The delta and the parts that are not 0."""
    drift = evaluation.figures[figure]
    assert drift is not None
    return {name: value for name in ("delta", *PARTS, "at_least") if (value := getattr(drift, name))}


def judged(evaluation: Evaluation) -> list[tuple[str, str, int]]:
    """Cause, state and number of each gap."""
    return [(gap.cause, gap.state, gap.at_least) for gap in evaluation.gaps]


def after(
    minutes: float, *closed: tuple[float, float], quarantined: Sequence[int] = (), restamped: bool = False
) -> Evaluation:
    """The one loss, so many minutes after its gap ended."""
    made = case([*LOSS, (LOST_AT + minutes, counters(11))], BEFORE, quarantined={"sent": quarantined})
    return evaluate(made, around(*closed, restamped=restamped))


# Before us, and the baseline.


def test_what_was_there_before_us_is_no_loss() -> None:
    found = evaluate(case([(200, counters(50_000))]), around())
    assert shown(found) == {"delta": 50_000, "before_receiver": 50_000}
    assert (found.status, found.gaps) == (Status.IN_SYNC, [])


def test_a_late_arrival_from_before_the_first_snapshot_makes_it_less() -> None:
    made = case([(200, counters(10)), (300, counters(12))], every([150, 250, 260]))
    assert shown(evaluate(made, around())) == {"delta": 9, "before_receiver": 9}


def test_what_may_all_be_ours_is_not_before_us() -> None:
    made = case([(200, counters(10)), (300, counters(10))], every(range(100, 110)))
    baseline = Baseline(made.baseline.at, counters(10), summed(every(range(100, 109))), summed(BEFORE))
    exact = Case(baseline, made.snapshots, made.curve, made.folded, made.folded_upto)
    assert shown(evaluate(exact, around())) == {}


def test_what_is_not_ours_is_counted_from_the_earliest_moment() -> None:
    made = case([(200, counters(20)), (300, counters(20))], BEFORE)
    baseline = Baseline(made.baseline.at, counters(20), summed(every(range(8))), summed(BEFORE))
    exact = Case(baseline, made.snapshots, made.curve, made.folded, made.folded_upto)
    assert shown(evaluate(exact, around()))["before_receiver"] == 12


# Settling, not accepting, unexplained.


@pytest.mark.parametrize(("minutes", "expected"), [(0, "settling"), (44.99, "settling"), (45, "overdue")])
def test_a_loss_without_any_outage_is_overdue_after_45_minutes(minutes: float, expected: str) -> None:
    assert judged(after(minutes)) == [("unexplained", expected, 1)]


@pytest.mark.parametrize(("minutes", "expected"), [(HORIZON - 0.01, "overdue"), (HORIZON, "missing")])
def test_it_is_missing_after_10_hours_and_51_minutes(minutes: float, expected: str) -> None:
    assert judged(after(minutes)) == [("unexplained", expected, 1)]


def test_a_restart_of_5_minutes_delays_and_explains_nothing() -> None:
    assert judged(after(45, (230, 235))) == [("not_accepting", "settling", 1)]
    assert judged(after(HORIZON - 0.01, (230, 235))) == [("not_accepting", "settling", 1)]
    assert judged(after(HORIZON, (230, 235))) == [("unexplained", "missing", 1)]


def test_an_outage_outside_of_the_gap_delays_nothing() -> None:
    assert judged(after(45, (100, 200), (260, 290))) == [("unexplained", "overdue", 1)]


@pytest.mark.parametrize(("end", "cause"), [(200 + 480, "unexplained"), (200 + 480.1, "not_accepting")])
def test_an_outage_of_more_than_8_hours_explains_what_it_swallowed(end: float, cause: str) -> None:
    snapshots = [(200, counters(10)), (700, counters(11)), (700 + HORIZON, counters(11))]
    found = evaluate(case(snapshots, BEFORE), around((200, end)))
    assert judged(found) == [(cause, "missing", 1)]
    assert shown(found) == {"delta": 1, cause: 1, "at_least": 1}


def test_an_outage_of_several_stretches_explains_too() -> None:
    stretches = [(200, 210), (205 + 25, 205 + 35), (205 + 115, 205 + 125), (205 + 475, 205 + 485)]
    snapshots = [(200, counters(10)), (700, counters(11)), (700 + HORIZON, counters(11))]
    assert judged(evaluate(case(snapshots, BEFORE), around(*stretches))) == [("not_accepting", "missing", 1)]


def test_with_restamped_retries_nothing_is_known_to_be_missing() -> None:
    assert judged(after(HORIZON + 9999, restamped=True)) == [("unexplained", "overdue", 1)]
    assert after(HORIZON, restamped=True).status is Status.MISSING


def test_parts_of_a_gap_move_from_settling_to_unexplained() -> None:
    assert shown(after(44)) == {"delta": 1, "settling": 1, "at_least": 1}
    assert shown(after(45)) == {"delta": 1, "unexplained": 1, "at_least": 1}


# Quarantine.


def test_what_waits_in_quarantine_explains_at_most_the_loss() -> None:
    found = after(60, quarantined=[at(230), at(240), at(250)])
    assert shown(found) == {"delta": 1, "quarantined": 1, "at_least": 1}
    assert found.status is Status.SETTLING


@pytest.mark.parametrize(
    ("arrived", "explains"),
    [(200, False), (200.1, True), (LOST_AT + 1, True), (LOST_AT + 60, True), (LOST_AT + 61.1, False)],
)
def test_a_body_explains_what_it_came_after_until_the_snapshot(arrived: float, explains: bool) -> None:
    assert shown(after(60, quarantined=[at(arrived)])).get("quarantined", 0) == explains


def test_a_body_later_than_any_retry_explains_nothing() -> None:
    assert "quarantined" not in shown(after(2000, quarantined=[at(LOST_AT + HORIZON + 0.1)]))
    assert "quarantined" in shown(after(2000, quarantined=[at(LOST_AT + HORIZON)]))


def test_a_body_explains_one_gap_only_and_best_its_own() -> None:
    snapshots = [(200, counters(10)), (260, counters(11)), (320, counters(12)), (380, counters(12))]
    made = case(snapshots, BEFORE, quarantined={"sent": [at(300)]})
    assert judged(evaluate(made, around())) == [
        ("unexplained", "overdue", 1),
        ("quarantined", "settling", 1),
    ]
    between = case(snapshots, BEFORE, quarantined={"sent": [at(260.5)]})
    assert shown(evaluate(between, around())) == {"delta": 2, "quarantined": 1, "unexplained": 1, "at_least": 2}


def test_a_body_without_a_loss_explains_nothing() -> None:
    made = case([(200, counters(10)), (260, counters(10))], BEFORE, quarantined={"sent": [at(230)]})
    assert shown(evaluate(made, around())) == {}


# Skew, busy and quiet.


def test_what_comes_within_the_next_minute_is_skew_and_no_loss() -> None:
    made = case([(200, counters(10)), (260, counters(12))], [*BEFORE, *every([261, 261.9])])
    found = evaluate(made, around())
    assert shown(found) == {"delta": 2, "skew": 2}
    assert found.status is Status.IN_SYNC


def test_what_comes_after_that_minute_was_missing() -> None:
    made = case([(200, counters(10)), (260, counters(11))], [*BEFORE, *every([262])])
    assert shown(evaluate(made, around())) == {"delta": 1, "settling": 1, "at_least": 1}


def test_a_counter_that_lags_is_skew_as_far_as_there_are_recent_events() -> None:
    recent = [*BEFORE, *every([245, 250, 260])]
    found = evaluate(case([(200, counters(10)), (260, counters(10))], recent), around())
    assert shown(found) == {"delta": -3, "skew": -3}
    found = evaluate(case([(200, counters(10)), (260, counters(9))], recent), around())
    assert shown(found) == {"delta": -4, "skew": -3, "unexplained": -1}
    assert found.status is Status.SURPLUS


@pytest.mark.parametrize(("minute", "quiet"), [(244.9, True), (245, False), (260, False), (261, False), (262, True)])
def test_a_snapshot_is_quiet_a_quarter_of_an_hour_after_and_a_minute_before_any_event(
    minute: float, quiet: bool
) -> None:
    made = case([(200, counters(10)), (260, counters(11))], [*BEFORE, *every([minute])])
    last = observations(made, "sent", "sent", at(260))[-1]
    assert (last.at, last.quiet) == (at(260), quiet)


def test_a_hard_bounce_after_a_soft_one_is_an_event_too() -> None:
    booked = [(at(100), SOFT), (at(255), WORSE)]
    made = case([(200, counters(0, 0)), (260, counters(0, 1))], booked)
    assert not observations(made, "bounced", None, at(260))[-1].quiet


def test_a_human_reply_after_an_automatic_one_is_an_event_too() -> None:
    booked = [(at(100), AWAY), (at(255), HUMAN)]
    made = case([(200, counters()), (260, counters(replied=1))], booked)
    assert not observations(made, "replied", None, at(260))[-1].quiet


def test_while_a_counter_lags_a_known_loss_stays() -> None:
    made = case([*LOSS, (300, counters(11))], [*BEFORE, *every([290])])
    assert shown(evaluate(made, around())) == {"skew": -1, "settling": 1, "at_least": 1}


def test_a_run_of_equal_answers_is_seen_at_both_ends() -> None:
    made = case([(200, 300, counters(10)), (400, counters(11))], BEFORE)
    assert [seen.at for seen in observations(made, "sent", "sent", at(400))] == [at(200), at(300), at(400)]
    gap = evaluate(made, around()).gaps[0]
    assert (gap.from_at, gap.to_at) == (at(300), at(400))


def test_a_counter_that_falls_is_a_surplus() -> None:
    found = evaluate(case([(200, counters(10)), (260, counters(3))], BEFORE), around())
    assert shown(found) == {"delta": -7, "unexplained": -7}
    assert found.status is Status.SURPLUS


def test_counters_of_2_to_the_53_are_exact() -> None:
    most = 2**53
    made = case([(200, counters(most - 1)), (260, counters(most))])
    expected = {"delta": most, "before_receiver": most - 1, "settling": 1, "at_least": 1}
    assert shown(evaluate(made, around())) == expected


# Definitions.


def test_delivered_means_less_by_the_bounces() -> None:
    booked = [*every(range(100, 110)), *every([100, 101], HARD)]
    snapshots = [(50, counters(0)), (200, counters(12, 2))]
    found = evaluate(case(snapshots, booked), around(definitions={**PINNED, "sent": "delivered"}))
    assert shown(found) == {"delta": 2, "definition": 2}


def test_while_undetermined_a_counter_that_is_never_given_hides_nothing() -> None:
    snapshots = [(minutes, counters(sent, delivered=None)) for minutes, sent in ((200, 10), (260, 11), (400, 11))]
    found = evaluate(case(snapshots, BEFORE), around(definitions=UNDETERMINED))
    assert shown(found) == {"delta": 1, "unexplained": 1, "at_least": 1}


def test_without_sent_delivered_and_bounced_stand_for_it() -> None:
    snapshots = [(50, counters(0)), (200, counters(None, 2, delivered=8))]
    assert shown(evaluate(case(snapshots, BEFORE), around())) == {}


def test_hard_only_means_less_by_the_softs() -> None:
    booked = [(at(100), SOFT), (at(101), SOFT), (at(102), HARD), (at(103), WORSE)]
    snapshots = [(50, counters()), (200, counters(9, 2))]
    found = evaluate(case(snapshots, booked), around(definitions={**PINNED, "bounced": "hard"}))
    assert shown(found, "bounced") == {"delta": -1, "definition": -1}


def test_human_only_means_less_by_the_automatic_ones() -> None:
    booked = [(at(100), AWAY), (at(101), REPLIED)]
    snapshots = [(50, counters()), (200, counters(9, replied=1))]
    found = evaluate(case(snapshots, booked), around(definitions={**PINNED, "replied": "human"}))
    assert shown(found, "replied") == {"delta": -1, "definition": -1}


def test_while_undetermined_the_kindest_meaning_counts() -> None:
    booked = [(at(100), SOFT), (at(101), SOFT), (at(102), HARD)]
    for bounced in (1, 3):
        snapshots = [(50, counters()), (200, counters(9, bounced))]
        found = evaluate(case(snapshots, booked), around(definitions=UNDETERMINED))
        assert shown(found, "bounced").get("unexplained", 0) == found.losses["bounced"].total == 0


def test_while_undetermined_only_what_every_meaning_lacks_is_lost() -> None:
    booked = [(at(100), SOFT), (at(102), HARD)]
    snapshots = [(50, counters()), (200, counters(9, 5))]
    found = evaluate(case(snapshots, booked), around(definitions=UNDETERMINED))
    assert shown(found, "bounced") == {"delta": 3, "settling": 3, "at_least": 3}


def test_with_meanings_on_both_sides_nothing_is_known() -> None:
    booked = [(at(100 + number), SOFT) for number in range(5)]
    snapshots = [(50, counters()), (200, counters(9, 2))]
    found = evaluate(case(snapshots, booked), around(definitions=UNDETERMINED))
    assert shown(found, "bounced") == {"delta": -3, "definition": -3}


def test_before_us_is_in_the_terms_of_the_meaning_that_counts() -> None:
    booked = [(at(100), SOFT), (at(101), HARD)]
    snapshots = [(200, counters(9, 7)), (300, counters(9, 7))]
    by_hard = evaluate(case(snapshots, booked), around(definitions={**PINNED, "bounced": "hard"}))
    assert shown(by_hard, "bounced") == {"delta": 5, "before_receiver": 6, "definition": -1}


# What Leadterra leaves out.


def test_without_a_counter_there_is_no_drift_and_no_status() -> None:
    found = evaluate(case([(50, counters()), (200, counters(None, None, None, delivered=None))]), around())
    assert found.figures == {"sent": None, "bounced": None, "replied": None}
    assert found.status is Status.UNKNOWN


def test_a_loss_that_was_known_stays_known_without_a_counter() -> None:
    found = evaluate(case([*LOSS, (400, counters(None, delivered=None))], BEFORE), around())
    assert (found.figures["sent"], found.losses["sent"].total) == (None, 1)
    assert judged(found) == [("unexplained", "overdue", 1)]


# Statuses.


def drift(**parts: int) -> FigureDrift:
    given_ = dict.fromkeys(("delta", *PARTS, "at_least"), 0) | parts
    return FigureDrift(**given_)


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ({}, Status.IN_SYNC),
        ({"before_receiver": 9, "definition": -3, "skew": 2}, Status.IN_SYNC),
        ({"settling": 1}, Status.SETTLING),
        ({"quarantined": 1}, Status.SETTLING),
        ({"unexplained": -1}, Status.SURPLUS),
        ({"unexplained": -1, "settling": 1}, Status.SURPLUS),
        ({"unexplained": 1, "settling": 1}, Status.MISSING),
        ({"not_accepting": 1}, Status.MISSING),
        ({"not_accepting": 1, "unexplained": -5}, Status.MISSING),
    ],
)
def test_the_status_of_a_figure(parts: dict[str, int], status: Status) -> None:
    assert drift(**parts).status is status


def test_a_campaign_has_the_worst_status_of_its_figures() -> None:
    order = [Status.MISSING, Status.SURPLUS, Status.SETTLING, Status.UNKNOWN, Status.IN_SYNC]
    for number in range(len(order)):
        assert worst(order[number:][::-1]) is order[number]
    assert worst([]) is Status.UNKNOWN
