"""Whatever comes, the parts add up, and they are what counting minute by minute says."""

from hypothesis import given
from hypothesis import strategies as st

from receiver.reconcile.drift import Case, evaluate
from tests.reconcile.made import (
    AWAY,
    HARD,
    HUMAN,
    PINNED,
    REPLIED,
    SENT,
    SOFT,
    WORSE,
    around,
    at,
    case,
    counters,
    every,
)

PARTS = ("before_receiver", "definition", "skew", "quarantined", "settling", "not_accepting", "unexplained")
HORIZON = 10 * 60 + 51

value = st.one_of(st.none(), st.integers(0, 12))
any_counters = st.builds(
    lambda sent, delivered, bounced, replied: counters(sent, bounced, replied, delivered=delivered),
    value,
    value,
    value,
    value,
)
minute = st.integers(0, 1500)
bookings = st.lists(st.tuples(minute, st.sampled_from([SENT, SOFT, HARD, WORSE, REPLIED, AWAY, HUMAN])), max_size=12)
times = st.lists(minute, min_size=1, max_size=8, unique=True).map(sorted)
outages = st.lists(st.tuples(minute, st.integers(1, 700)), max_size=2)
meanings = st.fixed_dictionaries(
    {
        "sent": st.sampled_from([None, "sent", "delivered", "delivered+bounced"]),
        "bounced": st.sampled_from([None, "any", "hard"]),
        "replied": st.sampled_from([None, "all", "human"]),
    }
)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    booked = sorted((at(moment), counts) for moment, counts in draw(bookings))
    snapshots = [(moment, draw(any_counters)) for moment in draw(times)]
    arrivals = {figure: [at(each) for each in draw(st.lists(minute, max_size=4))] for figure in PINNED}
    return case(snapshots, booked, quarantined=arrivals)


@given(cases(), meanings, outages)
def test_the_parts_always_add_up(made: Case, means: dict[str, str | None], shut: list[tuple[int, int]]) -> None:
    closed = [(start, start + length) for start, length in shut[:1]]
    found = evaluate(made, around(*closed, definitions=means))
    for figure, each in found.figures.items():
        at_least = sum(gap.at_least for gap in found.gaps if gap.figure == figure)
        assert at_least == found.losses[figure].total
        if each is not None:
            assert sum(getattr(each, part) for part in PARTS) == each.delta
            assert each.at_least == at_least >= each.quarantined + each.settling + each.not_accepting >= 0
            assert each.before_receiver >= 0
    assert all(gap.at_least > 0 and gap.from_at < gap.to_at <= found.at for gap in found.gaps)


# A slow reference: one campaign's sends, minute by minute, by the known meaning.

Snapshots = list[tuple[int, int]]


def reference(
    snapshots: Snapshots, sends: list[int], shut: set[int]
) -> tuple[dict[str, int], list[tuple[int, int, str, str]]]:
    """The parts and the gaps of single events, with everything in whole minutes."""
    t0, first = snapshots[0]
    last, value = snapshots[-1]
    before = max(0, first - sum(moment <= t0 for moment in sends))
    stack: list[tuple[int, int]] = []
    quiet_at = t0
    for moment, counter in snapshots:
        lacking = counter - before - sum(send <= moment + 1 for send in sends)
        quiet = not any(moment - 15 <= send <= moment + 1 for send in sends)
        wanted = max(0, lacking) if quiet else max(len(stack), lacking)
        del stack[wanted:]
        stack += [(quiet_at, moment)] * (wanted - len(stack))
        quiet_at = moment if quiet else quiet_at
    delta = value - sum(moment <= last for moment in sends)
    recent = sum(last - 15 <= moment <= last for moment in sends)
    skew = max(delta - before - len(stack), -recent)
    parts = {"delta": delta, "before_receiver": before, "skew": skew, "at_least": len(stack)}
    gaps = [(*gap, *_verdict(*gap, last, shut)) for gap in stack]
    parts["settling"] = sum(state == "settling" for *_, state in gaps)
    parts["not_accepting"] = sum(cause == "not_accepting" and state != "settling" for *_, cause, state in gaps)
    parts["unexplained"] = delta - before - skew - parts["settling"] - parts["not_accepting"]
    return parts, gaps


def _verdict(start: int, end: int, now: int, shut: set[int]) -> tuple[str, str]:
    refused = any(moment in shut for moment in range(start, end))
    age = now - end
    if age < 45 or (refused and age < HORIZON):
        return "not_accepting" if refused else "unexplained", "settling"
    swallowed = any(
        all(moment + wait in shut for wait in waits)
        for moment in range(start, end)
        for waits in ((0, 1, 5, 30, 120, 480), (0, 1, 6, 36, 156, 636))
    )
    return "not_accepting" if swallowed else "unexplained", "overdue" if age < HORIZON else "missing"


@given(
    st.lists(
        st.tuples(st.integers(0, 2500), st.integers(0, 8)), min_size=1, max_size=8, unique_by=lambda each: each[0]
    ),
    st.lists(st.integers(0, 2500), max_size=8),
    outages,
)
def test_it_is_what_counting_minute_by_minute_says(
    snapshots: Snapshots, sends: list[int], shut: list[tuple[int, int]]
) -> None:
    snapshots.sort()
    closed = [(start, start + length) for start, length in shut[:1]]
    found = evaluate(
        case([(moment, counters(value)) for moment, value in snapshots], every(sorted(sends))), around(*closed)
    )
    minutes = {moment for start, end in closed for moment in range(start, end)}
    parts, gaps = reference(snapshots, sends, minutes)
    drift = found.figures["sent"]
    assert {name: getattr(drift, name) for name in parts} == parts
    assert [(at(start), at(end), cause, state) for start, end, cause, state in gaps] == [
        (gap.from_at, gap.to_at, gap.cause, gap.state)
        for gap in found.gaps
        if gap.figure == "sent"
        for _ in range(gap.at_least)
    ]
