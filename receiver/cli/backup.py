"""`backup`: a checked copy of the database, made while the server goes on taking webhooks in."""

import json
import os
from functools import partial
from pathlib import Path

import click

from receiver.cli.database import reading
from receiver.cli.options import config_option, json_option, load_settings, say
from receiver.cli.progress import watched
from receiver.errors import CommandError
from receiver.storage.files import part_of, publish, sync
from receiver.storage.sqlite.backup import Contents, check, contents, copy
from receiver.web.spool import RESERVE_BYTES

_OWN_SUFFIXES = ("", "-wal", "-shm", "-journal", ".lock", ".rejected", ".rejected-journal")


@click.command()
@click.argument("destination", metavar="DEST", type=click.Path(path_type=Path))
@config_option
@json_option
def backup(config_path: Path | None, destination: Path, *, as_json: bool) -> None:
    """Copy the database to DEST, which must not exist; every event acknowledged before this began is in it."""
    settings = load_settings(config_path).settings
    with reading(settings) as conn:
        _check_name(destination, settings.database_path)
        least = contents(conn)
        _check_space(destination, settings.database_path, least)
        part = part_of(destination)
        try:
            watched("Copying bytes", partial(copy, conn, part))
            watched("Checking the copy", partial(check, part, least))
            sync(part)
            publish(part, destination)
        except FileExistsError as error:
            raise CommandError(_exists(destination)) from error
        except OSError as error:
            raise CommandError(f"'{destination}' cannot be written: {error.strerror or error}.") from error
        except KeyboardInterrupt:
            say("Stopped; no backup was made.")
            raise
        finally:
            part.unlink(missing_ok=True)
    _report(destination, as_json=as_json)


def _check_name(destination: Path, database: Path) -> None:
    """Raises CommandError for a name that a copy must not have, or cannot have."""
    if destination.is_dir():
        raise CommandError(f"'{destination}' is a folder; name a file in it that does not exist.")
    if not destination.parent.is_dir():
        raise CommandError(f"There is no folder '{destination.parent}'; make it, or name another file.")
    if destination.resolve() in [database.with_name(database.name + suffix).resolve() for suffix in _OWN_SUFFIXES]:
        raise CommandError(f"'{destination}' belongs to the database itself; name another file.")
    if os.path.lexists(destination):
        raise CommandError(_exists(destination))


def _exists(destination: Path) -> str:
    return f"'{destination}' exists, and no backup replaces a file; name another one."


def _check_space(destination: Path, database: Path, least: Contents) -> None:
    """Raises CommandError where the copy would take the space that webhooks need."""
    folder = destination.parent
    if folder.stat().st_dev != database.stat().st_dev:
        return
    space = os.statvfs(folder)
    if space.f_bavail * space.f_frsize < least.size_bytes + RESERVE_BYTES:
        needed = (least.size_bytes + RESERVE_BYTES) >> 20
        raise CommandError(
            f"'{folder}' has less than {needed:,} MiB free, and the database is on the same disk; name another one."
        )


def _report(destination: Path, *, as_json: bool) -> None:
    size_bytes = destination.stat().st_size
    if as_json:
        click.echo(json.dumps({"file": str(destination), "size_bytes": size_bytes}))
    else:
        click.echo(f"{size_bytes:,} bytes in '{destination}', checked.")
