"""What is kept and not counted: listing it, and reading it again."""

import sqlite3
from collections.abc import Iterator
from functools import partial
from typing import Any

from receiver.errors import InvalidParameterError
from receiver.ingest.quarantine import Retrying
from receiver.storage.sqlite import reads
from receiver.storage.sqlite.store import Readers
from receiver.web.operation import Call
from receiver.web.paging import asked_limit, decode_cursor, encode_cursor, every
from receiver.web.params import QuarantineParams, RetryBody
from receiver.web.times import rfc3339


class Quarantine:
    """Handlers of `/v1/quarantine…`."""

    def __init__(self, readers: Readers, retrying: Retrying) -> None:
        self._readers = readers
        self._retrying = retrying

    async def list(self, call: Call) -> dict[str, Any]:
        params: QuarantineParams = call.params
        cursor = decode_cursor(params.cursor, int)
        before = cursor[0] if cursor else None
        rows = await self._readers.run(reads.quarantine, params.reason, before, params.limit + 1)
        page = rows[: params.limit]
        next_cursor = encode_cursor(page[-1]["id"]) if len(rows) > params.limit else None
        return {"data": [_row_json(row) for row in page], "next_cursor": next_cursor}

    async def retry(self, call: Call) -> dict[str, Any]:
        body: RetryBody = call.body
        if body.ids is not None and body.reason is not None:
            raise InvalidParameterError("reason", "'ids' and 'reason' are both given; give one of them.")
        if body.ids is not None:
            return dict(await self._retrying.of_ids(body.ids))
        return dict(await self._retrying.of_reason(body.reason))


def quarantine_rows(conn: sqlite3.Connection, call: Call) -> Iterator[dict[str, Any]]:
    """All that waits in quarantine, newest first."""
    params: QuarantineParams = call.params
    cursor = decode_cursor(params.cursor, int)
    read = partial(_rows_of, params.reason)
    for row in every(read, _before, conn, cursor[0] if cursor else None, asked_limit(params)):
        yield _row_json(row)


def _rows_of(reason: str | None, conn: sqlite3.Connection, before: int | None, limit: int) -> list[reads.Row]:
    return reads.quarantine(conn, reason, before, limit)


def _before(_: int | None, last: reads.Row) -> int | None:
    return int(last["id"])


def _row_json(row: reads.Row) -> dict[str, Any]:
    return {**row, "received_at": rfc3339(row["received_at"])}
