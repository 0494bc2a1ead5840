"""The floors of the house: imports point down, skorch stays in its room."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import sklearn_mlcl

PACKAGE = Path(sklearn_mlcl.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
ROOMS = {
    "_storable": 5,
    "contrastive": 4, "cgmvae": 4, "mlp": 4, "threshold": 4, "search": 4, "inspection": 4,
    "calibration": 3, "_crossfit": 3, "_response": 0, "_cells": 0, "_frames": 0,
    "_documentation": 0, "_label_weights": 0, "_graph": 3,
    "_base": 3, "_net_base": 3, "_heads": 3, "_decisions": 3, "_neighbors": 3, "_embedding": 3,
    "_linear": 3, "_net_build": 3, "_net_predict": 3, "_shared_docs": 3, "_latent": 3,
    "_rare_labels": 3, "logistic": 3, "callbacks": 3,
    "training": 2,
    "losses": 1, "modules": 1, "solvers": 1,
    "collapse": 0, "representation": 0, "metrics": 0, "thresholds": 0, "model_selection": 0,
    "persistence": 0, "datasets": 0, "recipes": 0, "_compat": 0, "_version": 0, "_targets": 0,
    "_rows": 0, "_chunks": 0, "_topk": 0,
}  # fmt: skip
ENTRANCE = "__init__"
EXTRAS = {"matplotlib", "onnx", "onnxruntime", "onnxscript", "pandas", "rich", "skops"}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported_names(tree: ast.AST, path: Path) -> list[str]:
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.append(str(node.module))
        elif isinstance(node, ast.ImportFrom):
            parts = ("sklearn_mlcl", *path.relative_to(PACKAGE).with_suffix("").parts)
            names.append(".".join([*parts[: -node.level], node.module or ""]))
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    room = room_of(path)
    if room == ENTRANCE:
        return
    assert room in ROOMS, f"{room} has no floor: add it to the design and to this table"
    for name in imported_names(ast.parse(path.read_text()), path):
        top, *rest = name.split(".")
        if top == "sklearn_mlcl" and rest:
            assert rest[0] == room or ROOMS[rest[0]] <= ROOMS[room], f"{room} imports {name}"
        assert top != "skorch" or room == "training", f"{room} imports skorch"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_extras_are_imported_where_they_are_used(path: Path) -> None:
    top_level = ast.Module(
        [n for n in ast.parse(path.read_text()).body if isinstance(n, ast.Import | ast.ImportFrom)],
        [],
    )
    tops = {name.split(".")[0] for name in imported_names(top_level, path)}
    assert not tops & EXTRAS


def test_files_stay_small() -> None:
    tests = Path(__file__).parent.rglob("*.py")
    long = {str(p): n for p in [*MODULES, *tests] if (n := len(p.read_text().splitlines())) > 500}
    assert not long
