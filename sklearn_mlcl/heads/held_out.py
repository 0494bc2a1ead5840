"""What a fit says of samples that it held out: kept, to score and to choose thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sklearn_mlcl.heads.blend import Judgement
from sklearn_mlcl.metrics import average_precision, f1_macro, f1_micro, f1_samples
from sklearn_mlcl.thresholds import tune_thresholds
from sklearn_mlcl.utils.probabilities import sigmoid

#: Scores of decisions on held-out samples.
SCORES = {"f1_micro": f1_micro, "f1_macro": f1_macro, "f1_samples": f1_samples}


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
        """Return the threshold of all labels that is best by an objective."""
        common = tune_thresholds(
            self.Y,
            self.probabilities,
            objective=objective,
            per_label=False,
            sample_weight=self.sample_weight,
        )
        return float(common[0])

    def scores(self, threshold: Any, kind: str) -> dict[str, float]:
        """Return the log loss, mAP, and the F1 scores of decisions at a threshold.

        For classes that exclude one another, of 1-D targets, log loss and accuracy.
        """
        p, weight = self.probabilities, self.sample_weight
        decisions = (p >= threshold).astype(int)
        judgement = Judgement.of(self.Y, weight, np.ones(p.shape[1], dtype=bool))
        found = {"log_loss": judgement.log_loss(self.log_odds)}
        if kind != "multilabel":
            right = p.argmax(axis=1) == np.nan_to_num(self.Y).argmax(axis=1)
            if kind == "binary":
                right = (p[:, 0] >= threshold) == (self.Y[:, 0] == 1)
            return found | {"accuracy": float(np.average(right, weights=weight))}
        found["average_precision"] = average_precision(self.Y, p, sample_weight=weight)
        return found | {
            name: score(self.Y, decisions, sample_weight=weight) for name, score in SCORES.items()
        }
