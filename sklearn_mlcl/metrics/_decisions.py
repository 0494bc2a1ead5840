"""Metrics of hard decisions: F1 in three averages, Jaccard, Hamming and subset accuracy."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.exceptions import UndefinedMetricWarning

from sklearn_mlcl.utils.validation import Cells, check_decisions

RowScore = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def undefined(metric: str, reason: str) -> float:
    """Warn that a metric has nothing to average over, and return NaN."""
    warnings.warn(f"{metric} is undefined: {reason}.", UndefinedMetricWarning, stacklevel=3)
    return float("nan")


def f1_of_counts(hits: np.ndarray, predicted: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """Return 2 hits / (predicted + positives), 1 where all three are 0."""
    size = predicted + positives
    return np.where(size > 0, 2 * hits / np.where(size > 0, size, 1), 1.0)


def jaccard_of_counts(hits: np.ndarray, predicted: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """Return hits / (predicted + positives - hits), 1 where all three are 0."""
    union = predicted + positives - hits
    return np.where(union > 0, hits / np.where(union > 0, union, 1), 1.0)


def exact_of_counts(hits: np.ndarray, predicted: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """Return 1 where predicted and true label sets are one, else 0."""
    return ((hits == predicted) & (hits == positives)).astype(np.float64)


def _row_counts(cells: Cells) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    predicted = cells.values & cells.known_mask()
    hits = (predicted & cells.positive).sum(axis=1)
    return hits, predicted.sum(axis=1), cells.positive.sum(axis=1)


def _label_counts(cells: Cells) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    predicted, positive = cells.values & cells.known_mask(), cells.positive
    hits, accepted, positives = map(cells.label_sums, (predicted & positive, predicted, positive))
    return hits, accepted, positives


def _example_mean(cells: Cells, score: RowScore, empty_rows: float | None, name: str) -> float:
    """Weighted mean of a row score; `empty_rows` replaces it where no label is true or decided."""
    hits, predicted, positives = _row_counts(cells)
    values = score(hits, predicted, positives)
    kept = cells.known_mask().any(axis=1)
    empty = (predicted == 0) & (positives == 0)
    if empty_rows is None:
        kept &= ~empty
    else:
        values = np.where(empty, empty_rows, values)
    if not kept.any():
        return undefined(name, "no row is left to average over")
    return float(np.average(values[kept], weights=cells.row_weight()[kept]))


def f1_samples(
    y_true: Any,
    y_pred: Any,
    *,
    sample_weight: Any = None,
    empty_rows: float | None = 1.0,
    missing_label: float = np.nan,
) -> float:
    r"""Example-based F1, the mean over rows of the F1 between true and predicted label set.

    .. math:: \frac{1}{\sum_i w_i} \sum_i w_i \frac{2 |Y_i \cap Z_i|}{|Y_i| + |Z_i|}

    over the known labels of each row; rows without a known label are left out. The weight
    :math:`w_i` of a row is the mean over its known cells where cells have weights.

    Parameters
    ----------
    y_true : {ndarray, DataFrame, sparse matrix} of shape (n, L)
        Indicator matrix of 0 and 1, NaN where unknown.
    y_pred : {ndarray, DataFrame, sparse matrix} of shape (n, L)
        Decisions, 0 or 1.
    sample_weight : array-like of shape (n,) or (n, L), default=None
        Weights of the rows or of the cells; a cell of weight 0 counts as unknown.
    empty_rows : float or None, default=1.0
        Score of a row that has no positive and gets no prediction: 1, as nothing is wrong there.
        scikit-learn's default is 0. None leaves such rows out.
    missing_label : float, default=NaN
        What marks an unknown cell of ``y_true`` beside NaN, for example -1.

    Returns
    -------
    score : float
        In [0, 1]; NaN with an ``UndefinedMetricWarning`` if no row is left.

    Raises
    ------
    ValueError
        For shapes that differ, entries other than 0, 1 and NaN, or weights all zero.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_mlcl.metrics import f1_samples
    >>> f1_samples([[1, 0, 1], [0, 0, np.nan]], [[1, 0, 0], [0, 0, 1]])
    0.8333333333333333
    """
    cells = check_decisions(y_true, y_pred, sample_weight, missing_label)
    return _example_mean(cells, f1_of_counts, empty_rows, "f1_samples")


def jaccard_samples(
    y_true: Any,
    y_pred: Any,
    *,
    sample_weight: Any = None,
    empty_rows: float | None = 1.0,
    missing_label: float = np.nan,
) -> float:
    r"""Example-based Jaccard index, the mean over rows of :math:`|Y_i \cap Z_i| / |Y_i \cup Z_i|`.

    Part of the multi-label literature calls it accuracy.

    Parameters
    ----------
    y_true : {ndarray, DataFrame, sparse matrix} of shape (n, L)
        Indicator matrix of 0 and 1, NaN where unknown.
    y_pred : {ndarray, DataFrame, sparse matrix} of shape (n, L)
        Decisions, 0 or 1.
    sample_weight : array-like of shape (n,) or (n, L), default=None
        Weights of the rows or of the cells; a cell of weight 0 counts as unknown.
    empty_rows : float or None, default=1.0
        Score of a row that has no positive and gets no prediction: 1, as nothing is wrong there.
        scikit-learn's default is 0. None leaves such rows out.
    missing_label : float, default=NaN
        What marks an unknown cell of ``y_true`` beside NaN, for example -1.

    Returns
    -------
    score : float
        In [0, 1]; NaN with an ``UndefinedMetricWarning`` if no row is left.

    Raises
    ------
    ValueError
        As in :func:`f1_samples`.

    Examples
    --------
    >>> from sklearn_mlcl.metrics import jaccard_samples
    >>> jaccard_samples([[1, 0, 1], [0, 0, 0]], [[1, 0, 0], [0, 0, 0]])
    0.75
    """
    cells = check_decisions(y_true, y_pred, sample_weight, missing_label)
    return _example_mean(cells, jaccard_of_counts, empty_rows, "jaccard_samples")


def subset_accuracy(
    y_true: Any, y_pred: Any, *, sample_weight: Any = None, missing_label: float = np.nan
) -> float:
    """Share of the rows whose known labels are all right; scikit-learn's ``accuracy_score``.

    Parameters
    ----------
    y_true : {ndarray, DataFrame, sparse matrix} of shape (n, L)
        Indicator matrix of 0 and 1, NaN where unknown.
    y_pred : {ndarray, DataFrame, sparse matrix} of shape (n, L)
        Decisions, 0 or 1.
    sample_weight : array-like of shape (n,) or (n, L), default=None
        Weights of the rows or of the cells; a cell of weight 0 counts as unknown.
    missing_label : float, default=NaN
        What marks an unknown cell of ``y_true`` beside NaN, for example -1.

    Returns
    -------
    score : float
        In [0, 1]; NaN with an ``UndefinedMetricWarning`` if no row has a known label.

    Raises
    ------
    ValueError
        As in :func:`f1_samples`.

    Examples
    --------
    >>> from sklearn_mlcl.metrics import subset_accuracy
    >>> subset_accuracy([[1, 0], [0, 1]], [[1, 0], [1, 1]])
    0.5
    """
    cells = check_decisions(y_true, y_pred, sample_weight, missing_label)
    return _example_mean(cells, exact_of_counts, 1.0, "subset_accuracy")


def hamming_accuracy(
    y_true: Any, y_pred: Any, *, sample_weight: Any = None, missing_label: float = np.nan
) -> float:
    """Share of the known cells that are right; 1 less the Hamming loss.

    Parameters
    ----------
    y_true : {ndarray, DataFrame, sparse matrix} of shape (n, L)
        Indicator matrix of 0 and 1, NaN where unknown.
    y_pred : {ndarray, DataFrame, sparse matrix} of shape (n, L)
        Decisions, 0 or 1.
    sample_weight : array-like of shape (n,) or (n, L), default=None
        Weights of the rows or of the cells; a cell of weight 0 counts as unknown.
    missing_label : float, default=NaN
        What marks an unknown cell of ``y_true`` beside NaN, for example -1.

    Returns
    -------
    score : float
        In [0, 1]; NaN with an ``UndefinedMetricWarning`` if no cell is known.

    Raises
    ------
    ValueError
        As in :func:`f1_samples`.

    Examples
    --------
    >>> from sklearn_mlcl.metrics import hamming_accuracy
    >>> hamming_accuracy([[1, 0], [0, 1]], [[1, 0], [1, 1]])
    0.75
    """
    cells = check_decisions(y_true, y_pred, sample_weight, missing_label)
    known = cells.known_mask()
    total = cells.label_sums(known).sum()
    if total == 0:
        return undefined("hamming_accuracy", "no cell of y_true is known")
    right = (cells.values == cells.positive) & known
    return float(cells.label_sums(right).sum() / total)


def f1_micro(
    y_true: Any, y_pred: Any, *, sample_weight: Any = None, missing_label: float = np.nan
) -> float:
    """F1 of all known cells taken together.

    Parameters
    ----------
    y_true : {ndarray, DataFrame, sparse matrix} of shape (n, L)
        Indicator matrix of 0 and 1, NaN where unknown.
    y_pred : {ndarray, DataFrame, sparse matrix} of shape (n, L)
        Decisions, 0 or 1.
    sample_weight : array-like of shape (n,) or (n, L), default=None
        Weights of the rows or of the cells; a cell of weight 0 counts as unknown.
    missing_label : float, default=NaN
        What marks an unknown cell of ``y_true`` beside NaN, for example -1.

    Returns
    -------
    score : float
        In [0, 1]; NaN with an ``UndefinedMetricWarning`` if nothing is true and nothing predicted.

    Raises
    ------
    ValueError
        As in :func:`f1_samples`.

    Examples
    --------
    >>> from sklearn_mlcl.metrics import f1_micro
    >>> f1_micro([[1, 0], [0, 1]], [[1, 0], [1, 1]])
    0.8
    """
    hits, predicted, positives = _label_counts(
        check_decisions(y_true, y_pred, sample_weight, missing_label)
    )
    if predicted.sum() + positives.sum() == 0:
        return undefined("f1_micro", "no cell is positive or predicted")
    return float(2 * hits.sum() / (predicted.sum() + positives.sum()))


def f1_macro(
    y_true: Any, y_pred: Any, *, sample_weight: Any = None, missing_label: float = np.nan
) -> float:
    """Mean of the labels' F1 over the labels that have a positive in ``y_true``.

    A label without a positive says nothing about a classifier's hits; scikit-learn counts it as
    0, so that its macro-F1 depends on how many labels the split left without one.

    Parameters
    ----------
    y_true : {ndarray, DataFrame, sparse matrix} of shape (n, L)
        Indicator matrix of 0 and 1, NaN where unknown.
    y_pred : {ndarray, DataFrame, sparse matrix} of shape (n, L)
        Decisions, 0 or 1.
    sample_weight : array-like of shape (n,) or (n, L), default=None
        Weights of the rows or of the cells; a cell of weight 0 counts as unknown.
    missing_label : float, default=NaN
        What marks an unknown cell of ``y_true`` beside NaN, for example -1.

    Returns
    -------
    score : float
        In [0, 1]; NaN with an ``UndefinedMetricWarning`` if no label has a positive.

    Raises
    ------
    ValueError
        As in :func:`f1_samples`.

    Examples
    --------
    >>> from sklearn_mlcl.metrics import f1_macro
    >>> f1_macro([[1, 0], [1, 0]], [[1, 0], [0, 1]])
    0.6666666666666666
    """
    hits, predicted, positives = _label_counts(
        check_decisions(y_true, y_pred, sample_weight, missing_label)
    )
    present = positives > 0
    if not present.any():
        return undefined("f1_macro", "no label has a positive in y_true")
    return float(f1_of_counts(hits, predicted, positives)[present].mean())
