"""`webhook register`: tells Leadterra where to post, once it is certain that the URL leads to this receiver."""

import asyncio
import json
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from receiver.cli.database import Owner, Server, reading, writing
from receiver.cli.options import config_option, end_with, json_option, load_settings, say
from receiver.errors import CommandError, ConfigurationError, LeadterraError, ReceiverError
from receiver.events import EVENT_NAMES
from receiver.ingest.reach import check_reach
from receiver.ingest.setup import webhook_url
from receiver.leadterra.answers import RegisteredWebhook
from receiver.leadterra.client import LeadterraClient
from receiver.reconcile.service import client_of
from receiver.settings import Settings, clock_of
from receiver.settings.kinds import is_loopback_url
from receiver.storage.lock import DatabaseLock
from receiver.storage.sqlite.webhooks import Registration, add_registration, equal_registration
from receiver.web.routes import WEBHOOK_PATH
from receiver.web.times import rfc3339

EVENTS = tuple(dict.fromkeys(EVENT_NAMES.values()))
_SECRETS = "'webhook.secrets' (RECEIVER_WEBHOOK__SECRETS, or a line of 'webhook.secrets' in RECEIVER_SECRETS_DIR)"
_THEN = "beside what is there, and start `serve` again"
_SECRET_BYTES = 4096  # a block of the disk; secrets are shorter
_UNCERTAIN = frozenset({"timeout", "unreachable", "server_error", "not_json", "invalid_answer", "too_large"})


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What was registered, now or earlier; `secret_file` is where a secret that Leadterra told is kept."""

    registration: Registration
    is_new: bool
    status: str | None
    secret_file: Path | None
    words: str


@click.group()
def webhook() -> None:
    """The webhook that Leadterra posts to."""


@webhook.command()
@config_option
@json_option
@click.option("--url", metavar="URL", help="Where Leadterra reaches the webhook; 'server.public_url' unless given.")
@click.option("--no-check", is_flag=True, help="Do not ask first whether the URL leads to the running server.")
@click.option("--again", is_flag=True, help="Register even if an equal webhook was registered from here.")
def register(config_path: Path | None, *, as_json: bool, url: str | None, no_check: bool, again: bool) -> None:
    """Register the webhook with Leadterra, for all its events."""
    settings = load_settings(config_path).settings
    url = _checked_url(settings, url)
    client = client_of(settings)
    if client is None:
        problem = (
            "Setting 'leadterra.api_key' is not set, so no webhook can be registered; set it, or LEADTERRA_API_KEY."
        )
        end_with(ConfigurationError([problem]))
    if not no_check:
        _check(settings, url)
    with reading(settings) as conn:
        known = equal_registration(conn, settings.leadterra.base_url, url, EVENTS)
    if known is not None and not again:
        outcome = _Outcome(known, False, None, None, f"Registered already, on {rfc3339(known.registered_at)}.")
    else:
        outcome = _register(settings, client, url)
    _show(outcome, as_json=as_json, checked=not no_check)


def _checked_url(settings: Settings, given: str | None) -> str:
    """The URL to register. Raises UsageError where Leadterra would not take it."""
    url = given or webhook_url(settings, WEBHOOK_PATH)
    if url is None:
        raise click.UsageError(f"Name it with --url https://…{WEBHOOK_PATH}, or set 'server.public_url'.")
    if not url.isascii() or not url.isprintable() or set(url) & set(' "<>\\#'):
        raise click.BadParameter(f"{url!r} has characters that no URL has; use an https URL.", param_hint="--url")
    try:
        parts = urlsplit(url)
        is_bad = not parts.hostname or "@" in parts.netloc or parts.port == 0
    except ValueError:
        is_bad = True
    if is_bad or parts.scheme not in ("https", "http"):
        raise click.BadParameter(f"'{url}' is no https URL with a host, and without user.", param_hint="--url")
    may_be_http = is_loopback_url(url) and is_loopback_url(settings.leadterra.base_url)
    if parts.scheme == "http" and not may_be_http:
        text = f"'{url}' is http; use https, Leadterra posts nowhere else. TLS is added by a proxy."
        raise click.BadParameter(text, param_hint="--url")
    return url


def _check(settings: Settings, url: str) -> None:
    holder = DatabaseLock(settings.database_path).holder()
    if holder.token is None:
        raise CommandError(
            "No server runs on this database, so nobody can tell whether the URL leads to it; "
            "start `serve`, or say --no-check. Nothing was registered."
        )
    try:
        check_reach(url, holder.token, WEBHOOK_PATH)
    except CommandError as error:
        raise CommandError(f"{error} Nothing was registered.") from error
    say(f"A probe of {url} arrived unchanged at this receiver (asked from this machine).")


def _register(settings: Settings, client: LeadterraClient, url: str) -> _Outcome:
    with writing(settings) as owner, _secret_file(settings.database_path) as secret_file:
        found = _ask(client, url)
        words = _about_secret(settings, found.secret, secret_file)
        now = clock_of(settings).now_ms()
        registration = Registration(found.id, settings.leadterra.base_url, url, found.events, now)
        try:
            _remember(owner, registration)
        except (ReceiverError, sqlite3.DatabaseError) as error:
            text = f"Leadterra registered {found.id}, but it could not be noted here; do not register it again."
            raise CommandError(f"{text} {words} {error}") from error
        if set(found.events) != set(EVENTS):
            say(f"Warning: Leadterra took it for {', '.join(found.events) or 'no event'} only.")
        is_kept = _is_kept(secret_file)
    return _Outcome(registration, True, found.status, secret_file if is_kept else None, words)


def _ask(client: LeadterraClient, url: str) -> RegisteredWebhook:
    async def ask() -> RegisteredWebhook:
        try:
            return await client.register_webhook(url, EVENTS)
        finally:
            await client.close()

    try:
        return asyncio.run(ask())
    except LeadterraError as error:
        doubt = " It may be registered all the same: look at Leadterra before you try again."
        raise CommandError(f"{error}{doubt if error.arrived and error.reason in _UNCERTAIN else ''}") from error


def _remember(owner: Owner | Server, registration: Registration) -> None:
    if isinstance(owner, Server):
        body: dict[str, Any] = {
            "webhook_id": registration.webhook_id,
            "url": registration.url,
            "events": list(registration.events),
            "leadterra": registration.leadterra,
        }
        owner.call("POST", "/v1/webhooks", body)
    else:
        owner.ledger.transact(owner.conn, lambda conn: add_registration(conn, registration))


@contextmanager
def _secret_file(database: Path) -> Iterator[Path]:
    """A blank file for the owner alone that has its space on the disk: what Leadterra tells once must not be lost.

    Left blank it is removed.
    """
    with ExitStack() as undone:
        try:
            number, name = tempfile.mkstemp(prefix=f"{database.name}.webhook-secret-", dir=database.absolute().parent)
            path = Path(name)
            undone.callback(lambda: None if _is_kept(path) else path.unlink())
            with open(number, "wb") as file:
                file.write(bytes(_SECRET_BYTES))
                file.flush()
                os.fsync(number)
        except OSError as error:
            raise CommandError(f"No file can be made beside '{database}': {error.strerror}.") from error
        yield path


def _is_kept(secret_file: Path) -> bool:
    return any(secret_file.read_bytes())


def _keep(secret: str, file: Path) -> None:
    """Durably, where the file has its space already."""
    with file.open("r+b") as opened:
        opened.write(f"{secret}\n".encode())
        opened.truncate()
        opened.flush()
        os.fsync(opened.fileno())


def _about_secret(settings: Settings, secret: str | None, file: Path) -> str:
    """What to do about the signing secret; keeps one that is new in the file."""
    if secret is None:
        return f"Put the signing secret that Leadterra shows for it into {_SECRETS}, {_THEN}."
    if secret.encode() in settings.webhook.hmac_keys:
        return "Its signing secret is in 'webhook.secrets' already; nothing is left to do."
    _keep(secret, file)
    return f"Its signing secret is in '{file}': put it into {_SECRETS}, {_THEN}; then delete the file."


def _show(outcome: _Outcome, *, as_json: bool, checked: bool) -> None:
    found = outcome.registration
    if as_json:
        shown = {
            "webhook_id": found.webhook_id,
            "url": found.url,
            "events": list(found.events),
            "status": outcome.status,
            "registered_at": rfc3339(found.registered_at),
            "new": outcome.is_new,
            "checked": checked,
            "secret_file": None if outcome.secret_file is None else str(outcome.secret_file),
        }
        click.echo(json.dumps(shown, indent=2))
    else:
        click.echo(f"{found.webhook_id}  {found.url}  {', '.join(found.events)}")
    say(outcome.words)
