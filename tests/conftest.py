"""Data that many tests share: made here, or real sets where ``$SKLEARN_MLCL_DATA`` is set."""

from __future__ import annotations

import os
from typing import Any

# Before NumPy and PyTorch start threads: on matrices of this size they wait more than they work.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
from sklearn.datasets import make_multilabel_classification
from sklearn.preprocessing import StandardScaler


def _label_data(n_samples: int, n_labels: int) -> tuple[np.ndarray, np.ndarray]:
    X, Y = make_multilabel_classification(
        n_samples=n_samples, n_features=20, n_classes=n_labels, n_labels=2, random_state=0
    )
    return StandardScaler().fit_transform(X), Y


@pytest.fixture(scope="session")
def label_data() -> tuple[np.ndarray, np.ndarray]:
    """200 rows, 20 features, 5 labels, some rows without a label."""
    return _label_data(200, 5)


@pytest.fixture(scope="session", params=[2, 14])
def label_data_of_two_sizes(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray]:
    """2 labels, where scorers switch to binary habits, and 14."""
    return _label_data(150, request.param)


@pytest.fixture(scope="session")
def yeast() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The official split of yeast: X_train, Y_train, X_test, Y_test."""
    return (*_real_rows("yeast", "train"), *_real_rows("yeast", "test"))


@pytest.fixture(scope="session")
def enron() -> tuple[Any, Any]:
    """The training rows of enron, sparse: X, Y."""
    return _real_rows("enron", "train")


def _real_rows(name: str, subset: str) -> tuple[Any, Any]:
    if not os.environ.get("SKLEARN_MLCL_DATA"):
        pytest.skip(f"set SKLEARN_MLCL_DATA to the folder with {name}.npz to run this on real data")
    from sklearn_mlcl.datasets import fetch_multilabel

    return fetch_multilabel(name, subset=subset, return_X_y=True)
