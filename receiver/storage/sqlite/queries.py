"""Loads the named queries of `sql/*.sql`; a text carries its name as a comment, so a slow log names it."""

import re
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from importlib import resources
from typing import Any

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_ROW = re.compile(r"VALUES (\([^)]*\))")
_ROWS_MAX = 32
_SUM = re.compile(r",\s*sum\((\w+)\)")
_ANY_OF = re.compile(r"IN \(SELECT value FROM json_each\((:\w+)\)\)")
_VALUE = re.compile(r"\w+ AS value\b")
_SERIES = re.compile(r"\bseries\b")
_LIST = re.compile(r"\(:\w+\.\.\.\)")


class Queries:
    """The named queries of one file; `queries["insert_message"]` is its text."""

    def __init__(self, file_name: str) -> None:
        text = resources.files(__package__).joinpath("sql", file_name).read_text("utf-8")
        parts = _NAME.split(text)[1:]
        self._texts = {
            name: f"/* {name} */ {_without_comments(body)}"
            for name, body in zip(parts[::2], parts[1::2], strict=True)
        }
        self._lists: dict[tuple[str, int], str] = {}
        self._rows: dict[tuple[str, int], str] = {}
        self._values: dict[tuple[str, str], str] = {}
        self._narrowed: dict[tuple[str, frozenset[str], bool], str] = {}
        self._by_days: dict[str, str] = {}
        self._by_quarter: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        return self._texts[name]

    def names(self) -> list[str]:
        return list(self._texts)

    def with_list(self, name: str, length: int) -> str:
        """The query with its one `(:list...)` opened to `length` question marks."""
        text = self._lists.get((name, length))
        if text is None:
            marks = ",".join("?" * length)
            text = self._lists[name, length] = _LIST.sub(f"({marks})", self._texts[name])
        return text

    def with_sums(self, name: str, columns: frozenset[str], *, of_one: bool = False) -> str:
        """The query with only those of its `sum(column)` that are asked: each costs as much as finding the row.

        `of_one`: its one list in JSON is a single value. Setting up a list costs as much as reading a hundred rows.
        """
        text = self._narrowed.get((name, columns, of_one))
        if text is None:
            text = _SUM.sub(lambda found: found[0] if found[1] in columns else "", self._texts[name])
            text = _ANY_OF.sub(r"= \1", text) if of_one else text
            self._narrowed[name, columns, of_one] = text
        return text

    def by_days(self, text: str) -> str:
        """A query of this file, as one of the above gives it, over the days instead of the series."""
        found = self._by_days.get(text)
        if found is None:
            found = self._by_days[text] = _SERIES.sub("days", text)
        return found

    def by_quarter(self, text: str) -> str:
        """A query of this file, as one of the above gives it, with one row for each quarter, which comes first."""
        found = self._by_quarter.get(text)
        if found is None:
            selected = text.replace("SELECT ", "SELECT quarter, ", 1)
            grouped = selected.replace("GROUP BY ", "GROUP BY quarter, ")
            found = grouped if grouped != selected else f"{selected}\nGROUP BY quarter"
            self._by_quarter[text] = found
        return found

    def with_value(self, name: str, column: str) -> str:
        """The query with another column in place of its one `column AS value`: what is not asked is not computed.

        Raises ValueError for what is no column's name.
        """
        if not column.isidentifier():
            raise ValueError(f"{column!r} is no column.")
        text = self._values.get((name, column))
        if text is None:
            text = self._values[name, column] = _VALUE.sub(f"{column} AS value", self._texts[name])
        return text

    def with_rows(self, name: str, length: int) -> str:
        """The query with its one row of `VALUES` repeated to `length` rows."""
        text = self._rows.get((name, length))
        if text is None:
            text = _ROW.sub(lambda found: f"VALUES {', '.join([found[1]] * length)}", self._texts[name])
            self._rows[name, length] = text
        return text


def _without_comments(text: str) -> str:
    lines = (line.partition("--")[0].rstrip() for line in text.splitlines())
    return "\n".join(line for line in lines if line)


@cache
def queries(file_name: str) -> Queries:
    return Queries(file_name)


def select_by_keys(
    conn: sqlite3.Connection, name: str, keys: Collection[Any], file_name: str = "ingest.sql"
) -> Iterator[tuple[Any, ...]]:
    """Rows of a query over a list of keys; chunks are padded to a power of two, so few texts are prepared."""
    sql = queries(file_name)
    for chunk in padded(keys):
        yield from conn.execute(sql.with_list(name, len(chunk)), chunk)


def write_rows(
    conn: sqlite3.Connection, name: str, rows: Sequence[tuple[Any, ...]], file_name: str = "ingest.sql"
) -> list[tuple[Any, ...]]:
    """Write rows, many in one statement; what the statement returns of them, in any order.

    `executemany` gives the interpreter's lock away and takes it back for every row; beside a busy event
    loop that costs more than the rows do. Lengths are powers of two, so that few texts are prepared.
    """
    sql = queries(file_name)
    returned: list[tuple[Any, ...]] = []
    begin = 0
    while begin < len(rows):
        length = min(_ROWS_MAX, 1 << ((len(rows) - begin).bit_length() - 1))
        values = [value for row in rows[begin : begin + length] for value in row]
        returned += conn.execute(sql.with_rows(name, length), values)
        begin += length
    return returned


def padded(keys: Collection[Any]) -> Iterator[list[Any]]:
    """Chunks of at most 512 keys, padded to a power of two by repeating the last."""
    rest = list(keys)
    while rest:
        chunk, rest = rest[:512], rest[512:]
        yield chunk + chunk[-1:] * ((1 << (len(chunk) - 1).bit_length()) - len(chunk))
