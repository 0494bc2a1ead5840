"""The cells of a label matrix: which are positive, which are known, what a row weighs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from sklearn_mlcl._targets import TargetFormat

_LABEL_MATRIX = TargetFormat("multilabel", np.arange(0), np.dtype(np.int64))


@dataclass(frozen=True)
class Cells:
    """Targets and scores (or decisions) of the same rows, checked; rows of weight 0 are gone.

    Attributes
    ----------
    positive : ndarray of bool, shape (n, L)
        Known positives; False where the target is unknown.
    known : ndarray of bool, shape (n, L), or None
        None where every cell is known.
    values : ndarray, shape (n, L)
        float32 or float64 scores, or bool decisions.
    weight : ndarray of float64, shape (n,), or None
        None for equal weights.
    """

    positive: np.ndarray
    known: np.ndarray | None
    values: np.ndarray
    weight: np.ndarray | None

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of rows and labels."""
        return self.positive.shape[0], self.positive.shape[1]

    def known_mask(self) -> np.ndarray:
        """Return ``known`` as an array in any case."""
        return np.ones(self.shape, dtype=bool) if self.known is None else self.known

    def row_weight(self) -> np.ndarray:
        """Return ``weight`` as an array in any case."""
        return np.ones(self.shape[0]) if self.weight is None else self.weight

    def cell_weight(self) -> np.ndarray:
        """Return the weight of every cell, 0 where unknown; shape (n, L)."""
        return self.known_mask() * self.row_weight()[:, None]

    def rows(self, kept: slice | np.ndarray) -> Cells:
        """Return the cells of some rows."""
        known = None if self.known is None else self.known[kept]
        weight = None if self.weight is None else self.weight[kept]
        return Cells(self.positive[kept], known, self.values[kept], weight)

    def column(self, label: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return positives, values and weights of the known rows of one label."""
        rows = slice(None) if self.known is None else self.known[:, label]
        return (
            self.positive[rows, label],
            self.values[rows, label],
            self.row_weight()[rows],
        )


def check_decisions(y_true: Any, y_pred: Any, sample_weight: Any = None) -> Cells:
    """Check targets against decisions, an indicator matrix of 0 and 1."""
    decided, unknown = _positive_and_known(y_pred, "y_pred")
    if unknown is not None:
        raise ValueError("y_pred holds NaN; expected decisions of 0 and 1.")
    return _assemble(y_true, decided, "y_pred", sample_weight)


def check_scores(y_true: Any, y_score: Any, sample_weight: Any = None) -> Cells:
    """Check targets against real scores, kept in float32 where they came so."""
    scores = _as_scores(y_score)
    return _assemble(y_true, scores, "y_score", sample_weight)


def check_probabilities(y_true: Any, y_proba: Any, sample_weight: Any = None) -> Cells:
    """Check targets against probabilities."""
    cells = check_scores(y_true, y_proba, sample_weight)
    if cells.values.min() < 0 or cells.values.max() > 1:
        raise ValueError(
            "y_proba must lie in [0, 1], got values from "
            f"{cells.values.min():g} to {cells.values.max():g}."
        )
    return cells


def check_weights(sample_weight: Any, n: int) -> np.ndarray | None:
    """Return weights as float64 of shape (n,), None for None."""
    if sample_weight is None:
        return None
    weight = np.asarray(sample_weight, dtype=np.float64)
    if weight.shape != (n,):
        raise ValueError(f"sample_weight must have shape ({n},), got {weight.shape}.")
    if not np.isfinite(weight).all() or (weight < 0).any():
        raise ValueError("sample_weight must be finite and not negative.")
    if not weight.any():
        raise ValueError("sample_weight is zero for every row; expected a positive weight.")
    return weight


def positives_and_known(y: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Split an indicator matrix with NaN into booleans: positive, and known (None: all)."""
    return _positive_and_known(y, "y_true")


def _positive_and_known(y: Any, name: str) -> tuple[np.ndarray, np.ndarray | None]:
    if not sp.issparse(y) and np.ndim(y) == 1:
        y = np.asarray(y).reshape(-1, 1)
    if isinstance(y, np.ndarray) and not np.ma.isMaskedArray(y) and y.dtype.kind in "bui":
        return _positive_of_integers(y, name), None
    matrix: Any = _LABEL_MATRIX.indicator(y)
    Y = matrix.toarray() if sp.issparse(matrix) else matrix
    unknown = np.isnan(Y)
    return Y == 1, ~unknown if unknown.any() else None


def _positive_of_integers(y: np.ndarray, name: str) -> np.ndarray:
    if y.ndim != 2 or y.size == 0:
        raise ValueError(f"{name} must have shape (n_samples, n_labels), got {y.shape}.")
    if y.min() < 0 or y.max() > 1:
        raise ValueError(
            f"{name} must hold 0 and 1 (NaN where unknown), got values from {y.min()} to {y.max()}."
        )
    return y.astype(bool, copy=False)


def _as_scores(y_score: Any) -> np.ndarray:
    scores = y_score.toarray() if sp.issparse(y_score) else np.asarray(y_score)
    if scores.ndim == 1:
        scores = scores.reshape(-1, 1)
    if scores.dtype not in (np.float32, np.float64):
        scores = scores.astype(np.float64)
    if not np.isfinite(scores).all():
        raise ValueError("y_score holds NaN or inf; expected finite scores.")
    return scores


def _assemble(y_true: Any, values: np.ndarray, name: str, sample_weight: Any) -> Cells:
    positive, known = _positive_and_known(y_true, "y_true")
    if positive.shape != values.shape or 0 in positive.shape:
        raise ValueError(
            f"y_true and {name} must have one shape (n_samples, n_labels), got "
            f"{positive.shape} and {values.shape}."
        )
    weight = check_weights(sample_weight, len(positive))
    cells = Cells(positive, known, values, weight)
    return cells if weight is None or weight.all() else cells.rows(weight > 0)
