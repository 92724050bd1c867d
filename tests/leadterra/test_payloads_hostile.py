"""Bodies that mean harm, and times: what is no payload, no number and no moment."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.events import Event, Kind, message_key
from receiver.leadterra.payloads import epoch_ms
from tests.leadterra.test_payloads import AT, AT_MS, DAY_MS, MESSAGE, REPLY, parse, read, spoilt, why

# Hostile bodies.


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x00",
        b"\xff",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[" * 524_288 + b"]" * 524_288,
        b'{"event":"message.sent"}'.decode().encode("utf-16"),
        b'\xef\xbb\xbf{"event":"message.sent"}',
        b'{"event":"message.sent"} x',
        b'{"event":"message.sent",}',
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":1e400}',
        b'{"a":"\\ud800"}',
        b'{"a":"\x00"}',
        b'{"a":"\xed\xa0\x80"}',
    ],
)
def test_what_is_not_json_is_called_so(raw: bytes) -> None:
    parsed = read(raw)
    assert parsed.reason == "not_json"
    assert parsed.detail.startswith("The body is not JSON: ")
    assert len(parsed.detail) < 250


@pytest.mark.parametrize("raw", [b"[]", b"null", b'"message.sent"', b"1", b"true", b"[[{}]]"])
def test_json_that_is_no_object_is_no_payload(raw: bytes) -> None:
    assert why(read(raw)) == ("not_json", "The body is not a JSON object.")


@pytest.mark.parametrize("number", [b"9223372036854775808", b"18446744073709551616", b"-1", b"1" + b"0" * 300])
def test_a_number_that_no_database_takes_is_invalid(number: bytes) -> None:
    assert spoilt(b'"sequenceStep":' + number).reason == "invalid_field"


def test_of_a_repeated_key_the_last_counts() -> None:
    assert spoilt(b'"campaignId":"camp_2"').campaign == "camp_2"


def test_a_nul_in_an_id_is_part_of_it() -> None:
    assert spoilt(b'"messageId":"msg_1\\u0000"').key != message_key("msg_1")


def test_depth_within_the_parsers_limit_is_no_problem() -> None:
    assert spoilt(b'"x":' + b"[" * 1000 + b"]" * 1000).kind is Kind.SENT


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["messageId", "campaignId", "campaign", "id", "reply", "email", "lead", "to", "receivedAt"]
            ),
            inner,
        )
    ),
    max_leaves=12,
)


@given(
    st.sampled_from(["campaign.started", "message.sent", "message.bounced", "reply.received"]),
    JSON,
    JSON | st.just(AT),
)
def test_no_body_makes_the_parser_fail(event: str, data: object, at: object) -> None:
    parsed = parse(event, data, at)
    assert isinstance(parsed, Event) or parsed.detail.endswith((".", "-"))


@given(st.binary(max_size=60))
def test_no_bytes_make_the_parser_fail(raw: bytes) -> None:
    assert read(raw).reason in ("not_json", "missing_field", "unknown_event")


# Times.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2025-06-11T09:14:32Z", AT_MS),
        ("2025-06-11t09:14:32z", AT_MS),
        ("2025-06-11 09:14:32Z", AT_MS),
        ("2025-06-11T09:14:32+00:00", AT_MS),
        ("2025-06-11T09:14:32-00:00", AT_MS),
        ("2025-06-11T14:59:32+05:45", AT_MS),
        ("2025-06-10T21:14:32-12:00", AT_MS),
        ("2025-06-11T09:14:32.1Z", AT_MS + 100),
        ("2025-06-11T09:14:32.9999Z", AT_MS + 999),
        ("2025-06-11T09:14:32.123999999999999999999z", AT_MS + 123),
        ("2016-12-31T23:59:60Z", 1_483_228_800_000),
        ("2016-12-31T23:59:60.5Z", 1_483_228_800_500),
        ("2024-02-29T00:00:00Z", 1_709_164_800_000),
        ("9999-12-31T23:59:59-23:59", 253_402_387_139_000),
    ],
)
def test_a_time_is_rfc_3339_with_offset_cut_to_milliseconds(text: str, expected: int) -> None:
    assert epoch_ms(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "2025-06-11T09:14:32",
        "2025-06-11",
        "2025-06-11T09:14Z",
        "2025-06-11T09:14:32+0545",
        "2025-06-11T09:14:32+24:00",
        "2025-06-11T09:14:32,5Z",
        "2025-06-11T09:14:32.Z",
        "2025-06-11T24:00:00Z",
        "2025-06-11T09:14:61Z",
        "2025-06-11T09:60:00Z",
        "2025-06-31T00:00:00Z",
        "2025-02-29T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "2025-06-11T09:14:32Z\n",
        " 2025-06-11T09:14:32Z",
        "2025-06-11_09:14:32Z",
        "２０２５-06-11T09:14:32Z",
        "2025-06-11T09:14:3٢Z",
        "2025-06-11T09:14:32.٢Z",
        "20250611T091432Z",
        "2025-W24-3T09:14:32Z",
        "+2025-06-11T09:14:32Z",
        "1749633272",
        1_749_633_272,
        None,
        True,
        ["2025-06-11T09:14:32Z"],
    ],
)
def test_anything_else_is_no_time(text: object) -> None:
    assert epoch_ms(text) is None


def test_nothing_happened_before_2015() -> None:
    assert parse("message.sent", MESSAGE, "2015-01-01T00:00:00Z").occurred_at == 1_420_070_400_000
    assert why(parse("message.sent", MESSAGE, "2014-12-31T23:59:59.999Z")) == (
        "bad_timestamp",
        "Field 'timestamp' is before 2015.",
    )


def test_a_day_ahead_is_the_most_and_what_is_beyond_says_when_it_is_due() -> None:
    assert parse("message.sent", MESSAGE, now=AT_MS - DAY_MS).occurred_at == AT_MS
    ahead = parse("message.sent", MESSAGE, now=AT_MS - DAY_MS - 1)
    assert why(ahead) == ("bad_timestamp", "Field 'timestamp' is more than a day ahead.")
    assert ahead.due_at == AT_MS - DAY_MS
    assert parse("message.sent", MESSAGE, now=ahead.due_at).kind is Kind.SENT


def test_without_a_now_nothing_is_ahead() -> None:
    assert parse("message.sent", MESSAGE, "2999-01-01T00:00:00Z", now=None).kind is Kind.SENT


def test_a_reply_is_due_when_the_later_of_its_two_times_is() -> None:
    later = {"reply": {**REPLY, "receivedAt": "2025-06-11T10:00:00Z"}}
    assert parse("reply.received", later, now=0).due_at == 1_749_636_000_000 - DAY_MS


def test_a_body_with_another_problem_is_never_due() -> None:
    assert parse("message.sent", {"messageId": "msg_1"}, now=0).due_at is None
    assert parse("message.sent", {**MESSAGE, "sequenceStep": "1"}, now=0).due_at is None
