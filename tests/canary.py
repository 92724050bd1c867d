"""Listens to every log line of a run of the tests: none may hold an e-mail address or a configured secret.

In this process it hears what is logged, whatever the level and wherever it goes; of the processes that tests start,
what they write to standard error.
"""

import json
import logging
import os
import re
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import structlog
from pydantic import SecretStr

# As it is written in mail, in JSON and in links; one that is masked has no letter or digit before its sign.
_ADDRESS = re.compile(r"[\w+-](?:@|%40|\\u0040)(?:[\w-]+\.)+[a-zA-Z]{2,}")
# Shorter ones are words that tests of settings use, and may stand anywhere.
_SECRET_MIN = 8
_HOLD_SECRETS = re.compile(r"RECEIVER_\w*__(SECRETS|\w*KEYS?)|LEADTERRA_API_KEY")


class Canary:
    """What was heard and should not have been, in `leaks`; `note` tells it a secret."""

    def __init__(self) -> None:
        self.leaks: list[str] = []
        self._secrets: set[str] = set()
        self._files: dict[Path, int] = {}

    def note(self, secret: object) -> None:
        """A configured secret: it must not be heard from now on."""
        if isinstance(secret, str) and len(secret) >= _SECRET_MIN:
            self._secrets.add(secret)

    def note_environ(self, environ: Mapping[Any, Any] | None) -> None:
        """The secrets among the variables that a process is given; None is this one's own."""
        for name, value in (os.environ if environ is None else environ).items():
            if isinstance(name, str) and isinstance(value, str) and _HOLD_SECRETS.fullmatch(name):
                self._note_value(value)

    def _note_value(self, value: str) -> None:
        try:
            listed = json.loads(value)
        except ValueError:
            listed = value
        for secret in listed if isinstance(listed, list) else [value]:
            self.note(secret)

    def hear(self, said: object) -> None:
        """Look at what was written, a line or more of it."""
        text = said.decode(errors="replace") if isinstance(said, bytes | bytearray) else said
        if not isinstance(text, str):
            return
        spellings = (text, text.encode().decode("unicode_escape", "replace")) if "\\u" in text else (text,)
        found = [secret for secret in self._secrets if any(secret in each for each in spellings)]
        self.leaks += [f"{what!r} in {text[:2000]!r}" for what in [*found, *_ADDRESS.findall(text)]]

    def follow(self, file: Path) -> None:
        """Also hear what is written to this file from now on."""
        self._files.setdefault(file, file.stat().st_size)

    def read_files(self) -> None:
        """Hear what the followed files hold by now."""
        for file, seen in self._files.items():
            if file.exists():
                with file.open("rb") as stream:
                    stream.seek(seen)
                    said = stream.read()
                self._files[file] = seen + len(said)
                self.hear(said)

    def taken(self) -> list[str]:
        """The leaks so far; they are told once."""
        self.read_files()
        leaks, self.leaks = self.leaks, []
        return leaks


class _HeardStream:
    """A stream that is read by a test, and heard."""

    def __init__(self, stream: Any, canary: Canary) -> None:
        self._stream = stream
        self._canary = canary

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __enter__(self) -> "_HeardStream":
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def __iter__(self) -> Iterator[Any]:
        for line in self._stream:
            yield self._heard(line)

    def read(self, *size: int) -> Any:
        return self._heard(self._stream.read(*size))

    def readline(self, *size: int) -> Any:
        return self._heard(self._stream.readline(*size))

    def _heard(self, said: Any) -> Any:
        self._canary.hear(said)
        return said


def listen(canary: Canary) -> None:
    """From now on, until this process ends, the canary hears all there is."""
    _to_secrets(canary)
    _to_log_lines(canary)
    _to_processes(canary)


def _to_secrets(canary: Canary) -> None:
    made = SecretStr.__init__

    def init(self: SecretStr, secret_value: str) -> None:
        canary.note(secret_value)
        made(self, secret_value)

    SecretStr.__init__ = init  # type: ignore[method-assign,assignment] # every secret of the settings is one


def _to_log_lines(canary: Canary) -> None:
    handle = logging.Logger.handle
    bound = structlog.BoundLoggerBase
    process = bound._process_event

    def heard_record(self: logging.Logger, record: logging.LogRecord) -> None:
        canary.hear(_text_of(record))
        handle(self, record)

    def heard_event(self: Any, method_name: str, event: str | None, event_kw: dict[str, Any]) -> Any:
        canary.hear(f"{event} {event_kw} {_traceback(event_kw.get('exc_info') or method_name == 'exception')}")
        return process(self, method_name, event, event_kw)

    logging.Logger.handle = heard_record  # type: ignore[method-assign] # lines of libraries too
    bound._process_event = heard_event  # type: ignore[method-assign] # whatever the configuration is


def _text_of(record: logging.LogRecord) -> str:
    try:
        message = record.getMessage()
    except Exception:  # noqa: BLE001 # arguments that do not fit are a matter of the handler
        message = str(record.msg)
    return f"{message} {_traceback(record.exc_info)}"


def _traceback(exc_info: Any) -> str:
    if isinstance(exc_info, BaseException):
        error: BaseException | None = exc_info
    else:
        error = exc_info[1] if isinstance(exc_info, tuple) else sys.exc_info()[1] if exc_info else None
    return "" if error is None else "".join(traceback.format_exception(error))


def _to_processes(canary: Canary) -> None:
    class Popen(subprocess.Popen):  # type: ignore[type-arg] # bytes or text, as it is asked for
        def __init__(self, *arguments: Any, **named: Any) -> None:
            canary.note_environ(named.get("env"))
            super().__init__(*arguments, **named)
            asked = named.get("stderr")
            if self.stderr is not None:
                self.stderr = _HeardStream(self.stderr, canary)  # type: ignore[assignment] # it does the same
            elif asked is not None and asked not in (subprocess.DEVNULL, subprocess.STDOUT):
                file = Path(f"/proc/self/fd/{asked if isinstance(asked, int) else asked.fileno()}").resolve()
                if file.is_file():
                    canary.follow(file)

        def communicate(self, *arguments: Any, **named: Any) -> Any:
            said, complained = super().communicate(*arguments, **named)
            canary.hear(complained)
            return said, complained

    subprocess.Popen = Popen  # type: ignore[misc] # `subprocess.run` takes it from there too
