"""Pages of a list: cursors to the next one, and a walk through all, in which memory stays bounded."""

import base64
import binascii
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import orjson

from receiver.web.params import refusal

W = TypeVar("W")
R = TypeVar("R")

PAGE_ROWS = 2000
_INTEGER_MAX = 2**63 - 1  # a larger one cannot be bound


def every(
    read: Callable[[sqlite3.Connection, W, int], Sequence[R]],
    following: Callable[[W, R], W],
    conn: sqlite3.Connection,
    wanted: W,
    limit: int | None,
) -> Iterator[R]:
    """All rows, or the first `limit`; `read` gives a page, `following` asks for what comes after a row."""
    left = limit
    while left is None or left > 0:
        size = PAGE_ROWS if left is None else min(left, PAGE_ROWS)
        page = read(conn, wanted, size)
        yield from page
        if len(page) < size:
            return
        if left is not None:
            left -= size
        wanted = following(wanted, page[-1])


def asked_limit(params: Any) -> int | None:
    """The `limit` that was asked for; None when it is only the default of a page."""
    return params.limit if "limit" in params.model_fields_set else None


def encode_cursor(*values: object) -> str:
    """An opaque cursor over the sort values of the last row."""
    return base64.urlsafe_b64encode(orjson.dumps(values)).rstrip(b"=").decode()


def decode_cursor(text: str | None, *types: type | tuple[type, ...]) -> list[Any] | None:
    """The values of a cursor. Raises InvalidParameterError for one that is not ours."""
    if text is None:
        return None
    try:
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        values = orjson.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, binascii.Error):
        values = None
    if not isinstance(values, list) or len(values) != len(types) or not all(map(_fits, values, types)):
        raise refusal("cursor", text, "a next_cursor of an earlier answer")
    return values


def _fits(value: object, kind: type | tuple[type, ...]) -> bool:
    if isinstance(value, int) and (isinstance(value, bool) or abs(value) > _INTEGER_MAX):
        return False
    return isinstance(value, kind)
