"""The image's recipe and the compose file, read as Docker would read them."""

import fnmatch
import json
import re
import shlex
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from receiver.cli import cli
from receiver.settings.catalogue import FIELDS, VARIABLES
from tests.deploy.files import DEPLOY, ROOT, text

DOCKERFILE = "docker/Dockerfile"


def stages() -> list[list[tuple[str, str]]]:
    """The instructions of each stage, as name and rest."""
    plain = "\n".join(line for line in text(DOCKERFILE).splitlines() if line and not line.startswith("#"))
    found: list[list[tuple[str, str]]] = []
    for line in re.sub(r"\\\n\s*", "", plain).splitlines():
        name, _, rest = line.partition(" ")
        if name == "FROM":
            found.append([])
        found[-1].append((name, rest))
    return found


BUILD, FINAL = stages()


def rest(name: str) -> str:
    """What the last stage says for an instruction that stands there once."""
    (found,) = [rest for instruction, rest in FINAL if instruction == name]
    return found


def variables() -> dict[str, str]:
    return dict(word.split("=", 1) for word in shlex.split(rest("ENV")))


@pytest.mark.parametrize("stage", [BUILD, FINAL])
def test_its_base_is_pinned_by_a_tag(stage: list[tuple[str, str]]) -> None:
    assert re.match(r"python:\d+\.\d+-slim-\w+( AS build)?$", stage[0][1])


def ignored(path: Path) -> bool:
    """Whether Docker leaves a file of the project out: the last line that fits it, or a folder above it, decides."""
    verdict = False
    for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines():
        if any(fits(each, line.removeprefix("!")) for each in (path, *path.parents)):
            verdict = not line.startswith("!")
    return verdict


def fits(path: Path, pattern: str) -> bool:
    if pattern.startswith("**/"):
        return fnmatch.fnmatch(path.name, pattern.removeprefix("**/"))
    return fnmatch.fnmatch(str(path), pattern)


def test_everything_that_it_copies_is_there_and_reaches_it() -> None:
    copied = [word for name, rest in BUILD if name == "COPY" for word in rest.split()[:-1]]
    assert {"receiver", ".deploy", "pyproject.toml", "README.md"} == set(copied)
    for each in copied:
        assert (ROOT / each).exists()
        assert not ignored(Path(each))
    assert not ignored(Path("receiver/storage/sqlite/migrations/0001_ledger_and_figures.sql"))


@pytest.mark.parametrize(
    "path",
    [
        "receiver.db", "receiver/receiver.db-wal", ".git/config", ".venv/bin/python", "config.toml", "tests/app.py",
        ".secrets/webhook.secrets", ".deploy/docker/.secrets/webhook.secrets", ".deploy/docker/config.toml",
        "receiver/__pycache__/app.pyc",
    ],
)  # fmt: skip
def test_nothing_else_reaches_it(path: str) -> None:
    assert ignored(Path(path))


def test_it_runs_as_a_number_that_is_not_root() -> None:
    user, group = rest("USER").split(":")
    assert int(user) > 0
    assert int(group) > 0
    assert FINAL.index(("USER", rest("USER"))) > max(
        n for n, (name, _) in enumerate(FINAL) if name in ("RUN", "COPY")
    )


def test_the_database_lies_in_its_volume() -> None:
    assert rest("VOLUME") == rest("WORKDIR") == variables()["SQLITE_TMPDIR"] == "/data"
    assert FIELDS["storage.url"].default.removeprefix("sqlite:///").startswith("receiver")
    assert f"install -d -o {rest('USER').replace(':', ' -g ')} -m 0700 /data" in rest("RUN")


def test_no_stage_has_a_compiler_or_needs_one() -> None:
    commands = " ".join(rest for stage in (BUILD, FINAL) for name, rest in stage if name == "RUN")
    assert "--only-binary :all:" in commands
    assert not re.search(r"apt|apk|gcc|build-essential", commands)
    assert [rest for name, rest in FINAL if name == "COPY"] == [
        "--from=build /opt/leadterra-receiver /opt/leadterra-receiver"
    ]


def test_its_settings_exist() -> None:
    settings = {name for name in variables() if name.startswith("RECEIVER_")} - {"RECEIVER_SECRETS_DIR"}
    assert settings <= VARIABLES.keys()


@pytest.mark.parametrize(("instruction", "command"), [("CMD", "serve"), ("HEALTHCHECK", "health")])
def test_it_calls_commands_that_exist_without_a_shell(instruction: str, command: str) -> None:
    assert json.loads(rest("ENTRYPOINT")) == ["leadterra-receiver"]
    words = json.loads(re.search(r"\[.*\]$", rest(instruction))[0])  # type: ignore[index]
    assert words[-1] == command
    assert words[:-1] in ([], ["leadterra-receiver"])
    assert cli.get_command(click.Context(cli), command) is not None


COMPOSE: dict[str, Any] = yaml.safe_load(text("docker/compose.yaml"))
RECEIVER, CADDY = COMPOSE["services"]["receiver"], COMPOSE["services"]["caddy"]


def test_compose_builds_this_recipe() -> None:
    build = RECEIVER["build"]
    context = (DEPLOY / "docker" / build["context"]).resolve()
    assert (context, context / build["dockerfile"]) == (ROOT, DEPLOY / DOCKERFILE)


def test_compose_gives_it_time_to_stop_and_files_for_its_connections() -> None:
    needed_s = FIELDS["server.shutdown_timeout_s"].default + FIELDS["ingest.commit_timeout_s"].default
    assert int(RECEIVER["stop_grace_period"].removesuffix("s")) >= needed_s + 10
    assert RECEIVER["ulimits"]["nofile"] == 131072


def test_compose_shuts_it_in() -> None:
    assert (RECEIVER["read_only"], RECEIVER["cap_drop"]) == (True, ["ALL"])
    assert RECEIVER["security_opt"] == ["no-new-privileges:true"]


def test_compose_lets_it_believe_caddy_alone() -> None:
    address = CADDY["networks"]["inside"]["ipv4_address"]
    assert json.loads(RECEIVER["environment"]["RECEIVER_SERVER__TRUSTED_PROXIES"]) == [address]
    (network,) = COMPOSE["networks"]["inside"]["ipam"]["config"]
    assert ip_address(address) in ip_network(network["subnet"])
    assert "ports" not in RECEIVER
    assert CADDY["environment"]["RECEIVER_UPSTREAM"] == f"receiver:{rest('EXPOSE')}" == "receiver:8000"
    assert FIELDS["server.port"].default == 8000


def test_compose_mounts_secrets_under_the_names_that_are_read() -> None:
    targets = {secret["target"]: COMPOSE["secrets"][secret["source"]]["file"] for secret in RECEIVER["secrets"]}
    assert targets == {name: f".secrets/{name}" for name in ("webhook.secrets", "leadterra.api_key")}
    assert variables()["RECEIVER_SECRETS_DIR"] == "/run/secrets"


def test_what_compose_mounts_is_what_is_configured() -> None:
    mounts = dict(
        mount.split(":")[:2] for mount in [*RECEIVER["volumes"], *CADDY["volumes"]] if mount.startswith(".")
    )
    assert RECEIVER["environment"]["RECEIVER_CONFIG"] == mounts.pop("./config.toml")
    assert {(DEPLOY / "docker" / source).resolve() for source in mounts} == {DEPLOY / "proxy" / "Caddyfile"}
    named = {mount.split(":")[0] for mount in [*RECEIVER["volumes"], *CADDY["volumes"]] if not mount.startswith(".")}
    assert named == COMPOSE["volumes"].keys()
