"""What listens to the logs of all tests hears what it should, from this process and from others."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest
import structlog

from receiver.settings import load
from tests.conftest import CANARY
from tests.e2e.server import environment, run

ADDRESS = "jo.doe@example.org"
SECRET = "a-secret-of-the-canary's-own"
SPEAKS = [sys.executable, "-c", f"import sys; sys.stderr.write('of {ADDRESS}\\n')"]


def heard() -> int:
    """How many leaks were heard; they are forgotten, or this test would fail for them."""
    return len(CANARY.taken())


def test_it_hears_log_lines_of_either_kind_whatever_becomes_of_them() -> None:
    structlog.get_logger().info("told", to=ADDRESS)
    with structlog.testing.capture_logs():
        structlog.get_logger().info("told", to=ADDRESS)
    logging.getLogger("x").warning("to %s", ADDRESS)
    assert heard() >= 3


def test_it_hears_what_an_exception_says() -> None:
    try:
        raise ValueError(ADDRESS)
    except ValueError as error:
        structlog.get_logger().error("failed", exc_info=error)
        assert heard() >= 1
        logging.getLogger("x").exception("failed")
    assert heard() >= 1


@pytest.mark.parametrize("text", [ADDRESS, "jo%40example.org", r"jo\u0040example.org", "x <b@x.org>"])
def test_it_knows_addresses(text: str) -> None:
    CANARY.hear(f"about {text}.")
    assert heard() == 1


@pytest.mark.parametrize(
    "text", ["j***@example.org", "***@example.org", "@", "nginx@1.22", "Listening on http://[::1]:1"]
)
def test_it_knows_what_is_none(text: str) -> None:
    CANARY.hear(f"about {text}.")
    assert heard() == 0


def test_it_knows_secrets_of_settings_and_of_processes(tmp_path: Path) -> None:
    load(None, {"RECEIVER_WEBHOOK__SECRETS": f'["{SECRET}"]', "LEADTERRA_API_KEY": f"sk_{SECRET}"}, {})
    CANARY.hear(f"it is {SECRET}")
    assert heard() == 1
    other = "another-sécret-of-a-process"
    environ = environment(tmp_path / "receiver.db", webhook__secrets=f'["{other}"]')
    subprocess.run([sys.executable, "-c", ""], env=environ, check=True)
    CANARY.hear(f"it is {other}".encode())
    CANARY.hear(f"it is {other}".encode("ascii", "backslashreplace").replace(b"\\xe9", b"\\u00e9"))
    assert heard() == 2


def test_it_hears_processes_through_a_pipe(tmp_path: Path) -> None:
    subprocess.run(SPEAKS, capture_output=True, check=True)
    assert heard() >= 1
    with subprocess.Popen(SPEAKS, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert list(process.stderr) == [f"of {ADDRESS}\n"]
    assert heard() == 1
    assert run(tmp_path / "receiver.db", "verify", webhook__secrets='["x"]').returncode == 1
    assert heard() == 0


def test_it_hears_processes_that_write_to_a_file(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        subprocess.run(SPEAKS, stderr=log, check=True)
        assert heard() == 1
        subprocess.run(SPEAKS, stderr=log.fileno(), check=True)
    assert heard() == 1
    assert heard() == 0
