"""Runs the service under uvicorn, behind an address that is bound already."""

import asyncio
import contextlib
import os
import secrets
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from ipaddress import ip_address

import structlog
import uvicorn
from starlette.types import ASGIApp

from receiver.app import Service
from receiver.clock import Clock
from receiver.garbage import collect_rarely
from receiver.log import tell
from receiver.settings import Settings
from receiver.storage.lock import DatabaseLock, Holder
from receiver.storage.sqlite.launch import Launched
from receiver.supervisor import Supervisor
from receiver.web.connections import Connections
from receiver.web.newcomer import protocols

log = structlog.get_logger()

# The event loop gets the interpreter back from a thread that is shaping a long answer after so long: at the usual
# 5 ms ingest beside long questions takes twice as long.
_SWITCH_INTERVAL_S = 0.0001


class _Server(uvicorn.Server):
    """uvicorn without its signal handling: that would end the process by the signal it was sent."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def run(
    settings: Settings,
    clock: Clock,
    lock: DatabaseLock,
    launched: Launched,
    listener: socket.socket,
    stop: asyncio.Event,
) -> int:
    """Serve with the process that was `launched` for the locked database, until told to `stop`; the exit code."""
    token = secrets.token_urlsafe(32)
    url = _url(listener)
    own = frozenset({listener.getsockname()[0]})
    supervisor = Supervisor(os.environ, os.getpid())
    service = await Service.open(settings, token, own, clock, launched=launched)
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


def _url(listener: socket.socket) -> str:
    """Where commands on this machine reach the server."""
    address, port = listener.getsockname()[:2]
    ip = ip_address(address.partition("%")[0])
    if ip.is_unspecified:
        address = "127.0.0.1" if ip.version == 4 else "::1"
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"


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
