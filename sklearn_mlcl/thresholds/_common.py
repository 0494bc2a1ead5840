"""The best threshold that all labels share, exact, by a sweep over blocks of sorted scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from sklearn_mlcl.metrics._decisions import exact_of_counts, f1_of_counts, jaccard_of_counts
from sklearn_mlcl.thresholds._curves import (
    best_f1_cut,
    best_linear_cut,
    cardinality_of,
    columns,
    cut_above,
    last_argmax,
    midpoints,
    sweep,
)
from sklearn_mlcl.utils.validation import Cells

RowScore = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
Events = Iterator[tuple[np.ndarray, np.ndarray]]
# Scores of a row from its numbers of hits, accepted and true labels.
ROW_SCORES: dict[str, RowScore] = {
    "f1_samples": f1_of_counts,
    "jaccard": jaccard_of_counts,
    "subset_accuracy": exact_of_counts,
}
# Objectives of all cells as if they were one label.
_POOLED: dict[str, Callable[..., float]] = {
    "f1_micro": lambda *cells: best_f1_cut(sweep(*cells)),
    "accuracy": lambda *cells: best_linear_cut(sweep(*cells)),
    "cardinality": cardinality_of,
}
CELLS_PER_BLOCK = 1 << 16  # what a few arrays of float64 may hold within a core's cache


def common_cut(cells: Cells, objective: str) -> float:
    """Return the threshold that is best for all labels at once; the highest among equals."""
    if objective in _POOLED:
        cut = _POOLED[objective](*_pooled(cells))
    else:
        cut = _event_cut(cells, objective)
    return cut if np.isfinite(cut) else float(cut_above(cells.values))


def _pooled(cells: Cells) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Positives, scores and weights of all known cells."""
    known = slice(None) if cells.known is None else cells.known.ravel()
    weight = None
    if cells.weight is not None:
        weight = cells.cell_weight().ravel()[known]
    return cells.positive.ravel()[known], cells.values.ravel()[known], weight


def _event_cut(cells: Cells, objective: str) -> float:
    """Best threshold of a mean of label or row scores; NaN without a positive, inf for nothing.

    As the threshold falls, cells join one by one. Each changes the score of its own row or label
    by an amount that the order within that row or label fixes; so the objective at every
    threshold is a running sum of changes in the order of all scores.
    """
    met = np.unique(cells.values[cells.positive])
    if len(met) == 0:
        return np.nan
    changes = np.zeros(len(met) + 1)
    events = _label_events(cells) if objective == "f1_macro" else _row_events(cells, objective)
    for scores, change in events:
        np.add.at(changes, np.searchsorted(met, scores, side="right"), change)
    value = np.cumsum(changes[:0:-1])[::-1]
    best = last_argmax(value)
    if value[best] <= 0:
        return np.inf
    return float(midpoints(met[best], _next_lower(cells, met[best])))


def _label_events(cells: Cells) -> Events:
    """Scores of each label in falling order, and the change of its F1 as each row joins."""
    for y, s, w in columns(cells):
        worth = np.ones(len(y)) if w is None else w
        if worth[y].any():
            yield _events(s[None], y[None], worth[None], f1_of_counts)


def _row_events(cells: Cells, objective: str) -> Events:
    """Scores of each block of rows, and the weighted change of a row's score as each cell joins."""
    rows = max(1, CELLS_PER_BLOCK // cells.shape[1])
    for start in range(0, cells.shape[0], rows):
        block = cells.rows(slice(start, start + rows))
        known = block.known_mask().astype(np.float64)
        scores, change = _events(block.values, block.positive, known, ROW_SCORES[objective])
        yield scores, change * np.repeat(block.row_weight(), cells.shape[1])


def _events(
    scores: np.ndarray, positive: np.ndarray, worth: np.ndarray, score: RowScore
) -> tuple[np.ndarray, np.ndarray]:
    """Scores of each row from the highest down, and the change of `score` as each cell joins."""
    order = np.argsort(-scores, axis=1)
    worth = np.take_along_axis(worth, order, axis=1)
    hits = np.cumsum(worth * np.take_along_axis(positive, order, axis=1), axis=1)
    accepted, positives = np.cumsum(worth, axis=1), hits[:, -1:]
    nothing = score(0 * positives, 0 * positives, positives)
    change = np.diff(score(hits, accepted, positives), axis=1, prepend=nothing)
    return np.take_along_axis(scores, order, axis=1).ravel(), change.ravel()


def _next_lower(cells: Cells, score: float) -> float:
    """Highest known score below `score`, or `score` if there is none."""
    below = cells.values < score
    if cells.known is not None:
        below &= cells.known
    lower = cells.values.max(axis=None, where=below, initial=-np.inf)
    return float(lower) if np.isfinite(lower) else float(score)
