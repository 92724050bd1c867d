"""Wires the service together and runs it under uvicorn until it is told to stop."""

import asyncio
import contextlib
import gc
import os
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import httpx
import structlog
import uvicorn
from starlette.types import ASGIApp

from receiver.clock import Clock, SimulatedClock, SystemClock
from receiver.errors import CommandError
from receiver.ingest.books import StoreBooks
from receiver.ingest.intake import Intake
from receiver.ingest.meters import Meters
from receiver.ingest.quarantine import Retrying
from receiver.ingest.rebuild import Rebuilding
from receiver.ingest.writer import Limits, Writer
from receiver.reconcile.service import Reconciliation
from receiver.reconcile.watch import alarm_counts
from receiver.settings import Settings
from receiver.storage.lock import DatabaseLock, Holder
from receiver.storage.sqlite import reads
from receiver.storage.sqlite.connection import open_for_analysis
from receiver.storage.sqlite.store import Readers, Store
from receiver.web.access import Access
from receiver.web.body import BodyReader
from receiver.web.breakdowns import Breakdowns
from receiver.web.campaigns import Campaigns
from receiver.web.dashboard.assets import Assets
from receiver.web.dashboard.dashboard import Dashboard
from receiver.web.dashboard.pages import Pages
from receiver.web.dashboard.sign_in import SignIn
from receiver.web.drift import Drift
from receiver.web.events import Events
from receiver.web.explain import Explain
from receiver.web.exports import Exports
from receiver.web.operations import Operations
from receiver.web.quarantine import Quarantine
from receiver.web.rebuild import Rebuild
from receiver.web.reconciliations import Reconciliations
from receiver.web.request_id import RequestIds
from receiver.web.resource import Surroundings
from receiver.web.routes import Handlers, router, table
from receiver.web.series import Series
from receiver.web.sessions import Sessions
from receiver.web.standing import Comparison
from receiver.web.summary import Summary
from receiver.web.webhook import Webhook

log = structlog.get_logger()

_LOCK_WAIT_S = 30.0
_LOCK_POLL_S = 0.1
_BACKLOG = 2048
# Longer than the sender's pause between two bursts, so that its connections are not opened anew each time.
_KEEP_ALIVE_S = 65
# Few objects of a request survive it: collecting young ones rarely costs no memory and saves a tenth of the time.
_GC_THRESHOLDS = (50_000, 20, 50)


def clock_of(settings: Settings) -> Clock:
    """The clock that the settings ask for."""
    start_ms = settings.clock.start_ms
    return SystemClock() if start_ms is None else SimulatedClock(start_ms, settings.clock.speed)


@dataclass(slots=True)
class Service:
    """The running parts. `open` them, use `app`, `drain` and `close` them."""

    app: ASGIApp
    writer: Writer
    reader: BodyReader
    rebuilding: Rebuilding
    exports: Exports
    store: Store
    readers: Readers
    analysts: Readers
    probes: Readers
    reconciliation: Reconciliation
    token: str
    shutdown_timeout_s: float

    @classmethod
    async def open(
        cls,
        settings: Settings,
        token: str,
        own_addresses: frozenset[str] = frozenset(),
        clock: Clock | None = None,
        leadterra: httpx.AsyncBaseTransport | None = None,
    ) -> "Service":
        """Opens the database and starts the writer. The caller holds the database's lock.

        `clock` is the one that the settings ask for unless given; `leadterra` replaces the network to its API.
        """
        clock = clock or clock_of(settings)
        path = settings.database_path
        async with contextlib.AsyncExitStack() as opened:
            store, readers, analysts, probes = await _opened(path, clock, opened)
            meters = Meters()
            writer = Writer(store, clock, _limits(settings), meters)
            body_reader = BodyReader(settings.server.body_limit_bytes, settings.server.body_timeout_s)
            rebuilding = Rebuilding(path, store, writer, clock)
            books = StoreBooks(store, readers, writer.exclusively)
            reconciliation = _reconciliation(settings, books, clock, writer, meters, leadterra)
            comparison = Comparison(reconciliation.pins, clock)
            digests = settings.access.analyst_digests, settings.access.admin_digests
            sessions = Sessions(await readers.run(reads.session_key))
            access = Access(*digests, token, own_addresses, sessions=sessions)
            campaigns, drift = Campaigns(readers, books, comparison), Drift(readers, comparison)
            summary = Summary(analysts)
            pages = Pages(assets := Assets(), settings.server.root_path)
            handlers = Handlers(
                campaigns,
                drift,
                Reconciliations(readers, reconciliation.reconciler),
                Breakdowns(analysts),
                Explain(analysts),
                Events(analysts),
                Quarantine(readers, Retrying(store, readers, writer, clock)),
                Rebuild(rebuilding),
                Operations(path, probes, writer, body_reader, meters),
                Series(analysts),
                summary,
                Dashboard(access, pages, campaigns, summary, drift),
                SignIn(access, pages),
                assets,
            )
            request_ids = RequestIds()
            exports = Exports(path)
            surroundings = Surroundings(
                clock,
                access,
                body_reader,
                request_ids,
                exports,
                _version_of(writer),
                reconciliation.pins,
                show_recipients=settings.access.show_recipients,
            )
            keys = settings.webhook.hmac_keys
            known = list(zip(keys, await store.secret_ids(keys, clock.now_ms()), strict=True))
            webhook = Webhook(known, store.parser, writer, body_reader, clock, meters, request_ids)
            app = router(webhook, table(handlers, settings.server.root_path), surroundings)
            await writer.start()
            await reconciliation.start()
            opened.pop_all()
        return cls(
            app,
            writer,
            body_reader,
            rebuilding,
            exports,
            store,
            readers,
            analysts,
            probes,
            reconciliation,
            token,
            settings.server.shutdown_timeout_s,
        )

    def drain(self) -> None:
        """Refuse new deliveries with 503; what is under way is answered well before the shutdown's time is over."""
        self.reader.drain()
        self.reconciliation.drain()
        self.exports.drain()
        self.writer.hurry(self.shutdown_timeout_s / 2)

    async def close(self) -> None:
        """Commit what waits and close the database."""
        await self.reconciliation.close()
        await self.rebuilding.close()
        await self.writer.close()
        await self.readers.close()
        await self.analysts.close()
        await self.probes.close()
        await self.store.close()


