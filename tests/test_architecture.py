"""The rooms of the house: a folder imports folders before it only, skorch stays in its rooms."""

from __future__ import annotations

import ast
from pathlib import Path

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


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


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


def test_the_order_names_what_is_there() -> None:
    there = {room_of(path) for path in FILES}
    assert there == set(ORDER)


def misplaced(room: str, name: str) -> bool:
    """Whether a room may not import a name."""
    top, *rest = name.split(".")
    if top == "skorch":
        return room not in SKORCH
    if top != "sklearn_mlcl" or rest[0] in (room, "__version__"):
        return False
    return ORDER.index(rest[0]) >= ORDER.index(room)


def test_what_is_misplaced() -> None:
    assert misplaced("utils", "skorch.NeuralNet") and not misplaced("training", "skorch.NeuralNet")
    assert misplaced("metrics", "sklearn_mlcl.heads.logistic")
    assert not misplaced("heads", "sklearn_mlcl.metrics.f1_macro")


def test_a_folder_imports_folders_before_it() -> None:
    found = []
    for path in FILES:
        statements = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.stmt)]
        names = imported_names(statements)
        found += [(name_of(path), name) for name in names if misplaced(room_of(path), name)]
    assert found == []


def test_extras_are_imported_where_they_are_used() -> None:
    found = []
    for path in FILES:
        names = imported_names(ast.parse(path.read_text()).body)
        found += [(name_of(path), name) for name in names if name.split(".")[0] in EXTRAS]
    assert found == []
