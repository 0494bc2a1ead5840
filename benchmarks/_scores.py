"""The scores that studies report: at threshold 0.5, at one tuned threshold, and mAP."""

from __future__ import annotations

import numpy as np

from sklearn_mlcl.metrics import average_precision
from sklearn_mlcl.metrics._probabilities import DECISION_SCORES
from sklearn_mlcl.thresholds import tune_thresholds


def best_common_thresholds(Y: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Return for every score the one threshold for all labels that makes it largest."""
    return {
        name: float(tune_thresholds(Y, probabilities, objective=name, per_label=False)[0])
        for name in DECISION_SCORES
    }


def scores(
    Y: np.ndarray, probabilities: np.ndarray, thresholds: dict[str, float]
) -> dict[str, float]:
    """Return mAP, every score at 0.5, and (``_tuned``) every score at its own threshold.

    Labels without a positive in Y count neither for mAP nor for macro-F1.
    """
    found = {"map": average_precision(Y, probabilities)}
    for name, score in DECISION_SCORES.items():
        found[name] = score(Y, (probabilities >= 0.5).astype(int))
        found[f"{name}_tuned"] = score(Y, (probabilities >= thresholds[name]).astype(int))
    return found
