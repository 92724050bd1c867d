"""Leadterra's webhook signature: HMAC-SHA256 over the raw body, in any encoding its pages leave open.

Accepted are hex of any case, the same after `sha256=`, and padded base64 (leadterra-api.md, section 1).
"""

import base64
import binascii
import hmac
from collections.abc import Iterable, Sequence

HEADER = b"x-leadterra-signature"

_PREFIX = b"sha256="
_HEX_LENGTH = 64
_BASE64_LENGTH = 44  # 32 bytes with padding
_DIGEST_LENGTH = 32
# More values than this are not a rotation but an attempt to make us compute.
_VALUES_MAX = 16


def sign(secret: bytes, body: bytes) -> bytes:
    """The 32-byte signature of a raw body."""
    return hmac.digest(secret, body, "sha256")


def decode(values: Iterable[bytes]) -> list[bytes]:
    """The well-formed signatures among header values; each value may hold several, separated by commas."""
    candidates = [part.strip(b" \t") for value in values for part in value.split(b",", _VALUES_MAX)]
    digests = (_decode_one(candidate) for candidate in candidates[:_VALUES_MAX])
    return [digest for digest in digests if digest is not None]


def _decode_one(text: bytes) -> bytes | None:
    if text[: len(_PREFIX)].lower() == _PREFIX:
        text = text[len(_PREFIX) :]
        if len(text) != _HEX_LENGTH:
            return None
    try:
        if len(text) == _HEX_LENGTH:
            return binascii.unhexlify(text)
        if len(text) == _BASE64_LENGTH:
            digest = base64.b64decode(text, validate=True)
            return digest if len(digest) == _DIGEST_LENGTH else None
    except binascii.Error:
        return None
    return None


def matching_secret(secrets: Sequence[bytes], body: bytes, digests: Sequence[bytes]) -> int | None:
    """The index of the first secret that signed the body, or None. Compares bytes, in constant time."""
    for index, secret in enumerate(secrets):
        expected = sign(secret, body)
        for digest in digests:
            if hmac.compare_digest(expected, digest):
                return index
    return None
