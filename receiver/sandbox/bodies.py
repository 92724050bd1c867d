"""Reads what API calls send; whatever is wrong is refused with a message that names the field."""

from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import orjson

from receiver.sandbox.happenings import EVENTS
from receiver.sandbox.problems import RefusedError, invalid
from receiver.sandbox.tokens import Step, is_address

_NAME_MAX = 500
_STEPS_MAX = 100
_TEXT_MAX = 200_000
_DELAY_MAX_DAYS = 365
SUPPRESSED_MAX = 1000
_PAGE_MAX = 1_000_000
_NAMED_FIELDS = ("firstName", "lastName", "company", "jobTitle")

Json = Mapping[str, Any]


def parse(raw: bytes) -> Json:
    """The object that a request's body holds."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise invalid(f"The body is not JSON: {error.msg}; send an object.") from error
    if not isinstance(body, dict):
        raise invalid(f"The body is {_kind(body)}; send an object.")
    return body


def name(body: Json) -> str:
    """The required name of a campaign."""
    return _text(body.get("name"), "name", _NAME_MAX)


def steps(body: Json) -> list[Step]:
    """`sequenceSteps`, which may be absent. Unknown fields are ignored, except what likely means that one."""
    if "steps" in body and "sequenceSteps" not in body:
        raise invalid("'steps' is no field of a campaign; send 'sequenceSteps'.")
    given = body.get("sequenceSteps")
    if given is None:
        return []
    if not isinstance(given, list):
        raise invalid(f"'sequenceSteps' is {_kind(given)}; send a list of objects.")
    if len(given) > _STEPS_MAX:
        raise invalid(f"'sequenceSteps' has {len(given)} entries; send at most {_STEPS_MAX}.")
    return [_step(entry, index) for index, entry in enumerate(given)]


def _step(entry: object, index: int) -> Step:
    path = f"sequenceSteps[{index}]"
    if not isinstance(entry, dict):
        raise invalid(f"'{path}' is {_kind(entry)}; send an object.")
    subject = _text(entry.get("subject"), f"{path}.subject", _TEXT_MAX)
    body_html = _text(entry.get("bodyHtml"), f"{path}.bodyHtml", _TEXT_MAX)
    # The documentation gives no default: the first step at once, the others a day apart.
    delay = entry.get("delayDays")
    delay = min(index, 1) if delay is None else delay
    if isinstance(delay, bool) or not isinstance(delay, int | float) or not 0 <= delay <= _DELAY_MAX_DAYS:
        shown = delay if isinstance(delay, int | float) else _kind(delay)
        raise invalid(f"'{path}.delayDays' is {shown}; send 0 to {_DELAY_MAX_DAYS}.")
    return Step(subject, body_html, delay)


def leads(body: Json, refused: Callable[[str], None]) -> list[dict[str, str]]:
    """The leads of an upload, as flat texts. `refused` is told of malformed addresses."""
    given = body.get("leads")
    if not isinstance(given, list):
        raise invalid(f"'leads' is {_kind(given)}; send a list of objects.")
    errors: list[dict[str, object]] = []
    found = []
    for index, entry in enumerate(given):
        try:
            found.append(_lead(entry, f"leads[{index}]", refused))
        except RefusedError as error:
            errors.append({"index": index, "message": str(error)})
    if errors:
        raise _unprocessable(errors)
    return found


def _lead(entry: object, path: str, refused: Callable[[str], None]) -> dict[str, str]:
    if not isinstance(entry, dict):
        raise invalid(f"'{path}' is {_kind(entry)}; send an object with 'email'.")
    email = entry.get("email")
    if not isinstance(email, str) or not is_address(email.strip()):
        if isinstance(email, str):
            refused(email)
        raise invalid(f"'{path}.email' is {_shown(email)}; send an address such as jo@example.org.")
    for field in _NAMED_FIELDS:
        if not isinstance(entry.get(field), str | None):
            raise invalid(f"'{path}.{field}' is {_kind(entry[field])}; send a string.")
    custom = entry.get("customFields")
    if not isinstance(custom, dict | None):
        raise invalid(f"'{path}.customFields' is {_kind(custom)}; send an object.")
    given = {**entry, **(custom or {})}
    fields = {
        key: _flat(value, f"{path}.{key[:100]}")
        for key, value in given.items()
        if value is not None and key != "customFields"
    }
    return {**fields, "email": email.strip()}


def emails(body: Json) -> list[str]:
    """The addresses to suppress."""
    given = body.get("emails")
    if not isinstance(given, list):
        raise invalid(f"'emails' is {_kind(given)}; send a list of addresses.")
    if not 1 <= len(given) <= SUPPRESSED_MAX:
        raise invalid(f"'emails' has {len(given)} entries; send 1 to {SUPPRESSED_MAX}.")
    errors: list[dict[str, object]] = [
        {"index": index, "message": f"'emails[{index}]' is {_shown(email)}; send an address."}
        for index, email in enumerate(given)
        if not isinstance(email, str) or not is_address(email.strip())
    ]
    if errors:
        raise _unprocessable(errors)
    return [email.strip().lower() for email in given]


def webhook(body: Json) -> tuple[str, tuple[str, ...]]:
    """URL and events of a webhook. http is taken for loopback alone: that is ours, Leadterra wants https."""
    target = url(body.get("url"), "url")
    events = body.get("events")
    if not isinstance(events, list) or not events:
        raise invalid(f"'events' is {_kind(events)}; send a list of {', '.join(EVENTS)}.")
    for index, event in enumerate(events):
        if event not in EVENTS:
            raise invalid(f"'events[{index}]' is {_shown(event)}; use {', '.join(EVENTS)}.")
    return target, tuple(dict.fromkeys(events))


def url(value: object, field: str, *, http_anywhere: bool = False) -> str:
    """Where a webhook may post to; http to other machines only when the one who runs the sandbox says so."""
    text = _text(value, field, 2000)
    if not _is_good_url(text, http_anywhere=http_anywhere):
        if http_anywhere:
            raise invalid(f"'{field}' is not an http or https URL.")
        raise invalid(f"'{field}' is not an https URL; send https://… (http only for loopback).")
    return text


def page(text: str | None, field: str, default: int, most: int = _PAGE_MAX) -> int:
    """A page's number or size from the query."""
    if text is None:
        return default
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if not 1 <= number <= most:
        raise invalid(f"'{field}' is {_shown(text)}; use 1 to {most}.")
    return number


