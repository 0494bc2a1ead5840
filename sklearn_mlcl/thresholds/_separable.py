"""Exact thresholds per label: macro-F1, cell accuracy and cardinality; micro-F1 by ratios."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sklearn_mlcl._cells import Cells
from sklearn_mlcl.thresholds._curves import (
    Sweep,
    columns,
    last_argmax,
    midpoints,
    sweep,
    weight_from,
)


def best_f1_cut(curve: Sweep) -> float:
    """Cut of the highest F1; NaN for a label without a positive, which says nothing."""
    if len(curve.cuts) == 0:
        return np.nan
    return curve.cuts[last_argmax(2 * curve.hits / (curve.accepted + curve.positives))]


def best_linear_cut(curve: Sweep, price: float = 1.0) -> float:
    """Cut of the highest 2 hits - price * accepted; inf where accepting nothing is as good.

    With price 1 this is the number of right cells, up to a constant.
    """
    gain = 2 * curve.hits - price * curve.accepted
    if len(gain) == 0 or gain.max() <= 0:
        return np.inf
    return curve.cuts[last_argmax(gain)]


def cuts_by_label(cells: Cells, best_cut: Callable[[Sweep], float]) -> np.ndarray:
    """Search every label on its own; shape (L,)."""
    return np.array([best_cut(sweep(*column)) for column in columns(cells)])


def micro_f1_cuts(cells: Cells) -> np.ndarray:
    r"""Thresholds per label of the highest micro-F1, exact; inf where a label is best left out.

    Micro-F1 is a ratio of sums over labels, :math:`2 \sum_l h_l / \sum_l (a_l + P_l)`. For a
    guess :math:`\lambda` of the best ratio, :math:`\sum_l 2 h_l - \lambda (a_l + P_l)` splits over
    labels; the ratio at its maximum is the next guess. Guesses rise strictly to the optimum
    (Dinkelbach, "On nonlinear fractional programming", Management Science 1967), in a few rounds.
    """
    sweeps = [sweep(*column) for column in columns(cells)]
    positives = sum(curve.positives for curve in sweeps)
    if positives == 0:
        return np.full(len(sweeps), np.nan)
    ratio, better = -1.0, 0.0
    while better > ratio:
        ratio = better
        hits, accepted = np.sum([_at_price(curve, ratio) for curve in sweeps], axis=0)
        better = 2 * hits / (accepted + positives)
    return np.array([best_linear_cut(curve, ratio) for curve in sweeps])


def _at_price(curve: Sweep, price: float) -> tuple[float, float]:
    gain = 2 * curve.hits - price * curve.accepted
    if len(gain) == 0 or gain.max() <= 0:
        return 0.0, 0.0
    at = last_argmax(gain)
    return curve.hits[at], curve.accepted[at]


def cardinality_of(positive: np.ndarray, scores: np.ndarray, weight: np.ndarray | None) -> float:
    """Threshold that accepts the weight nearest to the positives'; the highest on a draw."""
    if len(scores) == 0:
        return np.nan
    met = np.unique(scores)
    accepted, _, _ = weight_from(scores, weight, met)
    wanted = positive.sum() if weight is None else weight[positive].sum()
    at = last_argmax(-np.abs(np.append(accepted, 0.0) - wanted))
    if at == len(met):
        return np.inf
    return float(midpoints(met[at], met[max(at - 1, 0)]))


def cardinality_cuts(cells: Cells) -> np.ndarray:
    """Thresholds that accept, of each label, as much weight as it has positives."""
    return np.array([cardinality_of(*column) for column in columns(cells)])
