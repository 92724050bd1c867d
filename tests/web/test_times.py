"""What a time parameter may say, and how an answer says a time."""

from zoneinfo import ZoneInfo

import pytest

from receiver.web.times import parse_time, rfc3339, settled_until
from tests.web.conftest import NOW

HOUR_MS = 3_600_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", NOW),
        ("-30m", NOW - 1_800_000),
        ("-6h", NOW - 6 * HOUR_MS),
        ("-7d", NOW - 7 * 24 * HOUR_MS),
        ("-2w", NOW - 14 * 24 * HOUR_MS),
        ("-0d", NOW),
        ("2025-06-11", 1_749_600_000_000),
        ("2025-06-11T09:30:00Z", NOW),
        ("2025-06-11t11:30:00.5+02:00", NOW + 500),
        ("1749634200000", NOW),
        ("0", 0),
    ],
)
def test_a_time_is_read(text: str, expected: int) -> None:
    assert parse_time(text, NOW) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "Now", "yesterday", "7d", "-7", "-7y", "-1.5h", "--7d", "-٧d", "-1234567m", "-999999w", "2025-06-31",
        "2025-6-1", "0000-01-01", "2025-06-11T09:30:00", "2025-06-11T09:30Z", "-1749634200000", "１７", "1" * 15,
        "now\n", "-7d\n", "2025-06-11\n", "17\n",
    ],
)  # fmt: skip
def test_anything_else_is_none(text: str) -> None:
    assert parse_time(text, NOW) is None


@pytest.mark.parametrize("now", [NOW + offset for offset in (0, 1, 123, 567, 999)])
def test_a_relative_time_keeps_its_milliseconds(now: int) -> None:
    assert parse_time("-1d", now) == now - 24 * HOUR_MS


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (NOW, "2025-06-11T09:30:00Z"),
        (NOW + 7, "2025-06-11T09:30:00.007Z"),
        (NOW + 500, "2025-06-11T09:30:00.500Z"),
        (0, "1970-01-01T00:00:00Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (None, None),
    ],
)
def test_a_time_shows_milliseconds_only_when_there_are_some(ms: int | None, text: str | None) -> None:
    assert rfc3339(ms) == text


@pytest.mark.parametrize("later_ms", [0, 1, 59_999])
def test_settled_is_what_lies_before_the_late_horizon_floored_to_the_minute(later_ms: int) -> None:
    assert rfc3339(settled_until(NOW + later_ms)) == "2025-06-10T22:39:00Z"


# In a zone.


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("2025-06-11", "Europe/Berlin", "2025-06-10T22:00:00Z"),
        ("2025-06-11", "Asia/Kathmandu", "2025-06-10T18:15:00Z"),
        ("2025-04-25", "Africa/Cairo", "2025-04-24T22:00:00Z"),
        ("2025-06-11T09:30:00Z", "Asia/Kathmandu", "2025-06-11T09:30:00Z"),
        ("now", "Asia/Kathmandu", "2025-06-11T09:30:00Z"),
        ("-30m", "Asia/Kathmandu", "2025-06-11T09:00:00Z"),
    ],
)
def test_a_date_is_the_first_instant_of_the_local_day(text: str, zone: str, expected: str) -> None:
    assert rfc3339(parse_time(text, NOW, ZoneInfo(zone))) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("-1d", "2025-03-29T11:30:00Z"), ("-1w", "2025-03-23T11:30:00Z"), ("-24h", "2025-03-29T10:30:00Z"),
     ("-1440m", "2025-03-29T10:30:00Z")],
)  # fmt: skip
def test_days_back_keep_the_local_time_and_hours_their_length(text: str, expected: str) -> None:
    """The clocks of Berlin went ahead in the night to 30 March 2025; it is 12:30 there."""
    now = 1_743_330_600_000
    assert rfc3339(now) == "2025-03-30T10:30:00Z"
    assert rfc3339(parse_time(text, now, ZoneInfo("Europe/Berlin"))) == expected


@pytest.mark.parametrize("text", ["0001-01-01", "9999-12-31", "-999999w", "-999999d"])
@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_the_ends_of_the_calendar_are_times_or_none(text: str, zone: str) -> None:
    found = parse_time(text, NOW, ZoneInfo(zone))
    assert found is None or isinstance(found, int)