def _is_good_url(text: str, *, http_anywhere: bool) -> bool:
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return False
    if not host or not text.isascii() or not text.isprintable() or " " in text:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and (http_anywhere or _is_loopback(host)))


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _text(value: object, path: str, longest: int) -> str:
    if value is None:
        raise invalid(f"'{path}' is missing; send a string.")
    if not isinstance(value, str):
        raise invalid(f"'{path}' is {_kind(value)}; send a string.")
    if not value.strip() or len(value) > longest:
        raise invalid(f"'{path}' has {len(value)} characters; send 1 to {longest}, not all blank.")
    return value


def _flat(value: object, path: str) -> str:
    """A field as a token renders it."""
    if isinstance(value, str):
        return value
    try:
        return orjson.dumps(value).decode()
    except TypeError as error:
        raise invalid(f"'{path}' is nested too deep; send a plain value.") from error


def _unprocessable(errors: list[dict[str, object]]) -> RefusedError:
    text = f"{len(errors)} of the entries cannot be used, so none was; the first: {errors[0]['message']}"
    return RefusedError(422, "unprocessable_entity", text, errors)


def _shown(value: object) -> str:
    return repr(value[:100]) if isinstance(value, str) else _kind(value)


def _kind(value: object) -> str:
    if value is None:
        return "missing or null"
    kinds = {bool: "a boolean", int: "a number", float: "a number", str: "a string", dict: "an object"}
    return kinds.get(type(value), "an empty list" if value == [] else "a list")
