"""What is handed to the side that writes has a name in its module: a lambda or an inner function cannot be sent."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import receiver

ROOT = Path(receiver.__file__).parent
# Objects by the last part of their name, and their methods that take work for the side that writes.
TAKERS = {("books", "write"), ("store", "transact"), ("writing", "run")}


def is_taker(call: ast.Call) -> bool:
    function = call.func
    if not isinstance(function, ast.Attribute):
        return False
    owner = function.value
    name = owner.attr if isinstance(owner, ast.Attribute) else owner.id if isinstance(owner, ast.Name) else ""
    return (name.lstrip("_"), function.attr) in TAKERS


def inner_functions(tree: ast.AST) -> set[str]:
    """Names of functions that are made inside of others."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return {
        node.name
        for outer in functions
        for node in ast.walk(outer)
        if node is not outer and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def unnamed(source: str) -> Iterator[str]:
    """The calls that hand over what has no name."""
    tree = ast.parse(source)
    inner = inner_functions(tree)
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and is_taker(call):
            given = [node for argument in call.args for node in ast.walk(argument)]
            if any(
                isinstance(node, ast.Lambda) or (isinstance(node, ast.Name) and node.id in inner) for node in given
            ):
                yield ast.unparse(call)


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_all_work_has_a_name(path: Path) -> None:
    assert list(unnamed(path.read_text("utf-8"))) == []


@pytest.mark.parametrize(
    "line",
    [
        "self._books.write(lambda conn: end(conn, run))",
        "await books.write(partial(lambda conn, at: at, at=1))",
        "self._writing.run(plainly, lambda conn: 1)",
        "def f():\n    def work(conn): ...\n    self._store.transact(work)",
    ],
)
def test_work_without_a_name_would_be_found(line: str) -> None:
    assert len(list(unnamed(line))) == 1


@pytest.mark.parametrize(
    "line", ["self._books.write(partial(writes.end_run, run=run))", "books.read(lambda conn: 1)", "file.write(x)"]
)
def test_other_calls_are_fine(line: str) -> None:
    assert list(unnamed(line)) == []
