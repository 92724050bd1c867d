"""`erase`: takes one address out of everything that is kept, and looks at the files' bytes afterwards."""

import asyncio
import contextlib
import json
import sqlite3
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click

from receiver.cli.database import Owner, Server, writing
from receiver.cli.options import config_option, json_option, load_settings, say
from receiver.cli.progress import ProgressView, watched
from receiver.errors import CommandError
from receiver.ingest.meters import Meters
from receiver.ingest.rejected import RejectedBodies
from receiver.leadterra.erasure import erasable
from receiver.settings import Settings
from receiver.storage.sqlite.connection import open_for_reading, truncate_wal
from receiver.storage.sqlite.erase import Erased, Eraser
from receiver.storage.sqlite.leftovers import look_for
from receiver.storage.sqlite.recount import Progress

_TITLE = "Looking through what is kept"
_POLL_S = 0.1
_READERS_WAIT_S = 20.0
_BLOCKED = (
    "Something that reads the database needs its write-ahead log, which still holds the address; "
    "wait until that has ended, and run this again."
)


@dataclass(slots=True)
class _Done:
    """What was erased, and whether by the running server."""

    erased: Erased
    by_server: bool


@click.command()
@click.option("--email", required=True, metavar="ADDRESS", help="Whose address, in any case.")
@config_option
@json_option
def erase(config_path: Path | None, email: str, *, as_json: bool) -> None:
    """Take one address out of raw bodies, quarantine and ledger; figures stay. It may be done again at any time."""
    address = erasable(email)
    if address is None:
        raise click.UsageError("'--email' is no address; give one like jo@example.org.")
    settings = load_settings(config_path).settings
    done = _erase(settings, address)
    copies = _left(settings, address, done)
    if copies and not done.by_server:
        _write_anew(settings)
        copies = _left(settings, address, done)
    if copies:
        raise CommandError(
            f"The address is still in the database's files, {copies:,} times: it came again meanwhile, or it is in "
            "parts of the file that nothing uses. Run this again; if that does not help, with the server stopped."
        )
    _report(done.erased, as_json=as_json)


def _erase(settings: Settings, address: str) -> _Done:
    with writing(settings) as owner:
        if isinstance(owner, Server):
            return _Done(_through(owner, address), by_server=True)
        erased = _by_ourselves(owner, address)
        _empty_log(owner.conn)
        return _Done(erased, by_server=False)


def _by_ourselves(owner: Owner, address: str) -> Erased:
    eraser = Eraser(address, owner.ledger.parser)

    def work(progress: Progress) -> None:
        with contextlib.closing(open_for_reading(owner.path)) as reader:
            for hits in eraser.hits(reader, progress):
                eraser.add(owner.ledger.transact(owner.conn, partial(eraser.write, hits=hits)))

    watched(_TITLE, work)
    eraser.add(Erased(asyncio.run(_from_rejected(owner, eraser))))
    return eraser.erased


async def _from_rejected(owner: Owner, eraser: Eraser) -> int:
    """Forget rejected bodies that hold the address; how many."""
    rejected = RejectedBodies(owner.path, owner.clock, Meters())
    await rejected.start()
    try:
        return await rejected.erase(eraser.is_in_body)
    finally:
        await rejected.close()


def _through(server: Server, address: str) -> Erased:
    """Start it in the running server and watch."""
    say("The running server does it; it goes on taking webhooks in.")
    state: dict[str, Any] = server.call("POST", "/v1/erase", {"email": address})
    with ProgressView(_TITLE) as view:
        while state["status"] == "running":
            time.sleep(_POLL_S)
            state = server.call("GET", "/v1/erase")
            view.show(state["rows_done"], state["rows_total"])
    if state["status"] == "blocked":
        raise CommandError(_BLOCKED)
    if state["status"] != "ok":
        raise CommandError("The erasure failed half-way; the server's log has the details. Run this again.")
    return Erased(state["bodies"], state["records"], state["similar"])


def _empty_log(conn: sqlite3.Connection) -> None:
    """Raises CommandError when readers do not make way in time."""
    deadline = time.monotonic() + _READERS_WAIT_S
    while not truncate_wal(conn):
        if time.monotonic() >= deadline:
            raise CommandError(_BLOCKED)
        time.sleep(_POLL_S)


def _left(settings: Settings, address: str, done: _Done) -> int:
    """How often the address is in the files. As a part of a longer one it counts unless such a one is kept."""
    found = watched("Reading the files", partial(look_for, address, settings.database_path))
    return found.own + (0 if done.erased.similar else found.similar)


def _write_anew(settings: Settings) -> None:
    """Write the file anew: an older version did not overwrite what it moved or deleted."""
    say("The address is in unused parts of the file; the file is written anew.")
    with writing(settings) as owner:
        if isinstance(owner, Owner):
            watched("Writing the file anew", lambda _: owner.conn.execute("VACUUM"))
            _empty_log(owner.conn)


def _report(erased: Erased, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"bodies": erased.bodies, "records": erased.records}))
    elif erased.bodies or erased.records:
        click.echo(f"Erased from {erased.bodies:,} raw bodies and {erased.records:,} other records.")
    else:
        click.echo("Nothing found: the address is in nothing that is kept.")
