"""Fault rules from flags and scripts, and what is said about bad ones."""

from pathlib import Path

import click
import pytest

from receiver.cli.sandbox import sandbox
from receiver.errors import ConfigurationError
from receiver.sandbox.chance import Chance
from receiver.sandbox.faults import FAULTS, Plan, Rule, read_script, seconds, share_rule
from receiver.sandbox.options import SandboxOptions
from tests.sandbox.conftest import START_MS

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
SCRIPT = """
[share]
drop = 0.01
duplicate = 0.5

[[fault]]
fault = "silence"
from = "2h"
to = "2025-06-12T00:00:00Z"
event = "message.sent"
campaign = "camp_1"

[[fault]]
fault = "rotate_secret"
at = "1d"
secret = "whsec_new"

[[fault]]
fault = "rate_limit"
share = 0.5
path = "/stats"
as_date = true

[[fault]]
fault = "clock_skew"
by = "-90s"

[[fault]]
fault = "server_error"
status = 502

[[fault]]
fault = "corrupt_signature"
attempts = 0

[[fault]]
fault = "drop"
event = "message.bounced"
kind = "hard"
limit = 2

[[fault]]
fault = "stats_lag"
by = "5m"
varies = true
"""


def script(folder: Path, text: str) -> Path:
    path = folder / "faults.toml"
    path.write_text(text)
    return path


def problems(folder: Path, text: str) -> list[str]:
    path = script(folder, text)
    with pytest.raises(ConfigurationError) as caught:
        read_script(path, START_MS)
    return [problem.removeprefix(f"Fault script '{path}'").removeprefix(": ") for problem in caught.value.problems]


def test_a_script_holds_shares_and_single_faults(tmp_path: Path) -> None:
    assert read_script(script(tmp_path, SCRIPT), START_MS) == (
        Rule("drop", 0.01),
        Rule("duplicate", 0.5),
        Rule("silence", from_s=7200, to_s=86_400, event="message.sent", campaign="camp_1"),
        Rule("rotate_secret", from_s=86_400, secret="whsec_new"),
        Rule("rate_limit", 0.5, path="/stats", as_date=True),
        Rule("clock_skew", amount=-90),
        Rule("server_error", amount=502),
        Rule("corrupt_signature", amount=0),
        Rule("drop", event="message.bounced", kind="hard", limit=2),
        Rule("stats_lag", amount=300, varies=True),
    )


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("x = 1", ["'x' is unknown; use [share] and [[fault]]."]),
        ("share = 1", ["'share' is not a table; use [share] with one line per fault."]),
        ("[share]\ndrop = 2", ["The share of fault 'drop' is '2'; use 0 to 1."]),
        ("[fault]\nfault = 1", ["'fault' is not a list of tables; use [[fault]]."]),
        ("fault = [1]", ["fault 1: it is not a table; use [[fault]]."]),
        ('[[fault]]\nfault = "burst"', ["fault 1: 'to' is missing; 'burst' needs the end of its stretch."]),
        (
            '[[fault]]\nfault = "rotate_secret"',
            ["fault 1: 'secret' is missing; 'rotate_secret' needs the new one."],
        ),
        (
            '[[fault]]\nfault = "delay"\nby = "soon"',
            ["fault 1: 'by' is 'soon'; use 90s, 15m, 6h or 2d, at most 3650d."],
        ),
        ('[[fault]]\nfault = "drop"\nshare = 1.5', ["fault 1: 'share' is 1.5; use 0 to 1."]),
        ('[[fault]]\nfault = "server_error"\nstatus = 200', ["fault 1: 'status' is 200; use 500 to 599."]),
        (
            '[[fault]]\nfault = "rotate_secret"\nsecret = 77',
            ["fault 1: 'secret' is not a secret; use the new signing secret."],
        ),
        (
            '[[fault]]\nfault = "slow"\nvaries = true',
            ["fault 1: 'varies' is true; only stats_lag and clock_skew can."],
        ),
        (
            '[[fault]]\nfault = "server_error"\nby = "90s"',
            [
                "fault 1: 'by' is nothing that 'server_error' has; it is for delay, reorder, rate_limit, slow, "
                "stats_lag, clock_skew."
            ],
        ),
        (
            '[[fault]]\nfault = "clock_skew"\nby = "99999999d"',
            ["fault 1: 'by' is '99999999d'; use 90s, 15m, 6h or 2d, at most 3650d."],
        ),
        (
            '[[fault]]\nfault = "delay"\nstatus = 500',
            ["fault 1: 'status' is nothing that 'delay' has; it is for server_error."],
        ),
        (
            '[[fault]]\nfault = "rate_limit"\nby = "-5s"',
            ["fault 1: 'by' is '-5s'; only clock_skew can go below 0."],
        ),
        (
            '[[fault]]\nfault = "drop"\nlimit = -1\nkind = "last"',
            [
                "fault 1: 'limit' is -1; use the number of events or calls that it takes at most.",
                "fault 1: 'kind' is 'last'; use hard or soft of bounces, first of replies.",
            ],
        ),
        ('[[fault]]\nfault = "rate_limit"\nas_date = 1', ["fault 1: 'as_date' is 1; use true or false."]),
    ],
)
def test_every_problem_of_a_script_is_named(tmp_path: Path, text: str, found: list[str]) -> None:
    assert problems(tmp_path, text) == found


