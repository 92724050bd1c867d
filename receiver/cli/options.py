"""What commands share: the options every one takes, loading the settings, and how an error ends a command."""

import contextlib
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from receiver.errors import ConfigurationError, ReceiverError
from receiver.settings import Loaded, load

EXIT_FAILED = 1
EXIT_DRIFT = 3
EXIT_CONFIGURATION = 78  # EX_CONFIG of sysexits.h

Command = TypeVar("Command", bound=Callable[..., Any])


class NumberRange(click.FloatRange):
    """A number within bounds; unlike click's own it refuses `nan`, which is outside of none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is no finite number.", param, ctx)
        return number


def config_option(command: Command) -> Command:
    """`--config FILE`, as the parameter `config_path`."""
    # No check that it exists: click would exit 2, but a missing file is a bad configuration.
    return click.option(
        "--config",
        "config_path",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Configuration file (TOML); also RECEIVER_CONFIG.",
    )(command)


def json_option(command: Command) -> Command:
    """`--json`, as the parameter `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def load_settings(config_path: Path | None, overrides: Mapping[str, object] | None = None) -> Loaded:
    """Load the settings for a command; prints warnings, and ends the command with 78 if they are bad."""
    try:
        loaded = load(config_path, os.environ, overrides or {})
    except ConfigurationError as error:
        end_with(error)
    for warning in loaded.warnings:
        say(f"Warning: {warning}")
    return loaded


def require(problems: list[str]) -> None:
    """End the command with 78 if there are problems, such as those of `Settings.storage_problems`."""
    if problems:
        end_with(ConfigurationError(problems))


def end_with(error: ReceiverError) -> NoReturn:
    """Say what is wrong on standard error, without a traceback, and end the command."""
    if isinstance(error, ConfigurationError):
        for problem in error.problems:
            say(problem)
        raise click.exceptions.Exit(EXIT_CONFIGURATION)
    say(" ".join(str(error).split()))
    raise click.exceptions.Exit(EXIT_FAILED)


def say(words: str) -> None:
    """Print words for people, which go to standard error; data goes to standard output."""
    with contextlib.suppress(OSError):  # a full disk that takes no words stops no work
        click.echo(words, err=True)
