"""`rebuild`: compares the figures with the ledger, repairs them, and says how many rows were wrong."""

import json
import time
from pathlib import Path
from typing import Any

import click

from receiver.cli.database import Owner, Server, writing
from receiver.cli.options import EXIT_DRIFT, config_option, json_option, load_settings, say
from receiver.cli.progress import ProgressView, watched
from receiver.errors import CommandError
from receiver.storage.sqlite.connection import open_for_reading
from receiver.storage.sqlite.fingerprints import corrections
from receiver.storage.sqlite.recount import Correction, Progress, correct

_TITLE = "Comparing the figures with the ledger"
_POLL_S = 0.1


@click.command()
@config_option
@json_option
@click.pass_context
def rebuild(ctx: click.Context, config_path: Path | None, *, as_json: bool) -> None:
    """Compare every figure with the ledger and repair what differs; exit 3 if any row had to change."""
    settings = load_settings(config_path).settings
    with writing(settings) as owner:
        rows, changed = _through(owner) if isinstance(owner, Server) else _by_ourselves(owner)
    if as_json:
        click.echo(json.dumps({"rows": rows, "rows_changed": changed}))
    else:
        click.echo(f"{rows:,} rows of the ledger counted, {changed:,} rows of figures changed.")
    ctx.exit(EXIT_DRIFT if changed else 0)


def _by_ourselves(owner: Owner) -> tuple[int, int]:
    counted = Progress()

    def work(progress: Progress) -> Correction:
        conn = open_for_reading(owner.path)
        try:
            return corrections(conn, progress)
        finally:
            counted.total = progress.total
            conn.close()

    correction = watched(_TITLE, work)
    if correction.rows:
        correct(owner.conn, correction)
        owner.narrow_spans()
    return counted.total, correction.rows


def _through(server: Server) -> tuple[int, int]:
    """Start it in the running server and watch."""
    say("The running server does it; it goes on taking webhooks in.")
    state: dict[str, Any] = server.call("POST", "/v1/rebuild")
    with ProgressView(_TITLE) as view:
        while state["status"] == "running":
            time.sleep(_POLL_S)
            state = server.call("GET", "/v1/rebuild")
            view.show(state["rows_done"], state["rows_total"])
    if state["status"] != "ok":
        raise CommandError("The rebuild failed; the server's log has the details. No figure has changed.")
    return state["rows_total"], state["rows_changed"]