def test_unknown_faults_and_names_are_told_what_exists(tmp_path: Path) -> None:
    assert problems(tmp_path, '[[fault]]\nfault = "x"')[0].startswith("fault 1: 'fault' is 'x'; use one of silence, ")
    text = '[[fault]]\nfault = "drop"\nuntil = "1h"\nevent = "opened"'
    first, second = problems(tmp_path, text)
    assert first.startswith("fault 1: 'until' is unknown; use fault, share, from, to, ")
    assert second == (
        "fault 1: 'event' is 'opened'; use campaign.started, message.sent, message.bounced, reply.received."
    )


def test_a_script_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: No such file or directory"):
        read_script(tmp_path / "none.toml", START_MS)
    assert problems(tmp_path, "[")[0].startswith(" is not TOML: ")


@pytest.mark.parametrize("text", ["silence=1", "rotate_secret=1", "nothing=0.5", ""])
def test_faults_without_a_share_are_refused_as_one(text: str) -> None:
    with pytest.raises(ValueError, match="cannot be given by share; use one of drop, malformed_body"):
        share_rule(text)


@pytest.mark.parametrize("text", ["drop", "drop=x", "drop=-1", "drop=nan"])
def test_a_share_is_between_0_and_1(text: str) -> None:
    with pytest.raises(ValueError, match=r"The share of fault 'drop' is .*; use 0 to 1"):
        share_rule(text)


@pytest.mark.parametrize(
    ("text", "expected"), [("90s", 90), ("1.5m", 90), ("6h", 21_600), ("2d", 172_800), ("2w", None), (2, None)]
)
def test_durations_have_a_unit(text: object, expected: float | None) -> None:
    assert seconds(text) == expected


def test_the_latest_rotation_is_in_force() -> None:
    rules = [Rule("rotate_secret", from_s=at, secret=f"s{at}") for at in (20, 10)]
    plan = Plan(rules, Chance(1), START_MS)
    assert [plan.secret_at(START_MS + at * 1000, "s0") for at in (0, 10, 19, 20)] == ["s0", "s10", "s10", "s20"]


@pytest.mark.parametrize("fault", FAULTS)
def test_the_readme_names_every_fault(fault: str) -> None:
    assert f"`{fault}`" in README


@pytest.mark.parametrize("parameter", sandbox.params, ids=lambda parameter: parameter.opts[0])
def test_the_readme_names_every_option(parameter: click.Parameter) -> None:
    assert parameter.opts[0] in README


def test_the_readmes_script_is_a_good_one(tmp_path: Path) -> None:
    example = README.split("```toml\n")[1].split("```")[0]
    assert len(read_script(script(tmp_path, example), START_MS)) == 3


def test_secrets_do_not_show() -> None:
    rules = (Rule("rotate_secret", secret="whsec_new"),)
    shown = repr(SandboxOptions(api_key="sk_1", webhook_secret="whsec_1", faults=rules))
    assert not [secret for secret in ("sk_1", "whsec_1", "whsec_new") if secret in shown]
