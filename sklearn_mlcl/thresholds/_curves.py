"""What each threshold of one label accepts: the sweep over its sorted scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from sklearn_mlcl.utils.validation import LabelEntries


@dataclass(frozen=True)
class Sweep:
    """Thresholds of one label at which a positive joins the accepted samples, ascending.

    Every objective here falls when a negative joins. So its best threshold is one of these, or the
    last, which accepts nothing.

    Attributes
    ----------
    cuts : ndarray of float64, shape (m + 1,)
        Halfway between the lowest accepted score and the next lower one; the last is inf.
    hits, accepted : ndarray of float64, shape (m + 1,)
        Weight of the positives, and of all samples, at or above each cut.
    """

    cuts: np.ndarray
    hits: np.ndarray
    accepted: np.ndarray

    @property
    def positives(self) -> float:
        """Weight of all positives."""
        return float(self.hits[0])


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
    return Sweep(np.append(cuts, np.inf), np.append(hits, 0.0), np.append(accepted, 0.0))


def last_argmax(values: np.ndarray) -> int:
    """Return the index of the maximum; among equals the last, the highest threshold."""
    return len(values) - 1 - int(values[::-1].argmax())


def best_cut(
    objective: str, positive: np.ndarray, scores: np.ndarray, weight: np.ndarray | None
) -> float:
    """Return the best threshold of one label, or of all entries as if they were one label.

    It is inf if accepting nothing is best, and NaN if no threshold is better than another.
    """
    if objective == "cardinality":
        return _cardinality_cut(positive, scores, weight)
    curve = sweep(positive, scores, weight)
    if objective == "accuracy":
        return curve.cuts[_best_at_price(curve, 1.0)]
    if curve.positives == 0:
        return np.nan
    return curve.cuts[last_argmax(2 * curve.hits / (curve.accepted + curve.positives))]


def _best_at_price(curve: Sweep, price: float) -> int:
    """Index of the highest 2 hits - price * accepted: for price 1, of the most right entries."""
    return last_argmax(2 * curve.hits - price * curve.accepted)


def _cardinality_cut(positive: np.ndarray, scores: np.ndarray, weight: np.ndarray | None) -> float:
    """Threshold that accepts the weight nearest to that of the positives; the highest on a draw."""
    if len(scores) == 0:
        return np.nan
    met = np.unique(scores)
    accepted, _, _ = weight_from(scores, weight, met)
    wanted = positive.sum() if weight is None else weight[positive].sum()
    at = last_argmax(-np.abs(np.append(accepted, 0.0) - wanted))
    return np.inf if at == len(met) else float(midpoints(met[at], met[max(at - 1, 0)]))


def micro_f1_cuts(entries: LabelEntries) -> np.ndarray:
    r"""Thresholds per label of the highest micro-F1, exact; inf for a label best never predicted.

    Micro-F1 is a ratio of sums over labels, :math:`2 \sum_l h_l / \sum_l (a_l + P_l)`. For a guess
    :math:`\lambda` of the best ratio, :math:`\sum_l 2 h_l - \lambda (a_l + P_l)` splits over the
    labels.
    The ratio at its maximum is the next guess. The guesses rise strictly to the optimum in a few
    rounds (Dinkelbach, "On nonlinear fractional programming", Management Science 1967).
    """
    sweeps = [sweep(*column) for column in entries.columns()]
    positives = sum(curve.positives for curve in sweeps)
    if positives == 0:
        return np.full(len(sweeps), np.nan)
    ratio, better = -1.0, 0.0
    while better > ratio:
        ratio = better
        chosen = [(curve, _best_at_price(curve, ratio)) for curve in sweeps]
        hits = sum(curve.hits[at] for curve, at in chosen)
        accepted = sum(curve.accepted[at] for curve, at in chosen)
        better = 2 * hits / (accepted + positives)
    return np.array([curve.cuts[at] for curve, at in chosen])
