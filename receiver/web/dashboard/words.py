"""Figures and times as the first paint shows them; the page's own scripts put them into the reader's language."""

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

# What is not known is never shown as 0.
DASH = "–"


def counted(value: int | None) -> str:
    """`12,345`."""
    return DASH if value is None else f"{value:,}"


def signed(value: int | None) -> str:
    """With its sign, by which a change is told from a count."""
    return DASH if value is None else f"{value:+,}".replace("-", "−") if value else "0"


def percent(rate: Any) -> str:
    """A rate's value as `4.2 %`."""
    value = rate if rate is None or isinstance(rate, float | int) else rate["value"]
    return DASH if value is None else f"{_of_hundred(value)}%"


def percent_of(rate: Any, of: str) -> str:
    """The same with what it is a part of: `4.2 % of attempted`."""
    return "rate not known" if rate["value"] is None else f"{percent(rate)} of {of}"


def points(change: float | None) -> str:
    """A change of a rate in percentage points."""
    return DASH if change is None else f"{_of_hundred(change):+} pp".replace("-", "−")


def _of_hundred(value: float) -> Decimal:
    """Rounded as a browser rounds it, or a figure would change when its scripts take over."""
    return (Decimal(str(value)) * 100).quantize(Decimal("0.1"), ROUND_HALF_UP)


def stamped(moment: str | None) -> str:
    """A time without its seconds, as it came."""
    return DASH if moment is None else moment[:16].replace("T", " ")
