"""The real service in a thread of the test's own process, so that a test chooses how patient it is."""

import asyncio
import json
import threading
from pathlib import Path

import uvloop

from receiver.app import Service
from receiver.server import _bound
from receiver.serving import listening
from receiver.settings import load
from receiver.web.connections import ConnectionLimits
from tests.e2e.server import PATIENCE_S, SECRET, Connection, until


class Guarded:
    """A service that listens on a free loopback port; `service` is for looking at, from outside its thread."""

    def __init__(self, database: Path, limits: ConnectionLimits, **environ: str) -> None:
        given = {"RECEIVER_WEBHOOK__SECRETS": json.dumps([SECRET]), "RECEIVER_STORAGE__URL": f"sqlite:///{database}"}
        self._settings = load(None, {**given, **environ}, {}).settings
        self._limits = limits
        self._listener = _bound("127.0.0.1", 0)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run)
        self._listening = threading.Event()

    def __enter__(self) -> "Guarded":
        self._thread.start()
        assert self._listening.wait(PATIENCE_S)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End it as SIGTERM would, and wait for its end."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()

    def connect(self) -> Connection:
        return Connection(self.port)

    def wait_until_open(self, count: int) -> None:
        until(lambda: len(self.service.connections) == count, f"{count} open connections")

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self.service = await Service.open(self._settings, "token", limits=self._limits)
        try:
            with self._listener:
                async with listening(self._settings, self.service, self._listener):
                    self._listening.set()
                    await self._stop.wait()
        finally:
            await self.service.close()
