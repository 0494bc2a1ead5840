"""The quickstart's pieces on a few rows of the embedded digits."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.utils import Bunch
from threadpoolctl import threadpool_limits

SCRIPT = Path(__file__).parents[1] / "examples" / "plot_quickstart.py"


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Pieces so small run no faster on several threads, and far slower on a busy machine."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def quickstart() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("plot_quickstart", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    backend = matplotlib.get_backend()
    matplotlib.use("agg")
    sys.modules[spec.name] = module  # its dataclass looks itself up there
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]
    plt.close("all")
    matplotlib.use(backend)


@pytest.fixture(scope="module")
def few_rows(quickstart: ModuleType) -> Bunch:
    data = quickstart.load("digits")
    return Bunch(
        X_train=data.X_train[:200],
        Y_train=data.Y_train[:200],
        X_test=data.X_test[:60],
        Y_test=data.Y_test[:60],
        label_names=data.label_names,
    )


@pytest.fixture(scope="module")
def results(quickstart: ModuleType, few_rows: Bunch) -> dict[str, Any]:
    models = quickstart.make_models(
        sparse=False, n_trees=5, n_jobs=1, max_epochs=1, hidden_layer_sizes=(16,)
    )
    for model in models.values():
        if hasattr(model, "param_grid"):
            grid = {name: values[:1] for name, values in model.param_grid.items()}
            model.set_params(param_grid=grid)
    return {name: quickstart.evaluate(model, few_rows, n_jobs=1) for name, model in models.items()}


def test_digits_come_with_their_split(quickstart: ModuleType) -> None:
    data = quickstart.load("digits")
    assert data.X_train.shape == (2340, 256) and data.X_test.shape == (810, 256)
    assert data.Y_train.shape == (2340, 10) and data.Y_test.shape == (810, 10)


def test_every_model_gives_probabilities_and_a_threshold(
    results: dict[str, Any], few_rows: Bunch
) -> None:
    assert next(iter(results)) == "contrastive" and len(results) == 4
    for result in results.values():
        assert result.probabilities.shape == few_rows.Y_test.shape
        assert np.all((result.probabilities >= 0) & (result.probabilities <= 1))
        assert 0 < result.threshold < 1


def test_table_has_both_blocks(
    quickstart: ModuleType, results: dict[str, Any], few_rows: Bunch
) -> None:
    scores = quickstart.table(results, few_rows.Y_test)
    assert list(scores.index) == [
        (f"threshold {kind}", name) for kind in ("0.5", "tuned") for name in results
    ]
    metrics = scores[["example-F1", "micro-F1", "macro-F1", "mAP"]]
    assert metrics.notna().all(axis=None) and metrics.map(lambda v: 0 <= v <= 1).all(axis=None)
    by_block = scores["mAP"].unstack(level=0)
    pd.testing.assert_series_equal(
        by_block["threshold 0.5"], by_block["threshold tuned"], check_names=False
    )


def test_pictures_show_every_label(
    quickstart: ModuleType, results: dict[str, Any], few_rows: Bunch
) -> None:
    panels = quickstart.plot_embedding(results["contrastive"], few_rows).axes
    assert [panel.get_title().split()[0] for panel in panels] == list("0123456789")
    figure = quickstart.plot_average_precision(results, few_rows)
    shown = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert sorted(shown) == list("0123456789")


def test_constant_labels_of_forests(quickstart: ModuleType) -> None:
    Y_train = np.array([[0, 1, 1], [0, 1, 0]])
    answer = [np.ones((3, 1)), np.ones((3, 1)), np.array([[0.2, 0.8]] * 3)]
    expected = np.array([[0.0, 1.0, 0.8]] * 3)
    np.testing.assert_array_equal(quickstart.label_probabilities(answer, Y_train), expected)


def test_sparse_rows_are_not_scaled(quickstart: ModuleType, few_rows: Bunch) -> None:
    search = quickstart.make_models(sparse=True, n_jobs=1)["logistic regression"]
    pipeline = search.estimator.fit(sp.csr_matrix(few_rows.X_train), few_rows.Y_train)
    assert pipeline.predict(sp.csr_matrix(few_rows.X_test)).shape == few_rows.Y_test.shape
