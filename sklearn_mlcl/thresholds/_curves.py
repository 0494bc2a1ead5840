"""What each threshold of one label accepts: the sweep over its sorted scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from sklearn_mlcl.utils.validation import LabelEntries


@dataclass(frozen=True)
class Sweep:
    """Thresholds of one label at which a positive joins the accepted samples, ascending.

    Every objective here falls when a negative joins. So its best threshold is one of these, or
    accepts nothing.

    Attributes
    ----------
    cuts : ndarray of float64, shape (m,)
        Halfway between the lowest accepted score and the next lower one.
    hits, accepted : ndarray of float64, shape (m,)
        Weight of the positives, and of all samples, at or above each cut.
    positives : float
        Weight of all positives.
    """

    cuts: np.ndarray
    hits: np.ndarray
    accepted: np.ndarray
    positives: float


def midpoints(upper: ArrayLike, lower: ArrayLike) -> np.ndarray:
    """Halves between two scores, never rounded down onto the lower one."""
    high, low = np.asarray(upper, dtype=np.float64), np.asarray(lower, dtype=np.float64)
    middle = low + (high - low) / 2
    return np.where(middle > low, middle, high)


def cut_above(scores: np.ndarray, axis: int | None = None) -> np.ndarray:
    """Return the lowest threshold that no score reaches."""
    return np.nextafter(scores.max(axis=axis).astype(np.float64), np.inf)


def weight_from(
    scores: np.ndarray, weight: np.ndarray | None, cuts: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the weight of the scores >= each cut, the sorted scores, and the cuts' places."""
    if weight is None:
        ordered = np.sort(scores)
        at = np.searchsorted(ordered, cuts)
        return (len(scores) - at).astype(np.float64), ordered, at
    order = np.argsort(scores)
    ordered = scores[order]
    at = np.searchsorted(ordered, cuts)
    from_here = np.append(np.cumsum(weight[order][::-1])[::-1], 0.0)
    return from_here[at], ordered, at


def sweep(positive: np.ndarray, scores: np.ndarray, weight: np.ndarray | None) -> Sweep:
    """Sweep the threshold of one label over the distinct scores of its positives."""
    met = np.unique(scores[positive])
    hits, _, _ = weight_from(scores[positive], None if weight is None else weight[positive], met)
    accepted, ordered, at = weight_from(scores, weight, met)
    cuts = midpoints(met, ordered[np.maximum(at - 1, 0)])
    total = hits[0] if len(hits) else 0.0
    return Sweep(cuts, hits, accepted, float(total))


def last_argmax(values: np.ndarray) -> int:
    """Return the index of the maximum; among equals the last, the highest threshold."""
    return len(values) - 1 - int(values[::-1].argmax())


def best_f1_cut(curve: Sweep) -> float:
    """Cut of the highest F1; NaN for a label without a positive, which says nothing."""
    if len(curve.cuts) == 0:
        return np.nan
    return curve.cuts[last_argmax(2 * curve.hits / (curve.accepted + curve.positives))]


def best_linear_cut(curve: Sweep, price: float = 1.0) -> float:
    """Cut of the highest 2 hits - price * accepted; inf where accepting nothing is as good.

    With price 1 this is the number of right entries, up to a constant.
    """
    gain = 2 * curve.hits - price * curve.accepted
    if len(gain) == 0 or gain.max() <= 0:
        return np.inf
    return curve.cuts[last_argmax(gain)]


def cuts_by_label(entries: LabelEntries, best_cut: Callable[[Sweep], float]) -> np.ndarray:
    """Return the best cut (L,) of every label on its own."""
    return np.array([best_cut(sweep(*column)) for column in entries.columns()])


def micro_f1_cuts(entries: LabelEntries) -> np.ndarray:
    r"""Thresholds per label of the highest micro-F1, exact; inf where a label is best left out.

    Micro-F1 is a ratio of sums over labels, :math:`2 \sum_l h_l / \sum_l (a_l + P_l)`. For a
    guess :math:`\lambda` of the best ratio, :math:`\sum_l 2 h_l - \lambda (a_l + P_l)` splits over
    labels; the ratio at its maximum is the next guess. Guesses rise strictly to the optimum
    (Dinkelbach, "On nonlinear fractional programming", Management Science 1967), in a few rounds.
    """
    sweeps = [sweep(*column) for column in entries.columns()]
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


def cardinality_cuts(entries: LabelEntries) -> np.ndarray:
    """Thresholds that accept, of each label, as much weight as it has positives."""
    return np.array([cardinality_of(*column) for column in entries.columns()])
