"""The best threshold that all labels share, exact, by a sweep over blocks of sorted scores."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sklearn_mlcl.metrics._decisions import (
    CountScore,
    exact_of_counts,
    f1_of_counts,
    jaccard_of_counts,
)
from sklearn_mlcl.thresholds._curves import best_cut, cut_above, last_argmax, midpoints, sweep
from sklearn_mlcl.utils.chunking import chunks
from sklearn_mlcl.utils.validation import LabelEntries

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
