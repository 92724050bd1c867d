"""The demo in a process of its own, with a folder for its temporary files that the test can look into."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

_PATIENCE_S = 60.0


class Demo:
    """A running demo; its output goes to files, so that nothing can block it."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self._out, self._err = folder / "out", folder / "err"
        found = {name: value for name, value in os.environ.items() if not name.startswith("RECEIVER_")}
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "receiver", "demo", *arguments],
                cwd=folder,
                env={**found, "TMPDIR": str(self.temporary)},
                stdout=out,
                stderr=err,
            )

    @property
    def out(self) -> str:
        return self._out.read_text("utf-8")

    @property
    def err(self) -> str:
        return self._err.read_text("utf-8")

    def said(self, pattern: str) -> str:
        """The first group of a pattern on standard error, waited for."""
        deadline = time.monotonic() + _PATIENCE_S
        while not (found := re.search(pattern, self.err)):
            assert self.process.poll() is None, self.err
            assert time.monotonic() < deadline, self.err
            time.sleep(0.02)
        return found[1]

    @property
    def database(self) -> Path:
        return next(self.temporary.glob("leadterra-demo-*/demo.db"))

    def left_behind(self) -> list[Path]:
        return list(self.temporary.iterdir())

    def stop(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(_PATIENCE_S)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Demo]]:
    """Starts one demo; what still runs at the end is killed."""
    started: list[Demo] = []

    def start(*arguments: str) -> Demo:
        started.append(Demo(tmp_path, *arguments))
        return started[-1]

    yield start
    for demo in started:
        demo.process.kill()
        demo.process.wait(_PATIENCE_S)
