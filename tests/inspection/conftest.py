"""Figures are drawn in memory and closed; one small problem for all displays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from sklearn_mlcl import MultiLabelLogisticRegression
from tests.small import NAMES


@pytest.fixture(scope="module", autouse=True)
def agg() -> Iterator[None]:
    backend = matplotlib.get_backend()
    matplotlib.use("agg")
    yield
    plt.close("all")
    matplotlib.use(backend)


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.fixture(scope="session")
def named_data(label_data: Any) -> tuple[np.ndarray, pd.DataFrame]:
    """The shared data with named labels."""
    X, Y = label_data
    return X, pd.DataFrame(Y, columns=NAMES)


@pytest.fixture(scope="session")
def heads(named_data: Any) -> MultiLabelLogisticRegression:
    return MultiLabelLogisticRegression(threshold=0.4).fit(*named_data)


def scored_rows(n: int, n_labels: int, unknown: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Targets with a share of NaN, and probabilities that tell something about them."""
    rng = np.random.default_rng(0)
    proba = rng.beta(1, 3, size=(n, n_labels)) * np.linspace(1, 0.4, n_labels)
    Y = (rng.random(proba.shape) < proba).astype(float)
    Y[rng.random(Y.shape) < unknown] = np.nan
    return Y, proba.round(3)  # rounded: ties


@pytest.fixture(scope="session", params=[0.0, 0.3], ids=["known", "unknown"])
def scored(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray]:
    """300 rows, 7 labels; all targets known, or 30 % unknown."""
    return scored_rows(300, 7, request.param)


@pytest.fixture(scope="session")
def many() -> tuple[np.ndarray, np.ndarray]:
    """250 rows, 200 labels."""
    return scored_rows(250, 200)
