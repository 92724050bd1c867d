"""Request ids: the caller's when it is decent, else our own."""

import re
import secrets
from itertools import count

_DECENT = re.compile(rb"[\x21-\x7e]{1,128}")


class RequestIds:
    """Numbers requests within a random prefix per process: cheap, and unique enough to find one in a log."""

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(6)
        self._numbers = count(1)

    def take(self, given: bytes | None) -> bytes:
        """The id to answer with."""
        if given is not None and _DECENT.fullmatch(given):
            return given
        return b"%s-%x" % (self._prefix.encode(), next(self._numbers))
