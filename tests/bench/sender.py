"""A sender that sees to it that every event is acknowledged in the end."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field

import uvloop

_PAUSE_S = 1.0


@dataclass(slots=True)
class Sender:
    """Delivers events over many connections, each again until it is acknowledged.

    `answers` counts the statuses, 0 where none came; `waited_s` is the longest wait for each. What is not answered
    204 is sent again by the next connection that has time; the one that sent it comes back after `Retry-After`, or a
    second where there is none.
    """

    port: int
    pending: list[bytes]
    answers: Counter[int] = field(default_factory=Counter)
    took_s: float = 0.0
    waited_s: dict[int, float] = field(default_factory=dict)

    def deliver(self, connections: int) -> None:
        """Return when all are acknowledged."""
        begun = time.perf_counter()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._deliver(connections))
        self.took_s = time.perf_counter() - begun

    async def _deliver(self, connections: int) -> None:
        await asyncio.gather(*(self._connection() for _ in range(connections)))

    @property
    def failed(self) -> int:
        """Answers that are neither a good one nor a bounded refusal, and missing ones."""
        return self.answers.total() - self.answers[204] - self.answers[503]

    @property
    def per_second(self) -> float:
        return self.answers[204] / self.took_s

    async def _connection(self) -> None:
        while self.pending:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                self.answers[0] += 1
                await asyncio.sleep(_PAUSE_S)
                continue
            await asyncio.sleep(await self._send(reader, writer))
            writer.close()

    async def _send(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> float:
        """Send one event after another; how many seconds to wait once an answer is not 204."""
        while self.pending:
            raw = self.pending.pop()
            begun = time.perf_counter()
            try:
                writer.write(raw)
                status, headers = _parsed(await reader.readuntil(b"\r\n\r\n"))
            except (OSError, asyncio.IncompleteReadError):
                status, headers = 0, {}
            self.answers[status] += 1
            self.waited_s[status] = max(self.waited_s.get(status, 0), time.perf_counter() - begun)
            if status != 204:
                self.pending.append(raw)
                return float(headers.get(b"retry-after", _PAUSE_S))
        return 0.0


def _parsed(head: bytes) -> tuple[int, dict[bytes, bytes]]:
    status, *lines = head.split(b"\r\n")
    headers = (line.partition(b":") for line in lines if line)
    return int(status.split()[1]), {name.lower(): value.strip() for name, _, value in headers}
