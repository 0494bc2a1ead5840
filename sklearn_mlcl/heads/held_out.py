"""What a fit says of samples that it held out: kept, to score and to choose thresholds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sklearn_mlcl.metrics import multilabel_log_loss
from sklearn_mlcl.metrics._held_out import held_out_scores
from sklearn_mlcl.thresholds import tune_thresholds
from sklearn_mlcl.utils.probabilities import sigmoid


@dataclass(frozen=True)
class HeldOut:
    """Log-odds of samples by what never saw them.

    Attributes
    ----------
    log_odds : ndarray of shape (n, L)
        Of the blend in force.
    Y : ndarray of shape (n, L)
        Their labels, NaN where an entry is not judged.
    sample_weight : ndarray of shape (n,) or (n, L), or None
        Their weights.
    samples : ndarray of shape (n,) or None
        Their numbers among the samples that ``fit`` was given; None if they came as ``X_val``.
    n_given : int
        Number of samples that ``fit`` was given.
    """

    log_odds: np.ndarray
    Y: np.ndarray
    sample_weight: np.ndarray | None
    samples: np.ndarray | None
    n_given: int
    #: Thresholds that were searched for, by objective.
    _cuts: dict[str, float] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def probabilities(self) -> np.ndarray:
        """Probabilities (n, L)."""
        return sigmoid(self.log_odds)

    def of_given(self) -> np.ndarray:
        """Return probabilities (n_given, L) of the samples of the fit, NaN where not held out."""
        table = np.full((self.n_given, self.Y.shape[1]), np.nan, dtype=self.log_odds.dtype)
        if self.samples is not None:
            table[self.samples] = self.probabilities
        return table

    def tuned(self, objective: str) -> float:
        """Return the threshold of all labels that is best by an objective; searched for once."""
        if objective not in self._cuts:
            common = tune_thresholds(
                self.Y,
                self.probabilities,
                objective=objective,
                per_label=False,
                sample_weight=self.sample_weight,
            )
            self._cuts[objective] = float(common[0])
        return self._cuts[objective]

    def scores(self, threshold: Any, kind: str) -> dict[str, float]:
        """Return the scores of the probabilities, and of decisions at a threshold.

        See :func:`~sklearn_mlcl.metrics._held_out.held_out_scores`. For classes that exclude one
        another, of 1-D targets, log loss and accuracy.
        """
        p, weight = self.probabilities, self.sample_weight
        if kind == "multilabel":
            return held_out_scores(self.Y, p, threshold, weight)
        if kind == "binary":
            right = (p[:, 0] >= threshold) == (self.Y[:, 0] == 1)
        else:
            right = p.argmax(axis=1) == np.nan_to_num(self.Y).argmax(axis=1)
        return {
            "log_loss": multilabel_log_loss(self.Y, p, sample_weight=weight),
            "accuracy": float(np.average(right, weights=weight)),
        }
