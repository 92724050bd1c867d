"""What SIGTERM and Ctrl-C do before a command listens to them itself; imports little, so that it can come first."""

import os
import signal
from collections.abc import Sequence

# These run until they are stopped, so being stopped is how they end well.
UNTIL_STOPPED = frozenset({"serve", "demo", "sandbox"})


def end_well_when_stopped(arguments: Sequence[str]) -> None:
    """From now on either signal ends a command of `UNTIL_STOPPED` with 0; other commands are left as they are.

    `arguments` are those of the command line, without the program. The commands install handlers of their own
    before they acquire anything.
    """
    command = next((argument for argument in arguments if not argument.startswith("-")), None)
    if command in UNTIL_STOPPED:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _end)


def _end(*_: object) -> None:
    # Not by an exception: an import that is under way may swallow it.
    os._exit(0)
