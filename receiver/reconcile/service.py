"""Reconciliation as a part of the running service: runs, their schedule, and the alarms."""

import asyncio
from collections.abc import Callable, Sequence

import httpx
import structlog

from receiver.clock import Clock
from receiver.leadterra.client import LeadterraClient
from receiver.reconcile.alarms import Alarm
from receiver.reconcile.books import Books, Options, Run
from receiver.reconcile.cases import Pins
from receiver.reconcile.run import Reconciler
from receiver.reconcile.scheduler import Scheduler
from receiver.reconcile.watch import Intake, Watch
from receiver.settings import Settings

log = structlog.get_logger()


def pins_of(settings: Settings) -> Pins:
    """The meanings that the settings give."""
    given = settings.reconcile
    means = (given.message_sent_means, given.bounced_means, given.replied_means)
    return Pins(*(None if each == "auto" else each for each in means))


def options_of(settings: Settings) -> Options:
    """What the settings say about runs."""
    return Options(
        settings.reconcile.interval_s,
        tuple(settings.reconcile.campaigns),
        pins_of(settings),
        settings.leadterra.concurrency,
    )


def client_of(settings: Settings, transport: httpx.AsyncBaseTransport | None = None) -> LeadterraClient | None:
    """A client for the API that the settings name; None without a key. `transport` replaces the network."""
    key = settings.leadterra.api_key
    if key is None:
        return None
    leadterra = settings.leadterra
    return LeadterraClient(
        leadterra.base_url, key.get_secret_value(), leadterra.timeout_s, leadterra.concurrency, transport
    )


class Reconciliation:
    """The parts in their order. `reconciler` is None while no API key is configured: then only alarms are watched."""

    def __init__(
        self,
        settings: Settings,
        books: Books,
        clock: Clock,
        intake: Intake,
        news: asyncio.Event,
        on_alarms: Callable[[Sequence[Alarm]], None],
        on_run: Callable[[Run], None],
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        options = options_of(settings)
        limit = settings.retention.quarantine_bytes
        self.pins = options.pins
        self.watch = Watch(books, clock, options.pins, intake, limit, on_alarms)
        client = client_of(settings, transport)
        self.reconciler = None if client is None else Reconciler(client, books, clock, options, self.watch, on_run)
        self._scheduler = Scheduler(self.reconciler, self.watch, books, clock, news)

    async def start(self) -> None:
        """Close what a killed process left open, and begin the schedule."""
        if self.reconciler is None:
            log.info("reconciliation_off", detail="Set 'leadterra.api_key' to compare with Leadterra's counters.")
        else:
            await self.reconciler.open()
        await self._scheduler.start()

    def drain(self) -> None:
        """Cut a run under way short, so that nobody waits for it."""
        if self.reconciler is not None:
            self.reconciler.stop()

    async def close(self) -> None:
        """Stop; what a run under way has taken in stays."""
        await self._scheduler.close()
        if self.reconciler is not None:
            await self.reconciler.close()
