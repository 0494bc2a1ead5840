"""Rows with labels that depend on them, of any size; and what the fits are compared on."""

from __future__ import annotations

from typing import Any

import numpy as np

#: One net of two layers that predicts by its head alone, and chooses nothing: what the peers are,
#: too.
SINGLE: dict[str, Any] = {
    "hidden_layer_sizes": (256, 256),
    "n_estimators": 1,
    "neighbor_weight": 0.0,
    "linear_weight": 0.0,
    "validation": None,
    "random_state": 0,
}
#: What the defaults do to rows, units and weights while training, off: the peers have none of it.
UNREGULARISED: dict[str, Any] = {
    "dropout": 0.0,
    "feature_noise": 0.0,
    "net_params": {"mixup": 0.0, "schedule": "constant"},
}


def label_rows(n: int, d: int, L: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return float32 features (n, d) and labels (n, L) of uneven frequency, uint8."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d), dtype=np.float32)
    directions = rng.standard_normal((d, L), dtype=np.float32) / np.float32(np.sqrt(d))
    offset = rng.standard_normal(L, dtype=np.float32) - 1.5
    return X, (X @ directions + offset > 0).astype(np.uint8)
