"""Chance that depends on nothing but the seed and on what it is asked for, never on how often or in which order."""

import struct
from hashlib import blake2b
from typing import NamedTuple

_WORDS = struct.Struct("<6Q")
_RANGE = float(1 << 64)
_RANDOM_BYTES = 10  # of a ULID
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class Draws(NamedTuple):
    """Six independent numbers in [0, 1) and ten bytes for an id."""

    units: tuple[float, ...]
    tail: bytes


class Chance:
    """A source of draws; the same seed and parts always give the same draws."""

    def __init__(self, seed: int) -> None:
        self._key = str(seed).encode()[:64]

    def draws(self, *parts: str) -> Draws:
        digest = blake2b("\0".join(parts).encode(), digest_size=_WORDS.size + _RANDOM_BYTES, key=self._key).digest()
        return Draws(tuple(word / _RANGE for word in _WORDS.unpack_from(digest)), digest[_WORDS.size :])

    def unit(self, *parts: str) -> float:
        """One number in [0, 1)."""
        return self.draws(*parts).units[0]


def ulid(at_ms: int, tail: bytes) -> str:
    """26 characters that sort by time: 48 bits of milliseconds, then the 80 bits of `tail`."""
    number = (at_ms & 0xFFFF_FFFF_FFFF) << 80 | int.from_bytes(tail, "big")
    return "".join(_CROCKFORD[(number >> shift) & 31] for shift in range(125, -1, -5))


def between(low: float, high: float, unit: float) -> float:
    """The number that `unit` picks from `low` to `high`."""
    return low + (high - low) * unit
