"""The numbers behind threshold curves: grids, scores on them, the thresholds that a fit chose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sklearn_mlcl._cells import Cells, check_scores
from sklearn_mlcl._response import METHODS
from sklearn_mlcl.inspection._labels import label_names_of, named_labels
from sklearn_mlcl.metrics._decisions import f1_of_counts
from sklearn_mlcl.thresholds import threshold_score
from sklearn_mlcl.thresholds._curves import columns, weight_from

OBJECTIVES = ("f1_micro", "f1_macro", "f1_samples")


@dataclass(frozen=True)
class ThresholdCurves:
    """What :class:`ThresholdCurveDisplay` shows; its parameters say what each entry is."""

    thresholds: np.ndarray
    scores: np.ndarray
    names: list[str]
    fitted: np.ndarray | None = None
    fitted_scores: np.ndarray | None = None
    named: np.ndarray | None = None


@dataclass(frozen=True)
class ScoredRows:
    """Targets, scores and weights as given, checked together, and a grid of thresholds."""

    y_true: Any
    y_score: Any
    sample_weight: Any
    n_thresholds: int

    def cells(self) -> Cells:
        """Return the checked cells; there must be a positive among them."""
        cells = check_scores(self.y_true, self.y_score, self.sample_weight)
        if not cells.positive.any():
            raise ValueError("y_true has no known positive: there is no curve.")
        return cells

    def score(self, thresholds: Any, objective: Any) -> float:
        """Return an objective at one threshold, or at one for each label."""
        return threshold_score(
            self.y_true,
            self.y_score,
            thresholds,
            objective=objective,
            sample_weight=self.sample_weight,
        )


def objective_curves(rows: ScoredRows, objective: Any, fitted: Any) -> ThresholdCurves:
    """Return one curve for each objective: all labels share the threshold."""
    objectives = OBJECTIVES if objective is None else objective
    if isinstance(objectives, str) or callable(objectives):
        objectives = (objectives,)
    names = [o if isinstance(o, str) else getattr(o, "__name__", str(o)) for o in objectives]
    cells = rows.cells()
    grid = threshold_grid(cells, rows.n_thresholds)
    scores = np.array([[rows.score(t, objective) for t in grid] for objective in objectives])
    if fitted is None:
        return ThresholdCurves(grid, scores, names)
    cuts = _by_label(fitted, cells.shape[1])
    reached = np.array([rows.score(cuts, objective) for objective in objectives])
    common = cuts[0] if (cuts == cuts[0]).all() else np.nan
    return ThresholdCurves(grid, scores, names, np.full(len(names), common), reached)


def label_curves(
    rows: ScoredRows, labels: Sequence[Any] | None, names: Sequence[str] | None, fitted: Any
) -> ThresholdCurves:
    """Return the F1 of every label against a threshold of its own."""
    cells = rows.cells()
    names = label_names_of(names, rows.y_true, cells.shape[1])
    positives = cells.label_sums(cells.positive)
    named = named_labels(labels, names, positives, positives > 0)
    grid = threshold_grid(cells, rows.n_thresholds)
    scores = _f1_by_label(cells, np.broadcast_to(grid, (len(names), len(grid))))
    if fitted is None:
        return ThresholdCurves(grid, scores, names, named=named)
    cuts = _by_label(fitted, len(names))
    reached = _f1_by_label(cells, cuts[:, None])[:, 0]
    return ThresholdCurves(grid, scores, names, cuts, reached, named)


def threshold_grid(cells: Cells, n_thresholds: int) -> np.ndarray:
    """Return thresholds between the extreme scores: half evenly spaced, half quantiles.

    The scores of rare labels crowd at the lower end, where even spacing would see no curve.
    """
    scores = cells.values[cells.known_mask()].astype(np.float64)
    even = np.linspace(scores.min(), scores.max(), (n_thresholds + 1) // 2)
    quantiles = np.quantile(scores, np.linspace(0, 1, n_thresholds // 2 + 2)[1:-1])
    return np.unique(np.concatenate([even, quantiles]))


def _by_label(thresholds: Any, n_labels: int) -> np.ndarray:
    cuts = np.asarray(thresholds, dtype=np.float64)
    if cuts.shape not in ((), (n_labels,)) or np.isnan(cuts).any():
        raise ValueError(
            f"fitted must be a number or hold {n_labels} of them, one a label; got {thresholds!r}."
        )
    return np.broadcast_to(cuts, n_labels)


def _f1_by_label(cells: Cells, cuts: np.ndarray) -> np.ndarray:
    """F1 of every label at its row of cuts (L, T); NaN without a known positive."""
    scores = np.full(cuts.shape, np.nan)
    for label, (positive, values, weight) in enumerate(columns(cells)):
        if not positive.any():
            continue
        worth = np.ones(len(positive)) if weight is None else weight
        accepted, _, _ = weight_from(values, worth, cuts[label])
        hits, _, _ = weight_from(values[positive], worth[positive], cuts[label])
        scores[label] = f1_of_counts(hits, accepted, worth[positive].sum())
    return scores


def fitted_thresholds(decider: Any) -> np.ndarray | None:
    """Return the threshold, or one per label, by which a classifier decides; None if by none."""
    decision = getattr(decider, "decision_", None)
    if decision is not None and decision.rule != "threshold":
        return None
    for attribute in ("thresholds_", "threshold_", "threshold"):
        value = getattr(decider, attribute, None)
        if value is not None and not isinstance(value, str):
            return np.asarray(value, dtype=np.float64)
    return None


def methods_cut_by(decider: Any) -> tuple[str, ...]:
    """Methods whose scores the thresholds of a classifier cut, the preferred one first."""
    return (decider._method,) if hasattr(decider, "thresholds_") else METHODS
