"""Alarms are told once, end slowly, and say in words what is lost, since when and until when."""

import pytest

from receiver.reconcile import alarms
from receiver.reconcile.alarms import Alarm, Breach, OpenGap, check, dead_subscriptions, losses, outages
from tests.reconcile.made import DAY, HOUR_MS, at

DAY_MIN = 24 * 60
START = 14 * 60 + 2  # 14:02


def breach(code: str = "overdue", subject: str = "a", since: int = 100, detail: str = "told") -> Breach:
    return Breach(code, detail, since, subject)


def codes(found: list[Breach]) -> list[str]:
    return [each.code for each in found]


# Once per breach, over after three clean runs.


def test_a_breach_is_told_once() -> None:
    first = check([], [breach()], counts=True)
    assert first.raised == [Alarm(breach())]
    second = check(first.raised, [breach()], counts=True)
    assert (second.raised, second.kept, second.over) == ([], [Alarm(breach())], [])


def test_two_subjects_are_two_alarms() -> None:
    found = check([Alarm(breach())], [breach(), breach(subject="b")], counts=True)
    assert [alarm.key for alarm in found.raised] == [("overdue", "b")]


def test_it_is_over_after_three_clean_runs() -> None:
    held = [Alarm(breach())]
    for number in (1, 2):
        held = list(check(held, [], counts=True).kept)
        assert held == [Alarm(breach(), number)]
    last = check(held, [], counts=True)
    assert (last.kept, last.over) == ([], [Alarm(breach(), 2)])


def test_a_breach_in_between_begins_the_count_anew() -> None:
    held = [Alarm(breach(), 2)]
    assert check(held, [breach()], counts=True).kept == [Alarm(breach(), 0)]


def test_what_does_not_count_ends_no_alarm() -> None:
    held = [Alarm(breach(), 2)]
    for _ in range(5):
        held = list(check(held, [], counts=False).kept)
    assert held == [Alarm(breach(), 2)]


def test_what_does_not_count_raises_and_renews() -> None:
    found = check([Alarm(breach(), 2)], [breach(), breach("missing")], counts=False)
    assert (found.kept, found.raised) == ([Alarm(breach(), 0)], [Alarm(breach("missing"))])


def test_the_earliest_since_and_the_latest_words_stay() -> None:
    found = check([Alarm(breach(since=100, detail="old"))], [breach(since=500, detail="new")], counts=True)
    assert found.kept == [Alarm(breach(since=100, detail="new"))]
    found = check(found.kept, [breach(since=50, detail="new")], counts=True)
    assert found.kept == [Alarm(breach(since=50, detail="new"))]


def test_what_was_over_is_told_again() -> None:
    assert check([], [breach()], counts=True).raised == [Alarm(breach())]


# The countdown.


def test_the_countdown_says_from_when_and_at_the_latest() -> None:
    (found,) = outages([(at(START), at(START + 10))], at(START + 10), running=True)
    assert found.detail == (
        "Nothing is accepted since 2025-06-11 14:02: events from 14:02 are lost from 22:02 on, at the latest 00:38."
    )
    assert (found.code, found.since, found.deadline) == ("not_accepting", at(START), at(START + 480))


def test_a_minute_without_acceptance_is_told_and_less_is_not() -> None:
    assert outages([(at(0), at(0.99))], at(0.99), running=True) == []
    assert codes(outages([(at(0), at(1))], at(1), running=True)) == ["not_accepting"]


def test_who_does_not_run_is_not_told() -> None:
    assert outages([(at(0), at(10))], at(10), running=False) == []


def test_without_an_outage_there_is_nothing_to_tell() -> None:
    assert outages([], at(10), running=True) == []


# What is still expected.


def test_after_an_outage_it_says_what_may_still_come_until_when() -> None:
    (found,) = outages([(at(START), at(START + 20))], at(START + 21), running=True)
    assert found.detail == (
        "Nothing was accepted between 2025-06-11 14:02 and 2025-06-11 14:22; "
        "what was refused may still come until 2025-06-11 14:52."
    )
    assert (found.code, found.deadline) == ("still_expected", at(START + 50))


