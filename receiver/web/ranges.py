"""The stretch of time and the campaign that something is asked of."""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Any, Protocol

from receiver.errors import CampaignNotFoundError
from receiver.figures import QUARTER_MS
from receiver.storage.sqlite.series import ALL_TIME
from receiver.storage.sqlite.trust import known_campaigns
from receiver.web.buckets import CALENDAR
from receiver.web.params import refusal
from receiver.web.times import ALLOWED, parse_time, rfc3339


def time_span(given: Mapping[str, str | None], now_ms: int, zone: tzinfo = UTC) -> tuple[int | None, int | None]:
    """Epoch milliseconds of two parameters, by their names: begin and end, None where one is not given.

    Dates and days are those of `zone`. Raises InvalidParameterError for what is no time, lies outside the calendar
    or is upside down.
    """
    (first, begin), (last, end) = given.items()
    from_ms, to_ms = (_time(name, text, now_ms, zone) for name, text in given.items())
    if from_ms is not None and to_ms is not None and from_ms > to_ms:
        raise refusal(first, begin, f"a time that is not after '{last}', which is '{end}'")
    return from_ms, to_ms


def _time(name: str, text: str | None, now_ms: int, zone: tzinfo) -> int | None:
    if text is None:
        return None
    found = parse_time(text, now_ms, zone)
    if found is None:
        raise refusal(name, text, ALLOWED)
    if not CALENDAR[0] <= found <= CALENDAR[1]:
        raise refusal(name, text, "a year from 2 to 9998")
    return found


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
    from_ms, to_ms = time_span({"from": params.from_, "to": params.to}, now_ms)
    first = None if from_ms is None else max(0, from_ms // QUARTER_MS * QUARTER_MS)
    last = None if to_ms is None else max(0, -(-to_ms // QUARTER_MS) * QUARTER_MS)
    return Range(first, last, params.campaign_id, known_campaign(conn, params.campaign_id))


def known_campaign(conn: sqlite3.Connection, campaign_id: str | None) -> int | None:
    """A campaign's number, None for no campaign. Raises CampaignNotFoundError."""
    return None if campaign_id is None else known_numbers(conn, [campaign_id])[campaign_id]


def known_numbers(conn: sqlite3.Connection, campaign_ids: Sequence[str]) -> dict[str, int]:
    """The numbers of campaigns by their ids. Raises CampaignNotFoundError."""
    numbers = known_campaigns(conn, campaign_ids)
    for campaign_id in campaign_ids:
        if campaign_id not in numbers:
            raise CampaignNotFoundError(campaign_id)
    return numbers
