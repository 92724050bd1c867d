"""Events of the ledger, one row each."""

from collections.abc import Mapping
from typing import Any

from receiver.events import EVENT_NAMES, STEP_NONE, Kind, Origin
from receiver.storage.sqlite import reads
from receiver.storage.sqlite.store import Readers
from receiver.web.operation import Call
from receiver.web.params import EventsParams, decode_cursor, encode_cursor, time_parameter
from receiver.web.times import rfc3339


class Events:
    """Handler of `/v1/events`."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    async def list(self, call: Call) -> dict[str, Any]:
        params: EventsParams = call.params
        cursor = decode_cursor(params.cursor, int)
        wanted = reads.EventFilter(
            limit=params.limit + 1,
            event=params.event,
            campaign_id=params.campaign_id,
            message_id=params.message_id,
            from_ms=time_parameter("from", params.from_, call.now_ms),
            to_ms=time_parameter("to", params.to, call.now_ms),
            before=cursor[0] if cursor else None,
        )
        rows = await self._readers.run(reads.events, wanted)
        page = rows[: params.limit]
        next_cursor = encode_cursor(page[-1]["seq"]) if len(rows) > params.limit else None
        return {"data": [_event_json(row) for row in page], "next_cursor": next_cursor}


def _event_json(row: Mapping[str, Any]) -> dict[str, Any]:
    step = row["step"]
    return {
        "seq": row["seq"],
        "event": EVENT_NAMES[Kind(row["kind"])],
        "campaign_id": row["campaign_id"],
        "message_id": row["message_id"],
        "step": None if step == STEP_NONE else step,
        "occurred_at": rfc3339(row["occurred_at"]),
        "received_at": rfc3339(row["received_at"]),
        "origin": Origin(row["origin"]).name.lower(),
        "copies": row["copies"],
    }
