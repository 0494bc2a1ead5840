"""Weights of rows, cells and classes, as weights of cells: the one place below ``fit``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.utils.class_weight import compute_class_weight

from sklearn_mlcl.utils.chunking import chunks
from sklearn_mlcl.utils.targets import TargetFormat


def label_masses(Y: Any, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the weight of the known positives and negatives of each label, shape (L,) each.

    Parameters
    ----------
    Y : ndarray or CSR of shape (n, L)
        Indicator matrix, NaN where unknown.
    weights : ndarray of shape (n,) or (n, L), or None
        Of the rows or of the cells.
    """
    positive, negative = np.zeros((2, Y.shape[1]))
    for part in chunks(Y.shape[0]):
        yes, no = _masses_of_chunk(Y[part], None if weights is None else weights[part])
        positive, negative = positive + yes, negative + no
    return positive, negative


def _masses_of_chunk(Y: Any, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    w = np.ones(Y.shape[0]) if weights is None else weights
    if sp.issparse(Y) and w.ndim == 1:
        positive = w @ Y
        return positive, w.sum() - positive
    labels = _dense(Y)
    if w.ndim == 1:
        return w @ (labels == 1), w @ (labels == 0)
    return (w * (labels == 1)).sum(axis=0), (w * (labels == 0)).sum(axis=0)


def row_weights(Y: Any, weights: np.ndarray | None) -> np.ndarray | None:
    """Return one weight a row: of weights of cells the mean over the row's known ones.

    A row of which no label is known weighs the mean of its weights that are not 0.
    """
    if weights is None or weights.ndim == 1:
        return weights
    known = np.ones(Y.shape, dtype=bool) if sp.issparse(Y) else ~np.isnan(Y)
    known = np.where(known.any(axis=1, keepdims=True), known, weights > 0)
    return (weights * known).sum(axis=1) / np.maximum(known.sum(axis=1), 1)


def hide_absent(Y: Any, weights: np.ndarray | None) -> Any:
    """Return targets whose cells of weight zero are unknown."""
    if weights is None or weights.ndim == 1 or weights.all():
        return Y
    return np.where(weights > 0, _dense(Y), np.nan)


@dataclass(frozen=True)
class ClassFactors:
    """What ``class_weight`` and ``pos_weight`` multiply the weights of cells with.

    Attributes
    ----------
    negative, positive : ndarray of shape (L,)
        Factors on the negatives and the positives of each label.
    of_class : ndarray of shape (L,) or None
        Factor on the rows of each class, for classes that exclude one another.
    """

    negative: np.ndarray
    positive: np.ndarray
    of_class: np.ndarray | None = None

    def rows(self, rows: tuple[Any, Any, np.ndarray | None]) -> tuple[Any, Any, np.ndarray | None]:
        """Return (X, Y, weights) with the factors in the weights; cells of weight 0 unknown."""
        X, Y, weights = rows
        if self.of_class is not None:
            of_row = Y @ self.of_class
            weights = (
                of_row
                if weights is None
                else weights * (of_row if weights.ndim == 1 else of_row[:, None])
            )
        if not (self.negative == 1).all() or not (self.positive == 1).all():
            factors = np.where(_dense(Y) == 1, self.positive, self.negative)
            factors = factors[:, 0] if Y.shape[1] == 1 else factors
            if weights is not None:
                factors = factors * (weights if weights.ndim == factors.ndim else weights[:, None])
            weights = factors
        if weights is not None and not weights.any():
            raise ValueError("The product of sample_weight, class_weight and pos_weight is zero.")
        return X, hide_absent(Y, weights), weights


def class_factors(
    class_weight: Any,
    pos_weight: Any,
    target_format: TargetFormat,
    Y: Any,
    weights: np.ndarray | None,
) -> ClassFactors:
    """Read ``class_weight`` and ``pos_weight``; "balanced" counts the known cells of Y.

    Raises
    ------
    ValueError
        If one has a form, labels, classes or numbers that it cannot have.
    """
    ones = np.ones(Y.shape[1])
    negative, positive, of_class = ones, ones, None
    if class_weight is not None and target_format.kind == "multiclass":
        of_class = _weights_of_classes(class_weight, target_format, Y, weights)
    elif class_weight is not None:
        negative, positive = _weights_by_label(class_weight, target_format, Y, weights)
    if pos_weight is not None:
        positive = positive * _positive_weights(pos_weight, Y, weights)
    return ClassFactors(negative, positive, of_class)


def _weights_of_classes(
    class_weight: Any, target_format: TargetFormat, Y: Any, weights: np.ndarray | None
) -> np.ndarray:
    if isinstance(class_weight, str):
        count, _ = label_masses(Y, weights)
        return count.sum() / (len(count) * np.where(count > 0, count, 1.0))
    return _checked(_of_dict(class_weight, target_format.classes))


def _of_dict(class_weight: Any, classes: np.ndarray) -> np.ndarray:
    if not isinstance(class_weight, Mapping):
        raise ValueError(
            "class_weight must be a dict {class: weight} for 1-D targets, got "
            f"{type(class_weight).__name__}."
        )
    return compute_class_weight(dict(class_weight), classes=classes, y=classes)


def _weights_by_label(
    class_weight: Any, target_format: TargetFormat, Y: Any, weights: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(class_weight, str):
        positive, negative = label_masses(Y, weights)
        both = (positive > 0) & (negative > 0)
        half = (positive + negative) / 2
        return (
            np.divide(half, negative, out=np.ones(len(half)), where=both),
            np.divide(half, positive, out=np.ones(len(half)), where=both),
        )
    if target_format.kind == "binary":
        of_class = _of_dict(class_weight, target_format.classes)
        return _checked(of_class[:1]), _checked(of_class[1:])
    by_label = [_pair(given) for given in _list_by_label(class_weight, target_format)]
    negative, positive = np.array(by_label, dtype=np.float64).T
    return _checked(negative), _checked(positive)


def _list_by_label(class_weight: Any, target_format: TargetFormat) -> list[Any]:
    """One dict for each label, from a list of them or a dict by index or name of the label."""
    n_labels = target_format.n_labels
    if not isinstance(class_weight, Mapping):
        if len(class_weight) != n_labels:
            raise ValueError(
                f"class_weight must hold one dict for each of {n_labels} labels, got "
                f"{len(class_weight)}."
            )
        return list(class_weight)
    place = {label: label for label in range(n_labels)}
    if target_format.label_names is not None:
        place |= {name: label for label, name in enumerate(target_format.label_names)}
    unknown = [label for label in class_weight if label not in place]
    if unknown:
        raise ValueError(
            f"class_weight names labels that y does not have: {unknown[:5]}; expected numbers "
            f"from 0 to {n_labels - 1}, or names of labels."
        )
    by_label = {place[label]: given for label, given in class_weight.items()}
    return [by_label.get(label, {}) for label in range(n_labels)]


def _pair(given: Any) -> tuple[Any, Any]:
    """Weights of 0 and 1; what is not said weighs 1."""
    if not isinstance(given, Mapping) or not set(given) <= {0, 1}:
        raise ValueError(
            "class_weight of a label matrix must be 'balanced', a dict {label: {0: w0, 1: w1}} or "
            f"a list with a dict {{0: w0, 1: w1}} for each label; got {given!r} for a label."
        )
    return given.get(0, 1.0), given.get(1, 1.0)


def _positive_weights(pos_weight: Any, Y: Any, weights: np.ndarray | None) -> np.ndarray:
    if isinstance(pos_weight, str):
        positive, negative = label_masses(Y, weights)
        both = (positive > 0) & (negative > 0)
        return np.divide(negative, positive, out=np.ones(len(both)), where=both)
    factors = np.asarray(pos_weight, dtype=np.float64)
    if factors.shape not in ((), (Y.shape[1],)):
        raise ValueError(
            f"pos_weight must be a number or have shape ({Y.shape[1]},), one a label; got shape "
            f"{factors.shape}."
        )
    return _checked(np.broadcast_to(factors, (Y.shape[1],)), "pos_weight")


def _checked(factors: np.ndarray, name: str = "class_weight") -> np.ndarray:
    if not (np.isfinite(factors) & (factors >= 0)).all():
        raise ValueError(f"{name} must hold finite weights of at least 0, got {factors.tolist()}.")
    return factors


def _dense(Y: Any) -> np.ndarray:
    return Y.toarray() if sp.issparse(Y) else Y


def label_log_odds(
    Y: np.ndarray | sp.csr_array, weights: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return smoothed log-odds (L,) of the labels, and which show a single value.

    Each count is raised by one half, so that a constant label has finite log-odds.
    """
    positive, negative = label_masses(Y, weights)
    constant = (positive <= 0) | (negative <= 0)
    return np.log((positive + 0.5) / (negative + 0.5)), constant
