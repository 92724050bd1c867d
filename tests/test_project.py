"""The shape of the project and of what it ships."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_the_top_level_holds_five_things() -> None:
    listing = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    top = {line.partition("/")[0] for line in listing.splitlines()}
    assert {name for name in top if not name.startswith(".")} == {
        "README.md",
        "config.example.toml",
        "pyproject.toml",
        "receiver",
        "tests",
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(folder),
        ".",
    ]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_the_wheel_ships_what_is_not_python(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    kinds = ("*.sql", "*.html", "*.css")
    shipped = {str(path.relative_to(ROOT)) for kind in kinds for path in (ROOT / "receiver").rglob(kind)}
    assert shipped | {"receiver/py.typed", "receiver/LICENSE"} <= set(names)
    assert not [name for name in names if name.startswith("tests")]


def test_the_wheel_works_away_from_the_tree(wheel: Path, tmp_path: Path) -> None:
    """It makes a database, so its migrations and queries are there."""
    unpacked = tmp_path / "unpacked"
    zipfile.ZipFile(wheel).extractall(unpacked)
    program = f"""
import asyncio, pathlib, sys
sys.path.insert(0, {str(unpacked)!r})
import receiver
assert receiver.__file__.startswith({str(unpacked)!r}), receiver.__file__
from receiver.storage.sqlite.store import Store
async def main():
    store = await Store.open(pathlib.Path("made.db"), 1)
    await store.close()
asyncio.run(main())
"""
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    assert (tmp_path / "made.db").stat().st_size > 0


def test_the_wheel_has_the_console_script(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    entry = next(name for name in archive.namelist() if name.endswith("entry_points.txt"))
    assert "leadterra-receiver = receiver.__main__:main" in archive.read(entry).decode()
