"""Runs the service under uvicorn until it is told to stop."""

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from ipaddress import ip_address

import structlog
import uvicorn
from starlette.types import ASGIApp

from receiver.app import Service
from receiver.errors import CommandError
from receiver.garbage import collect_rarely
from receiver.log import tell
from receiver.settings import Settings
from receiver.storage.lock import DatabaseLock, Holder
from receiver.supervisor import Supervisor
from receiver.web.connections import Connections
from receiver.web.newcomer import protocols

log = structlog.get_logger()

_LOCK_WAIT_S = 30.0
_LOCK_POLL_S = 0.1
_BACKLOG = 2048
# The event loop gets the interpreter back from a thread that is shaping a long answer after so long: at the usual
# 5 ms ingest beside long questions takes twice as long.
_SWITCH_INTERVAL_S = 0.0001


class _Server(uvicorn.Server):
    """uvicorn without its signal handling: that would end the process by the signal it was sent."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


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
            return await _serve(settings, lock, listener, stop)
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


def _url(listener: socket.socket) -> str:
    """Where commands on this machine reach the server."""
    address, port = listener.getsockname()[:2]
    ip = ip_address(address.partition("%")[0])
    if ip.is_unspecified:
        address = "127.0.0.1" if ip.version == 4 else "::1"
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"


async def _serve(settings: Settings, lock: DatabaseLock, listener: socket.socket, stop: asyncio.Event) -> int:
    token = secrets.token_urlsafe(32)
    url = _url(listener)
    own = frozenset({listener.getsockname()[0]})
    supervisor = Supervisor(os.environ, os.getpid())
    service = await Service.open(settings, token, own, lock=lock)
    try:
        async with listening(settings, service, listener) as serving:
            lock.describe(Holder(os.getpid(), url, token, service.database.store.writer_pid))
            _announce(settings, listener, service.missing)
            collect_rarely()
            sys.setswitchinterval(_SWITCH_INTERVAL_S)
            async with supervisor.told(service.writer.heartbeat.is_alive, settings.server.shutdown_timeout_s):
                await _until_stopped(stop, service.writer.failed, serving)
    finally:
        await service.close()
    return 1 if service.writer.failed.is_set() else 0


@contextlib.asynccontextmanager
async def listening(
    settings: Settings, service: Service, listener: socket.socket
) -> AsyncIterator[asyncio.Task[None]]:
    """The service behind a bound address, as the task that serves; drained when the block ends. Closing is left."""
    server = _Server(_config(settings, service.app, service.connections))
    service.connections.start()
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started and not serving.done():  # noqa: ASYNC110 # uvicorn has no event to wait for
            await asyncio.sleep(0.005)
        yield serving
    finally:
        service.drain()
        server.should_exit = True
        await serving
        service.connections.close()


async def _until_stopped(stop: asyncio.Event, failed: asyncio.Event, serving: asyncio.Task[None]) -> None:
    """Until a signal, a database that cannot be trusted any more, or a server that ended by itself."""
    waits = [asyncio.create_task(stop.wait()), asyncio.create_task(failed.wait())]
    await asyncio.wait([*waits, serving], return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()


def _config(settings: Settings, app: ASGIApp, connections: Connections) -> uvicorn.Config:
    server = settings.server
    return uvicorn.Config(
        app,
        http=protocols(connections),  # type: ignore[arg-type] # it is only called
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(server.trusted_proxies),
        forwarded_allow_ips=list(server.trusted_proxies),
        root_path=server.root_path,
        timeout_graceful_shutdown=max(1, round(server.shutdown_timeout_s)),
    )


def _announce(settings: Settings, listener: socket.socket, missing: str | None) -> None:
    """The address, then what is missing next."""
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    tell(f"Listening on http://{shown}:{port}")
    if not settings.access.has_keys:
        log.warning("no_access_key", detail="Anybody on this machine can read the figures.")
    if missing is not None:
        log.info("missing_next", detail=missing)
