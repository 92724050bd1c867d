"""`leads check`: finds what is wrong with a list of leads before a campaign is started with it."""

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from receiver.cli.options import EXIT_DRIFT, config_option, json_option, say
from receiver.errors import CommandError
from receiver.sandbox import bodies
from receiver.sandbox.problems import RefusedError
from receiver.sandbox.tokens import Findings, Step, check

_SEPARATORS = re.compile(r"[\s_-]")
# What a terminal would act upon (C0, DEL and C1 controls).
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# More rows than anybody reads; drawing them would take longer than finding them.
_ROWS_SHOWN = 1000
# What spreadsheets call the columns that Leadterra has names for.
_NAMES = {
    "email": "email",
    "emailaddress": "email",
    "firstname": "firstName",
    "lastname": "lastName",
    "company": "company",
    "jobtitle": "jobTitle",
}


@click.group()
def leads() -> None:
    """Check lists of leads."""


@leads.command("check")
@config_option
@json_option
@click.argument("leads_csv", type=click.Path(path_type=Path), metavar="LEADS.csv")
@click.argument("steps_json", type=click.Path(path_type=Path), metavar="STEPS.json")
@click.pass_context
def check_leads(
    ctx: click.Context, config_path: Path | None, leads_csv: Path, steps_json: Path, *, as_json: bool
) -> None:
    """Say which leads would get a gap such as "Hi ,", which addresses are malformed, and which come twice.

    STEPS.json holds `{"sequenceSteps": […]}` as for Leadterra, or the list alone. Exits 3 if there is anything.
    """
    del config_path  # every command takes it; this one has nothing to configure
    steps = _read_steps(steps_json)
    rows = list(_read_leads(leads_csv))
    findings = check(rows, steps)
    if as_json:
        click.echo(json.dumps(_plain(findings, len(rows)), indent=2, ensure_ascii=False))
    elif findings:
        _print_table(findings)
    problems = (len(findings.gaps), len(findings.malformed), len(findings.duplicates))
    say("{} leads: {} gaps, {} malformed addresses, {} duplicates.".format(len(rows), *problems))
    ctx.exit(EXIT_DRIFT if findings else 0)


def _read_steps(path: Path) -> list[Step]:
    try:
        given = json.loads(_text(path))
    except ValueError as error:
        raise CommandError(f"'{path}' is not JSON: {error}.") from error
    except RecursionError as error:
        raise CommandError(f"'{path}' is nested too deep; give a list of steps.") from error
    try:
        steps = bodies.steps(given if isinstance(given, dict) else {"sequenceSteps": given})
    except RefusedError as error:
        raise CommandError(f"'{path}': {error}") from error
    if not steps:
        raise CommandError(f"'{path}' has no steps; give a list of them, or an object with 'sequenceSteps'.")
    return steps


def _read_leads(path: Path) -> Iterator[dict[str, str]]:
    reader = csv.reader(io.StringIO(_text(path), newline=""))
    try:
        names = [_NAMES.get(_SEPARATORS.sub("", name).lower(), name.strip()) for name in next(reader)]
        if "email" not in names:
            raise CommandError(
                f"'{path}' has no column 'email'; its first line must name the columns, with commas between them."
            )
        _refuse_repeated(path, names)
        for values in reader:
            if any(value.strip() for value in values):
                if len(values) > len(names):
                    raise CommandError(
                        f"'{path}' has {len(values)} values in line {reader.line_num} and {len(names)} columns; "
                        "quote values that hold a comma."
                    )
                fields = dict(zip(names, (value.strip() for value in values), strict=False))
                yield {"email": "", **fields}
    except StopIteration:
        raise CommandError(f"'{path}' is empty; its first line must name the columns.") from None
    except csv.Error as error:
        raise CommandError(f"'{path}' is not CSV in line {reader.line_num}: {error}.") from error


def _refuse_repeated(path: Path, names: list[str]) -> None:
    repeated = sorted({name for name in names if name and names.count(name) > 1})
    if repeated:
        raise CommandError(f"'{path}' names the column '{repeated[0]}' more than once; leave one of them.")


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except OSError as error:
        raise CommandError(f"'{path}' cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise CommandError(f"'{path}' is not UTF-8; save it as such.") from error


def _plain(findings: Findings, count: int) -> dict[str, Any]:
    return {
        "leads": count,
        "gaps": [gap._asdict() for gap in findings.gaps],
        "malformed": findings.malformed,
        "duplicates": findings.duplicates,
    }


def _print_table(findings: Findings) -> None:
    table = Table("problem", "email", "step", "field", "tokens")
    rows = [
        *(("gap", gap.email, str(gap.step), gap.field, ", ".join(gap.tokens)) for gap in findings.gaps),
        *(("malformed", email) for email in findings.malformed),
        *(("duplicate", email) for email in findings.duplicates),
    ]
    for row in rows[:_ROWS_SHOWN]:
        table.add_row(*(_CONTROLS.sub("\N{REPLACEMENT CHARACTER}", cell) for cell in row))
    console = Console()
    # A pipe has no width: nothing may be cut there.
    Console(width=None if console.is_terminal else 200, markup=False, emoji=False, highlight=False).print(table)
    if len(rows) > _ROWS_SHOWN:
        say(f"{len(rows) - _ROWS_SHOWN} more rows; --json has them all.")
