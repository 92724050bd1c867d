"""The README keeps its word: it names everything there is, and its commands run as they stand."""

import csv
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import click
import httpx
import pytest

from receiver.cli import cli
from receiver.definitions import DEFINITIONS, denominator
from receiver.settings.catalogue import FIELDS
from receiver.web.operation import Operation
from tests.e2e.server import WEBHOOK, Server, payload, request, sign
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


def serving(folder: Path) -> Server:
    return Server(folder / "receiver.db", webhook__secrets='["made-on-the-spot"]')


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / ".secrets").mkdir()
    (tmp_path / ".secrets" / "webhook.secrets").write_text("made-on-the-spot\n")
    with serving(tmp_path) as running:
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


@pytest.mark.parametrize("name", DEFINITIONS)
def test_its_table_of_figures_is_the_one_of_the_code(name: str) -> None:
    definition, bottom = DEFINITIONS[name], denominator(name)
    shown = f"`{bottom}`" if bottom else ""
    assert f"\n| `{name}` | {definition.counts} | {shown} | {definition.booked} |\n" in README


def test_its_table_of_figures_has_no_other() -> None:
    table = README[README.index("| figure or rate |") :].partition("\n\n")[0].splitlines()[2:]
    assert [line.split("`")[1] for line in table] == list(DEFINITIONS)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that holds what its questions are about; they only read."""
    data = {"campaignId": "camp_123", "sequenceStep": 1, "email": "jo@example.org"}
    bounce = {**data, "messageId": "m1", "bounceType": "hard", "bounceReason": "550 5.1.1 gone"}
    bodies = [payload("message.sent", messageId=f"m{n}", **data) for n in range(100)]
    bodies += [
        payload("message.bounced", **bounce),
        payload("reply.received", messageId="m2", reply={"id": "r", **data}),
    ]
    with serving(tmp_path_factory.mktemp("asked")) as server:
        with server.connect() as client:
            for body in bodies:
                signature = f"X-Leadterra-Signature: {sign(body, 'made-on-the-spot')}"
                client.send(request("POST", WEBHOOK, body, (signature,)))
                assert client.answer().status == 204
        yield server


QUESTIONS = [block for block in _blocks("sh") if block.startswith("curl") and "webhooks" not in block]


def test_it_has_five_questions() -> None:
    assert len(QUESTIONS) == 5


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.split("/v1/")[1].split("?")[0].strip())
def test_its_questions_are_answered(asked: Server, tmp_path: Path, question: str) -> None:
    for line in question.splitlines():
        answer = json.loads(_run(["bash", "-ec"], asked, line, tmp_path))
        rows = answer["samples"]["first"] if "samples" in answer else answer["data"]
        assert len(rows) > 0, answer


def test_its_grafana_query_names_what_is_answered(asked: Server) -> None:
    query = json.loads(_blocks("json")[0])
    params = {part["key"]: part["value"] for part in query["url_options"]["params"]}
    assert (params.pop("from"), params.pop("to")) == ("${__from}", "${__to}")  # epoch milliseconds
    url = query["url"].replace("127.0.0.1:8000", f"127.0.0.1:{asked.port}")
    url += f"?from=1700000000000&to=4000000000000&group_by={params['group_by']}"
    row = httpx.get(url, trust_env=False).json()[query["root_selector"]][0]
    found = {column["text"]: row[column["selector"]] for column in query["columns"]}
    assert found == {"Reason": "5.1.1", "Bounced": 1, "Share": 1.0}


def test_its_pandas_example_reads_what_is_answered(asked: Server, tmp_path: Path) -> None:
    """Run as it stands where pandas is installed; else its URL is read and its columns are looked up by hand."""
    example = _blocks("python")[1]
    assert example.startswith("import pandas\n")
    url = example.split('"')[1].replace("127.0.0.1:8000", f"127.0.0.1:{asked.port}")
    rows = list(csv.DictReader(httpx.get(url, trust_env=False).text.splitlines()))
    assert {name: rows[0][name] for name in ("domain", "bounced", "share")} == {
        "domain": "example.org", "bounced": "1", "share": "1.0",
    }  # fmt: skip
    if find_spec("pandas") is not None:
        assert "example.org" in _run([sys.executable, "-c"], asked, example, tmp_path)
