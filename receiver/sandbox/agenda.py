"""What will happen in simulated time, soonest first; of the same time, what was planned first."""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any


class Agenda:
    """A queue of calls with their times."""

    def __init__(self, start_ms: int) -> None:
        self.now_ms = start_ms
        self._entries: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._planned = 0

    def plan(self, at_ms: int, action: Callable[..., None], *arguments: Any) -> None:
        """Call `action` at that time; a time that has passed means now."""
        self._planned += 1
        heappush(self._entries, (max(at_ms, self.now_ms), self._planned, action, arguments))

    def next_ms(self) -> int | None:
        """When the next call is due."""
        return self._entries[0][0] if self._entries else None

    def advance(self, to_ms: int, at_most: int) -> bool:
        """Make the calls that are due up to `to_ms`; False when `at_most` were not enough."""
        for _ in range(at_most):
            if not self._entries or self._entries[0][0] > to_ms:
                self.now_ms = max(self.now_ms, to_ms)
                return True
            self.now_ms, _, action, arguments = heappop(self._entries)
            action(*arguments)
        return False
