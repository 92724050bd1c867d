"""The units: systemd accepts them, they shut the service in, and their numbers fit the program's own."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import annotated_types
import pytest

from receiver.cli.options import EXIT_CONFIGURATION
from receiver.ingest.heartbeat import SILENCE_MAX_MS
from receiver.settings.catalogue import FIELDS
from tests.deploy.files import program, text
from tests.e2e.server import PATIENCE_S, SECRET, Connection, ledger, request, sent, until

SERVICE, RECONCILE, TIMER = (
    f"leadterra-receiver{rest}" for rest in (".service", "-reconcile.service", "-reconcile.timer")
)
INSTALLED = "/opt/leadterra-receiver/bin/leadterra-receiver"
SCRIPT = Path(sys.executable).with_name("leadterra-receiver")
# More than databases, log and requests to Leadterra need besides the connections.
FILES_BESIDES = 1000
# What is left is the network and sockets, which it is for; versions of systemd weigh a little differently.
EXPOSURE_MAX = 1.2


def lines(unit: str) -> list[tuple[str, str]]:
    """The assignments of a unit, in order; a name may stand there several times."""
    found = [line.partition("=") for line in text(f"systemd/{unit}").splitlines() if not line.startswith(("#", "["))]
    return [(name, value) for name, equals, value in found if equals]


def values(unit: str, name: str) -> list[str]:
    return [value for found, value in lines(unit) if found == name]


def value(unit: str, name: str) -> str:
    (found,) = values(unit, name)
    return found


def seconds(span: str) -> float:
    number, unit = re.fullmatch(r"(\d+)(|s|min)", span).groups()  # type: ignore[union-attr]
    return int(number) * (60 if unit == "min" else 1)


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """A folder with the units, whose program is the one of this environment, since systemd looks for it."""
    for unit in (SERVICE, RECONCILE, TIMER):
        (tmp_path / unit).write_text(text(f"systemd/{unit}").replace(INSTALLED, str(SCRIPT)))
    return tmp_path


@pytest.mark.parametrize("unit", [SERVICE, RECONCILE, TIMER])
def test_systemd_accepts_it(units: Path, unit: str) -> None:
    command = [program("systemd-analyze"), "verify", "--man=no", str(units / unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("unit", [SERVICE, RECONCILE])
def test_it_is_shut_in(units: Path, unit: str) -> None:
    command = [program("systemd-analyze"), "security", "--no-pager", "--offline=yes", str(units / unit)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", said)
    assert found is not None
    assert float(found[1]) <= EXPOSURE_MAX


def test_both_services_are_shut_in_alike_as_the_same_user() -> None:
    own = {"Type", "ExecStart", "LoadCredential", "SetCredential", "Description", "After", "WantedBy", "LimitNOFILE"}
    own |= {"Restart", "RestartSec", "RestartPreventExitStatus", "StartLimitIntervalSec", "WatchdogSec"}
    own |= {"TimeoutStartSec", "TimeoutStopSec"}
    shared = [[line for line in lines(unit) if line[0] not in own] for unit in (SERVICE, RECONCILE)]
    assert shared[0] == shared[1]
    assert ("User", "leadterra-receiver") in shared[0]


def test_what_stays_wrong_is_not_started_again() -> None:
    assert value(SERVICE, "Restart") == "on-failure"
    assert value(SERVICE, "RestartPreventExitStatus").split() == ["2", str(EXIT_CONFIGURATION)]


def test_it_may_open_a_file_for_every_connection_that_can_be_configured() -> None:
    (most,) = [rule.le for rule in FIELDS["server.max_connections"].metadata if isinstance(rule, annotated_types.Le)]
    assert isinstance(most, int)
    assert int(value(SERVICE, "LimitNOFILE")) >= most + FILES_BESIDES


def test_it_is_given_the_time_to_stop_that_the_defaults_need() -> None:
    needed_s = FIELDS["server.shutdown_timeout_s"].default + FIELDS["ingest.commit_timeout_s"].default
    assert seconds(value(SERVICE, "TimeoutStopSec")) >= needed_s + 10


def test_the_watchdog_waits_longer_than_the_writer_may_be_silent() -> None:
    assert seconds(value(SERVICE, "WatchdogSec")) / 2 > SILENCE_MAX_MS / 1000


def test_the_timer_fires_as_often_as_the_service_would_by_itself() -> None:
    assert value(TIMER, "OnCalendar") == f"*:0/{FIELDS['reconcile.interval_s'].default // 60}"


@contextmanager
def started(folder: Path, *prefix: str) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """The service and its port: the unit's command line, folders and credentials; the rest is systemd's part."""
    installed, *arguments = shlex.split(value(SERVICE, "ExecStart"))
    variable, _, config = value(SERVICE, "Environment").partition("=")
    assert (installed, config) == (INSTALLED, "/etc/leadterra-receiver/config.toml")
    (folder / "config.toml").write_text("[server]\nport = 0\n")
    default, _, key = value(SERVICE, "SetCredential").partition(":")
    contents = {"webhook.secrets": f"{SECRET}\n", default: key.replace("\\n", "\n")}
    for credential in values(SERVICE, "LoadCredential"):
        name = credential.partition(":")[0]
        (folder / name).write_text(contents[name])
    bare = {name: text for name, text in os.environ.items() if not name.startswith(("RECEIVER_", "LEADTERRA_"))}
    given = {variable: str(folder / "config.toml"), "CREDENTIALS_DIRECTORY": str(folder)}
    (folder / "state").mkdir()
    with subprocess.Popen(
        [*prefix, str(SCRIPT), *arguments],
        cwd=folder / "state", env=bare | given, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            assert process.stderr is not None
            said = next(line for line in process.stderr if "Listening on" in line)
            yield process, int(said.rsplit(":", 1)[1])
        finally:
            process.kill()


def test_its_command_serves_from_the_folder_of_the_state(tmp_path: Path) -> None:
    with started(tmp_path) as (process, port):
        with Connection(port) as client:
            assert client.post(sent("m1")).status == 204
        process.terminate()
        assert process.wait(PATIENCE_S) == 0
    assert ledger(tmp_path / "state" / "receiver.db") == ["m1"]


def allowed_calls() -> set[str]:
    """The system calls that the unit's filter lets through."""
    allowed: set[str] = set()
    for line in values(SERVICE, "SystemCallFilter"):
        for group in line.removeprefix("~").split():
            allowed = allowed - calls_of(group) if line.startswith("~") else allowed | calls_of(group)
    return allowed