@pytest.mark.parametrize(
    ("outage", "wait"),
    [
        (1, 1),
        (1.5, 5),
        (5, 5),
        (5.5, 25),
        (6.5, 30),
        (30, 30),
        (31, 90),
        (37, 120),
        (121, 360),
        (157, 480),
        (600, 480),
    ],
)
def test_the_wait_is_the_longest_pause_that_a_sender_can_have_reached(outage: float, wait: float) -> None:
    (found,) = outages([(at(0), at(outage))], at(outage) + 1, running=True)
    assert found.deadline == at(outage + wait)


def test_nothing_is_expected_any_more_once_the_wait_is_over() -> None:
    closed = [(at(0), at(20))]
    assert codes(outages(closed, at(50) - 1, running=True)) == ["still_expected"]
    assert outages(closed, at(50), running=True) == []


def test_after_8_hours_it_says_what_may_be_lost() -> None:
    closed = [(at(0), at(9 * 60))]
    (found,) = outages(closed, at(9 * 60 + 1), running=True)
    assert found.detail.endswith(" Events before 2025-06-11 01:00 may be lost.")
    (found,) = outages([(at(0), at(480))], at(481), running=True)
    assert "lost" not in found.detail


def test_each_outage_is_told_by_itself() -> None:
    closed = [(at(0), at(20)), (at(25), at(45))]
    found = outages(closed, at(46), running=True)
    assert [(each.subject, each.since) for each in found] == [(str(start), start) for start, _ in closed]


# Losses.


def gap(state: str = "overdue", count: int = 1, figure: str = "sent", now: float = 0, **more: str) -> OpenGap:
    return OpenGap(more.get("campaign_id", "a"), figure, at(10), at(20), count, state, at(20 + now))


def test_a_loss_names_figures_times_and_what_is_left_to_hope() -> None:
    (found,) = losses([gap(count=2), gap(count=3), gap(count=1, figure="replied")])
    assert found.detail == (
        "At least 5 sent, 1 replied missing between 2025-06-11 00:10 and 2025-06-11 00:20; "
        "a retry may still bring them."
    )
    assert (found.code, found.since, found.subject, found.campaign_id) == ("overdue", at(20), "a", "a")
    (found,) = losses([gap("missing")])
    assert found.detail.endswith("; no retry can bring them any more.")


def test_what_settles_or_is_closed_is_no_loss() -> None:
    assert losses([gap(state) for state in ("settling", "healed", "superseded")]) == []


def test_campaigns_and_states_are_told_apart() -> None:
    found = losses([gap(), gap("missing"), gap(campaign_id="b")])
    assert [(each.code, each.subject) for each in found] == [("overdue", "a"), ("missing", "a"), ("overdue", "b")]


def test_after_a_week_everybody_knows() -> None:
    assert losses([gap("missing", now=7 * DAY_MIN - 1)])
    assert losses([gap("missing", now=7 * DAY_MIN)]) == []


# Subscriptions.


def test_a_dead_subscription_names_its_event() -> None:
    (found,) = dead_subscriptions({"message.sent": 3}, {"message.sent": DAY + 2 * HOUR_MS})
    assert found.detail == (
        "Leadterra counted 3 more and no 'message.sent' webhook came since 2025-06-11 02:00; "
        "check that the webhook is registered for it."
    )
    assert (found.code, found.subject, found.since) == ("dead_subscription", "message.sent", DAY + 2 * HOUR_MS)


def test_one_or_two_events_do_not_make_a_subscription_dead() -> None:
    assert dead_subscriptions({"message.sent": 2}, {"message.sent": DAY}) == []


def test_every_code_is_listed() -> None:
    told = {"overdue", "missing", "not_accepting", "still_expected", "dead_subscription"}
    assert told < set(alarms.CODES)
    assert len(set(alarms.CODES)) == len(alarms.CODES)
