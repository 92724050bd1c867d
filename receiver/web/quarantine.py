"""What is kept and not counted: listing it, and reading it again."""

from typing import Any

from receiver.errors import InvalidParameterError
from receiver.ingest.quarantine import Retrying
from receiver.storage.sqlite import reads
from receiver.storage.sqlite.store import Readers
from receiver.web.operation import Call
from receiver.web.params import QuarantineParams, RetryBody, decode_cursor, encode_cursor
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
        data = [{**row, "received_at": rfc3339(row["received_at"])} for row in map(dict, page)]
        return {"data": data, "next_cursor": next_cursor}

    async def retry(self, call: Call) -> dict[str, Any]:
        body: RetryBody = call.body
        if body.ids is not None and body.reason is not None:
            raise InvalidParameterError("reason", "'ids' and 'reason' are both given; give one of them.")
        if body.ids is not None:
            return dict(await self._retrying.of_ids(body.ids))
        return dict(await self._retrying.of_reason(body.reason))
