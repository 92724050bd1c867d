"""Addresses in texts of others: masked wherever they stand and however they are written, and nothing else lost."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from receiver.masking import all_masked, masked, may_hold_address

ATOMS = "abcXYZ0189.!#$%&'*+-/=?^_`{|}~äß中\u202e\u200b\u0301\x00\x1b\x7f"
SIGNS = ["@", "＠", "﹫", "%40", "&#64;", " @"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("jo.doe@example.org", "j***@example.org"),
        ("a@example.org", "a***@example.org"),
        ("no such user <Jo.Doe@Example.ORG>: 550", "no such user <J***@Example.ORG>: 550"),
        ("jo@example.org,al@example.net;x", "j***@example.org,a***@example.net;x"),
        ('"john, doe"@example.org', "j***@example.org"),
        ('to "john \\" doe"@example.org failed', "to j***@example.org failed"),
        ('said "no" to "jo@example.org"', 'said "no" to "j***@example.org"'),
        ("jo\\ doe@example.org", "j***@example.org"),
        ("x.\"y z\"@example.org", "x***@example.org"),
        ('"jo@home"@example.org', "j***@example.org"),
        ("jo@home@example.org", "j***@h***@example.org"),
        ("jo＠example.org", "j***＠example.org"),
        ("?to=jo%40example.org", "***%40example.org"),
        ("jo&#64;example.org", "j***&#64;example.org"),
        ("jo @ example.org", "j*** @ example.org"),
        ("mailto:jo@[127.0.0.1]", "mailto:j***@[127.0.0.1]"),
        ("+49@example.org", "***@example.org"),
        ("\u202eoj@example.org", "***@example.org"),
        ("no address", "no address"),
        ("@", "@"),
        ("@example", "@example"),
        ("", ""),
    ],
)  # fmt: skip
def test_an_address_keeps_its_first_letter_and_its_domain(text: str, shown: str) -> None:
    assert masked(text) == shown


locals_ = st.text(ATOMS, min_size=2, max_size=30).map(lambda text: f"Q{text}")
quoted = st.text(f'{ATOMS} ,;:<>()[]@"\\', min_size=2, max_size=30).map(
    lambda text: '"Q' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
)
around = st.text("xy \n<>,;:()", max_size=20)


@given(around, locals_ | quoted, st.sampled_from(SIGNS), around)
@example('"x" ', '"Qa b"', "@", "")
def test_no_more_than_the_first_letter_of_a_local_part_is_left(
    before: str, local: str, sign: str, after: str
) -> None:
    shown = masked(f"{before} {local}{sign}example.org {after}")
    rest = local.strip('"')[1:]
    assert rest not in shown.replace("example.org", "").replace("***", "").replace(sign, "") or set(rest) <= set(
        before + after
    )
    assert "example.org" in shown
    assert shown.startswith(before)
    assert shown.endswith(after)


@given(st.text(f'{ATOMS}@＠﹫" \\<>,;'))
def test_what_is_masked_stays_as_it_is(text: str) -> None:
    shown = masked(text)
    assert masked(shown) == shown
    assert [char for char in shown if char in "@＠﹫"] == [char for char in text if char in "@＠﹫"] or '"' in text


@pytest.mark.parametrize(
    "text", ["@" * 20_000, "a" * 20_000 + "@", '"@' * 10_000, '"\\' * 10_000 + "@", 'a."b' * 5_000 + "@"]
)
def test_hostile_texts_do_not_hold_it_up(text: str) -> None:
    masked(text)


def test_it_looks_into_lists_and_objects_and_leaves_the_rest() -> None:
    value = {"a": ["jo@example.org", 1, None, {"b": "x@y"}], "c": 1.5, "d": True}
    assert all_masked(value) == {"a": ["j***@example.org", 1, None, {"b": "x***@y"}], "c": 1.5, "d": True}


@pytest.mark.parametrize("sign", SIGNS)
def test_an_encoded_answer_that_may_hold_one_is_known(sign: str) -> None:
    assert may_hold_address(f"jo{sign}example.org".encode())
    assert not may_hold_address(b'{"campaign_id":"a"}')
