"""The rooms of the house: a folder imports folders before it only, skorch stays in its rooms."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import sklearn_mlcl

PACKAGE = Path(sklearn_mlcl.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
#: Folders, and the modules that stand beside them, from the ground up.
ORDER = (
    "_version", "recipes", "utils", "representation", "hierarchy", "distributed", "losses",
    "solvers", "modules", "persistence", "metrics", "collapse", "model_selection", "training",
    "callbacks", "thresholds", "datasets", "calibration", "heads", "inspection", "estimators",
    "extension", "__init__",
)  # fmt: skip
SKORCH = {"training", "callbacks"}
EXTRAS = {
    "arff", "dask", "distributed", "matplotlib", "onnx", "onnxruntime", "onnxscript", "pandas",
    "rich", "skops",
}  # fmt: skip


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported_names(nodes: list[ast.stmt]) -> list[str]:
    names = []
    for node in nodes:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def all_imports(path: Path) -> list[str]:
    return imported_names(
        [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.stmt)]
    )


def test_the_order_names_what_is_there() -> None:
    there = {room_of(path) for path in FILES}
    assert there == set(ORDER)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_folder_imports_folders_before_it(path: Path) -> None:
    room = room_of(path)
    for name in all_imports(path):
        top, *rest = name.split(".")
        if top == "sklearn_mlcl" and rest[0] not in (room, "__version__"):
            assert ORDER.index(rest[0]) < ORDER.index(room), f"{room} imports {name}"
        assert top != "skorch" or room in SKORCH, f"{room} imports skorch"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_extras_are_imported_where_they_are_used(path: Path) -> None:
    tops = {name.split(".")[0] for name in imported_names(ast.parse(path.read_text()).body)}
    assert not tops & EXTRAS
