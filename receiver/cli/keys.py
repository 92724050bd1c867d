"""`keys new`: makes an access key, which is shown once and stored nowhere."""

import hashlib
import json
import secrets
from pathlib import Path

import click

from receiver.cli.options import config_option, json_option, say
from receiver.settings.catalogue import variable

# So that scanners for leaked secrets, and people, can tell what it is; nothing here checks it.
_PREFIX = "rcv_"
_RANDOM_BYTES = 32


@click.group()
def keys() -> None:
    """Make keys for reading figures and for administration."""


@keys.command()
@config_option
@json_option
@click.option("--admin", is_flag=True, help="For a key that may do everything, not only read.")
def new(config_path: Path | None, *, as_json: bool, admin: bool) -> None:
    """Print a new key, once, and the setting that lets it in; nothing is written."""
    key = _PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
    digest = hashlib.sha256(key.encode()).hexdigest()
    name = "admin_keys" if admin else "analyst_keys"
    line = f'{name} = ["{digest}"]'
    environment = f"{variable(f'access.{name}')}='[\"{digest}\"]'"
    if as_json:
        role = "admin" if admin else "analyst"
        data = {"key": key, "role": role, "sha256": digest, "setting": line, "environment": environment}
        click.echo(json.dumps(data, indent=2))
        return
    say("The key, stored nowhere and shown only now; it is sent as `Authorization: Bearer …`:")
    click.echo(key)
    say(f"Let it in with this line below [access] in {config_path or 'the configuration file'}")
    say("(if the list has keys already, add the hash to them), and start the server again:")
    click.echo(line)
    say(f"Or in the environment: {environment}")
