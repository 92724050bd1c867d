"""A few days of campaigns with what the demo has too: bounces, replies, an outage, losses, unreadable deliveries."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from receiver.sandbox.faults import Rule
from receiver.sandbox.options import Habits
from receiver.settings import Settings
from tests.browser.site import Site, access
from tests.reconcile.world import HOUR_MS, MINUTE_MS, World, opened

NAMES = ("Logistics, Nordics", "Dental practices", "Hotels, Alps")
_HABITS = Habits(0.05, 0.05, 0.3, 0.4, 0.12)
_PINS = {"message_sent_means": "sent", "bounced_means": "any", "replied_means": "all"}
# The last hours before now: a retry may still bring what is dropped here.
_DROP = Rule("drop", 0.3, from_s=70 * 3600, to_s=74 * 3600, event="message.sent")


@asynccontextmanager
async def told(folder: Path) -> AsyncIterator[tuple[World, Site]]:
    """The world after three days, and its receiver behind a port."""
    options = {"habits": _HABITS, "faults": (_DROP,), "accounts": 6, "daily_capacity": 14}
    async with opened(folder, reconcile=_PINS, installed=False, **options) as world:
        world.settings = Settings.model_validate(world.settings.model_dump() | {"access": access()})
        world.stride_ms, world.run_every_ms = 20 * MINUTE_MS, HOUR_MS
        await world.up()
        for name in NAMES:
            await world.campaign(40, 3, name, name[:3].lower(), asked_first=True)
        await world.advance(20 * HOUR_MS)
        await world.down()
        await world.advance(16 * HOUR_MS)
        await world.up()
        await world.deliver(b'{"event": "message.opened"}')
        await world.deliver(b"not json")
        await world.advance(39 * HOUR_MS)
        await world.tick()
        site = Site(world.settings, world.clock)
        await site.up(world.service)
        try:
            yield world, site
        finally:
            await site.down()
