"""Times as Leadterra and HTTP write them."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

_EPOCH = datetime(1970, 1, 1)


def iso(ms: int) -> str:
    """UTC with `Z`; milliseconds only when they are not zero."""
    seconds, milliseconds = divmod(ms, 1000)
    text = (_EPOCH + timedelta(seconds=seconds)).isoformat()
    return f"{text}.{milliseconds:03d}Z" if milliseconds else f"{text}Z"


def http_date(ms: int) -> str:
    """As in the `Date` header (RFC 9110, section 5.6.7)."""
    return format_datetime((_EPOCH + timedelta(seconds=ms // 1000)).replace(tzinfo=UTC), usegmt=True)
