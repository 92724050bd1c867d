"""Walks through a list page by page, so that memory stays bounded however long it is."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

W = TypeVar("W")
R = TypeVar("R")

PAGE_ROWS = 2000


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
