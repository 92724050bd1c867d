"""The watch over a running service: what it tells, also when nothing can be written, and what it keeps to itself."""

from structlog.testing import capture_logs

from receiver.reconcile.alarms import CODES
from receiver.reconcile.books import Run
from receiver.reconcile.watch import alarm_counts
from tests.ingest.conftest import DAY_MS, NOW_MS
from tests.reconcile.conftest import Watched

MINUTE_MS = 60_000
SENT = (
    b'{"event": "message.sent", "timestamp": "2025-06-11T09:30:00Z", "data": {"messageId": "m", "campaignId": "a"}}'
)


def refuse(watched: Watched, outcome: str = "unavailable", count: int = 1) -> None:
    for _ in range(count):
        watched.meters.refuse(outcome, watched.clock.now_ms(), shaped=True)


def unheard(watched: Watched, **counts: int) -> Run:
    """A run in which counters told of events that no webhook did."""
    now = watched.clock.now_ms()
    return Run(1, "test", now, unheard={name.replace("_", "."): (count, now) for name, count in counts.items()})


async def test_a_service_at_rest_has_no_alarm(watched: Watched) -> None:
    assert await watched.check() == []
    assert await watched.after_run() == []


# While nothing can be written.


async def test_it_tells_that_nothing_is_accepted_although_nothing_can_be_written(watched: Watched) -> None:
    with watched.locked():
        watched.clock.tick(2 * MINUTE_MS)
        refuse(watched)
        assert await watched.check() == ["not_accepting", "refused"]
    assert watched.stored() == []
    (told,) = [alarm.breach for alarm in watched.told[-1] if alarm.breach.code == "not_accepting"]
    assert told.detail == (
        "Nothing is accepted since 2025-06-11 09:30: events from 09:30 are lost from 17:30 on, at the latest 20:06."
    )


async def test_what_could_not_be_written_is_told_once_and_written_later(watched: Watched) -> None:
    with capture_logs() as logs:
        with watched.locked():
            watched.clock.tick(2 * MINUTE_MS)
            refuse(watched)
            for _ in range(2):
                await watched.check()
        await watched.writer._beat()
        assert "refused" in await watched.check()
    assert [entry["code"] for entry in logs if entry["event"] == "alarm"].count("refused") == 1
    assert "refused" in watched.stored()


async def test_what_could_not_be_written_ends_as_slowly_as_the_rest(watched: Watched) -> None:
    with watched.locked():
        refuse(watched)
        await watched.check()
    assert [await watched.after_run() for _ in range(3)] == [["refused"], ["refused"], []]
    assert watched.stored() == []


# Clocks.


async def test_a_clock_that_was_set_forward_is_no_outage(watched: Watched) -> None:
    watched.clock.jump(2 * DAY_MS)
    assert await watched.check() == []


async def test_a_clock_that_was_set_back_is_no_outage(watched: Watched) -> None:
    watched.clock.jump(-2 * DAY_MS)
    assert await watched.check() == []


# What the intake knows.


async def test_a_refusal_is_told_once_and_over_after_three_clean_runs(watched: Watched) -> None:
    refuse(watched, "body_too_large")
    assert [await watched.after_run() for _ in range(4)] == [["refused"]] * 3 + [[]]


async def test_three_rejections_in_a_row_are_a_wrong_secret_and_two_are_not(watched: Watched) -> None:
    refuse(watched, "signature_invalid", 2)
    assert await watched.check() == []
    refuse(watched, "signature_invalid")
    assert await watched.check() == ["wrong_secret"]


async def test_a_delivery_that_came_too_late_for_any_retry_is_told(watched: Watched) -> None:
    watched.meters.came_late()
    assert await watched.check(counts=True) == ["late_deliveries"]


async def test_checks_between_runs_end_no_alarm(watched: Watched) -> None:
    refuse(watched)
    assert [await watched.check() for _ in range(5)] == [["refused"]] * 5


async def test_alarms_survive_a_restart_with_their_first_time(watched: Watched) -> None:
    refuse(watched)
    await watched.check()
    watched.clock.tick(MINUTE_MS)
    refuse(watched)
    await watched.check()
    assert watched.rows("SELECT code, since, clean_runs FROM alarms WHERE code = 'refused'") == [
        ("refused", NOW_MS, 0)
    ]


# Subscriptions.


async def test_a_type_that_never_comes_is_dead_after_a_minute(watched: Watched) -> None:
    assert await watched.after_run(unheard(watched, message_sent=3)) == []
    watched.clock.tick(MINUTE_MS)
    await watched.writer._beat()
    assert await watched.check() == ["dead_subscription"]


async def test_a_few_events_are_summed_over_runs(watched: Watched) -> None:
    for _ in range(3):
        await watched.after_run(unheard(watched, message_sent=1))
    watched.clock.tick(MINUTE_MS)
    await watched.writer._beat()
    assert await watched.check() == ["dead_subscription"]


async def test_one_webhook_of_the_type_ends_it(watched: Watched) -> None:
    await watched.after_run(unheard(watched, message_sent=5, reply_received=5))
    watched.clock.tick(MINUTE_MS)
    await watched.deliver(SENT)
    await watched.check()
    assert [alarm.breach.subject for alarm in watched.told[-1]] == ["reply.received"]


# Runs.


async def test_a_run_without_any_answer_is_told_with_its_reason(watched: Watched) -> None:
    error = {"campaign_id": "a", "reason": "unauthorized", "detail": "Leadterra refused the key."}
    failed = Run(1, "test", NOW_MS, status="failed", errors=[error])
    assert await watched.after_run(failed) == ["leadterra_unanswered"]
    assert watched.told[-1][0].breach.detail == "No campaign could be asked: Leadterra refused the key."


async def test_every_code_has_a_count(watched: Watched) -> None:
    refuse(watched)
    await watched.check()
    assert alarm_counts(watched.told[-1]) == {code: int(code == "refused") for code in CODES}
