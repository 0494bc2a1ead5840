"""The one entrance to the threshold search."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from sklearn_mlcl.thresholds._ascent import common_grid_cut, grid_ascent, row_ascent
from sklearn_mlcl.thresholds._objectives import METRICS, value_at
from sklearn_mlcl.thresholds._sweeps import (
    ROW_SCORES,
    balanced_cut,
    best_cut,
    common_cut,
    cut_above,
    micro_f1_cuts,
)
from sklearn_mlcl.utils.docstrings import document
from sklearn_mlcl.utils.parameters import AT_LEAST_1, STRENGTH_OR_0, check_arguments
from sklearn_mlcl.utils.targets import label_names_in
from sklearn_mlcl.utils.validation import LabelEntries, check_per_label, check_scores

Objective = str | Callable[..., float]
OBJECTIVES = tuple(METRICS)


@document(check_scores)
def tune_thresholds(
    y_true: Any,
    y_score: Any,
    *,
    objective: Objective = "f1_micro",
    per_label: bool = True,
    shrinkage: float = 0.0,
    sample_weight: Any = None,
    missing_label: float = np.nan,
    grid_size: int = 100,
    max_passes: int = 20,
) -> np.ndarray:
    r"""Thresholds on the scores of held-out samples that maximise an objective.

    A label is predicted if its score is at least its threshold, which is on the scale of the
    scores. The classifier should not have been fitted on these samples.

    ==================  ==========================================  =============================
    objective           what is maximised                           thresholds per label
    ==================  ==========================================  =============================
    "f1_macro"          mean F1 of the labels with a positive       exact, label by label
    "f1_micro"          F1 of all entries                           exact, by ratios (Dinkelbach)
    "accuracy"          Hamming accuracy, share of right entries    exact, label by label
    "cardinality"       agreement in the number of positives        exact, label by label
    "f1_samples"        mean F1 of the samples                      coordinate ascent
    "jaccard"           mean Jaccard index of the samples           coordinate ascent
    "subset_accuracy"   share of samples without a wrong label      coordinate ascent
    callable            its value                                   coordinate ascent on a grid
    "auto"              macro-F1 where micro-F1 is almost best      none
    ==================  ==========================================  =============================

    "auto" takes the thresholds with at least 99 % of the best micro-F1. Of these it takes the one
    with the best macro-F1. It is a common threshold, so it needs ``per_label=False``.

    A common threshold (``per_label=False``) is exact for every named objective. Coordinate ascent
    starts from the best common threshold and moves one label at a time to the best threshold
    given the others. So the result is never below the best common threshold. The ascent ends when
    a round over all labels raises the mean by less than 1e-6.

    Parameters
    ----------
    <y_true>
    <y_score>
    objective : str or callable, default="f1_micro"
        A name of the table, a metric or a scorer; greater is better. A metric is
        ``objective(y_true, y_pred)`` of two indicator matrices. A scorer is
        ``objective(estimator, X, y)`` and asks for ``predict``, as those of
        :func:`sklearn_mlcl.metrics.get_scorer` and :func:`sklearn.metrics.get_scorer` do. It gets
        ``sample_weight`` if that is given.
    per_label : bool, default=True
        Whether each label gets its own threshold.
    shrinkage : float, default=0.0
        Moves rare labels towards the common threshold :math:`t` (see Returns). A label with
        positives of weight :math:`m` gets :math:`(m t_l + k t) / (m + k)` with :math:`k` this
        value. The guarantees of the objective hold for 0.
    <sample_weight>
    <missing_label>
    grid_size : int, default=100
        For a callable only: number of the distinct scores that are tried for each label.
    max_passes : int, default=20
        Largest number of rounds of coordinate ascent.

    Returns
    -------
    thresholds : ndarray of float64, shape (L,)
        Each is halfway between two neighbouring scores, the highest among equally good ones. All
        are equal with ``per_label=False``. A label without a positive gets the common threshold,
        for "f1_macro" that of "f1_micro". So does a label that is best never predicted, but its
        threshold is also above all its scores.

    Raises
    ------
    ValueError
        If shapes differ, entries of ``y_true`` are not 0, 1 or NaN, all are missing, or scores are
        not finite. For an unknown objective, "auto" per label, or parameters out of range.

    References
    ----------
    .. [1] Lipton, Elkan and Naryanaswamy, "Optimal thresholding of classifiers to maximize F1
       measure", ECML PKDD 2014.
    .. [2] Dinkelbach, "On nonlinear fractional programming", Management Science 13(7), 1967.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_mlcl.thresholds import tune_thresholds
    >>> Y = np.array([[1, 0], [1, 1], [0, 0], [0, 0]])
    >>> scores = np.array([[0.4, 0.1], [0.3, 0.8], [0.2, 0.6], [0.1, 0.5]])
    >>> tune_thresholds(Y, scores, objective="f1_macro")
    array([0.25, 0.7 ])
    >>> tune_thresholds(Y, scores, objective="f1_macro", per_label=False)
    array([0.25, 0.25])
    """
    check_arguments("tune_thresholds", per_label=(per_label, "boolean"))
    automatic = isinstance(objective, str) and objective == "auto"
    if automatic and per_label:
        raise ValueError("objective='auto' is a common threshold: it needs per_label=False.")
    _check_parameters("f1_micro" if automatic else objective, shrinkage, grid_size, max_passes)
    entries = check_scores(y_true, y_score, sample_weight, missing_label)
    if entries.known is not None and not entries.known.any():
        raise ValueError("y_true holds no known entry (all are missing); expected some 0 or 1.")
    if automatic:
        return np.full(entries.shape[1], balanced_cut(entries))
    common = partial(_common_cut, entries, objective, grid_size)
    if not per_label:
        return np.full(entries.shape[1], common())
    # The optimum of micro-F1 is quicker to find than that of macro-F1.
    shared = partial(common_cut, entries, "f1_micro") if objective == "f1_macro" else common
    if callable(objective):
        value_of = value_at(entries, objective)
        cuts = grid_ascent(entries, common(), value_of, grid_size, max_passes)
    elif objective in ROW_SCORES:
        cuts = row_ascent(entries, common(), ROW_SCORES[objective], max_passes)
    elif objective == "f1_micro":
        cuts = micro_f1_cuts(entries)
    else:
        cuts = np.array([best_cut(objective, *column) for column in entries.columns()])
    return _shrunk(entries, cuts, shared, shrinkage)


def _common_cut(entries: LabelEntries, objective: Objective, grid_size: int) -> float:
    if isinstance(objective, str):
        return common_cut(entries, objective)
    return common_grid_cut(entries, value_at(entries, objective), grid_size)


@document(check_scores, tune_thresholds)
def threshold_score(
    y_true: Any,
    y_score: Any,
    thresholds: Any,
    *,
    objective: Objective = "f1_micro",
    sample_weight: Any = None,
    missing_label: float = np.nan,
) -> float:
    """Value of an objective of :func:`tune_thresholds` at given thresholds.

    Parameters
    ----------
    <y_true>
    <y_score>
    thresholds : float or array-like of shape (L,)
        A label is positive if its score is at least its threshold.
    <objective>
    <sample_weight>
    <missing_label>

    Returns
    -------
    value : float
        For "cardinality" the negative difference of the mean numbers of labels of a sample.

    Raises
    ------
    ValueError
        As in :func:`tune_thresholds`.

    Examples
    --------
    >>> from sklearn_mlcl.thresholds import threshold_score
    >>> threshold_score(
    ...     [[1, 0], [1, 1]], [[0.4, 0.1], [0.3, 0.8]], 0.5, objective="accuracy"
    ... )
    0.5
    """
    _check_parameters(objective)
    entries = check_scores(y_true, y_score, sample_weight, missing_label)
    n_labels = entries.shape[1]
    cuts = check_per_label(thresholds, n_labels, label_names_in(y_true), "thresholds")
    if np.isnan(cuts).any():
        raise ValueError(f"thresholds must hold numbers, got {thresholds!r}.")
    return value_at(entries, objective)(np.broadcast_to(cuts, n_labels))


def _shrunk(
    entries: LabelEntries, cuts: np.ndarray, shared_cut: Callable[[], float], shrinkage: float
) -> np.ndarray:
    """Fill labels without a threshold of their own; pull rare ones to the common threshold.

    NaN marks a label without evidence, inf one that is best never predicted.
    """
    if np.isfinite(cuts).all() and shrinkage == 0:
        return cuts
    shared = shared_cut()
    cuts = np.where(np.isnan(cuts), shared, cuts)
    cuts = np.where(np.isinf(cuts), np.maximum(cut_above(entries.values, axis=0), shared), cuts)
    if shrinkage == 0:
        return cuts
    evidence = entries.label_sums(entries.positive)
    return (evidence * cuts + shrinkage * shared) / (evidence + shrinkage)


def _check_parameters(
    objective: Objective, shrinkage: float = 0.0, grid_size: int = 1, max_passes: int = 1
) -> None:
    if not callable(objective) and objective not in OBJECTIVES:
        raise ValueError(f"objective must be one of {OBJECTIVES} or callable, got {objective!r}.")
    check_arguments(
        "tune_thresholds",
        shrinkage=(shrinkage, STRENGTH_OR_0),
        grid_size=(grid_size, AT_LEAST_1),
        max_passes=(max_passes, AT_LEAST_1),
    )
