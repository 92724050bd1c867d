"""Error answers: one shape (RFC 9457), one table from codes to statuses."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson

from receiver.errors import InvalidParameterError, ReceiverError

# A 404 or 405 without it may be kept by caches.
HEADERS = ((b"content-type", b"application/problem+json"), (b"cache-control", b"no-store"))

STATUS_BY_CODE: Mapping[str, int] = {
    "invalid_parameter": 400,
    "too_many_rows": 400,
    "invalid_request": 400,
    "signature_invalid": 401,
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "campaign_not_found": 404,
    "method_not_allowed": 405,
    "body_timeout": 408,
    "header_timeout": 408,
    "reconciliation_off": 409,
    "body_too_large": 413,
    "unsupported_encoding": 415,
    "too_many_attempts": 429,
    "header_too_large": 431,
    "internal": 500,
    "unavailable": 503,
    "query_timeout": 503,
}

# Python's phrase for it changed with version 3.13; an answer must not.
TITLES = {413: "Content Too Large"}


def problem(code: str, detail: str, parameter: str | None = None) -> tuple[int, bytes]:
    """Status and body of an error answer."""
    status = STATUS_BY_CODE[code]
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": TITLES.get(status) or HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
    }
    if parameter is not None:
        body["parameter"] = parameter
    return status, orjson.dumps(body)


def headers_of(error: ReceiverError) -> list[tuple[bytes, bytes]]:
    """Headers that an error answer needs beside its body."""
    headers = list(HEADERS)
    retry_after_s = getattr(error, "retry_after_s", None)
    if retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % retry_after_s))
    if error.code == "unauthorized":
        headers.append((b"www-authenticate", b"Bearer"))
    return headers


def internal() -> tuple[int, bytes]:
    """Status and body when the fault is ours: nothing of it is told outside."""
    return problem("internal", "Something went wrong here; the log has the details.")


def is_fault(error: ReceiverError) -> bool:
    """Whether the fault is ours, and not something that the caller can act on."""
    return error.code == ReceiverError.code or error.code not in STATUS_BY_CODE


def problem_of(error: ReceiverError) -> tuple[int, bytes]:
    """Status and body for an error; one that is our own fault tells nothing."""
    if is_fault(error):
        return internal()
    parameter = error.parameter if isinstance(error, InvalidParameterError) else None
    return problem(error.code, str(error), parameter)
