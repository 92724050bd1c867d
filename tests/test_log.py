"""Logging: one stream, its two forms, and what never gets into it."""

import fcntl
import io
import json
import logging
import os
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
import uvicorn

from receiver.log import Format, Level, Lines, configure_logging, lost_lines

CANARY = "canary-7f3a"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    names = ("aiosqlite", "httpx", "httpcore", "uvicorn", "uvicorn.error", "uvicorn.access")
    yield
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in names:
        logging.getLogger(name).setLevel(logging.NOTSET)
        logging.getLogger(name).propagate = True
    structlog.reset_defaults()


def configured(log_format: Format = "json", level: Level = "info") -> io.StringIO:
    stream = io.StringIO()
    configure_logging(log_format, level, stream)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def fail_with_local(value: str) -> None:
    local = value + "!"
    raise ValueError(len(local))


def test_a_json_line_begins_with_time_level_and_event() -> None:
    stream = configured()
    structlog.get_logger("receiver.test").warning("queue full", events=3)
    (line,) = lines(stream)
    assert list(line)[:3] == ["timestamp", "level", "event"]
    assert line.pop("timestamp").endswith("Z")
    assert line == {"level": "warning", "event": "queue full", "events": 3, "logger": "receiver.test"}


def test_lines_of_the_standard_library_look_the_same() -> None:
    stream = configured()
    logging.getLogger("other").error("%d of %s", 1, "two")
    (line,) = lines(stream)
    assert list(line) == ["timestamp", "level", "event", "logger"]
    assert (line["level"], line["event"], line["logger"]) == ("error", "1 of two", "other")


def test_auto_is_console_on_a_terminal_and_json_elsewhere() -> None:
    stream = configured("auto")
    structlog.get_logger().info("hello")
    assert lines(stream)[0]["event"] == "hello"
    terminal = Terminal()
    configure_logging("auto", "info", terminal)
    structlog.get_logger().info("hello")
    assert "\x1b[1mhello" in terminal.getvalue()


def test_console_without_a_terminal_has_no_colours() -> None:
    stream = configured("console")
    structlog.get_logger("x").info("hello", events=3)
    assert "[info     ] hello" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_the_level_holds_for_both_kinds_of_logger() -> None:
    stream = configured(level="error")
    structlog.get_logger("x").warning("quiet")
    logging.getLogger("x").warning("quiet")
    logging.getLogger("httpx").warning("quiet")
    assert stream.getvalue() == ""


def test_libraries_that_log_bound_values_are_held_at_warning() -> None:
    stream = configured(level="debug")
    for name in ("aiosqlite", "httpx", "httpcore.http11"):
        logging.getLogger(name).info("executing %s", (CANARY,))
        logging.getLogger(name).warning("shown")
    structlog.get_logger("x").debug("shown")
    assert [line["event"] for line in lines(stream)] == ["shown"] * 4


def test_uvicorn_logs_to_the_same_stream_and_has_no_access_log() -> None:
    uvicorn.Config("x:y")  # sets handlers of its own
    stream = configured()
    logging.getLogger("uvicorn.error").info("Started", extra={"color_message": "\x1b[1mStarted"})
    logging.getLogger("uvicorn.access").info("GET /")
    assert [(line["logger"], line["event"]) for line in lines(stream)] == [("uvicorn.error", "Started")]
    assert "\\u001b" not in stream.getvalue()


def test_warnings_of_python_are_log_lines() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        stream = configured()
        warnings.warn("old way", DeprecationWarning, stacklevel=1)
        logging.captureWarnings(capture=False)
    (line,) = lines(stream)
    assert (line["level"], line["logger"]) == ("warning", "py.warnings")
    assert "DeprecationWarning: old way" in line["event"]


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_an_exception_is_logged_without_local_variables(log_format: Format) -> None:
    stream = configured(log_format)
    for logger in (structlog.get_logger("x"), logging.getLogger("x")):
        try:
            fail_with_local(CANARY[:6] + CANARY[6:])
        except ValueError:
            logger.exception("failed")
    text = stream.getvalue()
    assert text.count("ValueError: 12") == 2
    assert text.count("fail_with_local") >= 2
    assert CANARY not in text


def test_a_json_exception_is_one_line() -> None:
    stream = configured()
    try:
        fail_with_local("x")
    except ValueError:
        structlog.get_logger("x").exception("failed")
    (line,) = lines(stream)
    assert line["event"] == "failed"
    assert line["exception"].endswith("ValueError: 2")


def test_arguments_that_do_not_fit_are_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    stream = configured()
    del logging.getLogger().handlers[:-1]  # those of pytest raise
    logging.getLogger("x").warning("%d", CANARY)
    (line,) = lines(stream)
    assert line["event"] == "A log line could not be written; its arguments are not shown."
    assert CANARY not in stream.getvalue() + "".join(capsys.readouterr())


def test_a_closed_stream_does_not_break_the_program() -> None:
    stream = configured()
    stream.close()
    structlog.get_logger("x").warning("to nobody")


def test_a_long_line_is_written_whole_and_one_that_was_begun_is_ended_first() -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as taken, os.fdopen(writer, "w") as stream:
        room = fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 8192)
        lines = Lines(stream)
        lines.write("a" * (room + 1000))
        lines.write("lost")
        assert os.read(reader, room) == b"a" * room
        lines.write("ü")
        assert (os.read(reader, room), lines.lost) == (b"a" * 1000 + b"\n\xc3\xbc\n", 1)
        os.set_blocking(reader, False)
        assert taken.read() is None


def test_lines_that_nobody_took_are_counted() -> None:
    with open("/dev/full", "w") as full:
        configure_logging("json", "info", full)
        before = lost_lines()
        structlog.get_logger("x").warning("to a full disk")
        assert lost_lines() == before + 1


def test_configuring_again_replaces_the_stream(capsys: pytest.CaptureFixture[str]) -> None:
    first = configured()
    configure_logging("json", "info")
    structlog.get_logger("x").info("once")
    assert first.getvalue() == ""
    assert json.loads(capsys.readouterr().err)["event"] == "once"
