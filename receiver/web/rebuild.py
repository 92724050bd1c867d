"""Starting a rebuild of the figures, and watching it."""

from typing import Any

from receiver.ingest.rebuild import Rebuilding
from receiver.web.operation import Call
from receiver.web.times import rfc3339


class Rebuild:
    """Handlers of `/v1/rebuild`."""

    def __init__(self, rebuilding: Rebuilding) -> None:
        self._rebuilding = rebuilding

    async def start(self, call: Call) -> dict[str, Any]:
        self._rebuilding.start()
        return await self.state(call)

    async def state(self, call: Call) -> dict[str, Any]:
        state = self._rebuilding.state
        return {
            "status": state.status,
            "started_at": rfc3339(state.started_at),
            "ended_at": rfc3339(state.ended_at),
            "rows_done": min(state.progress.done, state.progress.total),
            "rows_total": state.progress.total,
            "rows_changed": state.rows_changed,
        }
