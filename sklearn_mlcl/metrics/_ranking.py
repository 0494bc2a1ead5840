"""Metrics of the order of the labels of a sample, ties at their expected value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sklearn_mlcl.metrics._decisions import mean_over_samples, undefined
from sklearn_mlcl.utils.docstrings import document
from sklearn_mlcl.utils.parameters import AT_LEAST_0, check_arguments
from sklearn_mlcl.utils.targets import label_names_in
from sklearn_mlcl.utils.topk import check_k
from sklearn_mlcl.utils.validation import (
    LabelEntries,
    check_per_label,
    positives_and_known_of_labels,
    read_scores,
)


@dataclass(frozen=True)
class PositivePlaces:
    """Where the positives of a block of samples stand in the order of their scores.

    Attributes
    ----------
    sample, label : ndarray of int, shape (p,)
        The sample, within the block, and the label of each positive.
    above : ndarray of int, shape (p,)
        Labels of the sample with a larger score.
    reached : ndarray of int, shape (p,)
        Labels with a score as large or larger, itself too.
    n_samples : int
        Samples of the block.
    """

    sample: np.ndarray
    label: np.ndarray
    above: np.ndarray
    reached: np.ndarray
    n_samples: int

    @classmethod
    def of(cls, entries: LabelEntries) -> PositivePlaces:
        """Find the positives; missing labels leave the order."""
        # A missing label comes after all others.
        descending = np.where(entries.known_mask(), -entries.values, np.inf)
        sample, label = np.nonzero(entries.positive)
        sought = descending[sample, label]
        ranked = np.sort(descending, axis=1)
        above, reached = (_search_rows(ranked, sample, sought, side) for side in ("left", "right"))
        return cls(sample, label, above, reached, len(ranked))

    def sum_of_discounts(self, discounts: np.ndarray, gain: np.ndarray | None = None) -> np.ndarray:
        """Return the discounts of the ranks of the positives, summed over each sample.

        A rank shared by ties counts as the mean over them. ``discounts`` (L,) belongs to the ranks,
        ``gain`` (L,) to the labels.
        """
        # Sums up to ranks that differ by little: float64 would lose the last digits.
        sums = np.concatenate([[0], np.cumsum(discounts, dtype=np.longdouble)])
        mean = (sums[self.reached] - sums[self.above]) / (self.reached - self.above)
        worth = mean.astype(np.float64) * (1.0 if gain is None else gain[self.label])
        return np.bincount(self.sample, weights=worth, minlength=self.n_samples)

    def largest_gains(self, gain: np.ndarray, k: int) -> np.ndarray:
        """Return the k largest gains among the positives of each sample, summed."""
        own = gain[self.label]
        order = np.lexsort((-own, self.sample))
        sample = self.sample[order]
        place = np.arange(len(sample)) - np.searchsorted(sample, sample)
        return np.bincount(sample[place < k], own[order][place < k], minlength=self.n_samples)


def _search_rows(ranked: np.ndarray, row: np.ndarray, sought: np.ndarray, side: str) -> np.ndarray:
    """Like ``np.searchsorted(ranked[row[i]], sought[i], side)``, for all i."""
    low, high = np.zeros(len(row), dtype=np.intp), np.full(len(row), ranked.shape[1])
    is_before = np.less if side == "left" else np.less_equal
    for _ in range(ranked.shape[1].bit_length()):
        middle = (low + high) // 2
        # Where the search has ended, low is high and may be the number of columns.
        found = ranked[row, np.minimum(middle, ranked.shape[1] - 1)]
        later = is_before(found, sought) & (low < high)
        low, high = np.where(later, middle + 1, low), np.where(later, high, middle)
    return low


@document(read_scores)
def precision_at_k(
    y_true: Any,
    y_score: Any,
    *,
    k: int = 1,
    sample_weight: Any = None,
    empty_rows: float | None = None,
    missing_label: float = np.nan,
) -> float:
    """Share of the k labels with the highest scores that are positive, averaged over samples.

    Labels with tied scores count with their expected value under a random order of the ties.
    Missing labels leave the ranking. A sample with fewer than k other labels is divided by their
    number.

    Parameters
    ----------
    <y_true>
    <y_score>
    k : int, default=1
        From 1 to L.
    <sample_weight>
    empty_rows : float or None, default=None
        Score of a sample without a positive. None drops such samples, since no order is right.
    <missing_label>

    Returns
    -------
    score : float
        In [0, 1]; NaN with an ``UndefinedMetricWarning`` if no sample is left.

    Raises
    ------
    ValueError
        For shapes that differ, other entries, scores that are not finite, or a k out of range.

    Examples
    --------
    >>> from sklearn_mlcl.metrics import precision_at_k
    >>> precision_at_k(
    ...     [[1, 0, 1], [0, 1, 0]], [[0.9, 0.2, 0.7], [0.5, 0.1, 0.2]], k=2
    ... )
    0.5
    """
    source = read_scores(y_true, y_score, sample_weight, missing_label)
    L = source.shape[1]
    k = check_k(k, L)
    first_k = (np.arange(L) < k) * 1.0

    def of_block(block: LabelEntries) -> np.ndarray:
        ranked = np.minimum(k, block.known_mask().sum(axis=1))
        return PositivePlaces.of(block).sum_of_discounts(first_k) / np.maximum(ranked, 1)

    return mean_over_samples(source, of_block, empty_rows, "precision_at_k")


@document(read_scores, precision_at_k)
def ndcg_at_k(
    y_true: Any,
    y_score: Any,
    *,
    k: int | None = None,
    sample_weight: Any = None,
    empty_rows: float | None = None,
    missing_label: float = np.nan,
) -> float:
    r"""Normalised discounted cumulative gain of the first k labels, averaged over samples.

    .. math:: \sum_{r \le k} \frac{y_{(r)}}{\log_2(r + 1)} \Big/
              \sum_{r \le \min(k, |Y|)} \frac{1}{\log_2(r + 1)}

    with ties at their expected value, as in :func:`sklearn.metrics.ndcg_score`, which counts
    samples without a positive as 0 (``empty_rows=0.0`` here).

    Parameters
    ----------
    <y_true>
    <y_score>
    k : int or None, default=None
        From 1 to L; None for all labels.
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
        As in :func:`precision_at_k`.

    Examples
    --------
    >>> from sklearn_mlcl.metrics import ndcg_at_k
    >>> round(ndcg_at_k([[1, 0, 1]], [[0.9, 0.7, 0.2]]), 4)
    0.9197
    """
    source = read_scores(y_true, y_score, sample_weight, missing_label)
    L = source.shape[1]
    k = L if k is None else check_k(k, L)
    discounts = (np.arange(L) < k) / np.log2(np.arange(L) + 2)
    best = np.concatenate([[0.0], np.cumsum(discounts)])

    def of_block(block: LabelEntries) -> np.ndarray:
        ideal = best[block.positive.sum(axis=1)]
        gain = PositivePlaces.of(block).sum_of_discounts(discounts)
        return gain / np.where(ideal > 0, ideal, 1)

    return mean_over_samples(source, of_block, empty_rows, "ndcg_at_k")


@document(read_scores, precision_at_k)
def coverage(
    y_true: Any,
    y_score: Any,
    *,
    sample_weight: Any = None,
    empty_rows: float | None = None,
    missing_label: float = np.nan,
) -> float:
    r"""Depth of the ranking of a sample that holds all its positives, averaged over samples.

    .. math:: \#\{j : s_{ij} \ge \min_{l \in Y_i} s_{il}\}

    among the labels that are not missing; the best value is the mean number of positives. The same
    as :func:`sklearn.metrics.coverage_error`, which counts samples without a positive as 0
    (``empty_rows=0.0`` here).

    Parameters
    ----------
    <y_true>
    <y_score>
    <sample_weight>
    <empty_rows>
    <missing_label>

    Returns
    -------
    depth : float
        In [1, L]; lower is better; NaN with an ``UndefinedMetricWarning`` if no sample is left.

    Raises
    ------
    ValueError
        As in :func:`precision_at_k`.

    Examples
    --------
    >>> from sklearn_mlcl.metrics import coverage
    >>> coverage([[1, 0, 1]], [[0.9, 0.7, 0.2]])
    3.0
    """
    source = read_scores(y_true, y_score, sample_weight, missing_label)
    return mean_over_samples(source, _depth, empty_rows, "coverage")


def _depth(entries: LabelEntries) -> np.ndarray:
    lowest = np.where(entries.positive, entries.values, np.inf).min(axis=1)
    reached = (entries.values >= lowest[:, None]) & entries.known_mask()
    return reached.sum(axis=1).astype(np.float64)


def label_propensities(
    y_train: Any, *, A: float = 0.55, B: float = 1.5, missing_label: float = np.nan
) -> np.ndarray:
    r"""Probability that a positive of each label was recorded at all, from label frequencies.

    .. math:: p_l = \frac{1}{1 + C (N_l + B)^{-A}}, \qquad C = (\log N - 1)(B + 1)^A

    with :math:`N` training samples and :math:`N_l` positives of label l. Missing entries do not
    count in N.

    Parameters
    ----------
    y_train : {ndarray, DataFrame, sparse matrix} of shape (n, L)
        Indicator matrix of the training samples, at least 3 of them.
    A, B : float, default=0.55, 1.5
        Constants of the model, at least 0; the defaults are those of the paper for most data sets.
    missing_label : float, default=NaN
        Value that marks a missing entry beside NaN, for example -1.

    Returns
    -------
    propensities : ndarray of float64, shape (L,)
        In (0, 1).

    Raises
    ------
    ValueError
        If ``y_train`` is no indicator matrix. If a label has fewer than 3 entries that are not
        missing, where :math:`\log N - 1` is not positive.

    References
    ----------
    Jain, Prabhu and Varma, "Extreme multi-label loss functions for recommendation, tagging,
    ranking and other missing label applications", KDD 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_mlcl.metrics import label_propensities
    >>> label_propensities(np.repeat([[1, 0], [1, 1]], [90, 10], axis=0)).round(3)
    array([0.68 , 0.391])
    """
    check_arguments("label_propensities", A=(A, AT_LEAST_0), B=(B, AT_LEAST_0))
    positives, n = positives_and_known_of_labels(y_train, missing_label, "y_train")
    if n.min() < 3:
        raise ValueError(f"y_train must have at least 3 known entries per label, got {n.min()}.")
    C = (np.log(n) - 1) * (B + 1) ** A
    return 1 / (1 + C * (positives + B) ** -A)


@document(read_scores, precision_at_k)
def propensity_scored_precision_at_k(
    y_true: Any,
    y_score: Any,
    *,
    propensities: Any,
    k: int = 1,
    sample_weight: Any = None,
    missing_label: float = np.nan,
) -> float:
    r"""Precision at k that weighs each hit by the inverse propensity of its label, normalised.

    .. math:: \frac{\sum_i w_i \sum_{r \le k} y_{i(r)} / p_{(r)}}
              {\sum_i w_i \max_{z} \sum_{r \le k} y_{i z_r} / p_{z_r}}

    The denominator is the value of the best ranking. Ties count with their expected value. Missing
    labels leave the ranking.

    Parameters
    ----------
    <y_true>
    <y_score>
    propensities : array-like of shape (L,)
        In (0, 1], from the training samples: :func:`label_propensities`.
    <k>
    <sample_weight>
    <missing_label>

    Returns
    -------
    score : float
        In [0, 1]; NaN with an ``UndefinedMetricWarning`` if no sample has a positive.

    Raises
    ------
    ValueError
        As in :func:`precision_at_k`, and for propensities outside (0, 1].

    References
    ----------
    Jain, Prabhu and Varma, KDD 2016, as in :func:`label_propensities`.

    Examples
    --------
    >>> from sklearn_mlcl.metrics import propensity_scored_precision_at_k
    >>> y, s = [[1, 0, 1]], [[0.9, 0.7, 0.2]]
    >>> round(
    ...     propensity_scored_precision_at_k(y, s, propensities=[0.5, 0.9, 0.25]),
    ...     12,
    ... )
    0.5
    """
    source = read_scores(y_true, y_score, sample_weight, missing_label)
    L = source.shape[1]
    first_k = (np.arange(L) < check_k(k, L)) * 1.0
    p = check_per_label(propensities, L, label_names_in(y_true), "propensities")
    if p.shape != (L,) or not ((p > 0) & (p <= 1)).all():
        raise ValueError(
            f"propensities must have shape ({L},) with values in (0, 1], got {propensities!r}."
        )
    reached = best = 0.0
    for block in source.blocks():
        weight, found = block.row_weight(), PositivePlaces.of(block)
        reached += weight @ found.sum_of_discounts(first_k, 1 / p)
        best += weight @ found.largest_gains(1 / p, k)
    if best == 0:
        return undefined("propensity_scored_precision_at_k", "no sample has a positive")
    return float(reached / best)
