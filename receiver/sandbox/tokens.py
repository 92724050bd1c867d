"""Renders `{{tokens}}` into steps, and finds beforehand which leads would get a gap such as "Hi ,"."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

_TOKEN = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")
# Stricter than RFC 5321: quoted local parts and address literals are typing errors in a list of leads.
_LOCAL = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS = re.compile(rf"{_LOCAL}@(?:{_LABEL}\.)+[A-Za-z](?:[A-Za-z0-9-]*[A-Za-z0-9])")
_LOCAL_MAX = 64
_ADDRESS_MAX = 254


class Step(NamedTuple):
    """One e-mail of a sequence; `delay_days` counts from the step before it, of the first from the start."""

    subject: str
    body_html: str
    delay_days: float


class Gap(NamedTuple):
    """A lead that would get a step (from 1) with holes, and the tokens that leave them."""

    email: str
    step: int
    field: str
    tokens: tuple[str, ...]


class Findings(NamedTuple):
    """What should be mended before a start."""

    gaps: list[Gap]
    malformed: list[str]
    duplicates: list[str]

    def __bool__(self) -> bool:
        return bool(self.gaps or self.malformed or self.duplicates)


def is_address(text: str) -> bool:
    """Whether this is an address that a mail server could take."""
    fits = len(text) <= _ADDRESS_MAX and len(text.partition("@")[0]) <= _LOCAL_MAX
    return fits and _ADDRESS.fullmatch(text) is not None


def render(text: str, fields: Mapping[str, str]) -> str:
    """The text with every token replaced; a field that the lead lacks becomes the empty string."""
    return _TOKEN.sub(lambda match: fields.get(match[1], ""), text)


def missing_tokens(text: str, fields: Mapping[str, str]) -> tuple[str, ...]:
    """The tokens that would leave a gap, each once, in the order of the text."""
    found = dict.fromkeys(match[1] for match in _TOKEN.finditer(text))
    return tuple(name for name in found if not fields.get(name, "").strip())


def gaps(leads: Iterable[Mapping[str, str]], steps: Sequence[Step]) -> Iterator[Gap]:
    """Every gap, lead by lead. A lead's address is its field `email`."""
    texts = [
        (number, field, text)
        for number, step in enumerate(steps, 1)
        for field, text in (("subject", step.subject), ("bodyHtml", step.body_html))
        if _TOKEN.search(text)
    ]
    for fields in leads:
        for number, field, text in texts:
            missing = missing_tokens(text, fields)
            if missing:
                yield Gap(fields["email"], number, field, missing)


def check(leads: Sequence[Mapping[str, str]], steps: Sequence[Step]) -> Findings:
    """All findings about a list of leads, for which no server is needed."""
    seen: dict[str, int] = {}
    for fields in leads:
        email = fields["email"].lower()
        seen[email] = seen.get(email, 0) + 1
    return Findings(
        list(gaps(leads, steps)),
        [fields["email"] for fields in leads if not is_address(fields["email"])],
        [email for email, count in seen.items() if count > 1 and email],
    )
