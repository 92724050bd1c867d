"""A signal that comes while a command is still being imported."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Python imports this by itself when it starts; it sends the signal in the middle of the import of a module.
_TRAP = """
import os, sys

class Trap:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ["TRAP_MODULE"]:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), int(os.environ["TRAP_SIGNAL"]))

sys.meta_path.insert(0, Trap())
"""
_MODULE = [sys.executable, "-m", "receiver"]
_ENTRY = [sys.executable, "-c", "from receiver.__main__ import main; main()"]


def stopped(folder: Path, start: list[str], command: str, number: signal.Signals, module: str) -> int:
    """The exit code of a command that gets a signal while it imports this module; negative if the signal ends it."""
    (folder / "sitecustomize.py").write_text(_TRAP)
    paths = [str(folder), *(path for path in sys.path if path)]
    trap = {"TRAP_MODULE": module, "TRAP_SIGNAL": str(int(number)), "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run([*start, command], cwd=folder, env={**os.environ, **trap}, capture_output=True, check=False)
    if done.returncode == 0:
        assert (done.stdout, done.stderr) == (b"", b"")
    return done.returncode


@pytest.mark.parametrize("module", ["click", "pydantic", "uvloop"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("command", ["serve", "demo", "sandbox"])
def test_what_runs_until_it_is_stopped_ends_with_0(
    command: str, number: signal.Signals, module: str, tmp_path: Path
) -> None:
    assert stopped(tmp_path, _MODULE, command, number, module) == 0


def test_so_does_the_installed_script(tmp_path: Path) -> None:
    assert 'leadterra-receiver = "receiver.__main__:main"' in (ROOT / "pyproject.toml").read_text("utf-8")
    assert stopped(tmp_path, _ENTRY, "serve", signal.SIGTERM, "click") == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_other_commands_end_by_the_signal(number: signal.Signals, tmp_path: Path) -> None:
    assert stopped(tmp_path, _MODULE, "verify", number, "click") == -number
