"""Takes one address out of bodies and texts, in whatever form it is written there: no I/O.

A body still tells of the same event afterwards: where the address is the recipient, or a part of an id, the key that
the ledger knows it by stands in its place; elsewhere `***@` and the domain, which figures count by.
"""

import re
from collections.abc import Callable
from typing import Any

import orjson

from receiver.events import erased, message_key, reply_key
from receiver.leadterra.payloads import ID_MAX, address, domain_of, lead_of

# Case, as the ledger sees it, and the wide at signs.
_FOLD = str.maketrans({**{chr(code): chr(code + 32) for code in range(65, 91)}, "\uff20": "@", "\ufe6b": "@"})
# A character as JSON, links and pages write it; JSON within JSON has more backslashes.
_ESCAPE = re.compile(
    r'\\+(?:u([0-9a-fA-F]{4})|([nrtbf])|([/"]))'
    r"|((?:%[0-9a-fA-F]{2})+)"
    r"|&(?:#([0-9]{1,7})|#[xX]([0-9a-fA-F]{1,6})|(commat|lt|gt|quot));"
)
_NAMED = {"commat": "@", "lt": "<", "gt": ">", "quot": '"'}
_RUN = re.compile(r"[a-z0-9]+")
# Neither a letter nor a digit before it, nor one of these that joins it to one: that would be somebody else's.
_APART_BEFORE, _APART_AFTER = r"(?<![^\W_])", r"(?![^\W_])"
_BEFORE = _APART_BEFORE + r"(?<![^\W_][._+\-'])"
_AFTER = _APART_AFTER + r"(?![._\-][^\W_])"

_RECIPIENTS = (("data", "reply", "email"), ("data", "email"), ("data", "lead", "email"), ("data", "to"))
_MESSAGES = (("data", "messageId"), ("data", "reply", "messageId"))
_REPLIES = (("data", "reply", "id"), ("data", "id"))
_Path = tuple[str, ...]


def erasable(email: str) -> str | None:
    """The address part of an e-mail address as the ledger sees it; None when it is none."""
    found = address(email)
    local, _, domain = found.rpartition("@")
    return found if local and domain and not re.search(r"\s", domain) and len(found) <= ID_MAX else None


class Erasure:
    """One address, as `erasable` gives it; `lead_key` is the database's own."""

    def __init__(self, erased_address: str, lead_key: bytes) -> None:
        self.address = erased_address
        self._instead = f"***@{erased_address.rpartition('@')[2]}"
        self._pattern = re.compile(_BEFORE + re.escape(erased_address) + _AFTER)
        # Within an id there is no telling where an address begins.
        self._in_id = re.compile(_APART_BEFORE + re.escape(erased_address) + _APART_AFTER)
        self._stands_for: dict[_Path, Callable[[str], str]] = {
            **dict.fromkeys(_RECIPIENTS, lambda text: _recipient(text, lead_key)),
            **dict.fromkeys(_MESSAGES, lambda text: erased(message_key(text))),
            **dict.fromkeys(_REPLIES, lambda text: erased(reply_key(text))),
        }

    @property
    def runs(self) -> tuple[str, str]:
        """Letters and digits that every text with the address holds as they are, unless it holds escapes."""
        local, _, domain = self.address.rpartition("@")
        return _longest_run(local), _longest_run(domain)

    def is_in(self, text: str) -> bool:
        return self._pattern.search(_unfolded(text)[0]) is not None

    def resembles(self, text: str) -> bool:
        """Whether the address stands in the text, if only as a part of a longer one, which is somebody else's."""
        return self.address in _unfolded(text)[0]

    def without(self, text: str) -> str:
        """The text with `***@` and the domain wherever the address was."""
        folded, places = _unfolded(text)
        parts, after = [], 0
        for found in self._pattern.finditer(folded):
            parts += [text[after : places[found.start()]], self._instead]
            after = places[found.end()]
        return "".join([*parts, text[after:]])

    def body_without(self, body: bytes) -> bytes:
        """A body without the address; the same bytes when it is not in it. What is no JSON is taken as text."""
        text = _text(body)
        if not self.resembles(text):
            return body
        try:
            payload = orjson.loads(body)
            left = self._value(payload, ())
            # Of a name that comes twice only the last is read.
            return body if left == payload and not self.is_in(text) else orjson.dumps(left)
        except (orjson.JSONDecodeError, orjson.JSONEncodeError, RecursionError):  # too deep to be written, too
            return self.without(text).encode("utf-8", "surrogateescape") if self.is_in(text) else body

    def _value(self, value: Any, path: _Path) -> Any:
        if isinstance(value, str):
            return self._leaf(value, path)
        if isinstance(value, dict):
            return {self.without(name): self._value(part, (*path, name)) for name, part in value.items()}
        return [self._value(part, (*path, "")) for part in value] if isinstance(value, list) else value

    def _leaf(self, text: str, path: _Path) -> str:
        stand_in = self._stands_for.get(path)
        if stand_in is None or len(text) > ID_MAX:
            return self.without(text)
        pattern = self._pattern if path in _RECIPIENTS else self._in_id
        return stand_in(text) if pattern.search(_unfolded(text)[0]) else text


def _recipient(text: str, lead_key: bytes) -> str:
    domain = domain_of(text)
    return erased(lead_of(text, lead_key)) + (f"@{domain}" if domain is not None else "")


def _text(body: bytes) -> str:
    return body.decode("utf-8", "surrogateescape")


def _longest_run(text: str) -> str:
    return max(_RUN.findall(text), key=len, default="")


def _unfolded(text: str) -> tuple[str, "range | list[int]"]:
    """The text in lower case and without escapes, and where each of its characters begins in the original."""
    if not any(sign in text for sign in "\\%&"):
        return text.translate(_FOLD), range(len(text) + 1)
    parts: list[str] = []
    places: list[int] = []
    after = 0
    for found in _ESCAPE.finditer(text):
        plain = text[after : found.start()]
        meant, starts = _meant(found)
        parts += [plain, meant]
        places += [*range(after, found.start()), *starts]
        after = found.end()
    parts.append(text[after:])
    places += range(after, len(text) + 1)
    return "".join(parts).translate(_FOLD), places


def _meant(found: "re.Match[str]") -> tuple[str, list[int]]:
    """The characters that an escape stands for, and where each begins."""
    unicode, blank, plain, percent, decimal, hexadecimal, named = found.groups()
    if percent is not None:
        return _of_percent(percent, found.start())
    if blank is not None:
        return " ", [found.start()]
    if plain is not None or named is not None:
        return plain or _NAMED[named], [found.start()]
    code = int(decimal) if decimal is not None else int(unicode or hexadecimal, 16)
    return chr(code) if code < 0x110000 else "\ufffd", [found.start()]


def _of_percent(text: str, start: int) -> tuple[str, list[int]]:
    raw = bytes.fromhex(text.replace("%", ""))
    meant = raw.decode("utf-8", "surrogateescape")
    places, at = [], start
    for character in meant:
        places.append(at)
        at += 3 * len(character.encode("utf-8", "surrogateescape"))
    return meant, places
