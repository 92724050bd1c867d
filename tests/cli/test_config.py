"""`config check` and `config show`, and how a bad configuration ends any command."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

import receiver.cli
from receiver import __version__
from receiver.cli import Commands, cli, main
from receiver.cli.options import load_settings
from receiver.errors import CommandError, ConfigurationError
from receiver.settings import example_toml

CANARY = "canary-7f3a"
HASH = "0123456789abcdef" * 4
NO_SECRETS = (
    "Setting 'webhook.secrets' is empty; "
    "use a list with the signing secret that Leadterra gave when the webhook was registered."
)
Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, **environ: str) -> Result:
        return CliRunner(env=dict(environ)).invoke(cli, arguments)

    return run


def test_check_says_that_a_good_configuration_is_good(run: Run) -> None:
    result = run("config", "check", RECEIVER_WEBHOOK__SECRETS='["a"]')
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "The configuration is good.\n")


def test_check_tells_what_only_serve_would_refuse(run: Run) -> None:
    result = run("config", "check")
    assert result.exit_code == 0
    assert result.stderr == f"`serve` would refuse this: {NO_SECRETS}\nThe configuration is good.\n"


def test_check_ends_with_78_and_one_line_per_problem(run: Run) -> None:
    result = run("config", "check", RECEIVER_INGEST__BATCH_MAX="0", RECEIVER_LOG__LEVEL="loud")
    assert (result.exit_code, result.stdout) == (78, "")
    assert result.stderr == (
        "Setting 'ingest.batch_max' is 0; use 1 to 5000.\n"
        "Setting 'log.level' is 'loud'; use debug, info, warning or error.\n"
    )


def test_check_refuses_a_database_in_a_folder_that_does_not_exist(run: Run, tmp_path: Path) -> None:
    result = run("config", "check", RECEIVER_STORAGE__URL="sqlite:///no/r.db")
    assert (result.exit_code, result.stderr) == (
        78,
        f"Setting 'storage.url' is 'sqlite:///no/r.db'; use a folder that exists, or create '{tmp_path}/no'.\n",
    )


def test_a_named_file_that_is_missing_ends_with_78(run: Run) -> None:
    result = run("config", "check", "--config", "none.toml")
    assert result.exit_code == 78
    assert result.stderr == "Configuration file 'none.toml' does not exist; name a file that does.\n"


def test_variables_of_kubernetes_only_warn(run: Run) -> None:
    result = run("config", "check", RECEIVER_PORT="tcp://10.0.0.1:8000", RECEIVER_WEBHOOK__SECRETS='["a"]')
    assert (result.exit_code, result.stderr) == (
        0,
        "Warning: Variable RECEIVER_PORT is not a setting and is ignored; "
        "settings are named RECEIVER_SECTION__KEY.\nThe configuration is good.\n",
    )


def test_show_names_the_source_of_each_value_and_masks_secrets(run: Run) -> None:
    Path("config.toml").write_text(f"[leadterra]\napi_key = '{CANARY}'\ntimeout_s = 7.5\n")
    environ = {"RECEIVER_WEBHOOK__SECRETS": f'["{CANARY}", "b"]', "RECEIVER_SERVER__PORT": "0"}
    result = run("config", "show", "--config", "config.toml", **environ)
    lines = result.stdout.splitlines()
    assert (result.exit_code, len(lines)) == (0, 33)
    assert lines[:2] == ['server.host = "127.0.0.1"  # default', "server.port = 0  # RECEIVER_SERVER__PORT"]
    assert 'webhook.secrets = ["********", "********"]  # RECEIVER_WEBHOOK__SECRETS' in lines
    assert 'leadterra.api_key = "********"  # config.toml' in lines
    assert "leadterra.timeout_s = 7.5  # config.toml" in lines
    assert "clock.start = null  # default" in lines


def test_show_as_json_masks_secrets_too(run: Run) -> None:
    environ = {
        "LEADTERRA_API_KEY": CANARY,
        "RECEIVER_ACCESS__ADMIN_KEYS": f'["{HASH}"]',
        "RECEIVER_CLOCK__START": "2025-06-11T11:00:00+02:00",
        "RECEIVER_LEADTERRA__BASE_URL": "http://localhost:9000",
    }
    result = run("config", "show", "--json", **environ)
    rows = {row.pop("key"): row for row in json.loads(result.stdout)["data"]}
    assert rows["leadterra.api_key"] == {"value": "********", "source": "LEADTERRA_API_KEY"}
    assert rows["access.admin_keys"]["value"] == ["********"]
    assert rows["clock.start"]["value"] == "2025-06-11T09:00:00Z"
    assert rows["reconcile.interval_s"] == {"value": 300, "source": "default"}
    assert CANARY not in result.output
    assert HASH not in result.output


def test_show_defaults_is_the_example_file(run: Run) -> None:
    result = run("config", "show", "--defaults", RECEIVER_LOG__LEVEL="not even read")
    assert (result.exit_code, result.stdout, result.stderr) == (0, example_toml(), "")


def test_show_defaults_as_json_ignores_what_is_configured(run: Run) -> None:
    result = run("config", "show", "--defaults", "--json", RECEIVER_SERVER__PORT="1")
    row = json.loads(result.stdout)["data"][1]
    assert row == {"key": "server.port", "value": 8000, "source": "default"}


@pytest.mark.parametrize("arguments", [["check"], ["show"], ["show", "--json"]])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RECEIVER_WEBHOOK__SECRETS", CANARY),
        ("RECEIVER_WEBHOOK__SECRETS", f'["{CANARY}", ""]'),
        ("RECEIVER_ACCESS__ADMIN_KEYS", f'["{CANARY}"]'),
        ("RECEIVER_LEADTERRA__API_KEY", f"{CANARY} {CANARY}"),
        ("LEADTERRA_API_KEY", f"{CANARY}\n"),
        ("RECEIVER_LEADTERRA__BASE_URL", f"https://user:{CANARY}@app.leadterra.co"),
        ("RECEIVER_WEBHOOK__SECRET", CANARY),
    ],
)
def test_no_output_shows_a_secret(run: Run, arguments: list[str], name: str, value: str) -> None:
    result = run("config", *arguments, **{name: value})
    assert result.exit_code == 78
    assert CANARY not in result.output
    assert len(result.stderr.splitlines()) == 1


def test_flags_beat_everything_for_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECEIVER_SERVER__PORT", "1")
    loaded = load_settings(None, {"server.port": 2, "server.host": None})
    assert (loaded.settings.server.port, loaded.sources["server.port"]) == (2, "--port")


def test_the_version_names_sqlite_too_and_warns_of_an_old_one(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version", "3.40.1")
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 40, 1))
    result = run("--version")
    assert (result.exit_code, result.stdout) == (0, f"leadterra-receiver {__version__}\nSQLite 3.40.1\n")
    assert result.stderr == (
        "Warning: SQLite 3.40.1 can corrupt a database that another program opens; "
        "use 3.51.3 or later, or let no other program write to it.\n"
    )


def test_the_version_does_not_warn_of_a_safe_sqlite(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", receiver.cli.SAFE_SQLITE)
    assert run("--version").stderr == ""


@pytest.mark.parametrize(
    ("command", "error", "exit_code", "words"),
    [
        ("verify", ConfigurationError(["First.", "Second."]), 78, "First.\nSecond.\n"),
        ("verify", CommandError("Port 80 is taken;\nuse another."), 1, "Port 80 is taken; use another.\n"),
        ("serve", KeyboardInterrupt(), 0, ""),
        ("demo", KeyboardInterrupt(), 0, ""),
        ("verify", KeyboardInterrupt(), 1, "\nAborted!\n"),
    ],
)
def test_an_error_ends_a_command_with_its_code(
    command: str, error: BaseException, exit_code: int, words: str
) -> None:
    def fail() -> None:
        raise error

    group = Commands(commands=[click.Command(command, callback=fail)])
    result = CliRunner().invoke(group, [command])
    assert (result.exit_code, result.stderr) == (exit_code, words)


def test_wrong_usage_ends_with_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["leadterra-receiver", "config", "chekc"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
