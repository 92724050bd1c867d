"""Wires the service together."""

import contextlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import structlog
from starlette.types import ASGIApp

from receiver.clock import Clock, SimulatedClock, SystemClock
from receiver.ingest.books import StoreBooks
from receiver.ingest.erase import Erasing
from receiver.ingest.intake import Intake
from receiver.ingest.meters import Meters
from receiver.ingest.probe import Probes
from receiver.ingest.quarantine import Retrying
from receiver.ingest.rebuild import Rebuilding
from receiver.ingest.rejected import RejectedBodies
from receiver.ingest.retention import Retention
from receiver.ingest.setup import next_step
from receiver.ingest.writer import Limits, Writer
from receiver.reconcile.service import Reconciliation
from receiver.reconcile.watch import alarm_counts
from receiver.settings import Settings
from receiver.storage.lock import DatabaseLock
from receiver.storage.sqlite import reads
from receiver.storage.sqlite.connection import open_for_analysis
from receiver.storage.sqlite.store import Readers, Store
from receiver.web.access import Access
from receiver.web.body import BodyReader
from receiver.web.breakdowns import Breakdowns
from receiver.web.campaigns import Campaigns
from receiver.web.connections import ConnectionLimits, Connections
from receiver.web.dashboard.assets import Assets
from receiver.web.dashboard.dashboard import Dashboard
from receiver.web.dashboard.pages import Pages
from receiver.web.dashboard.sign_in import SignIn
from receiver.web.descriptors import provide
from receiver.web.drift import Drift
from receiver.web.erase import Erase
from receiver.web.events import Events
from receiver.web.explain import Explain
from receiver.web.exports import Exports
from receiver.web.operations import Operations
from receiver.web.quarantine import Quarantine
from receiver.web.rebuild import Rebuild
from receiver.web.reconciliations import Reconciliations
from receiver.web.registrations import Registrations
from receiver.web.request_id import RequestIds
from receiver.web.resource import Surroundings
from receiver.web.routes import WEBHOOK_PATH, Handlers, router, table
from receiver.web.series import Series
from receiver.web.sessions import Sessions
from receiver.web.standing import Comparison
from receiver.web.summary import Summary
from receiver.web.webhook import Webhook

log = structlog.get_logger()


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
    rejected: RejectedBodies
    erasing: Erasing
    exports: Exports
    store: Store
    readers: Readers
    analysts: Readers
    probes: Readers
    reconciliation: Reconciliation
    connections: Connections
    retention: Retention
    token: str
    missing: str | None
    shutdown_timeout_s: float

    @classmethod
    async def open(
        cls,
        settings: Settings,
        token: str,
        own_addresses: frozenset[str] = frozenset(),
        clock: Clock | None = None,
        leadterra: httpx.AsyncBaseTransport | None = None,
        limits: ConnectionLimits | None = None,
        lock: DatabaseLock | None = None,
    ) -> "Service":
        """Opens the database and starts the writer. The caller holds the database's lock.

        With that `lock` a process of its own writes, and shares it; without, a thread of this one.
        `clock` and `limits` are those that the settings ask for unless given; `leadterra` replaces the network to
        its API.
        """
        clock = clock or clock_of(settings)
        path = settings.database_path
        async with contextlib.AsyncExitStack() as opened:
            store, readers, analysts, probes = await _opened(path, clock, opened, lock)
            meters = Meters()
            writer = Writer(store, clock, _limits(settings), meters)
            body_reader = BodyReader(settings.server.body_limit_bytes, settings.server.body_timeout_s)
            rebuilding = Rebuilding(path, store, writer, clock)
            rejected = RejectedBodies(path, clock, meters)
            opened.push_async_callback(rejected.close)
            erasing = Erasing(path, store, rejected, writer, clock)
            retention = Retention(path, store, writer, clock, settings.retention.raw_days)
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
                Erase(erasing),
                Operations(path, probes, writer, body_reader, meters),
                Series(analysts),
                summary,
                Registrations(books),
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
            secret_ids = await store.secret_ids(keys, clock.now_ms())
            signers = list(zip(keys, secret_ids, strict=True))
            webhook = Webhook(
                signers,
                writer,
                body_reader,
                clock,
                meters,
                request_ids,
                rejected,
                Probes(token),
            )
            app = router(
                webhook, table(handlers, settings.server.public_url or settings.server.root_path), surroundings
            )
            await writer.start()
            await rejected.start()
            rejected.begin_taking_in(signers, store.parser, writer)
            await reconciliation.start()
            retention.start()
            missing = await readers.run(next_step, settings, secret_ids, WEBHOOK_PATH)
            opened.pop_all()
        return cls(
            app,
            writer,
            body_reader,
            rebuilding,
            rejected,
            erasing,
            exports,
            store,
            readers,
            analysts,
            probes,
            reconciliation,
            Connections(limits or ConnectionLimits(provide(settings.server.max_connections)), meters),
            retention,
            token,
            missing,
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
        await self.erasing.close()
        await self.rejected.close()
        await self.retention.close()
        await self.writer.close()
        await self.readers.close()
        await self.analysts.close()
        await self.probes.close()
        await self.store.close()


async def _opened(
    path: Path, clock: Clock, opened: contextlib.AsyncExitStack, lock: DatabaseLock | None
) -> tuple[Store, Readers, Readers, Readers]:
    """The database for the writer, for short questions, for long ones and for probes; `opened` closes them."""
    store = await Store.open(
        path,
        clock.now_ms(),
        lambda words: log.info("upgrading_database", detail=words),
        None if lock is None else lock.share(),
    )
    opened.push_async_callback(store.close)  # the thread of a connection left open keeps the process alive
    if store.unchecked:
        detail = "The look at the database's pages was cut short; `backup` checks all of them."
        log.info("check_cut_short", detail=detail, unchecked=store.unchecked)
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
