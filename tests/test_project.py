"""The shape of the project and of what it ships."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def tracked(*folders: str) -> set[str]:
    """The files of the project, or of its folders."""
    command = ["git", "ls-files", *folders]
    return set(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines())


def test_the_top_level_holds_five_things() -> None:
    top = {name.partition("/")[0] for name in tracked()}
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
    kinds = ("*.sql", "*.html", "*.css", "*.js", "*.svg", "*.txt", "*.sha256")
    shipped = {str(path.relative_to(ROOT)) for kind in kinds for path in (ROOT / "receiver").rglob(kind)}
    assert shipped | {"receiver/py.typed", "receiver/LICENSE"} <= set(names)
    assert not [name for name in names if name.startswith("tests")]


def test_the_wheel_ships_what_is_installed_besides_the_program(wheel: Path) -> None:
    """All of `.deploy` but the image's recipe, which builds from the sources; and nothing that is not tracked."""
    wanted = {name.removeprefix(".deploy/") for name in tracked(".deploy") if "/docker/" not in name}
    names = [name.partition("/data/share/leadterra-receiver/") for name in zipfile.ZipFile(wheel).namelist()]
    assert {name for _, found, name in names if found} == wanted != set()


def test_the_sdist_ships_all_that_the_project_holds(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    archive = next(tmp_path.glob("*.tar.gz"))
    listing = subprocess.run(["tar", "tzf", archive], check=True, capture_output=True, text=True).stdout
    assert tracked() <= {line.partition("/")[2] for line in listing.splitlines()}


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
