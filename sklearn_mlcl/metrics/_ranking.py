"""Metrics of the order of the labels of a sample, ties at their expected value."""

from __future__ import annotations

from typing import Any

import numpy as np

from sklearn_mlcl.metrics._decisions import mean_over_samples, undefined
from sklearn_mlcl.utils.docstrings import document
from sklearn_mlcl.utils.targets import label_names_in
from sklearn_mlcl.utils.topk import check_k, top_values
from sklearn_mlcl.utils.validation import (
    LabelEntries,
    check_per_label,
    check_scores,
    positives_and_known,
)


def _expected_discounts(scores: np.ndarray, discounts: np.ndarray) -> np.ndarray:
    """Discount of the rank of each entry, averaged over the ranks that its ties share.

    `scores` (n, L) holds -inf for missing entries; `discounts` (L,) belongs to the ranks.
    """
    n, L = scores.shape
    order = np.argsort(-scores, axis=1, kind="stable")
    ranked = np.take_along_axis(scores, order, axis=1)
    starts = np.ones((n, L), dtype=bool)
    starts[:, 1:] = ranked[:, 1:] != ranked[:, :-1]
    tie = np.cumsum(starts.ravel()) - 1
    mean = np.bincount(tie, weights=np.tile(discounts, n)) / np.bincount(tie)
    expected = np.empty((n, L))
    np.put_along_axis(expected, order, mean[tie].reshape(n, L), axis=1)
    return expected


def _discounts_at(entries: LabelEntries, discounts: np.ndarray) -> np.ndarray:
    """Expected discounts of the entries in the order of each sample, 0 for the missing ones."""
    known = entries.known_mask()
    expected = _expected_discounts(np.where(known, entries.values, -np.inf), discounts)
    return np.where(known, expected, 0.0)


@document(check_scores)
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
    >>> precision_at_k([[1, 0, 1], [0, 1, 0]], [[0.9, 0.2, 0.7], [0.5, 0.1, 0.2]], k=2)
    0.5
    """
    entries = check_scores(y_true, y_score, sample_weight, missing_label)
    L = entries.shape[1]
    k = check_k(k, L)
    hits = (_discounts_at(entries, (np.arange(L) < k) * 1.0) * entries.positive).sum(axis=1)
    ranked = np.minimum(k, entries.known_mask().sum(axis=1))
    return mean_over_samples(entries, hits / np.maximum(ranked, 1), empty_rows, "precision_at_k")


@document(check_scores, precision_at_k)
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
    entries = check_scores(y_true, y_score, sample_weight, missing_label)
    L = entries.shape[1]
    k = L if k is None else check_k(k, L)
    discounts = (np.arange(L) < k) / np.log2(np.arange(L) + 2)
    gain = (_discounts_at(entries, discounts) * entries.positive).sum(axis=1)
    ideal = np.concatenate([[0.0], np.cumsum(discounts)])[entries.positive.sum(axis=1)]
    return mean_over_samples(entries, gain / np.where(ideal > 0, ideal, 1), empty_rows, "ndcg_at_k")


@document(check_scores, precision_at_k)
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
    entries = check_scores(y_true, y_score, sample_weight, missing_label)
    lowest = np.where(entries.positive, entries.values, np.inf).min(axis=1)
    depth = ((entries.values >= lowest[:, None]) & entries.known_mask()).sum(axis=1)
    return mean_over_samples(entries, depth.astype(np.float64), empty_rows, "coverage")


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
        Constants of the model; the defaults are those of the paper for most data sets.
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
    positive, known = positives_and_known(y_train, missing_label)
    n = np.full(positive.shape[1], len(positive)) if known is None else known.sum(axis=0)
    if n.min() < 3:
        raise ValueError(f"y_train must have 3 known entries or more a label, got {n.min()}.")
    C = (np.log(n) - 1) * (B + 1) ** A
    return 1 / (1 + C * (positive.sum(axis=0) + B) ** -A)


@document(check_scores, precision_at_k)
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
    >>> round(propensity_scored_precision_at_k(y, s, propensities=[0.5, 0.9, 0.25]), 12)
    0.5
    """
    entries = check_scores(y_true, y_score, sample_weight, missing_label)
    L = entries.shape[1]
    first_k = (np.arange(L) < check_k(k, L)) * 1.0
    p = check_per_label(propensities, L, label_names_in(y_true), "propensities")
    if p.shape != (L,) or not ((p > 0) & (p <= 1)).all():
        raise ValueError(
            f"propensities must have shape ({L},) with values in (0, 1], got shape {p.shape}."
        )
    gain = entries.positive / p
    reached = (_discounts_at(entries, first_k) * gain).sum(axis=1)
    best = top_values(gain, k).sum(axis=1)
    weight = entries.row_weight()
    if not entries.positive.any():
        return undefined("propensity_scored_precision_at_k", "no sample has a positive")
    return float(weight @ reached / (weight @ best))
