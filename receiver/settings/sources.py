"""Where settings come from: flags, the environment, secret files and the configuration file."""

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from os.path import isdir
from pathlib import Path

from receiver.settings.catalogue import FIELDS, SECTIONS, VARIABLES, in_words, is_list, is_nullable, variable

_PREFIX = "RECEIVER_"
_OWN_VARIABLES = {"RECEIVER_CONFIG", "RECEIVER_SECRETS_DIR"}
_BOOLEANS: Mapping[str, object] = {"true": True, "1": True, "false": False, "0": False}


@dataclass
class Gathered:
    """What the sources hold, a later one having overwritten an earlier one, and what is wrong with them."""

    values: dict[str, object] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def put(self, key: str, value: object, source: str) -> None:
        self.values[key] = tuple(value) if isinstance(value, list) else value
        self.sources[key] = source


def gather(config_path: Path | None, environ: Mapping[str, str], overrides: Mapping[str, object]) -> Gathered:
    """Read every source, the weakest first."""
    gathered = Gathered()
    if config_path is None and environ.get("RECEIVER_CONFIG"):
        config_path = Path(environ["RECEIVER_CONFIG"])
    if config_path is not None:
        _read_toml(config_path, gathered)
    _read_secret_files(environ, gathered)
    _read_environment(environ, gathered)
    for key, value in overrides.items():
        if value is not None:  # a flag that was not given
            gathered.put(key, value, "--" + key.rpartition(".")[2].replace("_", "-"))
    return gathered


def _read_text(path: Path, what: str, gathered: Gathered, *, optional: bool = False) -> str | None:
    try:
        # Windows editors put a byte order mark first, which must not become part of a secret.
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        if not optional:
            gathered.problems.append(f"{what} '{path}' does not exist; name a file that does.")
    except UnicodeDecodeError:
        gathered.problems.append(f"{what} '{path}' is not UTF-8; save it as UTF-8.")
    except OSError as error:
        gathered.problems.append(f"{what} '{path}' cannot be read ({error.strerror}); name a readable file.")
    return None


def _read_toml(path: Path, gathered: Gathered) -> None:
    text = _read_text(path, "Configuration file", gathered)
    if text is None:
        return
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        # Only the position: the parser's words may quote the file.
        place = re.search(r"line \d+, column \d+", str(error))
        at = f" (at {place[0]})" if place else ""
        gathered.problems.append(f"Configuration file '{path}' is not valid TOML{at}; correct it.")
        return
    for section, table in document.items():
        if section not in SECTIONS:
            gathered.problems.append(f"Unknown section {section!r} in '{path}'; use {_listed(SECTIONS)}.")
        elif not isinstance(table, dict):
            gathered.problems.append(f"'{section}' in '{path}' is not a section; write [{section}] above its keys.")
        else:
            _take_table(section, table, path, gathered)


def _take_table(section: str, table: Mapping[str, object], path: Path, gathered: Gathered) -> None:
    for name, value in table.items():
        key = f"{section}.{name}"
        if key in FIELDS:
            gathered.put(key, value, str(path))
        else:
            gathered.problems.append(f"Unknown setting {key!r} in '{path}'; {_instead(section, name)}")


def _read_secret_files(environ: Mapping[str, str], gathered: Gathered) -> None:
    named = environ.get("RECEIVER_SECRETS_DIR")
    folder = named or environ.get("CREDENTIALS_DIRECTORY")
    if named and not isdir(named):
        gathered.problems.append(
            f"Variable RECEIVER_SECRETS_DIR is '{named}', which is not a folder; name an existing one."
        )
    elif folder:
        _take_secret_files(Path(folder), gathered)


def _take_secret_files(folder: Path, gathered: Gathered) -> None:
    secrets = folder / "webhook.secrets"
    text = _read_text(secrets, "Secret file", gathered, optional=True)
    if text is not None:
        # Not `splitlines`: it also splits at characters that a secret may hold.
        lines = text.rstrip("\n").split("\n") if text.strip("\n") else []
        gathered.put("webhook.secrets", lines, str(secrets))
    api_key = folder / "leadterra.api_key"
    text = _read_text(api_key, "Secret file", gathered, optional=True)
    if text is not None and text.strip("\n"):  # empty where a service manager needs some file: no key
        gathered.put("leadterra.api_key", text.rstrip("\n"), str(api_key))


def _read_environment(environ: Mapping[str, str], gathered: Gathered) -> None:
    if environ.get("LEADTERRA_API_KEY"):
        gathered.put("leadterra.api_key", environ["LEADTERRA_API_KEY"], "LEADTERRA_API_KEY")
    for name in sorted(environ):
        if not name.startswith(_PREFIX) or name in _OWN_VARIABLES:
            continue
        if name in VARIABLES:
            key = VARIABLES[name]
            gathered.put(key, _from_text(key, environ[name]), name)
        elif "__" in name.removeprefix(_PREFIX):
            gathered.problems.append(_unknown_variable(name))
        else:
            gathered.warnings.append(
                f"Variable {name} is not a setting and is ignored; settings are named RECEIVER_SECTION__KEY."
            )


def _unknown_variable(name: str) -> str:
    section, _, key = name.removeprefix(_PREFIX).lower().partition("__")
    if section not in SECTIONS:
        return f"Unknown section in variable {in_words(name)}; use {_listed(SECTIONS)}."
    return f"Unknown setting in variable {in_words(name)}; {_instead(section, key, as_variable=True)}"


def _instead(section: str, name: str, *, as_variable: bool = False) -> str:
    keys = {known: f"{section}.{known}" for known in SECTIONS[section].model_fields}
    if as_variable:
        keys = {known: variable(key) for known, key in keys.items()}
    close = get_close_matches(name, keys, n=1)
    return f"use {_listed([keys[known] for known in close or keys])}."


def _listed(names: Mapping[str, object] | list[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} or {last}" if most else last


def _from_text(key: str, text: str) -> object:
    """The value that an environment variable's text stands for; text that stands for none stays as it is."""
    kind = FIELDS[key].annotation
    if text == "" and is_nullable(key):
        return None
    if kind is bool:
        return _BOOLEANS.get(text.strip().lower(), text)
    if kind is int and re.fullmatch(r"[+-]?[0-9]{1,18}", text.strip()):
        return int(text)
    if kind is float and re.fullmatch(r"[+-]?[0-9]{1,18}(\.[0-9]{1,18})?", text.strip()):
        return float(text)
    return _parse_list(text) if is_list(key) else text


def _parse_list(text: str) -> object:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, list) else text
