"""Scores of shape (n, L) from any classifier, whatever form its own answer has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.pipeline import Pipeline

from sklearn_mlcl.utils.targets import check_label_names, label_names_in

METHODS = ("predict_proba", "decision_function")


def first_method(estimator: Any, methods: Sequence[str]) -> str:
    """Return the first of the methods that the estimator has."""
    if isinstance(estimator, type):
        raise TypeError(f"{estimator.__name__} is a class, expected a fitted instance.")
    for method in methods:
        if hasattr(estimator, method):
            return method
    raise AttributeError(
        f"{type(estimator).__name__} has none of these methods: {', '.join(methods)}."
    )


def final_estimator(estimator: Any) -> Any:
    """Return the estimator whose ``predict`` decides, inside searches and pipelines."""
    while True:
        if hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        elif isinstance(estimator, Pipeline):
            estimator = estimator[-1]
        else:
            return estimator


def find_fitted_part(estimator: Any, attribute: str) -> Any:
    """Return the part of a search, pipeline or meta-estimator that has a fitted attribute.

    Returns
    -------
    part : estimator or None
        None if no part has it.
    """
    part = final_estimator(estimator)
    while not hasattr(part, attribute):
        if not hasattr(part, "estimator_"):
            return None
        part = final_estimator(part.estimator_)
    return part


def check_fitted_names(estimator: Any, y: Any) -> None:
    """Refuse labels y whose names are not those that the estimator was fitted with."""
    known = getattr(find_fitted_part(estimator, "label_names_"), "label_names_", None)
    check_label_names(known, label_names_in(y))


def label_scores(
    estimator: Any,
    X: Any,
    n_labels: int,
    method: str,
    positive_class: Any = None,
    accept_sparse: bool = False,
) -> Any:
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
    positive_class : object, default=None
        Class whose score is returned, for one label: None is the second of two classes, else 1. A
        label without a positive in training scores 0.
    accept_sparse : bool, default=False
        Whether a sparse answer stays sparse, for several labels.

    Raises
    ------
    ValueError
        If the answer does not hold ``n_labels`` labels.
    """
    response = getattr(estimator, method)(X)
    if isinstance(response, (list, tuple)) or np.ndim(response) == 3:
        columns = [
            _class_column(np.asarray(r), c, 1)
            for r, c in zip(response, estimator.classes_, strict=True)
        ]
        scores = np.column_stack(columns)
    else:
        if accept_sparse and sp.issparse(response) and response.shape[1] == n_labels > 1:
            return response
        scores = response.toarray() if sp.issparse(response) else np.asarray(response)
        if scores.ndim == 1:
            scores = scores[:, None]
        elif n_labels == 1 and method == "predict_proba":
            classes = estimator.classes_
            if positive_class is None:
                positive_class = classes[1] if len(classes) == 2 else 1
            scores = _class_column(scores, classes, positive_class)[:, None]
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
