"""The page of features names tests that exist, and says no a few times only."""

from __future__ import annotations

import ast
import csv
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback

from sklearn_mlcl import ContrastiveMultiLabelClassifier

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "doc" / "features.rst"
TABLES = sorted((ROOT / "doc" / "_data").glob("features_*.csv"))
MOST_NOES = 4
NAMED_TEST = re.compile(r"``(tests/[\w/]+\.py)::(\w+)``")


def rows_of(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


ROWS = [row for table in TABLES for row in rows_of(table)]
each_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row["feature"])


@cache
def functions_of(path: Path) -> dict[str, ast.FunctionDef]:
    return {
        node.name: node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def asserts_something(test: ast.FunctionDef) -> bool:
    """Whether a test has an assert, an expected error, or calls what checks in its place."""
    calls = {ast.unparse(n.func) for n in ast.walk(test) if isinstance(n, ast.Call)}
    checks = re.compile(r"(^|[._])(check|assert_\w+|raises|warns|check_\w+)$")
    has_assert = any(isinstance(node, ast.Assert) for node in ast.walk(test))
    return has_assert or any(checks.search(call) for call in calls)


@each_row
def test_a_yes_names_tests_that_exist(row: dict[str, str]) -> None:
    named = NAMED_TEST.findall(row["tests"])
    if row["answer"] == "no":
        assert not row["tests"] and len(row["how"]) > 40, "a no has a reason and no test"
        return
    assert row["answer"] == "yes" and named
    assert len(named) == row["tests"].count("|"), "every line of the cell names a test"
    for file, name in named:
        test = functions_of(ROOT / file)[name]
        assert asserts_something(test)
        assert not any("mark.skip(" in ast.unparse(d) for d in test.decorator_list)


def test_few_rows_say_no() -> None:
    answers = [row["answer"] for row in ROWS]
    assert answers.count("no") <= MOST_NOES < answers.count("yes")


def test_the_page_shows_all_tables() -> None:
    shown = re.findall(r":file: _data/(features_\w+\.csv)", PAGE.read_text())
    assert sorted(shown) == [table.name for table in TABLES]
    names = [row["feature"] for row in ROWS]
    assert len(names) == len(set(names)) >= 43


class HeldOutLabels(Callback):
    """Keep the labels of the rows that early stopping judges by."""

    def on_epoch_end(self, net: Any, dataset_valid: Any = None, **kwargs: Any) -> None:
        _, (labels, _) = dataset_valid.rows(torch.arange(len(dataset_valid)))
        type(self).labels = labels.numpy()


def test_the_rows_of_early_stopping_are_stratified_over_the_labels() -> None:
    """Labels of 8 to 100 positives in 200 rows have their quarter of them in a quarter held out."""
    rng = np.random.default_rng(0)
    counts = np.array([8, 12, 20, 40, 100])
    Y = np.stack([rng.permutation(np.arange(200) < count) for count in counts], axis=1).astype(int)
    ContrastiveMultiLabelClassifier(
        hidden_layer_sizes=(4,), n_estimators=1, max_epochs=1, early_stopping=True,
        validation=0.25, callbacks=[HeldOutLabels()], random_state=0,
    ).fit(rng.normal(size=(200, 3)), Y)  # fmt: skip
    assert HeldOutLabels.labels.shape == (50, 5)
    np.testing.assert_allclose(HeldOutLabels.labels.sum(axis=0), counts / 4, atol=1.5)
