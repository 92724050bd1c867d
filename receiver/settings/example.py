"""Writes the example configuration file from the models, so that it cannot fall behind them."""

import json
from textwrap import wrap

from receiver.settings.catalogue import FIELDS, SECTIONS, plain
from receiver.settings.kinds import PLACEHOLDER
from receiver.settings.models import Settings

_WIDTH = 110
_HEADER = """\
# Every setting of leadterra-receiver with its default; a file needs only what differs.
# Each can also be given as RECEIVER_SECTION__KEY in the environment (lists as JSON), which wins over a file.
# Secrets are better kept in files: RECEIVER_SECRETS_DIR names a folder with `webhook.secrets`, one per line,
# and `leadterra.api_key`. `leadterra-receiver config check` says whether a file is good.
"""


def example_toml() -> str:
    """The text of config.example.toml."""
    defaults = Settings()
    lines = [_HEADER]
    for section, model in SECTIONS.items():
        lines += _comment(model.__doc__ or "")
        lines.append(f"[{section}]")
        for name in model.model_fields:
            lines += _entry(f"{section}.{name}", defaults)
        lines.append("")
    return "\n".join(lines[:-1]) + "\n"


def toml_value(value: object) -> str:
    """A text, number, boolean or list as TOML writes it; None, which TOML lacks, is `null`."""
    return json.dumps(value, ensure_ascii=False)


def _entry(key: str, defaults: Settings) -> list[str]:
    field = FIELDS[key]
    name = key.partition(".")[2]
    value = [PLACEHOLDER] if key == "webhook.secrets" else plain(key, defaults)
    comment = _comment(field.description or "")
    if value is None:
        return [*comment, f"# {name} = {toml_value((field.examples or [''])[0])}"]
    return [*comment, f"{name} = {toml_value(value)}"]


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in wrap(text, _WIDTH - 2)]
