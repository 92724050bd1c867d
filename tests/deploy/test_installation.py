"""The README's installation names files and settings as they are."""

import itertools
import re
import shlex

import pytest

from receiver.settings.catalogue import VARIABLES
from tests.deploy.files import DEPLOY, ROOT, text

README = (ROOT / "README.md").read_text("utf-8")
INSTALLATION = README.partition("\n### Installation\n")[2].partition("\n### Secrets")[0]


@pytest.mark.parametrize("name", sorted(set(re.findall(r"\.deploy/[\w./-]*\w", README))))
def test_it_names_files_that_are_there(name: str) -> None:
    assert (ROOT / name).exists()


def test_it_names_every_file_but_the_reconcile_units() -> None:
    files = {str(path.relative_to(ROOT)) for path in DEPLOY.rglob("*") if path.is_file()}
    assert {name for name in files if name not in README and "/systemd/" not in name} == set()
    assert "leadterra-receiver-reconcile.timer" in README


def test_it_installs_where_the_units_look() -> None:
    unit = text("systemd/leadterra-receiver.service")
    (command,) = re.findall(r"^ExecStart=(\S+)", unit, re.MULTILINE)
    assert f"python3 -m venv {command.removesuffix('/bin/leadterra-receiver')} " in INSTALLATION
    for path in re.findall(r"^LoadCredential=[\w.]+:(\S+)", unit, re.MULTILINE):
        assert f"install -m 0600 /dev/stdin {path} " in INSTALLATION
    (config,) = re.findall(r"^Environment=RECEIVER_CONFIG=(\S+)", unit, re.MULTILINE)
    assert f"sudoedit {config} " in INSTALLATION


def test_commands_run_as_the_user_of_the_unit() -> None:
    command = re.search(r"^sudo systemd-run .*?[^\\]\n", INSTALLATION, re.MULTILINE | re.DOTALL)
    assert command is not None
    words = shlex.split(command[0])
    given = {word for flag, word in itertools.pairwise(words) if flag in ("-p", "-E")}
    unit = (
        text("systemd/leadterra-receiver.service").replace("%S", "/var/lib").replace("Environment=", "").splitlines()
    )
    assert len(given) == 5
    assert given <= set(unit)


def test_it_names_settings_that_exist() -> None:
    assert set(re.findall(r"\bRECEIVER_\w+__\w+", INSTALLATION)) <= VARIABLES.keys()
