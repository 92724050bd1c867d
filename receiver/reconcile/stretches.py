"""When we did not accept, and what could be lost to it: arithmetic on half-open stretches of time, no I/O.

All times are epoch milliseconds.
"""

from collections.abc import Iterable, Sequence

Stretch = tuple[int, int]

_MINUTE = 60_000
_HOUR = 60 * _MINUTE

# Leadterra tries six times; whether each wait counts from the first failure or from the try before is not stated
# (leadterra-api.md, section 1).
FROM_FIRST_FAILURE = (0, _MINUTE, 5 * _MINUTE, 30 * _MINUTE, 2 * _HOUR, 8 * _HOUR)
FROM_LAST_TRY = (0, _MINUTE, 6 * _MINUTE, 36 * _MINUTE, 156 * _MINUTE, 636 * _MINUTE)


def not_accepting(accepting: Sequence[Stretch], refusing: Iterable[Stretch], since: int, until: int) -> list[Stretch]:
    """The stretches from `since` to `until` outside all of `accepting`, or inside one of `refusing`."""
    closed: list[Stretch] = []
    begin = since
    for start, end in sorted(accepting):
        if start > begin:
            closed.append((begin, min(start, until)))
        begin = max(begin, end)
        if begin >= until:
            break
    if begin < until:
        closed.append((begin, until))
    clipped = [(max(start, since), min(end, until)) for start, end in refusing]
    return merged([*closed, *clipped])


def merged(stretches: Iterable[Stretch]) -> list[Stretch]:
    """The same time as the fewest stretches, in order."""
    whole: list[Stretch] = []
    for start, end in sorted(stretches):
        if start >= end:
            continue
        if whole and start <= whole[-1][1]:
            whole[-1] = (whole[-1][0], max(whole[-1][1], end))
        else:
            whole.append((start, end))
    return whole


def common(left: Sequence[Stretch], right: Sequence[Stretch]) -> list[Stretch]:
    """What two ordered lists of stretches share."""
    shared: list[Stretch] = []
    i = j = 0
    while i < len(left) and j < len(right):
        start, end = max(left[i][0], right[j][0]), min(left[i][1], right[j][1])
        if start < end:
            shared.append((start, end))
        if left[i][1] < right[j][1]:
            i += 1
        else:
            j += 1
    return shared


def overlap(stretches: Sequence[Stretch], start: int, end: int) -> bool:
    """Whether any stretch shares time with the one from `start` to `end`."""
    return any(begin < end and start < stop for begin, stop in stretches)


def all_attempts_inside(start: int, end: int, closed: Sequence[Stretch]) -> bool:
    """Whether an event from between `start` and `end` can have had all its six attempts inside `closed`."""
    return any(_all_inside(start, end, closed, schedule) for schedule in (FROM_FIRST_FAILURE, FROM_LAST_TRY))


def _all_inside(start: int, end: int, closed: Sequence[Stretch], schedule: Sequence[int]) -> bool:
    moments: list[Stretch] = [(start, end)]
    for wait in schedule:
        moments = common(moments, [(begin - wait, stop - wait) for begin, stop in closed])
        if not moments:
            return False
    return True
