"""Remembering which webhooks were registered with Leadterra: `webhook register` tells the server that runs."""

from typing import Any

from receiver.ingest.books import StoreBooks
from receiver.storage.sqlite.webhooks import Registration, add_registration
from receiver.web.operation import Call
from receiver.web.params import WebhookBody
from receiver.web.times import rfc3339


class Registrations:
    """Handlers of `/v1/webhooks`."""

    def __init__(self, books: StoreBooks) -> None:
        self._books = books

    async def add(self, call: Call) -> dict[str, Any]:
        given: WebhookBody = call.body
        registration = Registration(given.webhook_id, given.leadterra, given.url, tuple(given.events), call.now_ms)
        await self._books.write(lambda conn: add_registration(conn, registration))
        return {**given.model_dump(), "registered_at": rfc3339(call.now_ms)}
