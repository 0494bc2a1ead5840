"""What the displays ask of their input: fitted parts, names, chosen labels."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
from sklearn.exceptions import NotFittedError

from sklearn_mlcl.utils.response import check_fitted_names, final_estimator, find_fitted_part
from sklearn_mlcl.utils.targets import as_label_matrix, is_label_sets, label_places

#: Labels that get a colour and a name if the user chooses none.
N_NAMED = 6


def fitted_attribute(estimator: Any, attribute: str, wanted: str) -> Any:
    """Return a fitted attribute of the part that has it; the error names the estimator wanted."""
    part = find_fitted_part(estimator, attribute)
    if part is None:
        name = type(final_estimator(estimator)).__name__
        raise NotFittedError(f"{name} has no {attribute}: fit {wanted} first.")
    return getattr(part, attribute)


def n_labels_of(y: Any) -> int:
    """Return the number of columns of a label matrix; 1 for a column of 0 and 1."""
    if is_label_sets(y):
        as_label_matrix(y)  # which says what to do with them
    shape = y.shape if hasattr(y, "shape") else np.shape(y)
    return int(shape[1]) if len(shape) == 2 else 1


def label_names_of(
    label_names: Sequence[str] | None, n_labels: int, y: Any = None, estimator: Any = None
) -> list[str]:
    """Return the names given, else the columns of a DataFrame y, else those of the fit, else
    numbers.

    A DataFrame must have the labels of the fit in the same order.
    """
    check_fitted_names(estimator, y)
    if label_names is not None:
        if isinstance(label_names, str) or not isinstance(label_names, Collection | np.ndarray):
            raise TypeError(f"label_names must be a sequence of names, got {label_names!r}.")
        if len(label_names) != n_labels:
            raise ValueError(
                f"label_names must name {n_labels} labels, got {len(label_names)} names."
            )
        return [str(name) for name in label_names]
    if hasattr(y, "columns"):
        return [str(name) for name in y.columns]
    fitted = getattr(find_fitted_part(estimator, "label_names_"), "label_names_", None)
    if fitted is None:
        return [str(k) for k in range(n_labels)]
    if len(fitted) != n_labels:
        raise ValueError(
            f"y must have {len(fitted)} columns, the labels {list(fitted)} of the fit, got "
            f"{n_labels}."
        )
    return [str(name) for name in fitted]


def label_indices(labels: Sequence[Any], names: Sequence[str]) -> np.ndarray:
    """Return the numbers of labels given by number or name, each once, in the order given."""
    flat = isinstance(labels, Iterable) and not any(
        isinstance(k, list | np.ndarray) for k in labels
    )
    if isinstance(labels, str) or not flat:
        raise ValueError(f"labels must be a sequence of names or numbers, got {labels!r}.")
    return np.array(list(dict.fromkeys(label_places(labels, names, len(names)))), dtype=int)


def named_labels(
    labels: Sequence[Any] | None, names: Sequence[str], positives: np.ndarray, has_curve: np.ndarray
) -> np.ndarray:
    """Return the numbers of the labels to name: those asked for, or the most frequent ones.

    Parameters
    ----------
    labels : sequence of int or str, or None
        Numbers or names; None for the most frequent ones.
    names : sequence of str
        Names of all labels.
    positives : ndarray of shape (L,)
        Weight of the positives of every label.
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
            f"Label {names[lacking[0]]!r} has no curve: y_true must have a positive of it (for "
            "reliability, an entry that is not missing)."
        )
    return chosen
