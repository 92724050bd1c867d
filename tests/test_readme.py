"""The README keeps its word: it names everything there is, and its commands run as they stand."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from receiver.cli import cli
from receiver.settings.catalogue import FIELDS
from receiver.web.operation import Operation
from tests.e2e.server import Server
from tests.web.test_routes import OPERATIONS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def _commands(group: click.Group, prefix: str = "") -> Iterator[str]:
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        if isinstance(command, click.Group):
            yield from _commands(command, f"{name} ")
        else:
            yield prefix + name


@pytest.mark.parametrize("command", list(_commands(cli)))
def test_it_names_every_command(command: str) -> None:
    assert f"`{command}`" in README


@pytest.mark.parametrize("setting", list(FIELDS))
def test_it_names_every_setting(setting: str) -> None:
    assert f"`{setting}`" in README


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: f"{operation.method} {operation.path}")
def test_it_names_every_endpoint(operation: Operation) -> None:
    assert f"`{operation.method} {operation.path}`" in README


def test_the_gate_runs_its_test_command() -> None:
    command = next(block for block in _blocks("sh") if "-m pytest" in block).strip()
    assert command in (ROOT / ".ci" / "run").read_text("utf-8").splitlines()


def test_the_demo_is_its_first_command() -> None:
    assert _blocks("sh")[0].endswith("/leadterra-receiver demo\n")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / ".secrets").mkdir()
    (tmp_path / ".secrets" / "webhook.secrets").write_text("made-on-the-spot\n")
    with Server(tmp_path / "receiver.db", webhook__secrets='["made-on-the-spot"]') as running:
        yield running


def _run(command: list[str], server: Server, text: str, folder: Path) -> str:
    here = text.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")
    return subprocess.run([*command, here], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("openssl")), reason="needs curl and openssl")
def test_its_curl_example_is_counted(server: Server, tmp_path: Path) -> None:
    example = next(block for block in _blocks("sh") if block.startswith("body="))
    output = _run(["bash", "-ec"], server, example, tmp_path)
    assert "Receiver-Outcome: stored" in output.replace("receiver-outcome", "Receiver-Outcome")
    assert '"observed":{"sent":1,' in output


def test_its_python_example_is_counted(server: Server, tmp_path: Path) -> None:
    output = _run([sys.executable, "-c"], server, _blocks("python")[0], tmp_path)
    assert output.startswith("204 stored\n{'sent': 1, ")
