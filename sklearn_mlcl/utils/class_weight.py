"""Weights of samples, entries and classes, as weights of entries: the one place below ``fit``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.utils.class_weight import compute_class_weight

from sklearn_mlcl.utils.answers import TargetFormat
from sklearn_mlcl.utils.samples import chunks
from sklearn_mlcl.utils.targets import label_places

#: Entries of which a float64 copy is made to count them.
COUNTED_AT_ONCE = 2**20


def weighted_counts(Y: Any, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the weight of the positives and of the negatives of each label, shape (L,) each.

    Parameters
    ----------
    Y : ndarray or CSR of shape (n, L)
        Indicator matrix, NaN where missing: such entries do not count.
    weights : ndarray of shape (n,) or (n, L), or None
        Weights of the samples or of the entries; None counts each as 1.
    """
    n, L = Y.shape
    counts = np.zeros((2, L))
    stays_sparse = sp.issparse(Y) and (weights is None or weights.ndim == 1)
    for part in chunks(n) if stays_sparse else chunks(n, max(1, COUNTED_AT_ONCE // L)):
        counts += _counts_of_chunk(Y[part], None if weights is None else weights[part])
    return counts[0], counts[1]


def _counts_of_chunk(Y: Any, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    if sp.issparse(Y) and (weights is None or weights.ndim == 1):
        w = np.ones(Y.shape[0]) if weights is None else weights
        positive = w @ Y
        return positive, w.sum() - positive
    labels = _dense(Y)
    if weights is None and labels.dtype == bool:  # where none is missing
        positive = np.count_nonzero(labels, axis=0)
        return positive, len(labels) - positive
    masks = labels == 1, labels == 0
    if weights is None:
        return np.count_nonzero(masks[0], axis=0), np.count_nonzero(masks[1], axis=0)
    if weights.ndim == 1:
        return weights @ masks[0], weights @ masks[1]
    return (weights * masks[0]).sum(axis=0), (weights * masks[1]).sum(axis=0)


def label_log_odds(positive: np.ndarray, negative: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r"""Return smoothed log-odds (L,) of the labels, and which labels show a single value.

    :math:`\log \frac{N_+ + 1/2}{N_- + 1/2}` with the weighted counts of positives and negatives,
    which is finite for a constant label.
    """
    constant = (positive <= 0) | (negative <= 0)
    return np.log((positive + 0.5) / (negative + 0.5)), constant


def row_weights(Y: Any, weights: np.ndarray | None) -> np.ndarray | None:
    """Return one weight a sample; see :func:`mean_weights` for weights of entries."""
    if weights is None or weights.ndim == 1:
        return weights
    return mean_weights(weights, None if sp.issparse(Y) else ~np.isnan(Y))


def mean_weights(weights: np.ndarray, known: np.ndarray | None) -> np.ndarray:
    """Return the mean weight (n,) of the entries (n, L) of each sample that are not missing.

    A sample whose labels are all missing gets the mean of its weights that are not 0. `known` is
    False where a label is missing, or None.
    """
    if known is None:
        return weights.mean(axis=1)
    known = np.where(known.any(axis=1, keepdims=True), known, weights > 0)
    return (weights * known).sum(axis=1) / np.maximum(known.sum(axis=1), 1)


#: Largest weights from 2^-20 to 2^20 are ordinary.
ORDINARY_EXPONENT = 20


def in_units(weights: np.ndarray) -> tuple[np.ndarray, float]:
    """Return weights that float32 holds, and the power of two they were divided by.

    Ordinary weights stay as they are: prototypes weigh 1 beside them. Of others the largest
    becomes one from 1 to 2. Nothing is rounded.
    """
    exponent = int(np.frexp(weights.max())[1]) - 1
    unit = float(np.ldexp(1.0, exponent)) if abs(exponent) > ORDINARY_EXPONENT else 1.0
    return (weights if unit == 1 else weights / unit), unit


def mask_zero_weight(Y: Any, weights: np.ndarray | None) -> Any:
    """Return targets in which the entries of weight zero are missing."""
    if weights is None or weights.ndim == 1 or weights.all():
        return Y
    return np.where(weights > 0, _dense(Y), np.float32(np.nan))


@dataclass(frozen=True)
class ClassWeights:
    """Factors that ``class_weight`` puts on the weights of entries or samples.

    Attributes
    ----------
    negative, positive : ndarray of shape (L,)
        Factors on the negatives and the positives of each label.
    of_class : ndarray of shape (L,) or None
        Factor on the samples of each class, for classes that exclude each other.
    """

    negative: np.ndarray
    positive: np.ndarray
    of_class: np.ndarray | None = None

    def rows(self, rows: tuple[Any, Any, np.ndarray | None]) -> tuple[Any, Any, np.ndarray | None]:
        """Return (X, Y, weights) with the factors in the weights; zero weight means missing."""
        X, Y, weights = rows
        if self.of_class is not None:
            factors = Y @ self.of_class
        elif (self.negative == 1).all() and (self.positive == 1).all():
            return rows
        else:
            factors = np.where(_dense(Y) == 1, self.positive, self.negative)
            factors = factors[:, 0] if Y.shape[1] == 1 else factors
        if weights is not None:
            two = weights.ndim == 2 or factors.ndim == 2
            weights, factors = (
                a[:, None] if two and a.ndim == 1 else a for a in (weights, factors)
            )
            with np.errstate(over="ignore", under="ignore"):
                factors = factors * weights
        if not factors.any():
            raise ValueError("The product of sample_weight and class_weight is zero everywhere.")
        with np.errstate(over="ignore"):
            total = factors.sum()
        if not np.isfinite(total):
            raise ValueError(
                "The product of sample_weight and class_weight sums to more than float64 holds."
            )
        return X, mask_zero_weight(Y, factors), factors


def class_weights(
    class_weight: Any, target_format: TargetFormat, Y: Any, weights: np.ndarray | None
) -> ClassWeights:
    """Read ``class_weight``; "balanced" counts the entries of Y that are not missing.

    Raises
    ------
    ValueError
        If it has a form, labels, classes or numbers that it cannot have.
    """
    ones = np.ones(Y.shape[1])
    if hasattr(class_weight, "iloc"):
        class_weight = dict(class_weight.items())
    if class_weight is None:
        return ClassWeights(ones, ones)
    if target_format.kind == "multiclass":
        if isinstance(class_weight, str):
            count, _ = weighted_counts(Y, weights)
            of_class = count.sum() / (len(count) * np.where(count > 0, count, 1.0))
        else:
            of_class = _of_dict(class_weight, target_format.classes)
        return ClassWeights(ones, ones, _checked(of_class))
    if isinstance(class_weight, str):
        counts = np.array(weighted_counts(Y, weights)[::-1])
        both = np.broadcast_to((counts > 0).all(axis=0), counts.shape)
        half = np.broadcast_to(counts.sum(axis=0) / 2, counts.shape)
        by_label = np.divide(half, counts, out=np.ones(counts.shape), where=both)
    elif target_format.kind == "binary":
        by_label = _of_dict(class_weight, target_format.classes)[:, None]
    else:
        by_label = np.array(_pairs(class_weight, target_format), dtype=np.float64).T
    return ClassWeights(*_checked(by_label))


def _of_dict(class_weight: Any, classes: np.ndarray) -> np.ndarray:
    numbers = isinstance(class_weight, Mapping) and all(
        _is_number(weight) for weight in class_weight.values()
    )
    if not numbers:
        raise ValueError(
            f"class_weight must be a dict {{class: weight}} for 1-D targets, got {class_weight!r}."
        )
    return compute_class_weight(dict(class_weight), classes=classes, y=classes)


def _pairs(class_weight: Any, target_format: TargetFormat) -> list[tuple[Any, Any]]:
    """Weights of 0 and 1 for each label, from a list or a dict by number or name of the label."""
    n_labels, names = target_format.n_labels, target_format.label_names
    by_label = class_weight
    if isinstance(class_weight, Mapping):
        places = label_places(class_weight, names, n_labels, "class_weight")
        given = dict(zip(places, class_weight.values(), strict=True))
        if len(given) < len(class_weight):
            raise ValueError(
                f"class_weight names a label twice, by name and by number: {list(class_weight)}."
            )
        by_label = [given.get(label, {}) for label in range(n_labels)]
    if len(by_label) != n_labels:
        raise ValueError(
            f"class_weight must hold one dict for each of {n_labels} labels, got {len(by_label)}."
        )
    for pair in by_label:
        if not isinstance(pair, Mapping) or not set(pair) <= {0, 1}:
            raise ValueError(
                "class_weight of a label matrix must be 'balanced', a dict {label: {0: w0, 1: w1}} "
                f"or a list with a dict {{0: w0, 1: w1}} for each label; got {pair!r} for a label."
            )
        if not all(map(_is_number, pair.values())):
            raise ValueError(f"class_weight must hold numbers, got {pair!r} for a label.")
    return [(pair.get(0, 1.0), pair.get(1, 1.0)) for pair in by_label]


def _is_number(weight: Any) -> bool:
    """Return whether float64 holds a weight, be it infinite or NaN."""
    return isinstance(weight, Real) and not (
        isinstance(weight, int) and weight.bit_length() > np.finfo(np.float64).maxexp
    )


def _checked(factors: np.ndarray) -> np.ndarray:
    if not (np.isfinite(factors) & (factors >= 0)).all():
        raise ValueError(
            f"class_weight must hold finite weights of at least 0, got {factors.tolist()}."
        )
    return factors


def _dense(Y: Any) -> np.ndarray:
    return Y.toarray() if sp.issparse(Y) else Y
