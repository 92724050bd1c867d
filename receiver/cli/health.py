"""`health`: asks the running server whether it is ready; for containers and monitoring."""

import json
from pathlib import Path

import click
import httpx

from receiver.cli.options import config_option, json_option, load_settings
from receiver.errors import CommandError
from receiver.http import server_client
from receiver.storage.lock import DatabaseLock

_TIMEOUT_S = 5.0


@click.command()
@config_option
@json_option
def health(config_path: Path | None, *, as_json: bool) -> None:
    """Exit 0 if the server that holds the database takes webhooks in, else 1 with the reason."""
    settings = load_settings(config_path).settings
    holder = DatabaseLock(settings.database_path).holder()
    if holder.url is None:
        raise CommandError("No server is running on this database.")
    try:
        with server_client(holder.url, None, _TIMEOUT_S) as client:
            answer = client.get("/readyz").json()
    except (httpx.HTTPError, ValueError) as error:
        raise CommandError(
            f"The server at {holder.url} does not answer: {str(error) or type(error).__name__}."
        ) from error
    if not isinstance(answer, dict) or answer.get("status") != "ready":
        # After a crash the file stays, and another program may listen at its url by now.
        detail = answer.get("detail") if isinstance(answer, dict) else None
        raise CommandError(f"The server at {holder.url} is not ready: {detail or 'it is another program'}")
    if as_json:
        click.echo(json.dumps({"status": "ready", "url": holder.url}))
    else:
        click.echo(f"ready at {holder.url}")
