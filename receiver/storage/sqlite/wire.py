"""What the process that serves and the one that writes say to each other: pickles, each with its length in front.

Both are this program, over a socket that nobody else has.
"""

import pickle
import struct
import traceback
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

LENGTH = struct.Struct("<Q")


class Asked(NamedTuple):
    """A function over the ledger and its connection, and what else it is called with."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Answer(NamedTuple):
    """The answer to what was asked first and is not answered yet, but for what is only `told` meanwhile."""

    kind: Literal["told", "done", "failed"]
    value: Any


def packed(message: object) -> bytes:
    """A message as it is sent."""
    content = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return LENGTH.pack(len(content)) + content


def failed(error: Exception) -> bytes:
    """An error as it is sent: with its own attributes, such as SQLite's code, and with where it was raised."""
    error.add_note("".join(traceback.format_exception(error)))
    try:
        content = packed(Answer("failed", error))
        pickle.loads(content[LENGTH.size :])  # noqa: S301 # our own, one line above
    except Exception:  # noqa: BLE001 # an error that only its own class can make
        content = packed(Answer("failed", RuntimeError(f"{type(error).__name__}: {error}")))
    return content
