"""Erasing one address, and watching it."""

from typing import Any

from receiver.errors import InvalidParameterError
from receiver.ingest.erase import Erasing
from receiver.leadterra.erasure import erasable
from receiver.web.operation import Call
from receiver.web.params import EraseBody
from receiver.web.times import rfc3339


class Erase:
    """Handlers of `/v1/erase`. No answer and no log line holds the address."""

    def __init__(self, erasing: Erasing) -> None:
        self._erasing = erasing

    async def start(self, call: Call) -> dict[str, Any]:
        body: EraseBody = call.body
        address = erasable(body.email)
        if address is None:
            raise InvalidParameterError("email", "'email' is no address; give one like jo@example.org.")
        self._erasing.start(address)
        return await self.state(call)

    async def state(self, call: Call) -> dict[str, Any]:
        state = self._erasing.state
        return {
            "status": state.status,
            "started_at": rfc3339(state.started_at),
            "ended_at": rfc3339(state.ended_at),
            "rows_done": state.progress.done,
            "rows_total": state.progress.total,
            "bodies": state.erased.bodies,
            "records": state.erased.records,
            "similar": state.erased.similar,
        }
