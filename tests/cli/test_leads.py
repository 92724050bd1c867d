"""`leads check`: what is wrong with a list of leads, without a server."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from receiver.cli import cli

STEPS = [{"subject": "Hi {{firstName}}", "bodyHtml": "At {{company}}"}]
BAD = "Email,First Name,company\njo@x.org,Jo,X\n\nann@x.org,,\nbad@@x,Al,Y\nJO@x.org,Jo,X\n"
GOOD = "\ufeffcompany,email,firstName,note\nX,jo@x.org,Jo\n"


def run(folder: Path, leads: str | bytes, steps: object = STEPS, *flags: str) -> Result:
    leads_path, steps_path = folder / "leads.csv", folder / "steps.json"
    leads_path.write_bytes(leads.encode() if isinstance(leads, str) else leads)
    steps_path.write_text(steps if isinstance(steps, str) else json.dumps(steps))
    return CliRunner().invoke(cli, ["leads", "check", str(leads_path), str(steps_path), *flags])


def test_findings_are_a_table_and_exit_3(tmp_path: Path) -> None:
    result = run(tmp_path, BAD)
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in result.stdout.splitlines()[3:-1]]
    assert result.exit_code == 3
    assert rows == [
        ["gap", "ann@x.org", "1", "subject", "firstName"],
        ["gap", "ann@x.org", "1", "bodyHtml", "company"],
        ["malformed", "bad@@x", "", "", ""],
        ["duplicate", "jo@x.org", "", "", ""],
    ]
    assert result.stderr == "4 leads: 2 gaps, 1 malformed addresses, 1 duplicates.\n"


def test_findings_as_json(tmp_path: Path) -> None:
    result = run(tmp_path, BAD, STEPS, "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout) == {
        "leads": 4,
        "gaps": [
            {"email": "ann@x.org", "step": 1, "field": "subject", "tokens": ["firstName"]},
            {"email": "ann@x.org", "step": 1, "field": "bodyHtml", "tokens": ["company"]},
        ],
        "malformed": ["bad@@x"],
        "duplicates": ["jo@x.org"],
    }


def test_good_leads_exit_0_and_print_nothing(tmp_path: Path) -> None:
    result = run(tmp_path, GOOD, {"sequenceSteps": STEPS})
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "1 leads: 0 gaps, 0 malformed addresses, 0 duplicates.\n"


@pytest.mark.parametrize(
    ("leads", "steps", "words"),
    [
        ("", STEPS, "leads.csv' is empty; its first line must name the columns."),
        ("email;name\nj@x.org;Jo", STEPS, "leads.csv' has no column 'email'; its first line must name the columns, "),
        (b"email\n\xff@x.org", STEPS, "leads.csv' is not UTF-8; save it as such."),
        ('email\n"' + "x" * 200_000 + '"', STEPS, "is not CSV in line 2: field larger than field limit (131072)."),
        (GOOD, "[", "steps.json' is not JSON: "),
        (GOOD, 7, "steps.json': 'sequenceSteps' is a number; send a list of objects."),
        (GOOD, [{"subject": "x"}], "steps.json': 'sequenceSteps[0].bodyHtml' is missing; send a string."),
    ],
)
def test_files_that_cannot_be_used_exit_1(tmp_path: Path, leads: str | bytes, steps: object, words: str) -> None:
    result = run(tmp_path, leads, steps)
    assert result.exit_code == 1
    assert words in result.stderr


def test_steps_that_are_nested_too_deep_exit_1(tmp_path: Path) -> None:
    (tmp_path / "leads.csv").write_text(GOOD)
    (tmp_path / "steps.json").write_text("[" * 100_000)
    result = CliRunner().invoke(cli, ["leads", "check", str(tmp_path / "leads.csv"), str(tmp_path / "steps.json")])
    assert result.exit_code == 1
    assert "steps.json' is nested too deep; give a list of steps." in result.stderr


def test_a_missing_file_exits_1(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["leads", "check", str(tmp_path / "none.csv"), str(tmp_path / "none.json")])
    assert result.exit_code == 1
    assert result.stderr == f"'{tmp_path / 'none.json'}' cannot be read: No such file or directory.\n"


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ({"steps": STEPS}, "steps.json': 'steps' is no field of a campaign; send 'sequenceSteps'."),
        ({"sequence": STEPS}, "has no steps; give a list of them, or an object with 'sequenceSteps'."),
    ],
)
def test_steps_under_another_name_are_no_clean_bill(tmp_path: Path, steps: object, words: str) -> None:
    result = run(tmp_path, GOOD, steps)
    assert result.exit_code == 1
    assert words in result.stderr


@pytest.mark.parametrize("header", ["E-mail", "e-mail address", "EMAIL_ADDRESS"])
def test_a_column_of_addresses_has_many_names(tmp_path: Path, header: str) -> None:
    result = run(tmp_path, f"{header},First-Name,company\njo@x.org,Jo,X\n")
    assert (result.exit_code, result.stderr) == (0, "1 leads: 0 gaps, 0 malformed addresses, 0 duplicates.\n")


def test_a_row_with_more_values_than_columns_is_not_cut(tmp_path: Path) -> None:
    result = run(tmp_path, "email,lastName\njo@x.org,Smith, Jr\n")
    assert result.exit_code == 1
    assert "has 3 values in line 2 and 2 columns; quote values that hold a comma." in result.stderr


def test_a_line_separator_inside_a_value_ends_no_row(tmp_path: Path) -> None:
    result = run(tmp_path, "email,firstName,company\njo@x.org,Jo\u2028an,X\n")
    assert (result.exit_code, result.stderr) == (0, "1 leads: 0 gaps, 0 malformed addresses, 0 duplicates.\n")


def test_a_long_table_is_cut_and_says_so(tmp_path: Path) -> None:
    leads = "email,firstName,company\n" + "".join(f"a{number}@x.org,Jo,\n" for number in range(1200))
    result = run(tmp_path, leads)
    assert result.exit_code == 3
    assert result.stdout.count("gap") == 1000
    assert result.stderr.startswith("200 more rows; --json has them all.\n")


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path) -> None:
    result = run(tmp_path, "email,firstName,company\n\x1b[31mbad@@x,Jo,X\n")
    assert result.exit_code == 3
    assert "\x1b" not in result.stdout
    assert "\N{REPLACEMENT CHARACTER}[31mbad@@x" in result.stdout


def test_a_column_that_comes_twice_is_refused(tmp_path: Path) -> None:
    result = run(tmp_path, "email,E-Mail\na@x.org,b@x.org\n")
    assert result.exit_code == 1
    assert "names the column 'email' more than once; leave one of them." in result.stderr
