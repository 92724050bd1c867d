"""`verify`: proves the figures against the ledger, and the ledger against the journal."""

import json
from pathlib import Path

import click

from receiver.cli.database import reading
from receiver.cli.options import EXIT_DRIFT, config_option, json_option, load_settings
from receiver.cli.progress import watched
from receiver.storage.sqlite.fingerprints import corrections
from receiver.storage.sqlite.recount import Correction
from receiver.storage.sqlite.verify import JournalCheck, check_journal
from receiver.web.times import rfc3339


@click.command()
@config_option
@json_option
@click.pass_context
def verify(ctx: click.Context, config_path: Path | None, *, as_json: bool) -> None:
    """Compare figures, ledger and journal; changes nothing; exit 3 if they differ."""
    settings = load_settings(config_path).settings
    with reading(settings) as conn:
        figures = watched("Comparing the figures with the ledger", lambda progress: corrections(conn, progress))
        journal = watched("Reading the journal", lambda progress: check_journal(conn, progress))
    if as_json:
        click.echo(json.dumps(_as_json(figures, journal)))
    else:
        _print(figures, journal)
    ctx.exit(EXIT_DRIFT if figures.rows or journal.mismatches else 0)


def _as_json(figures: Correction, journal: JournalCheck) -> dict[str, object]:
    return {
        "figures": {"rows_differing": figures.rows},
        "journal": {
            "since": rfc3339(journal.since),
            "bodies": journal.bodies,
            "missing_events": journal.missing_events,
            "differing_events": journal.differing_events,
            "missing_bodies": journal.missing_bodies,
            "older_events": journal.older_events,
        },
    }


def _print(figures: Correction, journal: JournalCheck) -> None:
    if figures.rows:
        click.echo(f"Figures: {figures.rows:,} rows differ from the ledger; `rebuild` repairs them.")
    else:
        click.echo("Figures: equal to the ledger.")
    if journal.since is None:
        click.echo("Journal: empty; the ledger cannot be compared with it.")
        return
    reach = f"{journal.bodies:,} bodies since {rfc3339(journal.since)}"
    if journal.mismatches:
        click.echo(
            f"Journal: {reach}; {journal.missing_events:,} events are missing in the ledger, "
            f"{journal.differing_events:,} differ, {journal.missing_bodies:,} have lost their body."
        )
    else:
        click.echo(f"Journal: {reach}; the ledger is what they say.")
    if journal.older_events:
        click.echo(f"Not checked: {journal.older_events:,} events are older than that; their bodies have expired.")
