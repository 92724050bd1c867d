"""Imports point down only, layer by layer (DESIGN, section 8); the sandbox shares little with the rest."""

import ast
from pathlib import Path

import pytest

import receiver

ROOT = Path(receiver.__file__).parent
LAYERS = (
    {"", "errors", "clock", "garbage", "http", "log", "signals", "streams", "supervisor"},
    {"events", "figures", "reasons", "masking", "definitions"},
    {"settings", "leadterra"},
    {"storage", "sandbox"},
    {"ingest", "reconcile"},
    {"web"},
    {"app"},
    {"serving"},
    {"server"},
    {"demo"},
    {"cli"},
    {"__main__"},
)
LEVEL = {part: level for level, layer in enumerate(LAYERS) for part in layer}
SANDBOX_SHARES = {"", "errors", "clock", "http", "leadterra", "sandbox"}


def part_of(module: str) -> str:
    """`receiver.storage.sqlite.ledger` belongs to `storage`; the package itself, with its version, to ''."""
    return [*module.split("."), ""][1]


def imported(source: str, module: str, *, is_package: bool) -> set[str]:
    """Every module of this package that a source imports, at the top or inside a function."""
    package = module.split(".") if is_package else module.split(".")[:-1]
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            found |= {f"{name}.{alias.name}" for alias in node.names} if name == "receiver" else {name}
    return {name for name in found if name.split(".")[0] == "receiver"}


def upward(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """The imports that point up, or out of the sandbox."""
    own = part_of(module)
    others = {name: part_of(name) for name in imported(source, module, is_package=is_package)}
    others = {name: part if part in LEVEL else "" for name, part in others.items()}
    allowed = {part for part in LEVEL if LEVEL[part] <= LEVEL[own]}
    if own == "sandbox":
        allowed = SANDBOX_SHARES
    return sorted(name for name, part in others.items() if part not in allowed)


def modules() -> list[tuple[str, Path]]:
    paths = sorted(ROOT.rglob("*.py"))
    return [(".".join(["receiver", *path.relative_to(ROOT).with_suffix("").parts]), path) for path in paths]


@pytest.mark.parametrize(("module", "path"), modules())
def test_imports_point_down_only(module: str, path: Path) -> None:
    is_package = path.name == "__init__.py"
    name = module.removesuffix(".__init__")
    assert upward(path.read_text("utf-8"), name, is_package=is_package) == []


def test_every_part_of_the_package_has_its_layer() -> None:
    parts = {path.relative_to(ROOT).parts[0].removesuffix(".py") for _, path in modules()}
    assert parts - {"__init__"} <= LEVEL.keys()


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("receiver.events", "from receiver.settings import Settings"),
        ("receiver.figures", "import receiver.storage.faults"),
        ("receiver.clock", "from receiver import events"),
        ("receiver.storage.sqlite.ledger", "from receiver.ingest.writer import Writer"),
        ("receiver.storage.sqlite.ledger", "from ...web import routes"),
        ("receiver.storage.sqlite.ledger", "def f():\n    from receiver.app import run"),
        ("receiver.ingest.writer", "if True:\n    import receiver.cli as c"),
        ("receiver.web.routes", "from receiver.app import run"),
        ("receiver.app", "from receiver import __version__, cli"),
        ("receiver.app", "from receiver.demo.run import run"),
        ("receiver.demo.run", "from receiver.cli.options import say"),
        ("receiver.log", "from receiver.settings import models"),
        ("receiver.sandbox.play", "from receiver.storage.sqlite import store"),
        ("receiver.sandbox.play", "from receiver import events"),
    ],
)
def test_an_upward_import_would_be_found(module: str, line: str) -> None:
    assert len(upward(line, module)) == 1


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("receiver.figures", "from receiver.events import Message"),
        ("receiver.events", "from receiver import __version__"),
        ("receiver.storage.sqlite.ledger", "from . import batch\nfrom .. import faults\nfrom ...events import Event"),
        ("receiver.cli.serve", "import receiver\nfrom receiver import app\nimport json, receiver.sandbox.play"),
        ("receiver.sandbox.play", "from receiver.leadterra import signature\nfrom receiver.clock import Clock"),
        ("receiver.demo.stage", "from receiver.app import Service\nfrom receiver.sandbox.sandbox import Sandbox"),
        ("receiver.log", "import logging\nfrom receivers import other"),
    ],
)
def test_a_downward_import_is_fine(module: str, line: str) -> None:
    assert upward(line, module) == []
