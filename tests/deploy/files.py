"""Where the files of an installation are, and the programs that judge them."""

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / ".deploy"


def text(name: str) -> str:
    return (DEPLOY / name).read_text("utf-8")


def program(name: str) -> str:
    """The path of a program; the test is skipped where there is none. Debian keeps servers off users' PATH."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found
