"""Metrics of hard decisions: F1 in three averages, Jaccard, Hamming and subset accuracy."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.exceptions import UndefinedMetricWarning

from sklearn_mlcl.utils.docstrings import document
from sklearn_mlcl.utils.parameters import NUMBER, check_arguments
from sklearn_mlcl.utils.validation import EntrySource, LabelEntries, read_decisions

CountScore = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


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
    """Return 1 where predicted and true label sets are equal, else 0."""
    return ((hits == predicted) & (hits == positives)).astype(np.float64)


def mean_over_samples(
    source: EntrySource,
    value: Callable[[LabelEntries], np.ndarray],
    empty_rows: float | None,
    name: str,
) -> float:
    """Weighted mean of a value of each sample, computed a block of samples at a time.

    The value of a sample without a positive, and without a decision if the entries are decisions,
    is replaced by `empty_rows`, or dropped if that is None.
    """
    check_arguments(name, empty_rows=(empty_rows, NUMBER, None))
    found = [_values_and_weights(block, value, empty_rows) for block in source.blocks()]
    values, weights = map(np.concatenate, zip(*found, strict=True))
    if not len(values):
        return undefined(name, "no sample is left to average over")
    return float(np.average(values, weights=weights))


def _values_and_weights(
    entries: LabelEntries, value: Callable[[LabelEntries], np.ndarray], empty_rows: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """Values and weights of the samples that count."""
    known, marked = entries.known_mask(), entries.positive
    if entries.values.dtype == bool:
        marked = marked | (entries.values & known)
    kept, full = known.any(axis=1), marked.any(axis=1)
    values = value(entries)
    if empty_rows is None:
        kept &= full
    else:
        values = np.where(full, values, empty_rows)
    return values[kept], entries.row_weight()[kept]


def outcomes(entries: LabelEntries) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return which entries are hits, predicted and true positives."""
    predicted = entries.values & entries.known_mask()
    return predicted & entries.positive, predicted, entries.positive


def _score_of_samples(
    source: EntrySource, score: CountScore, empty_rows: float | None, name: str
) -> float:
    def of_block(block: LabelEntries) -> np.ndarray:
        return score(*(part.sum(axis=1) for part in outcomes(block)))

    return mean_over_samples(source, of_block, empty_rows, name)


@document(read_decisions)
def f1_samples(
    y_true: Any,
    y_pred: Any,
    *,
    sample_weight: Any = None,
    empty_rows: float | None = 1.0,
    missing_label: float = np.nan,
) -> float:
    r"""Example-based F1, the mean over samples of the F1 between true and predicted label set.

    .. math:: \frac{1}{\sum_i w_i} \sum_i w_i \frac{2 |Y_i \cap Z_i|}{|Y_i| + |Z_i|}

    over the labels of each sample that are not missing. Samples whose labels are all missing are
    dropped.

    Parameters
    ----------
    <y_true>
    <y_pred>
    <sample_weight>
    empty_rows : float or None, default=1.0
        Score of a sample without a positive and without a prediction. The default is 1, as nothing
        is wrong there; that of scikit-learn is 0. None drops such samples.
    <missing_label>

    Returns
    -------
    score : float
        In [0, 1]; NaN with an ``UndefinedMetricWarning`` if no sample is left.

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
    source = read_decisions(y_true, y_pred, sample_weight, missing_label)
    return _score_of_samples(source, f1_of_counts, empty_rows, "f1_samples")


@document(read_decisions, f1_samples)
def jaccard_samples(
    y_true: Any,
    y_pred: Any,
    *,
    sample_weight: Any = None,
    empty_rows: float | None = 1.0,
    missing_label: float = np.nan,
) -> float:
    r"""Example-based Jaccard index, the mean of :math:`|Y_i \cap Z_i| / |Y_i \cup Z_i|`.

    Part of the multi-label literature calls it accuracy.

    Parameters
    ----------
    <y_true>
    <y_pred>
    <sample_weight>
    <empty_rows>
    <missing_label>

    Returns
    -------
    score : float
        In [0, 1]; NaN with an ``UndefinedMetricWarning`` if no sample is left.

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
    source = read_decisions(y_true, y_pred, sample_weight, missing_label)
    return _score_of_samples(source, jaccard_of_counts, empty_rows, "jaccard_samples")


@document(read_decisions)
def subset_accuracy(
    y_true: Any, y_pred: Any, *, sample_weight: Any = None, missing_label: float = np.nan
) -> float:
    """Share of the samples whose labels are all right; scikit-learn's ``accuracy_score``.

    Parameters
    ----------
    <y_true>
    <y_pred>
    <sample_weight>
    <missing_label>

    Returns
    -------
    score : float
        In [0, 1]; NaN with an ``UndefinedMetricWarning`` if all labels are missing.

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
    source = read_decisions(y_true, y_pred, sample_weight, missing_label)
    return _score_of_samples(source, exact_of_counts, 1.0, "subset_accuracy")


@document(read_decisions)
def hamming_accuracy(
    y_true: Any, y_pred: Any, *, sample_weight: Any = None, missing_label: float = np.nan
) -> float:
    """Share of the entries that are right; 1 less the Hamming loss.

    Parameters
    ----------
    <y_true>
    <y_pred>
    <sample_weight>
    <missing_label>

    Returns
    -------
    score : float
        In [0, 1]; NaN with an ``UndefinedMetricWarning`` if all labels are missing.

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
    source = read_decisions(y_true, y_pred, sample_weight, missing_label)
    right, total = source.label_sums(_right_and_known).sum(axis=1)
    if total == 0:
        return undefined("hamming_accuracy", "all labels of y_true are missing")
    return float(right / total)


def _right_and_known(entries: LabelEntries) -> tuple[np.ndarray, np.ndarray]:
    known = entries.known_mask()
    return (entries.values == entries.positive) & known, known


@document(read_decisions)
def f1_micro(
    y_true: Any, y_pred: Any, *, sample_weight: Any = None, missing_label: float = np.nan
) -> float:
    """F1 of all entries taken together.

    Parameters
    ----------
    <y_true>
    <y_pred>
    <sample_weight>
    <missing_label>

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
    source = read_decisions(y_true, y_pred, sample_weight, missing_label)
    hits, predicted, positives = source.label_sums(outcomes).sum(axis=1)
    if predicted + positives == 0:
        return undefined("f1_micro", "no entry is positive or predicted")
    return float(2 * hits / (predicted + positives))


@document(read_decisions)
def f1_macro(
    y_true: Any, y_pred: Any, *, sample_weight: Any = None, missing_label: float = np.nan
) -> float:
    """Mean of the labels' F1 over the labels that have a positive in ``y_true``.

    scikit-learn counts a label without a positive as 0. Its macro-F1 therefore depends on how many
    labels have no positive in the split.

    Parameters
    ----------
    <y_true>
    <y_pred>
    <sample_weight>
    <missing_label>

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
    source = read_decisions(y_true, y_pred, sample_weight, missing_label)
    counts = source.label_sums(outcomes)
    present = counts[2] > 0
    if not present.any():
        return undefined("f1_macro", "no label has a positive in y_true")
    return float(f1_of_counts(*counts)[present].mean())
