"""`keys new`: the key is shown once, the setting line lets it in, and nothing is written."""

import hashlib
import json
import re
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from receiver.cli import cli
from receiver.settings import load


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["keys", "new", *arguments])


def sha256(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def test_a_key_and_its_setting_line_are_the_data() -> None:
    result = run()
    key, line = result.stdout.splitlines()
    assert result.exit_code == 0
    assert re.fullmatch(r"rcv_[A-Za-z0-9_-]{43}", key)
    assert line == f'analyst_keys = ["{sha256(key)}"]'


def test_the_words_say_where_the_line_goes_and_hold_no_key() -> None:
    result = run("--config", "/etc/receiver.toml")
    key = result.stdout.splitlines()[0]
    assert key not in result.stderr
    assert result.stderr == (
        "The key, stored nowhere and shown only now; it is sent as `Authorization: Bearer …`:\n"
        "Let it in with this line below [access] in /etc/receiver.toml\n"
        "(if the list has keys already, add the hash to them), and start the server again:\n"
        f"Or in the environment: RECEIVER_ACCESS__ANALYST_KEYS='[\"{sha256(key)}\"]'\n"
    )


def test_an_admin_key_goes_to_the_admin_keys() -> None:
    key, line = run("--admin").stdout.splitlines()
    assert line == f'admin_keys = ["{sha256(key)}"]'


def test_the_printed_line_lets_the_key_in(tmp_path: Path) -> None:
    key, line = run().stdout.splitlines()
    path = tmp_path / "config.toml"
    path.write_text(f"[access]\n{line}\n")
    assert load(path, {}, {}).settings.access.analyst_digests == (hashlib.sha256(key.encode()).digest(),)


@pytest.mark.parametrize(("flags", "role"), [([], "analyst"), (["--admin"], "admin")])
def test_json_holds_key_hash_and_settings(flags: list[str], role: str) -> None:
    result = run("--json", *flags)
    data = json.loads(result.stdout)
    digest = sha256(data["key"])
    assert result.stderr == ""
    assert data["role"] == role
    assert data["sha256"] == digest
    assert tomllib.loads(data["setting"]) == {f"{role}_keys": [digest]}
    assert data["environment"] == f"RECEIVER_ACCESS__{role.upper()}_KEYS='[\"{digest}\"]'"


def test_every_key_is_another_and_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run().stdout != run().stdout
    assert list(tmp_path.iterdir()) == []
