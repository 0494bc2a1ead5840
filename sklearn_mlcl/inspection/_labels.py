"""Whose names, whose scores, which labels: what the displays of labels ask of their input."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from sklearn_mlcl.utils.response import METHODS, first_method, label_scores

#: Labels that get a colour and a name where nobody chose any.
N_NAMED = 6


def decider_of(estimator: Any) -> Any:
    """Return the classifier whose ``predict`` decides, inside searches and pipelines."""
    while True:
        if hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        elif isinstance(estimator, Pipeline):
            estimator = estimator[-1]
        else:
            return estimator


def part_with(estimator: Any, attribute: str) -> Any:
    """Return the part of a search, pipeline or meta-estimator that has a fitted attribute.

    Returns
    -------
    part : estimator or None
        None if no part has it.
    """
    part = decider_of(estimator)
    while not hasattr(part, attribute):
        if not hasattr(part, "estimator_"):
            return None
        part = decider_of(part.estimator_)
    return part


def label_names_of(
    label_names: Sequence[str] | None, y: Any, n_labels: int, estimator: Any = None
) -> list[str]:
    """Names given, else the columns of a DataFrame y, else those that a fit saw, else numbers."""
    if label_names is None and hasattr(y, "columns"):
        label_names = list(y.columns)
    if label_names is None and estimator is not None:
        label_names = getattr(part_with(estimator, "label_names_"), "label_names_", None)
    return names_of(label_names, n_labels)


def n_labels_of(y: Any) -> int:
    """Return the number of columns of a label matrix; 1 for a column of 0 and 1."""
    shape = y.shape if hasattr(y, "shape") else np.shape(y)
    return int(shape[1]) if len(shape) == 2 else 1


def scores_of(
    estimator: Any, X: Any, y: Any, response_method: str = "auto", methods: Any = METHODS
) -> np.ndarray:
    """Return the scores (n, L) of a fitted classifier by the method asked for."""
    if response_method not in ("auto", *METHODS):
        raise ValueError(
            f"response_method must be 'auto' or one of {METHODS}, got {response_method!r}."
        )
    wanted = methods if response_method == "auto" else (response_method,)
    return label_scores(estimator, X, n_labels_of(y), first_method(estimator, wanted))


def label_index(label: Any, names: Sequence[str]) -> int:
    """Return the number of a label that is given by its number or its name."""
    if isinstance(label, Integral) and not isinstance(label, bool):
        if 0 <= int(label) < len(names):
            return int(label)
    elif str(label) in names:
        return list(names).index(str(label))
    shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
    raise ValueError(
        f"There is no label {label!r}; expected a number from 0 to {len(names) - 1} or one of the "
        f"names {shown}."
    )


def label_indices(labels: Sequence[Any], names: Sequence[str]) -> np.ndarray:
    """Return the numbers of labels given by number or name, each once, in the order given."""
    if isinstance(labels, str) or np.ndim(labels) != 1:
        raise ValueError(f"labels must be a sequence of names or numbers, got {labels!r}.")
    return np.array(list(dict.fromkeys(label_index(label, names) for label in labels)), dtype=int)


def named_labels(
    labels: Sequence[Any] | None,
    names: Sequence[str],
    positives: np.ndarray,
    has_curve: np.ndarray,
) -> np.ndarray:
    """Return the numbers of the labels to name: those asked for, or the most frequent ones.

    Parameters
    ----------
    labels : sequence of int or str, or None
        Numbers or names; None for the most frequent ones.
    names : sequence of str
        Names of all labels.
    positives : ndarray of shape (L,)
        Weight of the known positives of every label.
    has_curve : ndarray of bool, shape (L,)
        Labels that can be drawn.
    """
    if labels is None:
        frequent = np.argsort(-positives, kind="stable")
        return frequent[has_curve[frequent]][:N_NAMED]
    chosen = label_indices(labels, names)
    lacking = chosen[~has_curve[chosen]]
    if len(lacking):
        raise ValueError(
            f"Label {names[lacking[0]]!r} has no curve: y_true holds too little of it "
            "(a known positive is needed, for reliability a known row)."
        )
    return chosen


def embedding_of(encoder: Any, X: Any) -> np.ndarray:
    """The embedding of rows as an array, whatever container ``set_output`` chose for it."""
    return np.asarray(encoder.transform(X))


def names_of(label_names: Sequence[str] | None, n_labels: int) -> list[str]:
    """Names to show: those given, or the numbers of the labels."""
    if label_names is None:
        return [str(k) for k in range(n_labels)]
    if len(label_names) != n_labels:
        raise ValueError(f"label_names must name {n_labels} labels, got {len(label_names)} names.")
    return [str(name) for name in label_names]
