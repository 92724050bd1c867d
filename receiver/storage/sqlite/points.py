"""Point reads: questions of which the answer lies on a few pages, however large the database is."""

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from receiver.storage.sqlite.connection import open_for_reading
from receiver.storage.sqlite.store import Readers

P = ParamSpec("P")
T = TypeVar("T")

# A point read takes a tenth of a millisecond. One that takes so long waits for the disk, or is none.
_SLOW_S = 0.05
_PAUSE_S = 1.0
_CHECK_EVERY_STEPS = 1000


class PointReader:
    """Answers on the event loop itself: handing a question to a thread takes ten times as long as its answer.

    What turns out slow is broken off and goes to the readers' threads, and so does all that is asked in the second
    after it: the loop must not wait for a disk that is slow once and again.
    """

    def __init__(self, conn: sqlite3.Connection, readers: Readers, slow_s: float) -> None:
        self._conn = conn
        self._readers = readers
        self._slow_s = slow_s
        self._deadline_s = 0.0
        self._paused_until_s = 0.0
        conn.set_progress_handler(self._is_over, _CHECK_EVERY_STEPS)

    @classmethod
    def open(cls, path: Path, readers: Readers, slow_s: float = _SLOW_S) -> "PointReader":
        """Over a connection of its own. `readers` stay the caller's; `slow_s` is how long the loop may wait."""
        return cls(open_for_reading(path), readers, slow_s)

    async def run(
        self, function: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """The result of `function(connection, …)`, which may be called twice. Raises what `Readers.run` does."""
        begun_s = time.monotonic()
        if begun_s >= self._paused_until_s:
            self._deadline_s = begun_s + self._slow_s
            try:
                return function(self._conn, *args, **kwargs)
            except sqlite3.DatabaseError:
                pass  # too slow, locked or damaged: a reader waits for it, or says what it is
            finally:
                if time.monotonic() > self._deadline_s:
                    self._paused_until_s = time.monotonic() + _PAUSE_S
        return await self._readers.run(function, *args, **kwargs)

    def close(self) -> None:
        self._conn.close()

    def _is_over(self) -> bool:
        return time.monotonic() > self._deadline_s
