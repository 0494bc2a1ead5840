"""Spellings of 0 and 1, and the check that labels hold nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np

TRUTH = {"true": 1, "false": 0, "1": 1, "0": 0, "1.0": 1, "0.0": 0}


def as_indicator(Y: Any) -> Any:
    """Labels as int64 (float64 where cells are missing), dense or CSR as they came.

    int64 because scikit-learn's `label_binarize` works in the dtype of Y, which overflows for
    8-bit integers and more than 256 labels.
    """
    values = np.asarray(Y if isinstance(Y, np.ndarray) else Y.data, dtype=np.float64)
    missing = np.isnan(values)
    if not (missing | (values == 0) | (values == 1)).all():
        raise ValueError("the labels hold entries other than 0, 1 and NaN")
    return Y.astype(np.float64 if missing.any() else np.int64)
