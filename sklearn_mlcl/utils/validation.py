"""The cells of a label matrix: which are positive, which are known, what a row weighs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from sklearn_mlcl.utils.targets import TargetFormat, strange_values, unknown_as_nan

_LABEL_MATRIX = TargetFormat("multilabel", np.arange(0), np.dtype(np.int64))


@dataclass(frozen=True)
class Cells:
    """Targets and scores (or decisions) of the same rows, checked; what weighs 0 is gone.

    Attributes
    ----------
    positive : ndarray of bool, shape (n, L)
        Known positives; False where the target is unknown.
    known : ndarray of bool, shape (n, L), or None
        None where every cell is known.
    values : ndarray, shape (n, L)
        float32 or float64 scores, or bool decisions.
    weight : ndarray of float64, shape (n,) or (n, L), or None
        Of the rows or of the cells; None for equal weights. A cell of weight 0 is not known.
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
        """Return the weight of every row, the mean over its known cells; shape (n,)."""
        if self.weight is None or self.weight.ndim == 1:
            return np.ones(self.shape[0]) if self.weight is None else self.weight
        known = self.known_mask()
        return (self.weight * known).sum(axis=1) / np.maximum(known.sum(axis=1), 1)

    def cell_weight(self) -> np.ndarray:
        """Return the weight of every cell, 0 where unknown; shape (n, L)."""
        weight = self.row_weight() if self.weight is None else self.weight
        return self.known_mask() * (weight[:, None] if weight.ndim == 1 else weight)

    def label_weight(self, label: int) -> np.ndarray | None:
        """Return the weights of the cells of one label, of shape (n,); None for equal weights."""
        if self.weight is None or self.weight.ndim == 1:
            return self.weight
        return self.weight[:, label]

    def label_sums(self, part: np.ndarray) -> np.ndarray:
        """Return the weight of some cells, a boolean (n, L), by label; shape (L,)."""
        if self.weight is None or self.weight.ndim == 1:
            return self.row_weight() @ part
        return np.einsum("il,il->l", self.weight, part)

    def rows(self, kept: slice | np.ndarray) -> Cells:
        """Return the cells of some rows."""
        known = None if self.known is None else self.known[kept]
        weight = None if self.weight is None else self.weight[kept]
        return Cells(self.positive[kept], known, self.values[kept], weight)

    def labels(self, kept: slice) -> Cells:
        """Return the cells of some labels."""
        known = None if self.known is None else self.known[:, kept]
        by_cell = self.weight is not None and self.weight.ndim == 2
        weight = self.weight[:, kept] if self.weight is not None and by_cell else self.weight
        return Cells(self.positive[:, kept], known, self.values[:, kept], weight)

    def column(self, label: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return positives, values and weights of the known rows of one label."""
        rows = slice(None) if self.known is None else self.known[:, label]
        weight = self.label_weight(label)
        return (
            self.positive[rows, label],
            self.values[rows, label],
            (np.ones(self.shape[0]) if weight is None else weight)[rows],
        )


def check_decisions(
    y_true: Any, y_pred: Any, sample_weight: Any = None, missing_label: float = np.nan
) -> Cells:
    """Check targets against decisions, an indicator matrix of 0 and 1."""
    decided, unknown = _positive_and_known(y_pred, "y_pred")
    if unknown is not None:
        raise ValueError("y_pred holds NaN; expected decisions of 0 and 1.")
    return _assemble(y_true, decided, "y_pred", sample_weight, missing_label)


def check_scores(
    y_true: Any, y_score: Any, sample_weight: Any = None, missing_label: float = np.nan
) -> Cells:
    """Check targets against real scores, kept in float32 where they came so."""
    scores = _as_scores(y_score)
    return _assemble(y_true, scores, "y_score", sample_weight, missing_label)


def check_probabilities(
    y_true: Any, y_proba: Any, sample_weight: Any = None, missing_label: float = np.nan
) -> Cells:
    """Check targets against probabilities."""
    cells = check_scores(y_true, y_proba, sample_weight, missing_label)
    if cells.values.min() < 0 or cells.values.max() > 1:
        raise ValueError(
            "y_proba must lie in [0, 1], got values from "
            f"{cells.values.min():g} to {cells.values.max():g}."
        )
    return cells


def check_weights(sample_weight: Any, n: int, n_labels: int) -> np.ndarray | None:
    """Return weights as float64 of shape (n,) or (n, n_labels), None for None."""
    if sample_weight is None:
        return None
    weight = np.asarray(sample_weight, dtype=np.float64)
    if weight.shape not in ((n,), (n, n_labels)):
        raise ValueError(
            f"sample_weight must have shape ({n},) or ({n}, {n_labels}), got {weight.shape}."
        )
    if not np.isfinite(weight).all() or (weight < 0).any():
        raise ValueError("sample_weight must be finite and not negative.")
    if not weight.any():
        raise ValueError("sample_weight is zero everywhere; expected a positive weight.")
    return weight


def positives_and_known(
    y: Any, missing_label: float = np.nan
) -> tuple[np.ndarray, np.ndarray | None]:
    """Split an indicator matrix with NaN into booleans: positive, and known (None: all)."""
    return _positive_and_known(unknown_as_nan(y, missing_label), "y_true")


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
        strange = strange_values(y[(y != 0) & (y != 1)])
        raise ValueError(f"{name} must hold 0 and 1 (NaN where unknown), {strange}")
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


def _assemble(
    y_true: Any, values: np.ndarray, name: str, sample_weight: Any, missing_label: float
) -> Cells:
    positive, known = positives_and_known(y_true, missing_label)
    if positive.shape != values.shape or 0 in positive.shape:
        raise ValueError(
            f"y_true and {name} must have one shape (n_samples, n_labels), got "
            f"{positive.shape} and {values.shape}."
        )
    weight = check_weights(sample_weight, *positive.shape)
    if weight is None or weight.all():
        return Cells(positive, known, values, weight)
    if weight.ndim == 1:
        return Cells(positive, known, values, weight).rows(np.flatnonzero(weight))
    known = weight > 0 if known is None else known & (weight > 0)
    kept = np.flatnonzero(weight.any(axis=1))
    return Cells(positive & known, known, values, weight).rows(kept)
