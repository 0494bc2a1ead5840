"""Exact thresholds by sweeps over sorted scores: of each label, and one that all labels share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from sklearn_mlcl.metrics._decisions import (
    CountScore,
    exact_of_counts,
    f1_of_counts,
    jaccard_of_counts,
)
from sklearn_mlcl.utils.samples import chunks
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


# ---------------------------------------------------------------------- one cut for all labels

Events = Iterator[tuple[np.ndarray, np.ndarray]]
# Scores of a sample from its numbers of hits, accepted and true labels.
ROW_SCORES: dict[str, CountScore] = {
    "f1_samples": f1_of_counts,
    "jaccard": jaccard_of_counts,
    "subset_accuracy": exact_of_counts,
}
ENTRIES_PER_BLOCK = 2**16  # what a few arrays of float64 may hold within a core's cache
#: Share of the best micro-F1 that a threshold may give up for macro-F1.
GIVEN_UP = 0.01


def common_cut(entries: LabelEntries, objective: str) -> float:
    """Return the threshold that is best for all labels at once; the highest among equals."""
    if objective == "f1_macro" or objective in ROW_SCORES:
        cut = _event_cut(entries, objective)
    else:
        cut = best_cut(objective, *_as_one_label(entries))
    return cut if np.isfinite(cut) else float(cut_above(entries.values))


def balanced_cut(entries: LabelEntries) -> float:
    """Return the best threshold for macro-F1 among those almost best for micro-F1.

    The maximum of micro-F1 is flat: many thresholds lie within ``GIVEN_UP`` of it. Which of them is
    the best is little more than noise for micro-F1, but not for the mean over labels.
    """
    curve = sweep(*_as_one_label(entries))
    if curve.positives == 0:
        return float(cut_above(entries.values))
    micro = (2 * curve.hits / (curve.accepted + curve.positives))[:-1]
    # The positives' scores are also the ends of the steps of macro-F1.
    macro = _event_values(entries, np.unique(entries.values[entries.positive]), "f1_macro")
    allowed = micro >= (1 - GIVEN_UP) * micro.max()
    return float(curve.cuts[last_argmax(np.where(allowed, macro, -np.inf))])


def _as_one_label(entries: LabelEntries) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return whether each known entry is positive, its score and its weight."""
    known = slice(None) if entries.known is None else entries.known.ravel()
    weight = None if entries.weight is None else entries.entry_weight().ravel()[known]
    return entries.positive.ravel()[known], entries.values.ravel()[known], weight


def _event_cut(entries: LabelEntries, objective: str) -> float:
    """Best threshold of a mean of scores of labels or of samples.

    NaN without a positive, inf if accepting nothing is best.
    """
    met = np.unique(entries.values[entries.positive])
    if len(met) == 0:
        return np.nan
    value = _event_values(entries, met, objective)
    best = last_argmax(value)
    if value[best] <= 0:
        return np.inf
    return float(midpoints(met[best], _next_lower(entries, met[best])))


def _event_values(entries: LabelEntries, met: np.ndarray, objective: str) -> np.ndarray:
    """Return the sum of scores of labels or of samples at each threshold of ``met``.

    As the threshold falls, entries join one by one. Each changes the score of its own sample or
    label by an amount that depends on the order within it alone. So the objective at every
    threshold is a running sum of changes, in the order of all scores.
    """
    changes = np.zeros(len(met) + 1)
    events = _label_events(entries) if objective == "f1_macro" else _row_events(entries, objective)
    for scores, change in events:
        np.add.at(changes, np.searchsorted(met, scores, side="right"), change)
    return np.cumsum(changes[:0:-1])[::-1]


def _label_events(entries: LabelEntries) -> Events:
    """Scores of each label in falling order, and the change of its F1 as each sample joins."""
    for y, s, w in entries.columns():
        worth = np.ones(len(y)) if w is None else w
        if worth[y].any():
            yield _events(s[None], y[None], worth[None], f1_of_counts)


def _row_events(entries: LabelEntries, objective: str) -> Events:
    """Scores of each block, and the weighted change of a sample's score as each entry joins."""
    for part in chunks(entries.shape[0], max(1, ENTRIES_PER_BLOCK // entries.shape[1])):
        block = entries.take(part)
        known = block.known_mask().astype(np.float64)
        scores, change = _events(block.values, block.positive, known, ROW_SCORES[objective])
        yield scores, change * np.repeat(block.row_weight(), entries.shape[1])


def _events(
    scores: np.ndarray, positive: np.ndarray, worth: np.ndarray, score: CountScore
) -> tuple[np.ndarray, np.ndarray]:
    """Scores of each row from the highest down, and the change of `score` as each entry joins."""
    order = np.argsort(-scores, axis=1)
    worth = np.take_along_axis(worth, order, axis=1)
    hits = np.cumsum(worth * np.take_along_axis(positive, order, axis=1), axis=1)
    accepted, positives = np.cumsum(worth, axis=1), hits[:, -1:]
    nothing = score(0 * positives, 0 * positives, positives)
    change = np.diff(score(hits, accepted, positives), axis=1, prepend=nothing)
    return np.take_along_axis(scores, order, axis=1).ravel(), change.ravel()


def _next_lower(entries: LabelEntries, score: float) -> float:
    """Highest known score below `score`, or `score` if there is none."""
    below = entries.values < score
    if entries.known is not None:
        below &= entries.known
    lower = entries.values.max(axis=None, where=below, initial=-np.inf)
    return float(lower) if np.isfinite(lower) else float(score)
