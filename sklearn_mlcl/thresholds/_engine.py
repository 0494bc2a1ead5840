"""The one entrance to the threshold search."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import numpy as np

from sklearn_mlcl.thresholds._ascent import common_grid_cut, grid_ascent, row_ascent
from sklearn_mlcl.thresholds._common import ROW_SCORES, common_cut
from sklearn_mlcl.thresholds._curves import (
    best_f1_cut,
    best_linear_cut,
    cardinality_cuts,
    cut_above,
    cuts_by_label,
    micro_f1_cuts,
)
from sklearn_mlcl.thresholds._objectives import METRICS, value_at
from sklearn_mlcl.utils.validation import Cells, check_scores

Objective = str | Callable[..., float]
OBJECTIVES = tuple(METRICS)

_EXACT: dict[str, Callable[[Cells], np.ndarray]] = {
    "f1_macro": lambda cells: cuts_by_label(cells, best_f1_cut),
    "accuracy": lambda cells: cuts_by_label(cells, best_linear_cut),
    "f1_micro": micro_f1_cuts,
    "cardinality": cardinality_cuts,
}


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
    r"""Thresholds for scores of held-out rows that make an objective largest.

    A label is decided positive where its score is at least its threshold. Scores should come from
    rows that the classifier was not fitted on.

    ==================  ==========================================  =============================
    objective           what is maximised                           thresholds per label
    ==================  ==========================================  =============================
    "f1_macro"          mean F1 of the labels with a positive       exact, label by label
    "f1_micro"          F1 of all cells                             exact, by ratios (Dinkelbach)
    "accuracy"          Hamming accuracy: the share of right cells  exact, label by label
    "cardinality"       agreement in the number of positives        exact, label by label
    "f1_samples"        mean F1 of the rows                         coordinate ascent
    "jaccard"           mean Jaccard index of the rows              coordinate ascent
    "subset_accuracy"   share of the rows without a wrong label     coordinate ascent
    callable            its value                                   coordinate ascent on a grid
    ==================  ==========================================  =============================

    A common threshold (``per_label=False``) is exact for every named objective. Coordinate ascent
    starts from the best common threshold and moves one label at a time to the best threshold
    given the others, so that the objective never falls: the result is never below the best common
    threshold. It ends when a round over all labels raises the mean by less than 1e-6.

    Parameters
    ----------
    y_true : {ndarray, DataFrame, sparse matrix} of shape (n, L)
        Indicator matrix of 0 and 1, NaN where unknown: such cells count for nothing.
    y_score : array-like of shape (n, L)
        Finite scores on any scale, float32 or float64; the thresholds are on the same scale.
    objective : str or callable, default="f1_micro"
        A name of the table; a metric ``objective(y_true, y_pred)`` of two indicator matrices; or a
        scorer ``objective(estimator, X, y)`` that asks for ``predict``, such as one of
        :func:`sklearn_mlcl.metrics.get_scorer` or :func:`sklearn.metrics.get_scorer`. Greater is
        better. ``sample_weight`` is handed on if given.
    per_label : bool, default=True
        Whether each label gets its own threshold.
    shrinkage : float, default=0.0
        Pulls rare labels to the common threshold :math:`t` (as under Returns): a label with
        positives of weight :math:`m` gets :math:`(m t_l + k t) / (m + k)` with :math:`k` this
        value. The objective's guarantees hold for 0.
    sample_weight : array-like of shape (n,) or (n, L), default=None
        Weights of the rows or of the cells; a cell of weight 0 counts as unknown. An objective
        that averages over rows weighs a row by the mean over its known cells.
    missing_label : float, default=NaN
        What marks an unknown cell of ``y_true`` beside NaN, for example -1.
    grid_size : int, default=100
        For a callable only: how many of the distinct scores are tried, for each label.
    max_passes : int, default=20
        Bound on the rounds of coordinate ascent.

    Returns
    -------
    thresholds : ndarray of float64, shape (L,)
        Each halfway between two neighbouring scores, the highest among equally good ones; all
        equal with ``per_label=False``. A label that is best left out, or of which no positive is
        known, gets the common threshold (for "f1_macro" that of "f1_micro", which is quicker to
        find), or one just above its scores if that is higher.

    Raises
    ------
    ValueError
        For shapes that differ, entries of ``y_true`` other than 0, 1 and NaN, scores that are not
        finite, no known cell, an unknown objective, or parameters out of range.

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
    _check_parameters(objective, shrinkage, grid_size, max_passes)
    cells = check_scores(y_true, y_score, sample_weight, missing_label)
    if cells.known is not None and not cells.known.any():
        raise ValueError("y_true holds no known cell (all NaN); expected some 0 or 1.")
    search = _Search(cells, objective, grid_size, max_passes)
    if not per_label:
        return np.full(cells.shape[1], search.common())
    return _shrunk(cells, search.by_label(), search.shared, shrinkage)


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
    y_true : {ndarray, DataFrame, sparse matrix} of shape (n, L)
        Indicator matrix of 0 and 1, NaN where unknown: such cells count for nothing.
    y_score : array-like of shape (n, L)
        Finite scores on any scale, float32 or float64; the thresholds are on the same scale.
    thresholds : float or array-like of shape (L,)
        A score at its threshold or above it is a positive.
    objective : str or callable, default="f1_micro"
        A name of the table; a metric ``objective(y_true, y_pred)`` of two indicator matrices; or a
        scorer ``objective(estimator, X, y)`` that asks for ``predict``, such as one of
        :func:`sklearn_mlcl.metrics.get_scorer` or :func:`sklearn.metrics.get_scorer`. Greater is
        better. ``sample_weight`` is handed on if given.
    sample_weight : array-like of shape (n,) or (n, L), default=None
        Weights of the rows or of the cells; a cell of weight 0 counts as unknown. An objective
        that averages over rows weighs a row by the mean over its known cells.
    missing_label : float, default=NaN
        What marks an unknown cell of ``y_true`` beside NaN, for example -1.

    Returns
    -------
    value : float
        For "cardinality", less the distance of the mean numbers of labels a row.

    Raises
    ------
    ValueError
        As in :func:`tune_thresholds`.

    Examples
    --------
    >>> from sklearn_mlcl.thresholds import threshold_score
    >>> threshold_score([[1, 0], [1, 1]], [[0.4, 0.1], [0.3, 0.8]], 0.5, objective="accuracy")
    0.5
    """
    _check_parameters(objective)
    cells = check_scores(y_true, y_score, sample_weight, missing_label)
    return value_at(cells, objective)(np.broadcast_to(thresholds, cells.shape[1]))


class _Search:
    """One objective on one set of cells: the common threshold, and one per label."""

    def __init__(self, cells: Cells, objective: Objective, grid_size: int, max_passes: int) -> None:
        self.cells, self.objective = cells, objective
        self.grid_size, self.max_passes = grid_size, max_passes

    def common(self) -> float:
        if isinstance(self.objective, str):
            return common_cut(self.cells, self.objective)
        return common_grid_cut(self.cells, value_at(self.cells, self.objective), self.grid_size)

    def shared(self) -> float:
        """What a label without enough evidence gets or is pulled to."""
        if self.objective == "f1_macro":
            return common_cut(self.cells, "f1_micro")
        return self.common()

    def by_label(self) -> np.ndarray:
        """Thresholds per label; NaN for a label without evidence, inf for one best left out."""
        if isinstance(self.objective, str) and self.objective in _EXACT:
            return _EXACT[self.objective](self.cells)
        start = np.full(self.cells.shape[1], self.common())
        if isinstance(self.objective, str):
            return row_ascent(self.cells, start, ROW_SCORES[self.objective], self.max_passes)
        value_of = value_at(self.cells, self.objective)
        return grid_ascent(self.cells, start, value_of, self.grid_size, self.max_passes)


def _shrunk(
    cells: Cells, cuts: np.ndarray, shared_cut: Callable[[], float], shrinkage: float
) -> np.ndarray:
    """Fill labels without a threshold of their own; pull rare ones to the common threshold."""
    if np.isfinite(cuts).all() and shrinkage == 0:
        return cuts
    shared = shared_cut()
    cuts = np.where(np.isnan(cuts), shared, cuts)
    cuts = np.where(np.isinf(cuts), np.maximum(cut_above(cells.values, axis=0), shared), cuts)
    if shrinkage == 0:
        return cuts
    evidence = cells.label_sums(cells.positive)
    return (evidence * cuts + shrinkage * shared) / (evidence + shrinkage)


def _check_parameters(
    objective: Objective, shrinkage: float = 0.0, grid_size: int = 1, max_passes: int = 1
) -> None:
    if not callable(objective) and objective not in OBJECTIVES:
        raise ValueError(f"objective must be one of {OBJECTIVES} or callable, got {objective!r}.")
    if not isinstance(shrinkage, Real) or not 0 <= shrinkage < np.inf:
        raise ValueError(f"shrinkage must be a finite number >= 0, got {shrinkage!r}.")
    for name, value in (("grid_size", grid_size), ("max_passes", max_passes)):
        if not isinstance(value, Integral) or value < 1:
            raise ValueError(f"{name} must be an integer >= 1, got {value!r}.")
