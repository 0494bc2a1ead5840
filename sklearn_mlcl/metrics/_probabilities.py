"""Metrics of scores down a label: AUC and average precision, log loss, Brier, reliability."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from sklearn_mlcl.metrics._decisions import undefined
from sklearn_mlcl.utils.validation import Cells, check_probabilities, check_scores


def _pooled(cells: Cells) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    known = cells.known_mask()
    return cells.positive[known], cells.values[known], cells.cell_weight()[known]


def _averaged(
    cells: Cells, score: Callable[..., Any], average: str | None, needs_negatives: bool, name: str
) -> Any:
    """Score by label (NaN where undefined), their mean over defined labels, or all cells' score."""
    if average not in ("macro", "micro", None):
        raise ValueError(f"average must be 'macro', 'micro' or None, got {average!r}.")
    columns = [_pooled(cells)] if average == "micro" else map(cells.column, range(cells.shape[1]))
    values = np.array(
        [
            score(y, s, sample_weight=w)
            if y.any() and not (needs_negatives and y.all())
            else np.nan
            for y, s, w in columns
        ]
    )
    if average is None:
        return values
    defined = ~np.isnan(values)
    if not defined.any():
        return undefined(name, "no label has the positives and negatives it needs")
    return float(values[defined].mean())


def average_precision(
    y_true: Any,
    y_score: Any,
    *,
    average: str | None = "macro",
    sample_weight: Any = None,
    missing_label: float = np.nan,
) -> Any:
    r"""Average precision, :math:`\sum_t (R_t - R_{t-1}) P_t`, by label (mAP) or over all cells.

    Labels without a known positive are left out of the mean; scikit-learn counts them as 0.

    Parameters
    ----------
    y_true : {ndarray, DataFrame, sparse matrix} of shape (n, L)
        Indicator matrix of 0 and 1, NaN where unknown.
    y_score : array-like of shape (n, L)
        Probabilities or other scores, finite.
    average : {"macro", "micro"} or None, default="macro"
        Mean over labels; all known cells as one list; or an array by label, NaN where undefined.
    sample_weight : array-like of shape (n,) or (n, L), default=None
        Weights of the rows or of the cells; a cell of weight 0 counts as unknown.
    missing_label : float, default=NaN
        What marks an unknown cell of ``y_true`` beside NaN, for example -1.

    Returns
    -------
    score : float or ndarray of shape (L,)
        NaN with an ``UndefinedMetricWarning`` if no label has a positive.

    Raises
    ------
    ValueError
        For shapes that differ, other entries, scores that are not finite, or another average.

    Examples
    --------
    >>> from sklearn_mlcl.metrics import average_precision
    >>> average_precision([[1, 0], [0, 0], [1, 0]], [[0.9, 0.1], [0.5, 0.2], [0.4, 0.3]])
    0.8333333333333333
    """
    cells = check_scores(y_true, y_score, sample_weight, missing_label)
    return _averaged(cells, average_precision_score, average, False, "average_precision")


def roc_auc(
    y_true: Any,
    y_score: Any,
    *,
    average: str | None = "macro",
    sample_weight: Any = None,
    missing_label: float = np.nan,
) -> Any:
    """Area under the ROC curve, by label or over all cells.

    Labels that show one value only are left out of the mean; they make scikit-learn's NaN.

    Parameters
    ----------
    y_true : {ndarray, DataFrame, sparse matrix} of shape (n, L)
        Indicator matrix of 0 and 1, NaN where unknown.
    y_score : array-like of shape (n, L)
        Probabilities or other scores, finite.
    average : {"macro", "micro"} or None, default="macro"
        Mean over labels; all known cells as one list; or an array by label, NaN where undefined.
    sample_weight : array-like of shape (n,) or (n, L), default=None
        Weights of the rows or of the cells; a cell of weight 0 counts as unknown.
    missing_label : float, default=NaN
        What marks an unknown cell of ``y_true`` beside NaN, for example -1.

    Returns
    -------
    score : float or ndarray of shape (L,)
        NaN with an ``UndefinedMetricWarning`` if no label has both values.

    Raises
    ------
    ValueError
        As in :func:`average_precision`.

    Examples
    --------
    >>> from sklearn_mlcl.metrics import roc_auc
    >>> roc_auc([[1, 0], [0, 0], [1, 0]], [[0.9, 0.1], [0.5, 0.2], [0.4, 0.3]])
    0.5
    """
    cells = check_scores(y_true, y_score, sample_weight, missing_label)
    return _averaged(cells, roc_auc_score, average, True, "roc_auc")


def _cell_mean(cells: Cells, losses: np.ndarray, average: str | None, name: str) -> Any:
    """Weighted mean of a loss over all known cells ("micro"), or of each label (None)."""
    if average not in ("micro", None):
        raise ValueError(f"average must be 'micro' or None, got {average!r}.")
    weight = cells.cell_weight()
    total, mass = (weight * losses).sum(axis=0), weight.sum(axis=0)
    if average is None:
        return np.divide(total, mass, out=np.full(len(mass), np.nan), where=mass > 0)
    if not mass.any():
        return undefined(name, "no cell of y_true is known")
    return float(total.sum() / mass.sum())


