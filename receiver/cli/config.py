"""`config check` and `config show`: is the configuration good, and where does each value come from."""

import json
from pathlib import Path

import click

from receiver.cli.options import config_option, json_option, load_settings, require, say
from receiver.settings import Loaded, Settings, example_toml, load
from receiver.settings.catalogue import FIELDS, plain
from receiver.settings.example import toml_value


@click.group()
def config() -> None:
    """Check and show the configuration."""


@config.command()
@config_option
def check(config_path: Path | None) -> None:
    """Say what is wrong with the configuration, one line per problem."""
    settings = load_settings(config_path).settings
    require(settings.storage_problems())
    for problem in settings.serve_problems():
        say(f"`serve` would refuse this: {problem}")
    say("The configuration is good.")


@config.command()
@config_option
@json_option
@click.option("--defaults", is_flag=True, help="Print the example file, or the defaults as JSON.")
def show(config_path: Path | None, *, as_json: bool, defaults: bool) -> None:
    """Print every setting with its source; secrets are masked."""
    if defaults and not as_json:
        click.echo(example_toml(), nl=False)
        return
    loaded = load(None, {}, {}) if defaults else load_settings(config_path)
    if as_json:
        click.echo(json.dumps({"data": _rows(loaded)}, indent=2, ensure_ascii=False))
        return
    for row in _rows(loaded):
        click.echo(f"{row['key']} = {toml_value(row['value'])}  # {row['source']}")


def _rows(loaded: Loaded) -> list[dict[str, object]]:
    settings: Settings = loaded.settings
    return [{"key": key, "value": plain(key, settings), "source": loaded.sources[key]} for key in FIELDS]
