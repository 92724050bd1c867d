"""Both ways to start the program, and the list of commands that it has by now."""

import subprocess
import sys
from pathlib import Path

import click
import pytest

from receiver import __version__
from receiver.cli import COMMANDS, cli
from tests.cli.conftest import Run

SCRIPT = str(Path(sys.executable).with_name("leadterra-receiver"))


@pytest.mark.parametrize("command", [[SCRIPT], [sys.executable, "-m", "receiver"]])
def test_script_and_module_are_the_same_program(command: list[str], tmp_path: Path) -> None:
    done = subprocess.run([*command, "--version"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == f"leadterra-receiver {__version__}"
    assert done.stdout.splitlines()[1].startswith("SQLite 3.")


def test_the_version_needs_no_configuration_and_no_command(run: Run) -> None:
    result = run("--version", "verify", "--nonsense", RECEIVER_INGEST__BATCH_MAX="0")
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, 2)


def test_a_start_imports_only_the_command_that_is_asked_for(tmp_path: Path) -> None:
    listing = "import sys; from receiver.cli import main; sys.argv[1:] = ['keys', '--help']\ntry: main()\n"
    listing += "finally: print(sorted({'uvicorn', 'httpx', 'receiver.app', 'receiver.server'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", listing], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_command_comes_with_the_issue_that_names_it() -> None:
    assert set(COMMANDS) == {
        "backup",
        "campaigns",
        "config",
        "demo",
        "erase",
        "export",
        "health",
        "keys",
        "leads",
        "quarantine",
        "rebuild",
        "reconcile",
        "sandbox",
        "serve",
        "verify",
        "webhook",
    }


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help_in_one_sentence_or_two(run: Run, name: str) -> None:
    result = run(name, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: cli {name} ")
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.help


@pytest.mark.parametrize("arguments", [["nonsense"], ["verify", "--nonsense"], ["serve", "--port", "x"]])
def test_wrong_usage_ends_with_2_and_says_why(run: Run, arguments: list[str]) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Error: " in result.stderr
