"""What is known about each setting by its dotted key: type, variable, what it takes, and how it is shown."""

import json
import types
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal, get_args, get_origin

from annotated_types import Ge, Le
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from receiver.settings.kinds import Allowed
from receiver.settings.models import Section, Settings

MASK = "********"
_LONGEST_SHOWN = 100

SECTIONS: Mapping[str, type[Section]] = {
    name: field.annotation
    for name, field in Settings.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
}
FIELDS: Mapping[str, FieldInfo] = {
    f"{section}.{name}": field for section, model in SECTIONS.items() for name, field in model.model_fields.items()
}


def variable(key: str) -> str:
    """The environment variable that sets this key."""
    return "RECEIVER_" + key.upper().replace(".", "__")


VARIABLES: Mapping[str, str] = {variable(key): key for key in FIELDS}


def is_secret(key: str) -> bool:
    """Whether the value must never be shown."""
    return SecretStr in _parts(key)


def is_list(key: str) -> bool:
    """Whether the value is a list."""
    return get_origin(FIELDS[key].annotation) is tuple


def is_nullable(key: str) -> bool:
    """Whether the setting may be left without a value."""
    return types.NoneType in _parts(key)


def _parts(key: str) -> tuple[object, ...]:
    annotation = FIELDS[key].annotation
    return annotation, *get_args(annotation)


def allowed(key: str) -> str:
    """What the setting takes, in words that follow "use"."""
    field = FIELDS[key]
    for mark in field.metadata:
        if isinstance(mark, Allowed):
            return mark.text
    if get_origin(field.annotation) is Literal:
        *most, last = get_args(field.annotation)
        return f"{', '.join(most)} or {last}"
    if field.annotation is bool:
        return "true or false"
    low = next(mark.ge for mark in field.metadata if isinstance(mark, Ge))
    high = next(mark.le for mark in field.metadata if isinstance(mark, Le))
    return f"{low} to {high}"


def in_words(value: object) -> str:
    """A refused value for an error line; never one that may hold a password, and never a long one."""
    if isinstance(value, dict):
        return "a table"
    text = repr(value) if isinstance(value, str) else _as_text(value)
    if "@" in text or "?" in text:
        return "not shown here (it may hold a password)"
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"


def _as_text(value: object) -> str:
    if isinstance(value, tuple | list):
        return json.dumps(list(value), default=str)
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def plain(key: str, settings: Settings) -> object:
    """The value as JSON and TOML know it, secrets masked; a time is its RFC 3339 text."""
    section, name = key.split(".")
    value = getattr(getattr(settings, section), name)
    if isinstance(value, SecretStr):
        return MASK
    if isinstance(value, tuple):
        return [MASK if isinstance(entry, SecretStr) else entry for entry in value]
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return int(value) if isinstance(value, float) and value.is_integer() else value
