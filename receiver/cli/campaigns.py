"""`campaigns list|add`: which campaigns are known, and are compared with Leadterra's counters."""

import json
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from receiver.cli.database import Server, reading, writing
from receiver.cli.options import config_option, json_option, load_settings
from receiver.reconcile.service import pins_of
from receiver.settings import clock_of
from receiver.storage.sqlite import reconciliation as rows
from receiver.web.campaigns import every_campaign, known_campaign
from receiver.web.params import CAMPAIGN_ID, CAMPAIGN_IDS
from receiver.web.standing import Comparison

_COLUMNS = ("campaign_id", "name", "status", "activity", "sent", "drift", "last_event_at")
_WIDTH_OF_A_PIPE = 4000


@click.group()
def campaigns() -> None:
    """Campaigns that events named, and those that somebody added."""


@campaigns.command("list")
@config_option
@json_option
def list_campaigns(config_path: Path | None, *, as_json: bool) -> None:
    """List all campaigns that are known, by id."""
    settings = load_settings(config_path).settings
    clock = clock_of(settings)
    with reading(settings) as conn:
        found = every_campaign(conn, Comparison(pins_of(settings), clock), clock.now_ms())
    if as_json:
        click.echo(json.dumps({"data": found}, indent=2))
        return
    table = Table(box=None, pad_edge=False)
    for column in _COLUMNS:
        table.add_column(column, overflow="fold")
    for row in found:
        shown = {**row, "sent": row["observed"]["sent"], "drift": row["drift"]["status"]}
        table.add_row(*(_shown(shown[column]) for column in _COLUMNS))
    width = None if Console().is_terminal else _WIDTH_OF_A_PIPE
    Console(width=width, markup=False, highlight=False, emoji=False).print(table)


@campaigns.command()
@config_option
@json_option
@click.argument("campaign_id", metavar="ID")
@click.option("--name", help="How to call it until an event names it.")
def add(config_path: Path | None, *, as_json: bool, campaign_id: str, name: str | None) -> None:
    """Compare a campaign with Leadterra too, whether or not it has events."""
    if not CAMPAIGN_ID.fullmatch(campaign_id):
        raise click.BadParameter(f"'{campaign_id}' is no campaign id; use {CAMPAIGN_IDS}.", param_hint="ID")
    settings = load_settings(config_path).settings
    with writing(settings) as owner:
        if isinstance(owner, Server):
            body = {"campaign_id": campaign_id} | ({} if name is None else {"name": name})
            found: dict[str, Any] = owner.call("POST", "/v1/campaigns", body)
        else:
            now = owner.now_ms()
            owner.ledger.transact(owner.conn, lambda conn: rows.add_campaign_by_hand(conn, campaign_id, name, now))
            found = {}
    if not found:
        clock = clock_of(settings)
        with reading(settings) as conn:
            found = known_campaign(conn, Comparison(pins_of(settings), clock), campaign_id, clock.now_ms())
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        click.echo(f"Campaign {campaign_id} is compared with Leadterra's counters from now on.")


def _shown(value: object) -> str:
    """A value for the terminal: control characters of a payload must not reach it."""
    text = "-" if value is None else str(value)
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
