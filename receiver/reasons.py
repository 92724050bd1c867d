"""Puts reasons of bounces into classes, so that they can be counted: no I/O."""

import re

from receiver.masking import AT, masked

# RFC 3463, section 2: class 2, 4 or 5, then subject and detail of one to three digits each. What goes on with a
# further dot and digit is an IPv4 address or a version.
_STATUS = re.compile(r"(?<![\w.])[245]\.[0-9]{1,3}\.[0-9]{1,3}(?!\.?\w)")
# Server names are no reasons, and texts go on for pages: what tells them apart stands at the beginning.
_READ_MAX = 1000
_CLASS_MAX = 64

_URL = re.compile(r"\bhttps?://\S+")
_ADDRESS = re.compile(rf"<?[^\s<>@:;,]+ ?(?:{AT})[^\s<>@:;,]+>?")
# Queue ids and the like: at least six letters and digits, both among them.
_ID = re.compile(r"\b(?=[a-z-]*[0-9])(?=[0-9-]*[a-z])[a-z0-9-]{6,}\b")
_NUMBER = re.compile(r"[0-9]+(?:[.:][0-9]+)*")
_BLANK = re.compile(r"[\s\x00-\x1f\x7f]+")


def reason_class(reason: str | None) -> str | None:
    """The enhanced status code of RFC 3463 where the text holds one, else the text without what is particular.

    That is: lower case, addresses, links, ids and numbers replaced, at most 64 characters. None when nothing is left.
    """
    if reason is None:
        return None
    text = reason[:_READ_MAX]
    status = _STATUS.search(text)
    if status is not None:
        return status[0]
    text = _URL.sub("<link>", text.lower())
    text = _ADDRESS.sub("<address>", masked(text))
    text = _ID.sub("<id>", text)
    text = _NUMBER.sub("#", text)
    return _BLANK.sub(" ", text).strip()[:_CLASS_MAX].rstrip() or None
