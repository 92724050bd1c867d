"""Sees to it that there are standard streams; imports little, so that it can come before anything is opened."""

import os
import sys

_STANDARD = 3


def open_missing() -> None:
    """Put /dev/null in the place of every standard stream that is closed.

    Else the next file that is opened, perhaps a database, would have its number, and get what is written to it.
    """
    for number in range(_STANDARD):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 # as long as the process
