"""Shows how far long work is: a bar on a terminal, plain lines elsewhere; always on standard error."""

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from receiver.cli.options import say
from receiver.storage.sqlite.recount import Progress

T = TypeVar("T")

_POLL_S = 0.1
_LINE_EVERY_S = 5.0


class ProgressView:
    """Draws a `Progress` that something else moves."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._console = Console(stderr=True)
        self._last_line_s = time.monotonic()
        self._bars: Bars | None = None

    def __enter__(self) -> "ProgressView":
        if self._console.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
            )
            self._bars = Bars(*columns, console=self._console, transient=True)
            self._bars.start()
            self._task = self._bars.add_task(self._title, total=None)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def show(self, done: int, total: int) -> None:
        """How far it is; a `total` of 0 is one that is not known."""
        done = min(done, total or done)
        if self._bars is not None:
            self._bars.update(self._task, completed=done, total=total or None)
        elif time.monotonic() - self._last_line_s >= _LINE_EVERY_S:
            self._last_line_s = time.monotonic()
            say(f"{self._title}: {done:,} of {total:,}" if total else f"{self._title}: {done:,}")


def watched(title: str, work: Callable[[Progress], T]) -> T:
    """The result of `work`, run in a thread while its progress is shown; from the main thread.

    Ctrl-C asks the work to stop, and raises KeyboardInterrupt when it has ended, since what it uses is closed
    then; a second one ends the process by the signal.
    """
    progress = Progress()
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work(progress))
        except BaseException as error:  # noqa: BLE001 # raised again below, in the caller's thread
            errors.append(error)

    thread = threading.Thread(target=run)
    with ProgressView(title) as view, _asked_to_stop(progress):
        thread.start()
        try:
            while thread.is_alive():
                thread.join(_POLL_S)
                view.show(progress.done, progress.total)
        finally:
            progress.stopped = True  # when showing fails; work that is done takes no notice
            thread.join()
    if errors:
        raise errors[0]
    return results[0]


@contextlib.contextmanager
def _asked_to_stop(progress: Progress) -> Iterator[None]:
    """Ctrl-C sets a flag in here: an exception may come anywhere, and in `Thread.join` makes it forget the thread."""
    asked = False

    def ask(*_: object) -> None:
        nonlocal asked
        asked = progress.stopped = True
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if asked:
        raise KeyboardInterrupt
