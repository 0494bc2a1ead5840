"""The scores that a fit reports of the samples that it held out."""

from __future__ import annotations

from typing import Any

import numpy as np

from sklearn_mlcl.metrics._decisions import f1_macro, f1_micro, f1_samples
from sklearn_mlcl.metrics._probabilities import average_precision, multilabel_log_loss

#: Scores of decisions.
DECISION_SCORES = {"f1_micro": f1_micro, "f1_macro": f1_macro, "f1_samples": f1_samples}


def held_out_scores(
    Y: Any,
    probabilities: np.ndarray,
    threshold: float | np.ndarray,
    sample_weight: np.ndarray | None = None,
) -> dict[str, float]:
    """Return log loss, mAP, and the F1 scores of decisions at a threshold.

    Parameters
    ----------
    Y : ndarray or CSR of shape (n, L)
        Indicator matrix; NaN entries do not count.
    probabilities : ndarray of shape (n, L)
        Probabilities of samples that had no part in the fit.
    threshold : float or ndarray of shape (L,)
        A label is decided positive from this probability on.
    sample_weight : ndarray of shape (n,) or (n, L), default=None
        Weights of the samples or of the entries.

    Returns
    -------
    scores : dict of str to float
        ``log_loss``, ``average_precision``, ``f1_micro``, ``f1_macro``, ``f1_samples``.
    """
    decided = (probabilities >= threshold).astype(int)
    return {
        "log_loss": multilabel_log_loss(Y, probabilities, sample_weight=sample_weight),
        "average_precision": average_precision(Y, probabilities, sample_weight=sample_weight),
        **{name: f(Y, decided, sample_weight=sample_weight) for name, f in DECISION_SCORES.items()},
    }
