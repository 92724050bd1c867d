"""Takes the database and the address, and starts both processes: the one that writes, and this one, which serves."""

import asyncio
import contextlib
import signal
import socket

import structlog

from receiver.errors import CommandError
from receiver.settings import Settings, clock_of
from receiver.storage.lock import DatabaseLock
from receiver.storage.sqlite.launch import launched

log = structlog.get_logger()

_LOCK_WAIT_S = 30.0
_LOCK_POLL_S = 0.1
_BACKLOG = 2048


async def serve(settings: Settings, lock_wait_s: float = _LOCK_WAIT_S) -> int:
    """Run until SIGTERM or Ctrl-C; the exit code. Raises CommandError for what stands in the way."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    lock = DatabaseLock(settings.database_path)
    if not await _locked(lock, stop, lock_wait_s):
        return 0
    try:
        with _bound(settings.server.host, settings.server.port) as listener:
            clock = clock_of(settings)
            with launched(settings.database_path, clock.now_ms(), lock.share()) as writing:
                # Importing it takes as long as the other process takes to open the database.
                from receiver.serving import run  # noqa: PLC0415 # so it is done meanwhile

                return await run(settings, clock, lock, writing, listener, stop)
    finally:
        lock.release()


async def _locked(lock: DatabaseLock, stop: asyncio.Event, wait_s: float) -> bool:
    """Wait for the database's lock; False when told to stop meanwhile."""
    deadline = asyncio.get_running_loop().time() + wait_s
    waiting = False
    while not lock.acquire():
        if asyncio.get_running_loop().time() >= deadline:
            raise CommandError(
                f"The database is held by {lock.holder().process}; stop that one, or name another database."
            )
        if not waiting:
            log.info("waiting_for_lock", holder=lock.holder().pid)
            waiting = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LOCK_POLL_S):
                await stop.wait()
        if stop.is_set():
            return False
    return True


def _bound(host: str, port: int) -> socket.socket:
    """A listening address, bound before anything else is started. Raises CommandError when it is taken."""
    name = host.strip("[]")
    try:
        family, kind, proto, _, address = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise CommandError(f"Setting 'server.host' is {host!r}, which names no address here.") from error
    listener = socket.socket(family, kind, proto)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise CommandError(f"Cannot listen on {host}:{port}: {error.strerror}; use another 'server.port'.") from error
    return listener
