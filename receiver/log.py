"""Logging: one stream with uvicorn's lines and Python's warnings, without access lines and bound values."""

import logging
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


class _Handler(logging.StreamHandler[TextIO]):
    """Says that a line was lost where the standard handler would print the arguments it could not render."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # the standard library's name
        text = "A log line could not be written; its arguments are not shown."
        lost = logging.LogRecord(record.name, logging.ERROR, "", 0, text, None, None)
        try:
            self.stream.write(self.format(lost) + self.terminator)
        except (OSError, ValueError):
            return  # the stream itself is gone or closed


def _handler(stream: TextIO, *, as_console: bool) -> logging.Handler:
    handler = _Handler(stream)
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
