"""What the start says is missing next, and the command for it."""

from receiver.ingest.setup import next_step
from receiver.settings import Settings, load
from receiver.storage.deliveries import Delivery
from receiver.storage.sqlite.webhooks import Registration, add_registration, equal_registration
from tests.ingest.conftest import Ingest
from tests.web.conftest import sent, unread

PATH = "/webhooks/leadterra"
KEY = {"LEADTERRA_API_KEY": "sk_test"}
API = "https://app.leadterra.co"
URL = f"https://figures.example.com{PATH}"
EVENTS = ("message.sent", "reply.received")


async def missing(ingest: Ingest, environ: dict[str, str], secret: int = 1) -> str | None:
    settings: Settings = load(None, environ, {}).settings
    return await ingest.store.transact(lambda conn: next_step(conn, settings, [secret], PATH))


async def deliver(ingest: Ingest, body: bytes, secret: int = 1) -> None:
    now = ingest.clock.now_ms()
    await ingest.writer.submit(Delivery(body, now, ingest.store.parser.parse(body, now), secret))


async def register(ingest: Ingest, *events: str) -> None:
    registration = Registration("wh_1", API, URL, events or EVENTS, 1)
    await ingest.store.transact(lambda conn: add_registration(conn, registration))


async def test_first_the_webhook(ingest: Ingest) -> None:
    command = f"`leadterra-receiver webhook register --url https://YOUR-HOST{PATH}`"
    assert await missing(ingest, KEY) == f"No webhook yet: {command}."
    public = {"RECEIVER_SERVER__PUBLIC_URL": "https://figures.example.com"}
    assert await missing(ingest, KEY | public) == "No webhook yet: `leadterra-receiver webhook register`."
    assert await missing(ingest, public) == (
        "No webhook yet, and no API key. Set 'leadterra.api_key' (or LEADTERRA_API_KEY), then "
        f"`leadterra-receiver webhook register`; or register {URL} with Leadterra by hand."
    )


async def test_then_the_secret(ingest: Ingest) -> None:
    await register(ingest)
    found = await missing(ingest, KEY)
    assert found is not None
    assert found.startswith("No secret seen yet: no delivery has matched 'webhook.secrets'.")
    await deliver(ingest, sent(), secret=7)
    assert await missing(ingest, KEY) == found
    assert await missing(ingest, KEY, secret=7) is None


async def test_a_quarantined_delivery_has_a_secret_too(ingest: Ingest) -> None:
    await deliver(ingest, unread())
    assert await missing(ingest, KEY) is None


async def test_last_the_api_key(ingest: Ingest) -> None:
    await deliver(ingest, sent())
    assert await missing(ingest, {}) == (
        "No API key: what is missing is not found. Set 'leadterra.api_key' (or LEADTERRA_API_KEY), "
        "then `leadterra-receiver reconcile`."
    )


async def test_equal_is_the_same_url_and_the_same_events_in_any_order(ingest: Ingest) -> None:
    await register(ingest)

    async def known(leadterra: str, url: str, *events: str) -> bool:
        found = await ingest.store.transact(lambda conn: equal_registration(conn, leadterra, url, events))
        return found is not None

    assert await known(API, URL, *reversed(EVENTS))
    assert not await known(API, URL, "message.sent")
    assert not await known(API, f"{URL}/", *EVENTS)
    assert not await known("http://127.0.0.1:1", URL, *EVENTS)
