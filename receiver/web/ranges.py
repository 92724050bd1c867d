"""The stretch of time and the campaign that figures are asked of, on whole quarters of an hour."""

import sqlite3
from dataclasses import dataclass
from typing import Any, Protocol

from receiver.errors import CampaignNotFoundError
from receiver.figures import QUARTER_MS
from receiver.storage.sqlite import reads
from receiver.storage.sqlite.series import ALL_TIME
from receiver.web.params import refusal, time_parameter
from receiver.web.times import rfc3339

# The last quarter of an hour that a time of four-digit years can say.
_LAST_MS = 253_402_299_900_000


class RangeParams(Protocol):
    """Parameters with a range."""

    @property
    def from_(self) -> str | None: ...

    @property
    def to(self) -> str | None: ...

    @property
    def campaign_id(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Range:
    """As executed, in epoch milliseconds: half-open, None where nothing bounds it; `campaign` is the number."""

    from_ms: int | None
    to_ms: int | None
    campaign_id: str | None = None
    campaign: int | None = None

    @property
    def span(self) -> tuple[int, int]:
        return ALL_TIME[0] if self.from_ms is None else self.from_ms, ALL_TIME[
            1
        ] if self.to_ms is None else self.to_ms

    @property
    def campaigns(self) -> list[int] | None:
        return None if self.campaign is None else [self.campaign]

    @property
    def is_all_time(self) -> bool:
        return self.from_ms is None and self.to_ms is None

    def as_json(self) -> dict[str, Any]:
        return {"from": rfc3339(self.from_ms), "to": rfc3339(self.to_ms), "campaign_id": self.campaign_id}


def asked_range(conn: sqlite3.Connection, params: RangeParams, now_ms: int) -> Range:
    """`from` floored and `to` raised to a quarter of an hour.

    Raises InvalidParameterError, and CampaignNotFoundError for a campaign that was never heard of.
    """
    from_ms, to_ms = time_parameter("from", params.from_, now_ms), time_parameter("to", params.to, now_ms)
    if from_ms is not None and to_ms is not None and from_ms > to_ms:
        raise refusal("from", params.from_, f"a time that is not after 'to', which is '{params.to}'")
    first = None if from_ms is None else _within(from_ms // QUARTER_MS)
    last = None if to_ms is None else _within(-(-to_ms // QUARTER_MS))
    return Range(first, last, params.campaign_id, known_campaign(conn, params.campaign_id))


def _within(quarter: int) -> int:
    return min(max(0, quarter * QUARTER_MS), _LAST_MS)


def known_campaign(conn: sqlite3.Connection, campaign_id: str | None) -> int | None:
    """A campaign's number, None for no campaign. Raises CampaignNotFoundError."""
    number = reads.campaign_number(conn, campaign_id)
    if campaign_id is not None and number is None:
        raise CampaignNotFoundError(f"No event of campaign '{campaign_id}' has been seen here.")
    return number
