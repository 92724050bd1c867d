"""Wires the service together."""

import contextlib
import secrets
from collections.abc import Callable, Sequence

import httpx
import structlog
from starlette.types import ASGIApp

from receiver.clock import Clock
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
from receiver.ingest.soundness import PageCheck
from receiver.ingest.writer import Limits, Writer
from receiver.reconcile.service import Reconciliation
from receiver.reconcile.watch import alarm_counts
from receiver.settings import Settings, clock_of
from receiver.storage.sqlite import reads
from receiver.storage.sqlite.database import Database
from receiver.storage.sqlite.launch import Launched
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


class Service:
    """The running parts. `open` them, use `app`, `drain` and `close` them.

    `missing` is what the installation lacks next, in words.
    """

    app: ASGIApp
    missing: str | None

    def __init__(
        self,
        settings: Settings,
        token: str,
        database: Database,
        clock: Clock,
        leadterra: httpx.AsyncBaseTransport | None,
        limits: ConnectionLimits | None,
    ) -> None:
        path, store = settings.database_path, database.store
        self.token = token
        self.database = database
        self.meters = Meters()
        self.writer = Writer(store, clock, _limits(settings), self.meters)
        self.reader = BodyReader(settings.server.body_limit_bytes, settings.server.body_timeout_s)
        self.rebuilding = Rebuilding(path, store, self.writer, clock)
        self.rejected = RejectedBodies(path, clock, self.meters)
        self.page_check = PageCheck(path, store.unchecked, self.writer)
        self.erasing = Erasing(path, store, self.rejected, self.page_check, self.writer, clock)
        self.retention = Retention(path, store, self.writer, clock, settings.retention.raw_days)
        self.books = StoreBooks(store, database.readers, self.writer.exclusively)
        self.reconciliation = _reconciliation(settings, self.books, clock, self.writer, self.meters, leadterra)
        self.exports = Exports(path)
        self.connections = Connections(
            limits or ConnectionLimits(provide(settings.server.max_connections)), self.meters
        )
        self._settings = settings
        self._clock = clock

    @classmethod
    async def open(
        cls,
        settings: Settings,
        token: str,
        own_addresses: frozenset[str] = frozenset(),
        clock: Clock | None = None,
        leadterra: httpx.AsyncBaseTransport | None = None,
        limits: ConnectionLimits | None = None,
        launched: Launched | None = None,
    ) -> "Service":
        """Opens the database and starts the writer. The caller holds the database's lock.

        What was `launched` for this database writes; without, a thread of this process.
        `clock` and `limits` are those that the settings ask for unless given; `leadterra` replaces the network to
        its API.
        """
        clock = clock or clock_of(settings)
        async with contextlib.AsyncExitStack() as opened:
            database = await Database.open(settings.database_path, clock.now_ms(), _upgrading, launched)
            opened.push_async_callback(database.close)
            service = cls(settings, token, database, clock, leadterra, limits)
            opened.push_async_callback(service._stop)
            await service._start(own_addresses)
            opened.pop_all()
        return service

    async def _start(self, own_addresses: frozenset[str]) -> None:
        settings, store, readers = self._settings, self.database.store, self.database.readers
        keys = settings.webhook.hmac_keys
        secret_ids = await store.secret_ids(keys, self._clock.now_ms())
        signers = list(zip(keys, secret_ids, strict=True))
        digests = settings.access.analyst_digests, settings.access.admin_digests
        sessions = Sessions(await readers.run(reads.session_key))
        self.app = self._router(signers, Access(*digests, self.token, own_addresses, sessions=sessions))
        await self.writer.start()
        await self.rejected.start()
        self.rejected.begin_taking_in(signers, store.parser, self.writer)
        await self.reconciliation.start()
        self.retention.start()
        self.missing = await readers.run(next_step, settings, secret_ids, WEBHOOK_PATH)
        self.page_check.start()

    def _router(self, signers: Sequence[tuple[bytes, int]], access: Access) -> ASGIApp:
        request_ids = RequestIds()
        webhook = Webhook(
            signers,
            self.writer,
            self.reader,
            self._clock,
            self.meters,
            request_ids,
            self.rejected,
            Probes(self.token),
        )
        surroundings = Surroundings(
            self._clock,
            access,
            self.reader,
            request_ids,
            self.exports,
            _version_of(self.writer),
            self.reconciliation.pins,
            show_recipients=self._settings.access.show_recipients,
        )
        server = self._settings.server
        return router(webhook, table(self._handlers(access), server.public_url or server.root_path), surroundings)

    def _handlers(self, access: Access) -> Handlers:
        path, readers, analysts = self._settings.database_path, self.database.readers, self.database.analysts
        comparison = Comparison(self.reconciliation.pins, self._clock)
        campaigns = Campaigns(readers, self.database.points, self.books, comparison)
        drift = Drift(readers, comparison)
        summary = Summary(analysts)
        pages = Pages(assets := Assets(), self._settings.server.root_path)
        return Handlers(
            campaigns,
            drift,
            Reconciliations(readers, self.reconciliation.reconciler),
            Breakdowns(analysts),
            Explain(analysts),
            Events(analysts),
            Quarantine(readers, Retrying(self.database.store, readers, self.writer, self._clock)),
            Rebuild(self.rebuilding),
            Erase(self.erasing),
            Operations(path, self.database.probes, self.writer, self.reader, self.meters),
            Series(analysts),
            summary,
            Registrations(self.books),
            Dashboard(access, pages, campaigns, summary, drift),
            SignIn(access, pages),
            assets,
        )

    def drain(self) -> None:
        """Refuse new deliveries with 503; what is under way is answered well before the shutdown's time is over."""
        self.reader.drain()
        self.reconciliation.drain()
        self.exports.drain()
        self.writer.hurry(self._settings.server.shutdown_timeout_s / 2)

    async def close(self) -> None:
        """Commit what waits and close the database."""
        await self._stop()
        await self.database.close()

    async def _stop(self) -> None:
        await self.reconciliation.close()
        await self.rebuilding.close()
        await self.erasing.close()
        await self.page_check.close()
        await self.rejected.close()
        await self.retention.close()
        await self.writer.close()


def _upgrading(words: str) -> None:
    log.info("upgrading_database", detail=words)


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
