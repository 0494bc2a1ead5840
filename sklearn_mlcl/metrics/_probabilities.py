"""Metrics of the scores of a label: AUC and average precision, log loss, Brier, reliability."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from sklearn_mlcl.metrics._decisions import f1_macro, f1_micro, f1_samples, undefined
from sklearn_mlcl.utils.docstrings import document
from sklearn_mlcl.utils.parameters import Interval, check_arguments
from sklearn_mlcl.utils.validation import EntrySource, LabelEntries, read_probabilities, read_scores

MOST_BINS = 10_000


def _score_of_labels(
    source: EntrySource,
    score: Callable[..., Any],
    average: str | None,
    needs_negatives: bool,
    name: str,
) -> Any:
    """Score by label (NaN where undefined), the mean of those defined, or that of all entries."""
    if average not in ("macro", "micro", None):
        raise ValueError(f"average must be 'macro', 'micro' or None, got {average!r}.")
    lists = [(0, _one_list(source))] if average == "micro" else source.columns()
    values = np.full(1 if average == "micro" else source.shape[1], np.nan)
    for label, (y, s, w) in lists:
        if y.any() and not (needs_negatives and y.all()):
            values[label] = score(y, s, sample_weight=w)
    if average is None:
        return values
    defined = ~np.isnan(values)
    if not defined.any():
        return undefined(name, "no label has the positives and negatives it needs")
    return float(values[defined].mean())


def _one_list(source: EntrySource) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All known entries as one list: positive, score and weight.

    Of CSR the entries that are neither positive nor stored are tied: one entry stands for them.
    """
    parts, weight_of_others = [], 0.0
    for block in source.blocks():
        listed = known = block.known_mask()
        if source.is_sparse:
            listed = known & (block.positive | (block.values != 0))
        weight = block.entry_weight()
        weight_of_others += weight[known & ~listed].sum()
        parts.append((block.positive[listed], block.values[listed], weight[listed]))
    if weight_of_others > 0:
        parts.append((np.zeros(1, dtype=bool), np.zeros(1), np.array([weight_of_others])))
    positive, values, weights = map(np.concatenate, zip(*parts, strict=True))
    return positive, values, weights


@document(read_scores)
def average_precision(
    y_true: Any,
    y_score: Any,
    *,
    average: str | None = "macro",
    sample_weight: Any = None,
    missing_label: float = np.nan,
) -> Any:
    r"""Average precision, :math:`\sum_t (R_t - R_{t-1}) P_t`, by label (mAP) or over all entries.

    Labels without a positive are left out of the mean; scikit-learn counts them as 0.

    Parameters
    ----------
    <y_true>
    <y_score>
    average : {"macro", "micro"} or None, default="macro"
        "macro" is the mean over labels, "micro" takes all entries as one list. None returns an
        array by label, NaN where undefined.
    <sample_weight>
    <missing_label>

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
    >>> average_precision(
    ...     [[1, 0], [0, 0], [1, 0]], [[0.9, 0.1], [0.5, 0.2], [0.4, 0.3]]
    ... )
    0.8333333333333333
    """
    source = read_scores(y_true, y_score, sample_weight, missing_label)
    return _score_of_labels(source, _average_precision, average, False, "average_precision")


def _average_precision(
    positive: np.ndarray, scores: np.ndarray, sample_weight: np.ndarray | None = None
) -> float:
    """Average precision of a list; scikit-learn's checks would take longer than the sum."""
    weight = np.ones(len(scores)) if sample_weight is None else sample_weight
    order = np.argsort(scores, kind="stable")[::-1]
    order = order[weight[order] > 0]
    positive, scores, weight = positive[order], scores[order], weight[order]
    if not positive.any():
        return np.nan
    last_of_tie = np.append(np.diff(scores) != 0, True)
    hits = np.cumsum(weight * positive)[last_of_tie]
    others = np.cumsum(weight * ~positive)[last_of_tie]
    return float((np.diff(hits / hits[-1], prepend=0) * hits / (hits + others)).sum())


@document(read_scores, average_precision)
def roc_auc(
    y_true: Any,
    y_score: Any,
    *,
    average: str | None = "macro",
    sample_weight: Any = None,
    missing_label: float = np.nan,
) -> Any:
    """Area under the ROC curve, by label or over all entries.

    Labels that show one value only are left out of the mean; scikit-learn returns NaN for them.

    Parameters
    ----------
    <y_true>
    <y_score>
    <average>
    <sample_weight>
    <missing_label>

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
    source = read_scores(y_true, y_score, sample_weight, missing_label)
    return _score_of_labels(source, roc_auc_score, average, True, "roc_auc")


def _mean_loss(
    source: EntrySource, loss: Callable[[LabelEntries], np.ndarray], average: str | None, name: str
) -> Any:
    """Weighted mean of a loss over all entries ("micro"), or over those of each label (None)."""
    if average not in ("micro", None):
        raise ValueError(f"average must be 'micro' or None, got {average!r}.")
    total, mass = np.zeros((2, source.shape[1]))
    for block in source.blocks():
        weight = block.entry_weight()
        total += (weight * loss(block)).sum(axis=0)
        mass += weight.sum(axis=0)
    if average is None:
        return np.divide(total, mass, out=np.full(len(mass), np.nan), where=mass > 0)
    if not mass.any():
        return undefined(name, "all labels of y_true are missing")
    return float(total.sum() / mass.sum())


@document(read_probabilities)
def multilabel_log_loss(
    y_true: Any,
    y_proba: Any,
    *,
    average: str | None = "micro",
    sample_weight: Any = None,
    missing_label: float = np.nan,
) -> Any:
    r"""Log loss of a label matrix: the mean over its entries of the binary log loss.

    .. math:: -\frac{1}{\sum w_{il}} \sum_{il} w_{il}
              \left[ y_{il} \log p_{il} + (1 - y_{il}) \log(1 - p_{il}) \right]

    The probabilities are clipped to [eps, 1 - eps] with the eps of their dtype.
    :func:`sklearn.metrics.log_loss` counts only the positives of a label matrix, so a classifier
    that predicts every label has the lowest loss.

    Parameters
    ----------
    <y_true>
    <y_proba>
    average : {"micro"} or None, default="micro"
        "micro" is the mean over all entries. None returns an array by label, NaN for a label whose
        entries are all missing.
    <sample_weight>
    <missing_label>

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
    source = read_probabilities(y_true, y_proba, sample_weight, missing_label)
    return _mean_loss(source, _log_losses, average, "multilabel_log_loss")


