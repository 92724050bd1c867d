"""Rows as CSV and NDJSON: columns from the models of the answers, lines from rows, and which format is asked."""

import csv
import io
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from types import NoneType
from typing import Any, get_args

import orjson
from pydantic import BaseModel

from receiver.web.answers import Rate

# A spreadsheet takes a cell that begins with one of these for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_DROPPED = "observed"


class Format(StrEnum):
    """How rows are written."""

    JSON = "json"
    CSV = "csv"
    NDJSON = "ndjson"


CONTENT_TYPES: Mapping[Format, str] = {
    Format.JSON: "application/json",
    Format.CSV: "text/csv; charset=utf-8",
    Format.NDJSON: "application/x-ndjson",
}
# The first one wins where `Accept` likes several equally.
_MEDIA_TYPES = {
    Format.JSON: ("application", "json"),
    Format.CSV: ("text", "csv"),
    Format.NDJSON: ("application", "x-ndjson"),
}

Path = tuple[str, ...]
Row = Mapping[str, Any]


def negotiated(accept: str) -> Format:
    """What an `Accept` header likes best (RFC 9110, 12.5.1); JSON when it likes nothing that there is."""
    ranges = [found for found in map(_media_range, accept.split(",")) if found is not None]
    best, best_quality = Format.JSON, 0.0
    for format_, media_type in _MEDIA_TYPES.items():
        quality = _quality(media_type, ranges)
        if quality > best_quality:
            best, best_quality = format_, quality
    return best


def _media_range(text: str) -> tuple[str, str, float] | None:
    """Type, subtype and quality; None for what is not one."""
    media_type, *parameters = (part.strip() for part in text.lower().split(";"))
    kind, slash, subtype = media_type.partition("/")
    if not slash:
        return None
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                quality = float(value)
            except ValueError:
                return None
            return (kind, subtype, quality) if 0 <= quality <= 1 else None
    return kind, subtype, 1.0


def _quality(media_type: tuple[str, str], ranges: Sequence[tuple[str, str, float]]) -> float:
    """The quality of the most specific range that holds the type."""
    kind, subtype = media_type
    for wanted in ((kind, subtype), (kind, "*"), ("*", "*")):
        found = [quality for *names, quality in ranges if tuple(names) == wanted]
        if found:
            return max(found)
    return 0.0


def columns(model: type[BaseModel], fields: Collection[str] | None = None) -> dict[str, Path]:
    """Each column's name with the path of its value in a row, in documented order.

    A rate is its value; a field that can only be null is no column. `fields` are the row's own when it has
    not all of the model's.
    """
    found = _leaves(model, ())
    if fields is not None:
        found = [path for path in found if path[0] in fields]
    return {"_".join(part for part in _named(path) if part != _DROPPED): path for path in found}


def _named(path: Path) -> Path:
    return path[:-1] if path[-1] == _RATE_VALUE else path


_RATE_VALUE = "value"


def _leaves(model: type[BaseModel], above: Path) -> list[Path]:
    if issubclass(model, Rate):
        return [(*above, _RATE_VALUE)]
    found: dict[Path, None] = {}
    for name, field in model.model_fields.items():
        path = (*above, field.serialization_alias or field.alias or name)
        models = _models(field.annotation)
        if models:
            found.update(dict.fromkeys(leaf for inner in models for leaf in _leaves(inner, path)))
        elif field.annotation not in (None, NoneType):
            found[path] = None
    return list(found)


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The models of an annotation such as `Rate` or `Provider | None`; none for a list or a plain value."""
    parts = get_args(annotation) if not isinstance(annotation, type) else (annotation,)
    return [part for part in parts if isinstance(part, type) and issubclass(part, BaseModel)]


class Lines:
    """Turns rows into the bytes of one format."""

    def __init__(self, format_: Format, by_name: Mapping[str, Path]) -> None:
        self._names = list(by_name)
        self._values = [_reader(path) for path in by_name.values()]
        self._is_csv = format_ is Format.CSV

    def head(self) -> bytes:
        """What comes before the first row: CSV's header."""
        return _csv([self._names]) if self._is_csv else b""

    def of(self, rows: Iterable[Row]) -> bytes:
        """The lines of some rows."""
        if self._is_csv:
            return _csv([_cell(value(row)) for value in self._values] for row in rows)
        named = list(zip(self._names, self._values, strict=True))
        lines = [orjson.dumps({name: value(row) for name, value in named}) + b"\n" for row in rows]
        return b"".join(lines)


def _reader(path: Path) -> Callable[[Row], Any]:
    if len(path) == 1:
        name = path[0]
        return lambda row: row.get(name)

    def read(row: Row) -> Any:
        value: Any = row
        for name in path:
            value = None if value is None else value.get(name)
        return value

    return read


def _cell(value: object) -> object:
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA) else value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | dict):
        return orjson.dumps(value).decode()
    return value


def _csv(rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode()
