"""The known loss and its gaps, step by step, and against a list of single missing events."""

from hypothesis import given
from hypothesis import strategies as st

from receiver.reconcile.losses import Gap, Losses, Observation, fold

START = Losses(quiet_at=0)
observation = st.tuples(st.integers(-5, 20), st.booleans())


def seen(*given_: tuple[int, int, bool]) -> Losses:
    return fold(START, [Observation(at, lacking, quiet) for at, lacking, quiet in given_])


def test_nothing_seen_is_nothing_lost() -> None:
    assert fold(START, []) == START
    assert START.total == 0


def test_a_rise_is_a_gap_from_the_last_quiet_snapshot() -> None:
    losses = seen((5, 0, True), (10, 3, False))
    assert (losses.gaps, losses.total, losses.quiet_at) == ((Gap(5, 10, 3),), 3, 5)


def test_before_any_quiet_snapshot_a_gap_begins_at_the_first() -> None:
    assert seen((5, 0, False), (10, 2, False)).gaps == (Gap(0, 10, 2),)


def test_a_quiet_rise_begins_at_the_quiet_snapshot_before_it() -> None:
    losses = seen((5, 0, True), (10, 1, True), (15, 3, True))
    assert losses.gaps == (Gap(5, 10, 1), Gap(10, 15, 2))


def test_while_it_is_busy_the_loss_never_falls() -> None:
    losses = seen((5, 4, False), (10, 1, False), (15, -3, False), (20, 4, False))
    assert losses.gaps == (Gap(0, 5, 4),)


def test_while_it_is_busy_only_what_is_more_than_known_is_a_new_gap() -> None:
    assert seen((5, 4, False), (10, 2, False), (15, 6, False)).gaps == (Gap(0, 5, 4), Gap(0, 15, 2))


def test_a_quiet_snapshot_sets_the_loss_and_closes_the_newest_gaps_first() -> None:
    losses = seen((5, 2, True), (10, 5, True), (15, 1, True))
    assert (losses.gaps, losses.fallen) == ((Gap(0, 5, 1),), frozenset({10}))


def test_a_gap_that_shrinks_is_not_closed() -> None:
    losses = seen((5, 2, True), (10, 5, True), (15, 3, True))
    assert (losses.gaps, losses.fallen) == ((Gap(0, 5, 2), Gap(5, 10, 1)), frozenset())


def test_a_surplus_closes_all_and_is_no_loss() -> None:
    losses = seen((5, 2, True), (10, 5, True), (15, -7, True))
    assert (losses.gaps, losses.total, losses.fallen) == ((), 0, frozenset({5, 10}))


def test_what_was_closed_may_open_again_in_another_gap() -> None:
    losses = seen((5, 2, True), (10, 0, True), (15, 2, True))
    assert losses.gaps == (Gap(10, 15, 2),)


def reference(history: list[tuple[int, bool]]) -> tuple[list[tuple[int, int]], int]:
    """Every missing event by itself, as (from, to) of its gap: a stack."""
    stack: list[tuple[int, int]] = []
    quiet_at = 0
    for number, (lacking, quiet) in enumerate(history, 1):
        wanted = max(0, lacking) if quiet else max(len(stack), lacking)
        while len(stack) > wanted:
            stack.pop()
        while len(stack) < wanted:
            stack.append((quiet_at, number))
        quiet_at = number if quiet else quiet_at
    return stack, quiet_at


@given(st.lists(observation, max_size=15))
def test_gaps_are_a_stack_of_missing_events(history: list[tuple[int, bool]]) -> None:
    losses = fold(START, [Observation(number, *each) for number, each in enumerate(history, 1)])
    stack, quiet_at = reference(history)
    assert [(gap.from_at, gap.to_at) for gap in losses.gaps for _ in range(gap.at_least)] == stack
    assert (losses.total, losses.quiet_at) == (len(stack), quiet_at)
    assert all(gap.from_at < gap.to_at and gap.at_least > 0 for gap in losses.gaps)
    assert [gap.to_at for gap in losses.gaps] == sorted({gap.to_at for gap in losses.gaps})
    assert not losses.fallen & {gap.to_at for gap in losses.gaps}


@given(st.lists(observation, max_size=15), st.integers(0, 15))
def test_folding_in_two_goes_is_folding_in_one(history: list[tuple[int, bool]], cut: int) -> None:
    observations = [Observation(number, *each) for number, each in enumerate(history, 1)]
    assert fold(fold(START, observations[:cut]), observations[cut:]) == fold(START, observations)
