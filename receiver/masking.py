"""Masks e-mail addresses in any text that somebody else wrote: `jo.doe@example.org` becomes `j***@example.org`.

The domain stays, for analysts count by it. What may be an address is masked: one that is none loses a few
letters, one that is shown cannot be taken back. No I/O.
"""

import re
from typing import Any

# An at sign as it is written in mail, in wide letters, in links and in pages.
_SIGNS = ("@", "\N{FULLWIDTH COMMERCIAL AT}", "\N{SMALL COMMERCIAL AT}", "%40", "&#64;")
_SIGN_BYTES = tuple(sign.encode() for sign in _SIGNS)
# Single bytes are found many times as fast as several.
_FIRST_BYTES = tuple(sorted({sign[:1] for sign in _SIGN_BYTES}))
AT = "|".join(map(re.escape, _SIGNS))

# RFC 5322, 3.4.1, read from the sign backwards, for only there it is known that a local part ends: words, in which
# a backslash may stand before a character that else ends them, and quoted strings, first or after a dot.
_SIGN = "|".join(re.escape(sign[::-1]) for sign in _SIGNS)
_WORD = r'(?:[\s<>()\[\]:;,"]\\|[^\s<>()\[\]:;,"@＠﹫])'
_QUOTED = r'"(?:[^"]|"\\)*"'
_LOCAL = re.compile(f"((?:{_SIGN})[ \t]{{0,2}})((?:{_QUOTED}|{_WORD})(?:{_WORD}|(?<=\\.){_QUOTED})*)")


def masked(text: str) -> str:
    """The text with every address in it masked; one that is masked already stays as it is."""
    if not any(sign in text for sign in _SIGNS):
        return text
    return _LOCAL.sub(_mask, text[::-1])[::-1]


def _mask(found: re.Match[str]) -> str:
    first = found[2][::-1].lstrip('"\\ ')[:1]
    return f"{found[1]}***{first if first.isalnum() else ''}"


def may_hold_address(content: bytes) -> bool:
    """Whether there is an at sign in an encoded answer: most have none, and need no second look."""
    return any(first in content for first in _FIRST_BYTES) and any(sign in content for sign in _SIGN_BYTES)


def all_masked(value: Any) -> Any:
    """The same lists and objects, with every text in them masked."""
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, dict):
        return {name: all_masked(part) for name, part in value.items()}
    return [all_masked(part) for part in value] if isinstance(value, list) else value