def _log_losses(entries: LabelEntries) -> np.ndarray:
    eps = np.finfo(entries.values.dtype).eps
    p = np.clip(entries.values, eps, 1 - eps).astype(np.float64)
    return -np.where(entries.positive, np.log(p), np.log1p(-p))


@document(read_probabilities, multilabel_log_loss)
def brier_score(
    y_true: Any,
    y_proba: Any,
    *,
    average: str | None = "micro",
    sample_weight: Any = None,
    missing_label: float = np.nan,
) -> Any:
    r"""Brier score, the mean of :math:`(p_{il} - y_{il})^2` over the entries.

    Parameters
    ----------
    <y_true>
    <y_proba>
    <average>
    <sample_weight>
    <missing_label>

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
    source = read_probabilities(y_true, y_proba, sample_weight, missing_label)
    return _mean_loss(source, _square_losses, average, "brier_score")


def _square_losses(entries: LabelEntries) -> np.ndarray:
    return np.square(entries.values.astype(np.float64) - entries.positive)


@document(read_probabilities)
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
    <y_true>
    <y_proba>
    n_bins : int, default=10
        Number of bins of [0, 1], from 1 to 10,000. A probability on an edge belongs to the bin
        below, and 0 to the first bin.
    <sample_weight>
    <missing_label>

    Returns
    -------
    confidence : ndarray of shape (L, n_bins)
        Mean probability of the entries of a label in a bin; NaN in empty bins.
    frequency : ndarray of shape (L, n_bins)
        Share of positives among them.
    mass : ndarray of shape (L, n_bins)
        Their weight; without weights their number.

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
    bounds = Interval(Integral, 1, MOST_BINS, closed="both")
    check_arguments("reliability_curve", n_bins=(n_bins, bounds))
    n_bins = int(n_bins)
    source = read_probabilities(y_true, y_proba, sample_weight, missing_label)
    L = source.shape[1]
    edges = np.linspace(0.0, 1.0, n_bins + 1)
    confidence, frequency, mass = np.zeros((3, L * n_bins))
    for block in source.blocks():
        bins = (np.searchsorted(edges[1:-1], block.values) + n_bins * np.arange(L)).ravel()
        weight = block.entry_weight()
        for sums, values in (
            (confidence, weight * block.values),
            (frequency, weight * block.positive),
            (mass, weight),
        ):
            sums += np.bincount(bins, weights=values.ravel(), minlength=L * n_bins)
    filled = np.where(mass > 0, mass, np.nan)
    by_label = (L, n_bins)
    return (
        (confidence / filled).reshape(by_label),
        (frequency / filled).reshape(by_label),
        mass.reshape(by_label),
    )


#: Scores of decisions.
DECISION_SCORES = {"f1_micro": f1_micro, "f1_macro": f1_macro, "f1_samples": f1_samples}


def held_out_scores(
    Y: Any,
    probabilities: np.ndarray,
    threshold: float | np.ndarray,
    sample_weight: np.ndarray | None = None,
) -> dict[str, float]:
    """Return log loss, mAP, and the F1 scores of decisions at a threshold.

    Parameters
    ----------
    Y : ndarray or CSR of shape (n, L)
        Indicator matrix; NaN entries do not count.
    probabilities : ndarray of shape (n, L)
        Probabilities of samples that had no part in the fit.
    threshold : float or ndarray of shape (L,)
        A label is decided positive from this probability on.
    sample_weight : ndarray of shape (n,) or (n, L), default=None
        Weights of the samples or of the entries.

    Returns
    -------
    scores : dict of str to float
        ``log_loss``, ``average_precision``, ``f1_micro``, ``f1_macro``, ``f1_samples``.
    """
    decided = (probabilities >= threshold).astype(int)
    return {
        "log_loss": multilabel_log_loss(Y, probabilities, sample_weight=sample_weight),
        "average_precision": average_precision(Y, probabilities, sample_weight=sample_weight),
        **{name: f(Y, decided, sample_weight=sample_weight) for name, f in DECISION_SCORES.items()},
    }