def multilabel_log_loss(
    y_true: Any,
    y_proba: Any,
    *,
    average: str | None = "micro",
    sample_weight: Any = None,
    missing_label: float = np.nan,
) -> Any:
    r"""Log loss of a label matrix: the mean over its known cells of the binary log loss.

    .. math:: -\frac{1}{\sum w_{il}} \sum_{il} w_{il}
              \left[ y_{il} \log p_{il} + (1 - y_{il}) \log(1 - p_{il}) \right]

    :func:`sklearn.metrics.log_loss` counts only the positives of a label matrix and is best where
    every label is predicted.

    Parameters
    ----------
    y_true : {ndarray, DataFrame, sparse matrix} of shape (n, L)
        Indicator matrix of 0 and 1, NaN where unknown.
    y_proba : array-like of shape (n, L)
        Probabilities, clipped to [eps, 1 - eps] with the eps of their dtype.
    average : {"micro"} or None, default="micro"
        Mean over all cells, or an array by label (NaN for a label without a known cell).
    sample_weight : array-like of shape (n,) or (n, L), default=None
        Weights of the rows or of the cells; a cell of weight 0 counts as unknown.
    missing_label : float, default=NaN
        What marks an unknown cell of ``y_true`` beside NaN, for example -1.

    Returns
    -------
    loss : float or ndarray of shape (L,)
        In nats, at least 0.

    Raises
    ------
    ValueError
        For shapes that differ, other entries, or probabilities outside [0, 1].

    Examples
    --------
    >>> from sklearn_mlcl.metrics import multilabel_log_loss
    >>> round(multilabel_log_loss([[1, 0]], [[0.8, 0.2]]), 4)
    0.2231
    """
    cells = check_probabilities(y_true, y_proba, sample_weight, missing_label)
    eps = np.finfo(cells.values.dtype).eps
    p = np.clip(cells.values, eps, 1 - eps).astype(np.float64)
    losses = -np.where(cells.positive, np.log(p), np.log1p(-p))
    return _cell_mean(cells, losses, average, "multilabel_log_loss")


def brier_score(
    y_true: Any,
    y_proba: Any,
    *,
    average: str | None = "micro",
    sample_weight: Any = None,
    missing_label: float = np.nan,
) -> Any:
    r"""Brier score, the mean of :math:`(p_{il} - y_{il})^2` over known cells.

    Parameters
    ----------
    y_true : {ndarray, DataFrame, sparse matrix} of shape (n, L)
        Indicator matrix of 0 and 1, NaN where unknown.
    y_proba : array-like of shape (n, L)
        Probabilities, clipped to [eps, 1 - eps] with the eps of their dtype.
    average : {"micro"} or None, default="micro"
        Mean over all cells, or an array by label (NaN for a label without a known cell).
    sample_weight : array-like of shape (n,) or (n, L), default=None
        Weights of the rows or of the cells; a cell of weight 0 counts as unknown.
    missing_label : float, default=NaN
        What marks an unknown cell of ``y_true`` beside NaN, for example -1.

    Returns
    -------
    loss : float or ndarray of shape (L,)
        In [0, 1], lower is better.

    Raises
    ------
    ValueError
        As in :func:`multilabel_log_loss`.

    Examples
    --------
    >>> from sklearn_mlcl.metrics import brier_score
    >>> brier_score([[1, 0], [0, 0]], [[0.5, 0.0], [0.5, 0.5]], average=None)
    array([0.25 , 0.125])
    """
    cells = check_probabilities(y_true, y_proba, sample_weight, missing_label)
    losses = np.square(cells.values.astype(np.float64) - cells.positive)
    return _cell_mean(cells, losses, average, "brier_score")


def reliability_curve(
    y_true: Any,
    y_proba: Any,
    *,
    n_bins: int = 10,
    sample_weight: Any = None,
    missing_label: float = np.nan,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean probability and share of positives of each label in bins of equal width.

    Parameters
    ----------
    y_true : {ndarray, DataFrame, sparse matrix} of shape (n, L)
        Indicator matrix of 0 and 1, NaN where unknown.
    y_proba : array-like of shape (n, L)
        Probabilities, clipped to [eps, 1 - eps] with the eps of their dtype.
    n_bins : int, default=10
        Bins of [0, 1]; a probability on an edge belongs to the bin below, 0 to the first.
    sample_weight : array-like of shape (n,) or (n, L), default=None
        Weights of the rows or of the cells; a cell of weight 0 counts as unknown.
    missing_label : float, default=NaN
        What marks an unknown cell of ``y_true`` beside NaN, for example -1.

    Returns
    -------
    confidence : ndarray of shape (L, n_bins)
        Mean probability of a label's cells in a bin; NaN where a bin is empty.
    frequency : ndarray of shape (L, n_bins)
        Share of positives among them.
    mass : ndarray of shape (L, n_bins)
        Their weight; rows without weights count 1 each.

    Raises
    ------
    ValueError
        As in :func:`multilabel_log_loss`, and for ``n_bins`` below 1.

    Examples
    --------
    >>> from sklearn_mlcl.metrics import reliability_curve
    >>> reliability_curve([[1], [0], [1]], [[0.75], [0.5], [1.0]], n_bins=2)
    (array([[0.5  , 0.875]]), array([[0., 1.]]), array([[1., 2.]]))
    """
    if n_bins < 1:
        raise ValueError(f"n_bins must be at least 1, got {n_bins!r}.")
    cells = check_probabilities(y_true, y_proba, sample_weight, missing_label)
    L = cells.shape[1]
    edges = np.linspace(0.0, 1.0, n_bins + 1)
    bins = np.searchsorted(edges[1:-1], cells.values) + n_bins * np.arange(L)
    weight = cells.cell_weight()

    def total(values: np.ndarray) -> np.ndarray:
        sums = np.bincount(bins.ravel(), weights=values.ravel(), minlength=L * n_bins)
        return sums.reshape(L, n_bins)

    mass = total(weight)
    filled = np.where(mass > 0, mass, np.nan)
    return total(weight * cells.values) / filled, total(weight * cells.positive) / filled, mass
