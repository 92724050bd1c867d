"""What people see: plain lines, a live screen, tables that fit 80 columns."""

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from receiver.demo import view
from receiver.demo.comparison import compare
from receiver.demo.reading import Alarm, Reading
from receiver.demo.view import View, line, result_table, show_sentences

NOON_MS = 1_749_643_200_000  # 2025-06-11T12:00:00Z
READING = Reading(
    {"c": {"sent": 1234, "bounced": 5, "replied": 6}},
    {"c": "Hotels"},
    {"stored": 1300, "duplicate": 40, "quarantined": 3, "signature_invalid": 2},
)
TRUTH = {
    "campaigns": [
        {
            "campaignId": "c",
            "name": "Hotels",
            "figures": {"sent": 1235, "bounced": 5, "replied": 7},
            "expected": {"sent": 1234, "bounced": 5, "replied": 7},
        }
    ],
    "webhooks": [],
    "withheld": [],
}
LINE = (
    "Wed 11 Jun 12:00 UTC  1,345 deliveries, 40 duplicates, 3 quarantined, 2 refused; "
    "1 campaigns: 1,234 sent, 5 bounced, 6 replied"
)


def console(*, terminal: bool, width: int = 80) -> Console:
    return Console(file=StringIO(), force_terminal=terminal, width=width, color_system=None, highlight=False)


def written(to: Console) -> str:
    assert isinstance(to.file, StringIO)
    return to.file.getvalue()


def test_a_reading_fits_a_line() -> None:
    assert line(READING, NOON_MS) == LINE


def test_away_from_a_terminal_there_is_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    to = console(terminal=False)
    with View(to, NOON_MS) as shown:
        shown.show(READING, NOON_MS)
        monkeypatch.setattr(view, "_LINE_EVERY_S", 0.0)
        shown.show(READING, NOON_MS)
    assert written(to) == LINE + "\n"


def test_an_alarm_is_told_once_with_its_campaigns_name() -> None:
    to = console(terminal=False)
    alarms = [Alarm("missing", "c", "At least 3 sent missing."), Alarm("wrong_secret", None, "4 matched no secret.")]
    reading = replace(READING, alarms=alarms)
    with View(to, NOON_MS) as shown:
        shown.show(reading, NOON_MS)
        shown.show(reading, NOON_MS)
    assert written(to) == "! missing: Hotels: At least 3 sent missing.\n! wrong_secret: 4 matched no secret.\n"


def test_on_a_terminal_the_screen_is_redrawn_and_goes_away() -> None:
    to = console(terminal=True)
    with View(to, NOON_MS) as shown:
        shown.show(READING, NOON_MS)
        shown.show(READING, NOON_MS + 6 * 86_400_000)
    text = written(to)
    assert "Wed 11 Jun 12:00 UTC" in text
    assert "day 1 of 6" in text
    assert "present time" in text
    assert text.endswith("\x1b[2K")


def test_the_result_says_receiver_truth_and_withheld() -> None:
    to = console(terminal=False)
    to.print(result_table(compare(TRUTH, READING, 0)))
    rows = [row.split() for row in written(to).splitlines() if row.strip()]
    assert rows[0] == ["Campaign", "Sent", "Bounced", "Replied"]
    assert rows[2] == ["Hotels", "1,234", "=", "1,235", "-", "1", "5", "=", "5", "-", "0", "6", "≠", "7", "-", "0"]


def test_sentences_are_indented_on_a_terminal_and_whole_elsewhere() -> None:
    narrow, plain = console(terminal=True, width=20), console(terminal=False, width=20)
    for to in (narrow, plain):
        show_sentences(to, ["one two three four five"])
    assert [row.rstrip() for row in written(narrow).splitlines()] == ["- one two three four", "  five"]
    assert written(plain) == "- one two three four five\n"
