"""`reconcile`: compares the figures with Leadterra's counters, now, and shows what differs."""

import asyncio
import contextlib
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from receiver.cli.database import Server, holding, server_of
from receiver.cli.options import EXIT_DRIFT, EXIT_FAILED, config_option, json_option, load_settings, say
from receiver.cli.progress import ProgressView
from receiver.errors import ReconciliationOffError
from receiver.ingest.books import StoreBooks
from receiver.log import configure_logging
from receiver.reconcile.run import Reconciler
from receiver.reconcile.service import client_of, options_of, pins_of
from receiver.reconcile.watch import Watch
from receiver.settings import Settings, clock_of
from receiver.storage.sqlite.store import Readers, Store
from receiver.web.campaigns import known
from receiver.web.drift import whole_drift
from receiver.web.reconciliations import run_json
from receiver.web.standing import Comparison

_TITLE = "Asking Leadterra"
_POLL_S = 0.1
_PAGE = 2000
_FIGURES = ("sent", "bounced", "replied")
_COLUMNS = ("campaign_id", "status", "figure", "delta", "missing", "settling", "snapshot_at")
_WIDTH_OF_A_PIPE = 4000

Row = dict[str, Any]


@click.command()
@config_option
@json_option
@click.option("--campaign", "campaign_ids", metavar="ID", multiple=True, help="Only this campaign; repeatable.")
@click.pass_context
def reconcile(ctx: click.Context, config_path: Path | None, *, as_json: bool, campaign_ids: tuple[str, ...]) -> None:
    """Compare with Leadterra's counters; exit 3 if anything is missing, 1 if Leadterra could not be asked."""
    settings = load_settings(config_path).settings
    configure_logging(settings.log.format, "warning")  # alarms; the rest is said below
    wanted = list(dict.fromkeys(campaign_ids))
    with holding(settings) as path:
        if path is None:
            with server_of(settings) as server:
                run, drift = _through(server, wanted)
        else:
            run, drift = asyncio.run(_by_ourselves(settings, path, wanted))
    shown = [row for row in drift if not wanted or row["campaign_id"] in wanted]
    differing = [row for row in shown if row["status"] not in ("in_sync", "unknown")]
    if as_json:
        click.echo(json.dumps({"run": run, "data": differing}, indent=2))
    else:
        _print(differing)
        _explain(run, len(differing))
    ctx.exit(exit_code(run, differing))


def exit_code(run: Mapping[str, Any], differing: Sequence[Mapping[str, Any]]) -> int:
    """1 when Leadterra gave no answer at all, else 3 when events are missing or too many, 1 when some failed."""
    if run["status"] in ("failed", "aborted"):
        return EXIT_FAILED
    if any(row["status"] in ("missing", "surplus") for row in differing):
        return EXIT_DRIFT
    return EXIT_FAILED if run["failed"] else 0


async def _by_ourselves(settings: Settings, path: Path, wanted: list[str]) -> tuple[Row, list[Row]]:
    """As the owner of the database. It takes no webhooks in meanwhile, and does not pretend to."""
    clock = clock_of(settings)
    client = client_of(settings)
    if client is None:
        raise ReconciliationOffError
    async with contextlib.AsyncExitStack() as opened:
        store = await Store.open(path, clock.now_ms())
        opened.push_async_callback(store.close)
        readers = await Readers.open(path)
        opened.push_async_callback(readers.close)
        books, options = StoreBooks(store, readers), options_of(settings)
        watch = Watch(books, clock, options.pins)
        reconciler = Reconciler(client, books, clock, options, watch)
        opened.push_async_callback(reconciler.close)
        await reconciler.open()
        for campaign_id in wanted:
            await readers.run(known, campaign_id)
        run = await reconciler.start("command", wanted or await reconciler.known())
        waiting = asyncio.ensure_future(reconciler.wait())
        with ProgressView(_TITLE) as view:
            while not waiting.done():
                await asyncio.wait({waiting}, timeout=_POLL_S)
                view.show(run.done, run.campaigns)
        await waiting
        comparison = Comparison(pins_of(settings), clock)
        return run_json(run), await readers.run(whole_drift, comparison)


def _through(server: Server, wanted: list[str]) -> tuple[Row, list[Row]]:
    """Let the running server do it, and watch."""
    say("The running server does it; it goes on taking webhooks in.")
    body = {"campaign_ids": wanted} if wanted else {}
    run = server.call("POST", "/v1/reconciliations", body)
    while run["trigger"] != "request":  # one that began by itself asks only whom it wants
        _ended(server, run)
        run = server.call("POST", "/v1/reconciliations", body)
    return _ended(server, run), _pages(server)


def _ended(server: Server, run: Row) -> Row:
    with ProgressView(_TITLE) as view:
        while run["status"] == "running":
            time.sleep(_POLL_S)
            rows = server.call("GET", "/v1/reconciliations?limit=10")["data"]
            run = next(row for row in rows if row["id"] == run["id"])
            view.show(run["done"], run["campaigns"])
    return {name: value for name, value in run.items() if name not in ("as_of", "settled_until")}


def _pages(server: Server) -> list[Row]:
    path = f"/v1/drift?gaps=none&limit={_PAGE}"
    answer = server.call("GET", path)
    found: list[Row] = answer["data"]
    while answer["next_cursor"] is not None:
        answer = server.call("GET", f"{path}&cursor={answer['next_cursor']}")
        found += answer["data"]
    return found


def _print(differing: Sequence[Row]) -> None:
    """One line per figure that differs."""
    if not differing:
        return
    table = Table(box=None, pad_edge=False)
    for column in _COLUMNS:
        table.add_column(column, no_wrap=column != "campaign_id", overflow="fold")
    for row in differing:
        for figure in _FIGURES:
            parts = row[figure]
            if parts is not None and parts["at_least"] + abs(parts["unexplained"]) > 0:
                missing = parts["not_accepting"] + parts["unexplained"]
                settling = parts["settling"] + parts["quarantined"]
                values = (row["campaign_id"], row["status"], figure, parts["delta"], missing, settling)
                table.add_row(*map(str, values), str(row["snapshot_at"]))
    width = None if Console().is_terminal else _WIDTH_OF_A_PIPE
    Console(width=width, markup=False, highlight=False, emoji=False).print(table)


def _explain(run: Row, differing: int) -> None:
    for error in run["errors"]:
        say(f"{error['campaign_id'] or 'All'}: {error['detail']}")
    outcome = f"{differing:,} differ" if run["status"] != "failed" else "nothing could be compared"
    say(f"{run['campaigns']:,} campaigns asked, {run['failed']:,} failed; {outcome}.")
