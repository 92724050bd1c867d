"""Classes of bounce reasons: a status code, else the text without what is particular to one message."""

import pytest

from receiver.reasons import reason_class


@pytest.mark.parametrize(
    ("reason", "found"),
    [
        ("550 5.1.1 The account does not exist", "5.1.1"),
        ("smtp; 550-5.7.26 Unauthenticated", "5.7.26"),
        ("4.2.2", "4.2.2"),
        ("Mailbox full (5.2.2).", "5.2.2"),
        ("first 4.4.1, then 5.0.0", "4.4.1"),
        ("5.123.456 odd, and a code all the same", "5.123.456"),
        ("421 4.7.0\nline two", "4.7.0"),
    ],
)
def test_a_status_code_is_the_class(reason: str, found: str) -> None:
    assert reason_class(reason) == found


@pytest.mark.parametrize(
    ("reason", "found"),
    [
        ("Mailbox Full", "mailbox full"),
        ("452 full", "# full"),
        ("  blank \t and\x00line\n", "blank and line"),
        ("host 5.1.1.9 refused", "host # refused"),
        ("postfix v2.5.1 refused", "postfix v# refused"),
        ("no such user <Jo.Doe@example.org>", "no such user <address>"),
        ("jo@example.org: unknown", "<address>: unknown"),
        ('"john, doe"@example.org unknown', "<address> unknown"),
        ("jo＠example.org unknown", "<address> unknown"),
        ("queued as 4bXyZ12qmnz", "queued as <id>"),
        ("see https://example.org/a?b=c now", "see <link> now"),
        ("7.1.1 is no class of codes", "# is no class of codes"),
        ("5.1234.1", "#"),
        ("٥.١.١", "٥.١.١"),
        ("x" * 200, "x" * 64),
        ("a " * 2000, ("a " * 32).strip()),
        (" \n\x00", None),
        ("", None),
        (None, None),
    ],
)
def test_another_text_is_its_own_class_without_what_is_particular(reason: str | None, found: str | None) -> None:
    assert reason_class(reason) == found


def test_a_code_far_behind_the_beginning_is_not_looked_for() -> None:
    assert reason_class("x " * 600 + "5.1.1") == ("x " * 32).strip()


@pytest.mark.parametrize("text", ["a1-" * 400, "@" * 1000, "1.1." * 250, "<" * 1000, "a@" * 500, "1a" * 500])
def test_hostile_texts_have_short_classes(text: str) -> None:
    assert len(reason_class(text) or "") <= 64
