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
            response = client.get("/readyz")
            answer = response.json()
    except (httpx.HTTPError, ValueError) as error:
        raise CommandError(f"The server at {holder.url} does not answer: {error}.") from error
    if response.is_error:
        raise CommandError(f"The server at {holder.url} is not ready: {answer.get('detail')}")
    if as_json:
        click.echo(json.dumps({"status": answer["status"], "url": holder.url}))
    else:
        click.echo(f"ready at {holder.url}")
