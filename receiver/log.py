"""Logging: one stream with uvicorn's lines and Python's warnings, without access lines and bound values."""

import logging
import os
import select
import sys
from collections.abc import Sequence
from typing import Literal, TextIO

import structlog
from structlog.types import EventDict, Processor, WrappedLogger

Format = Literal["auto", "console", "json"]
Level = Literal["debug", "info", "warning", "error"]

# At DEBUG aiosqlite logs every bound value, and httpx and httpcore log headers and URLs.
_HELD_AT_WARNING = ("aiosqlite", "httpx", "httpcore")
_UVICORN = ("uvicorn", "uvicorn.error")


def configure_logging(log_format: Format, level: Level, stream: TextIO | None = None) -> None:
    """Send every log line to `stream` (standard error unless given); may be called again to change it."""
    stream = sys.stderr if stream is None else stream
    as_console = log_format == "console" or (log_format == "auto" and stream.isatty())
    least = logging.getLevelNamesMapping()[level.upper()]
    _configure_structlog()
    root = logging.getLogger()
    for old in [handler for handler in root.handlers if isinstance(handler, _Handler)]:
        root.removeHandler(old)
    root.addHandler(_handler(stream, as_console=as_console))
    root.setLevel(least)
    for name in _HELD_AT_WARNING:
        logging.getLogger(name).setLevel(max(least, logging.WARNING))
    for name in _UVICORN:
        _leave_to_root(logging.getLogger(name))
    access = logging.getLogger("uvicorn.access")
    access.handlers.clear()
    access.propagate = False
    logging.captureWarnings(capture=True)


class Lines:
    """Writes lines to a stream as far as it takes them at once: nobody who logs waits for whoever should read.

    What a full pipe or disk does not take is lost, and counted in `lost`; a line that was begun is ended first.
    """

    def __init__(self, stream: TextIO) -> None:
        self.lost = 0
        self._stream = stream
        self._descriptor = _descriptor(stream)
        self._rest = b""

    def write(self, line: str) -> None:
        """Write one line, or lose it."""
        if self._descriptor is None:
            self._write_to_object(line)
            return
        self._rest = _left(self._descriptor, self._rest)
        if self._rest:
            self.lost += 1
            return
        data = f"{line}\n".encode(errors="backslashreplace")
        left = _left(self._descriptor, data)
        if len(left) < len(data):
            self._rest = left
        else:
            self.lost += 1

    def _write_to_object(self, line: str) -> None:
        try:
            self._stream.write(f"{line}\n")
            self._stream.flush()
        except (OSError, ValueError):  # full, or closed
            self.lost += 1


def _descriptor(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError):  # an object in memory, or closed
        return None


def _left(descriptor: int, data: bytes) -> bytes:
    """What of the data is not taken without waiting."""
    ready = select.poll()
    ready.register(descriptor, select.POLLOUT)
    try:
        # A pipe that takes anything takes so much at once (pipe(7)).
        while data and ready.poll(0):
            data = data[os.write(descriptor, data[: select.PIPE_BUF]) :]
    except OSError:  # the disk is full, or nobody will ever read
        return data
    return data


def tell(line: str) -> None:
    """Write one line for people to standard error, unless that does not take it."""
    Lines(sys.stderr).write(line)


def lost_lines() -> int:
    """How many log lines nobody took, since logging was configured."""
    return sum(handler.lines.lost for handler in logging.getLogger().handlers if isinstance(handler, _Handler))


class _Handler(logging.Handler):
    """Says that a line was lost where the standard handler would print the arguments it could not render."""

    def __init__(self, lines: Lines) -> None:
        super().__init__()
        self.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001 # whatever the arguments do when they are rendered
            text = "A log line could not be written; its arguments are not shown."
            line = self.format(logging.LogRecord(record.name, logging.ERROR, "", 0, text, None, None))
        self.lines.write(line)


def _handler(stream: TextIO, *, as_console: bool) -> logging.Handler:
    handler = _Handler(Lines(stream))
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_shared(),
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_rendering(as_console=as_console, colors=as_console and stream.isatty()),
            ],
        )
    )
    return handler


def _rendering(*, as_console: bool, colors: bool) -> Sequence[Processor]:
    if as_console:
        # The default exception formatter prints the local variables of every frame.
        plain = structlog.dev.plain_traceback
        return [structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=plain)]
    return [structlog.processors.format_exc_info, _in_order, structlog.processors.JSONRenderer()]


def _in_order(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    first = {name: line[name] for name in ("timestamp", "level", "event")}
    return {**first, **line}


def _shared() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _configure_structlog() -> None:
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,  # a cached logger would keep an older configuration
    )


def _leave_to_root(logger: logging.Logger) -> None:
    logger.handlers.clear()
    logger.propagate = True
    logger.setLevel(logging.NOTSET)
