"""Long work shows how far it is: a bar on a terminal, plain lines elsewhere, never on standard output."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from receiver.cli import progress
from receiver.cli.progress import ProgressView, watched
from receiver.storage.sqlite.recount import Progress
from tests.cli.conftest import Database
from tests.web.conftest import sent

Captured = pytest.CaptureFixture[str]


def test_away_from_a_terminal_there_is_a_line_now_and_then(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_LINE_EVERY_S", 0.0)
    with ProgressView("Counting") as view:
        view.show(1, 2000)
        view.show(50_000, 2000)
    assert capsys.readouterr() == ("", "Counting: 1 of 2,000\nCounting: 2,000 of 2,000\n")


def test_work_of_unknown_length_says_how_much_is_done(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_LINE_EVERY_S", 0.0)
    with ProgressView("Exporting") as view:
        view.show(1234, 0)
    assert capsys.readouterr() == ("", "Exporting: 1,234\n")


def test_when_showing_fails_the_work_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = []

    def work(counted: Progress) -> None:
        while not counted.stopped:
            time.sleep(0.001)
        ended.append(True)

    def fail(*_: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(ProgressView, "show", fail)
    with pytest.raises(BrokenPipeError):
        watched("Counting", work)
    assert ended == [True]


def test_ctrl_c_waits_for_the_end_of_the_work() -> None:
    main, ended = threading.get_ident(), threading.Event()

    def work(counted: Progress) -> None:
        signal.pthread_kill(main, signal.SIGINT)
        while not counted.stopped:
            time.sleep(0.001)
        time.sleep(0.05)  # what it uses must still be open
        ended.set()

    with pytest.raises(KeyboardInterrupt):
        watched("Counting", work)
    assert ended.is_set()


def test_a_second_ctrl_c_ends_it_at_once() -> None:
    code = """
import time
from receiver.cli.progress import watched
def work(counted):
    print("begun", flush=True)
    while not counted.stopped:
        time.sleep(0.001)
    print("asked", flush=True)
    time.sleep(600)
watched("Counting", work)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for said in (b"begun\n", b"asked\n"):
            assert process.stdout.readline() == said
            process.send_signal(signal.SIGINT)
        assert process.wait(60) == -signal.SIGINT


def test_short_work_says_nothing(capsys: Captured) -> None:
    with ProgressView("Counting") as view:
        view.show(1, 2)
    assert capsys.readouterr() == ("", "")


def test_the_result_of_the_work_is_given_back(capsys: Captured) -> None:
    def work(counted: Progress) -> int:
        counted.total = 5
        return 7

    assert watched("Counting", work) == 7
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("error", [ValueError("wrong"), KeyboardInterrupt()])
def test_an_error_of_the_work_is_raised_again(error: BaseException) -> None:
    def work(_: Progress) -> int:
        raise error

    with pytest.raises(type(error)) as caught:
        watched("Counting", work)
    assert caught.value is error


def test_on_a_terminal_there_is_a_bar_that_goes_away(database: Database, run_on_terminal: Callable[..., str]) -> None:
    database.fill(sent())
    written = run_on_terminal("verify")
    assert "Comparing the figures" in written
    assert "\x1b[?25h" in written  # the cursor is shown again
    # The bar's line is erased before the result takes its place.
    assert written.splitlines()[-2:] == [
        "\x1b[1A\x1b[2KFigures: equal to the ledger.",
        "Journal: 1 bodies since 2025-06-11T09:30:00Z; the ledger is what they say.",
    ]
