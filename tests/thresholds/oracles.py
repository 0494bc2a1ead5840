"""Scores and labels of the searches for thresholds."""

from __future__ import annotations

import numpy as np

BY_ROWS = ("f1_samples", "jaccard", "subset_accuracy")


def random_case(seed, n=None, L=None, missing=None, lightest=0, dtype=np.float64):
    """Tied scores; missing entries and weights of quarters, from ``lightest`` on, by turns."""
    rng = np.random.default_rng(seed)
    n, L = n or int(rng.integers(4, 30)), L or int(rng.integers(1, 4))
    scores = (rng.integers(-8, 9, (n, L)) / 8).astype(dtype)
    Y = (rng.random((n, L)) < rng.random(L)).astype(float)
    Y[0] = 1
    if seed % 3 if missing is None else missing:
        Y[1:][rng.random((n - 1, L)) < 0.25] = np.nan
    weight = rng.integers(lightest, 5, n) / 4 if seed % 2 else None
    if weight is not None:
        weight[0] = 1
    return Y, scores, weight
