"""What an operator has to do next, as far as the receiver can tell."""

import sqlite3
from collections.abc import Collection

from receiver.settings import Settings
from receiver.storage.sqlite.webhooks import is_any_registered, is_any_seen

_COMMAND = "leadterra-receiver webhook register"


def webhook_url(settings: Settings, webhook_path: str) -> str | None:
    """Where Leadterra reaches the webhook, by `server.public_url`."""
    base = settings.server.public_url
    return None if base is None else base + webhook_path


def next_step(
    conn: sqlite3.Connection, settings: Settings, secret_ids: Collection[int], webhook_path: str
) -> str | None:
    """The first thing that is missing, with what to do about it; None when nothing is."""
    if not is_any_seen(conn, secret_ids):
        return _until_events_come(conn, settings, webhook_path)
    if settings.leadterra.api_key is None:
        return (
            "No API key: what is missing is not found. Set 'leadterra.api_key' (or LEADTERRA_API_KEY), "
            "then `leadterra-receiver reconcile`."
        )
    return None


def _until_events_come(conn: sqlite3.Connection, settings: Settings, webhook_path: str) -> str:
    if is_any_registered(conn, settings.leadterra.base_url):
        return (
            "No secret seen yet: no delivery has matched 'webhook.secrets'. Put the secret that Leadterra shows for "
            "the webhook there; `leadterra-receiver config check`, then start again."
        )
    url = webhook_url(settings, webhook_path)
    command = _COMMAND if url else f"{_COMMAND} --url https://YOUR-HOST{webhook_path}"
    if settings.leadterra.api_key is None:
        return (
            f"No webhook yet, and no API key. Set 'leadterra.api_key' (or LEADTERRA_API_KEY), then `{command}`; "
            f"or register {url or 'the URL of ' + webhook_path} with Leadterra by hand."
        )
    return f"No webhook yet: `{command}`."