async def _opened(
    path: Path, clock: Clock, opened: contextlib.AsyncExitStack
) -> tuple[Store, Readers, Readers, Readers]:
    """The database for the writer, for short questions, for long ones and for probes; `opened` closes them."""
    store = await Store.open(path, clock.now_ms(), lambda words: log.info("upgrading_database", detail=words))
    opened.push_async_callback(store.close)  # the thread of a connection left open keeps the process alive
    readers = await Readers.open(path)  # for what is short: a long question must not make it wait
    opened.push_async_callback(readers.close)
    analysts = await Readers.open(path, opener=open_for_analysis)
    opened.push_async_callback(analysts.close)
    probes = await Readers.open(path, count=1)  # analysts' queries must not make a probe wait
    opened.push_async_callback(probes.close)
    return store, readers, analysts, probes


def _reconciliation(
    settings: Settings,
    books: StoreBooks,
    clock: Clock,
    writer: Writer,
    meters: Meters,
    leadterra: httpx.AsyncBaseTransport | None,
) -> Reconciliation:
    """Reconciliation that tells the meters what it finds."""
    return Reconciliation(
        settings,
        books,
        clock,
        Intake(meters, writer, clock),
        writer.new_campaign,
        lambda active: meters.show_alarms(alarm_counts(active)),
        lambda run: meters.ran(run.status, run.ended_at or run.started_at),
        leadterra,
    )


def _version_of(writer: Writer) -> Callable[[], str]:
    """What says the version of the data that this process serves."""
    start = secrets.token_hex(4)
    return lambda: f"{start}.{writer.version}"


def _limits(settings: Settings) -> Limits:
    ingest = settings.ingest
    return Limits(ingest.queue_max_events, ingest.queue_max_bytes, ingest.batch_max, ingest.commit_timeout_s)


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
    service = await Service.open(settings, token, own)
    try:
        async with listening(settings, service, listener) as serving:
            lock.describe(Holder(os.getpid(), url, token))
            _announce(settings, listener)
            gc.collect()
            gc.freeze()
            gc.set_threshold(*_GC_THRESHOLDS)
            await _until_stopped(stop, service.writer.failed, serving)
    finally:
        await service.close()
    return 1 if service.writer.failed.is_set() else 0


@contextlib.asynccontextmanager
async def listening(
    settings: Settings, service: Service, listener: socket.socket
) -> AsyncIterator[asyncio.Task[None]]:
    """The service behind a bound address, as the task that serves; drained when the block ends. Closing is left."""
    server = _Server(_config(settings, service.app))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started and not serving.done():  # noqa: ASYNC110 # uvicorn has no event to wait for
            await asyncio.sleep(0.005)
        yield serving
    finally:
        service.drain()
        server.should_exit = True
        await serving


async def _until_stopped(stop: asyncio.Event, failed: asyncio.Event, serving: asyncio.Task[None]) -> None:
    """Until a signal, a database that cannot be trusted any more, or a server that ended by itself."""
    waits = [asyncio.create_task(stop.wait()), asyncio.create_task(failed.wait())]
    await asyncio.wait([*waits, serving], return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()


def _config(settings: Settings, app: ASGIApp) -> uvicorn.Config:
    server = settings.server
    return uvicorn.Config(
        app,
        http="httptools",
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(server.trusted_proxies),
        forwarded_allow_ips=list(server.trusted_proxies),
        root_path=server.root_path,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, round(server.shutdown_timeout_s)),
    )


def _announce(settings: Settings, listener: socket.socket) -> None:
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    print(f"Listening on http://{shown}:{port}", file=sys.stderr, flush=True)  # noqa: T201 # the interface's own line
    if not settings.access.has_keys:
        log.warning("no_access_key", detail="Anybody on this machine can read the figures.")
