"""Puts the sources together, checks every value, and reports all that is wrong at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from receiver.errors import ConfigurationError
from receiver.settings.catalogue import FIELDS, SECTIONS, allowed, in_words, is_list, is_secret
from receiver.settings.models import Settings
from receiver.settings.sources import gather

# Said of a secret whose value is of the wrong type; of other settings the value itself is shown.
_WRONG_TYPES = {"tuple_type": "is not a list", "string_type": "has a value that is not text"}


@dataclass(frozen=True)
class Loaded:
    """The settings, the source of each by its dotted key, and what the operator should know."""

    settings: Settings
    sources: Mapping[str, str]
    warnings: list[str]


def load(config_path: Path | None, environ: Mapping[str, str], overrides: Mapping[str, object]) -> Loaded:
    """Load the settings: `overrides` (dotted keys; None is "not given") > environment > files > defaults.

    Raises ConfigurationError with one problem per line; no line holds a secret.
    """
    gathered = gather(config_path, environ, overrides)
    refused = _refusals(gathered.values)
    good = {key: value for key, value in gathered.values.items() if key not in refused}
    settings = Settings.model_validate(_nested(good))
    problems = gathered.problems + [refused[key] for key in FIELDS if key in refused]
    # Keys that could not be read or used may be the very ones that would settle a conflict.
    if not gathered.problems:
        problems += [text for keys, text in settings.conflicts() if not keys & refused.keys()]
    if problems:
        raise ConfigurationError(problems)
    sources = {key: gathered.sources.get(key, "default") for key in FIELDS}
    return Loaded(settings, sources, gathered.warnings + settings.warnings())


def _refusals(values: Mapping[str, object]) -> dict[str, str]:
    try:
        Settings.model_validate(_nested(values))
    except ValidationError as error:
        details = error.errors(include_input=False, include_url=False, include_context=False)
    else:
        return {}
    refused: dict[str, str] = {}
    for detail in details:
        key = f"{detail['loc'][0]}.{detail['loc'][1]}"
        refused.setdefault(key, _problem(key, values[key], detail["type"], detail["msg"]))
    return refused


def _problem(key: str, value: object, error_type: str, words: str) -> str:
    if error_type == "refused":
        said = words
    elif is_secret(key):
        said = _WRONG_TYPES[error_type]
    else:
        said = f"is {in_words(value)}"
    in_environment = """ (in the environment as JSON: '["one", "two"]')""" if isinstance(value, str) else ""
    return f"Setting '{key}' {said}; use {allowed(key)}{in_environment if is_list(key) else ''}."


def _nested(values: Mapping[str, object]) -> dict[str, dict[str, object]]:
    sections: dict[str, dict[str, object]] = {section: {} for section in SECTIONS}
    for key, value in values.items():
        section, _, name = key.partition(".")
        sections[section][name] = value
    return sections