def calls_of(group: str) -> set[str]:
    """The system calls of a group such as `@system-service`, with those of the groups in it; a call is its own."""
    if not group.startswith("@"):
        return {group}
    command = [program("systemd-analyze"), "syscall-filter", "--no-pager", group]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")[1:]
    found = [line.strip() for line in listed if line.strip() and not line.strip().startswith("#")]
    return set().union(*(calls_of(name) for name in found))


def test_its_filter_lets_all_system_calls_through_that_the_service_makes(strace: str, tmp_path: Path) -> None:
    """From its start over a delivery, answers and a figure to its end."""
    counts = tmp_path / "counts"
    # -D: the tracer is the child, so that signals and the exit code are the service's own.
    with started(tmp_path, strace, "-D", "-f", "-c", "-o", str(counts)) as (process, port):
        with Connection(port) as client:
            assert client.post(sent("m1")).status == 204
            for path in ("/readyz", "/metrics", "/v1/campaigns", "/v1/events?format=csv"):
                assert client.ask(request("GET", path)).status == 200
        process.terminate()
        assert process.wait(PATIENCE_S) == 0
    until(lambda: counts.exists() and "total" in counts.read_text(), "the tracer's table")
    lines = [line for line in counts.read_text().splitlines() if re.match(r" *\d+\.\d+ ", line)]
    made = {line.split()[-1] for line in lines} - {"total"}
    assert {"execve", "fdatasync"} <= made
    # SQLite, so that its files belong to the database's owner.
    by_root_only = {"fchown"} if os.geteuid() == 0 else set()
    assert made - allowed_calls() - by_root_only == set()
