"""The value of an objective at given thresholds: named metrics, callables and scorers."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, signature
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

from sklearn_mlcl import metrics
from sklearn_mlcl.utils.validation import LabelEntries


def cardinality_match(y_true: Any, y_pred: Any, *, sample_weight: Any = None) -> float:
    """Negative difference of the mean numbers of decided and of true labels of a sample."""
    weight = np.ones((1, 1)) if sample_weight is None else np.asarray(sample_weight)
    weight = np.broadcast_to(weight[:, None] if weight.ndim == 1 else weight, np.shape(y_true))
    surplus = np.where(np.isnan(y_true), 0.0, y_pred - np.nan_to_num(y_true))
    return -abs(float((weight * surplus).sum() / weight.mean(axis=1).sum()))


METRICS: dict[str, Callable[..., float]] = {
    "f1_macro": metrics.f1_macro,
    "f1_micro": metrics.f1_micro,
    "f1_samples": metrics.f1_samples,
    "jaccard": metrics.jaccard_samples,
    "accuracy": metrics.hamming_accuracy,
    "subset_accuracy": metrics.subset_accuracy,
    "cardinality": cardinality_match,
}


class GivenDecisions(ClassifierMixin, BaseEstimator):
    """Classifier that returns X as its predictions, to ask a scorer about them."""

    def __init__(self, classes_: np.ndarray) -> None:
        self.classes_ = classes_

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return X."""
        return X


def is_scorer(function: Callable[..., float]) -> bool:
    """Whether a callable wants (estimator, X, y), as scorers do, and not (y_true, y_pred)."""
    needed = [
        p
        for p in signature(function).parameters.values()
        if p.default is Parameter.empty
        and p.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    ]
    return len(needed) == 3


def value_at(
    entries: LabelEntries, objective: str | Callable[..., float]
) -> Callable[[Any], float]:
    """Return the function from thresholds (L,) to the value of the objective."""
    y_true = entries.positive.astype(np.int64)
    if entries.known is not None:
        y_true = np.where(entries.known, entries.positive, np.nan)
    keywords = {} if entries.weight is None else {"sample_weight": entries.weight}
    metric = METRICS[objective] if isinstance(objective, str) else objective
    one_label = entries.shape[1] == 1 and not isinstance(objective, str)
    targets = y_true.ravel() if one_label else y_true

    def value_of(cuts: np.ndarray) -> float:
        y_pred = (entries.values >= cuts).astype(np.int64)
        decisions = y_pred.ravel() if one_label else y_pred
        if is_scorer(metric):
            classes = np.arange(max(2, entries.shape[1]))
            return float(metric(GivenDecisions(classes), decisions, targets, **keywords))
        return float(metric(targets, decisions, **keywords))

    return value_of
