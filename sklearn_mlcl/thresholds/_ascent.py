"""Thresholds per label for objectives that do not split over labels: coordinate ascent."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sklearn_mlcl.metrics._decisions import CountScore
from sklearn_mlcl.thresholds._sweeps import cut_above, last_argmax, midpoints
from sklearn_mlcl.utils.validation import LabelEntries

# Gains of the mean score of the samples: below the first is rounding, a round below the second
# is the last.
ROUNDING, NEGLIGIBLE = 1e-12, 1e-6
Objective = Callable[[np.ndarray], float]


class RowState:
    """Decisions, their counts by sample, and the best threshold of one label given the others."""

    def __init__(self, entries: LabelEntries, cuts: np.ndarray, score: CountScore) -> None:
        self.positive = np.ascontiguousarray(entries.positive.T)
        self.known = np.ascontiguousarray(entries.known_mask().T)
        self.scores = np.ascontiguousarray(entries.values.T)
        self.weight = entries.row_weight()
        self.score = score
        self.decided = (self.scores >= cuts[:, None]) & self.known
        self.positives = self.positive.sum(axis=0)
        self.accepted = self.decided.sum(axis=0)
        self.hits = (self.decided & self.positive).sum(axis=0)

    def improve(self, label: int) -> tuple[float, float]:
        """Move one label to its best threshold; return it and the gain (0: it stays)."""
        rows = np.flatnonzero(self.known[label])
        scores = self.scores[label, rows]
        gain = self._gain_of_accepting(label, rows)
        order = np.argsort(-scores, kind="stable")
        ranked = scores[order]
        ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)[: len(ranked)])
        total = np.append(0.0, np.cumsum(gain[order])[ends])
        best = int(total.argmax())
        current = gain[self.decided[label, rows]].sum()
        gained = (total[best] - current) / self.weight.sum()
        if gained <= ROUNDING:
            return np.nan, 0.0
        cut = np.inf
        if best > 0:
            end = ends[best - 1]
            cut = float(midpoints(ranked[end], ranked[min(end + 1, len(ranked) - 1)]))
        decided = (self.scores[label] >= cut) & self.known[label]
        change = decided.astype(np.int64) - self.decided[label]
        self.accepted += change
        self.hits += change * self.positive[label]
        self.decided[label] = decided
        return cut, gained

    def _gain_of_accepting(self, label: int, rows: np.ndarray) -> np.ndarray:
        y, decided = self.positive[label, rows], self.decided[label, rows]
        hits = self.hits[rows] - (decided & y)
        accepted = self.accepted[rows] - decided
        with_it = self.score(hits + y, accepted + 1, self.positives[rows])
        return self.weight[rows] * (with_it - self.score(hits, accepted, self.positives[rows]))


def row_ascent(
    entries: LabelEntries, start: float, score: CountScore, max_passes: int
) -> np.ndarray:
    """Raise a mean score of the samples label by label, from a common cut, while a round gains.

    Each move is the exact best for its label with the others held, so the result is never below
    the start. At the end no single threshold can be moved to advantage. There may be better sets
    of thresholds.
    """
    cuts = np.full(entries.shape[1], start)
    state = RowState(entries, cuts, score)
    for _ in range(max_passes):
        gains = np.zeros(len(cuts))
        for label in range(len(cuts)):
            cut, gains[label] = state.improve(label)
            if gains[label] > 0:
                cuts[label] = cut
        if gains.sum() < NEGLIGIBLE:
            break
    return cuts


def grid_of(scores: np.ndarray, size: int) -> np.ndarray:
    """Thresholds between the distinct scores, thinned evenly to `size`, and one above all."""
    met = np.unique(scores)
    if len(met) == 0:
        return met
    cuts = midpoints(met, np.append(met[:1], met[:-1]))
    at = np.unique(np.linspace(0, len(cuts) - 1, min(size, len(cuts))).round().astype(int))
    return np.append(cuts[at], cut_above(met))


def common_grid_cut(entries: LabelEntries, value_of: Objective, size: int) -> float:
    """Best common threshold on a grid, for an objective known only by its values."""
    grid = grid_of(entries.values[entries.known_mask()], size)
    values = np.array([value_of(np.full(entries.shape[1], cut)) for cut in grid])
    if np.isnan(values).all():
        raise ValueError("objective returned NaN at every common threshold; expected a number.")
    return float(grid[last_argmax(np.where(np.isnan(values), -np.inf, values))])


def grid_ascent(
    entries: LabelEntries, start: float, value_of: Objective, size: int, max_passes: int
) -> np.ndarray:
    """Coordinate ascent from a common cut, on a grid per label; every move raises the objective."""
    cuts = np.full(entries.shape[1], start)
    value = value_of(cuts)
    for _ in range(max_passes):
        before = value
        for label, (_, scores, _) in enumerate(entries.columns()):
            for cut in grid_of(scores, size):
                trial = np.where(np.arange(len(cuts)) == label, cut, cuts)
                if (raised := value_of(trial)) > value:
                    cuts, value = trial, raised
        if value == before:
            break
    return cuts
