"""Tells the process that started the service how it is, by the protocol of sd_notify(3): systemd, or another one."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Mapping

import structlog

log = structlog.get_logger()

# A supervisor that does not read must not hold up the event loop.
_SEND_TIMEOUT_S = 1.0
# After the running requests: what waits is committed, the database is closed.
_CLOSING_S = 20.0


class Supervisor:
    """Who listens at `$NOTIFY_SOCKET` of an environment; without that variable nobody is told anything.

    `watchdog_s` is how long it waits for a sign of life; None when it does not, or not for the process `pid`.
    """

    def __init__(self, environ: Mapping[str, str], pid: int) -> None:
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self.watchdog_s = _watchdog_s(environ, pid)

    @contextlib.asynccontextmanager
    async def told(self, is_alive: Callable[[], bool], shutdown_timeout_s: float) -> AsyncIterator[None]:
        """Within this block the service is ready, and when it ends the service is stopping.

        In between a sign of life goes out twice per `watchdog_s`, as long as `is_alive`.
        """
        self._send("READY=1")
        watching = asyncio.create_task(self._watch(is_alive))
        try:
            yield
        finally:
            watching.cancel()
            extension_us = int((shutdown_timeout_s + _CLOSING_S) * 1_000_000)
            self._send(f"STOPPING=1\nEXTEND_TIMEOUT_USEC={extension_us}")

    async def _watch(self, is_alive: Callable[[], bool]) -> None:
        while self.watchdog_s is not None:
            if is_alive():
                self._send("WATCHDOG=1")
            await asyncio.sleep(self.watchdog_s / 2)

    def _send(self, state: str) -> None:
        if self._address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.settimeout(_SEND_TIMEOUT_S)
                sender.sendto(state.encode(), self._address)
        except OSError as error:
            log.warning("supervisor_not_told", state=state, error=str(error))


def _address(name: str) -> str | None:
    """The address of a socket in the file system, or after `@` in the abstract namespace; None for other kinds."""
    if name.startswith("@"):
        return "\0" + name[1:]
    return name if name.startswith("/") else None


def _watchdog_s(environ: Mapping[str, str], pid: int) -> float | None:
    text = environ.get("WATCHDOG_USEC", "")
    is_ours = environ.get("WATCHDOG_PID", str(pid)) == str(pid)
    # A digit of another script would be one to `isdigit` alone.
    return int(text) / 1_000_000 if is_ours and text.isascii() and text.isdigit() and int(text) else None
