"""Scores of shape (n, L) from any classifier, whatever form its own answer has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp

METHODS = ("predict_proba", "decision_function")


def first_method(estimator: Any, methods: Sequence[str]) -> str:
    """Return the first of the methods that the estimator has."""
    for method in methods:
        if hasattr(estimator, method):
            return method
    raise AttributeError(
        f"{type(estimator).__name__} has none of these methods: {', '.join(methods)}."
    )


def label_scores(
    estimator: Any, X: Any, n_labels: int, method: str, positive_class: Any = 1
) -> np.ndarray:
    """Return the scores of the positive class of every label, shape (n, n_labels).

    Parameters
    ----------
    estimator : classifier
        Fitted classifier. Its answer may be a matrix (n, L), or a list of L arrays
        (n, number of classes) with a list of classes. For one label it may be 1-D or (n, 2).
    X : array-like
        Samples to score.
    n_labels : int
        Number of columns of the answer; 1 for a binary target.
    method : {"predict_proba", "decision_function"}
        Method to call.
    positive_class : object, default=1
        Class whose score is returned. A label without a positive in training scores 0.

    Raises
    ------
    ValueError
        If the answer does not hold ``n_labels`` labels.
    """
    response = getattr(estimator, method)(X)
    if isinstance(response, (list, tuple)) or np.ndim(response) == 3:
        columns = [
            _class_column(np.asarray(r), c, positive_class)
            for r, c in zip(response, estimator.classes_, strict=True)
        ]
        scores = np.column_stack(columns)
    else:
        scores = response.toarray() if sp.issparse(response) else np.asarray(response)
        if scores.ndim == 1:
            scores = scores[:, None]
        elif n_labels == 1 and method == "predict_proba":
            scores = _class_column(scores, estimator.classes_, positive_class)[:, None]
    if scores.shape[1] != n_labels:
        raise ValueError(
            f"{method} of {type(estimator).__name__} gave {scores.shape[1]} columns; "
            f"expected one for each of {n_labels} labels."
        )
    return scores


def _class_column(probabilities: np.ndarray, classes: Any, positive_class: Any) -> np.ndarray:
    """Column of the positive class; zeros if training had none of it."""
    at = np.flatnonzero(np.asarray(classes) == positive_class)
    return probabilities[:, at[0]] if len(at) else np.zeros(len(probabilities))
