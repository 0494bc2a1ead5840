"""The one form in which every set is handed over: rows of a subset, frames, Bunch or (X, Y)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.utils import Bunch

SUBSETS = {"train": "train_idx", "validation": "val_idx", "test": "test_idx"}


def numbered_names(stem: str, n: int) -> list[str]:
    return [f"{stem}{i}" for i in range(n)]


def _subset_rows(bunch: Bunch, subset: str) -> np.ndarray | None:
    """Row numbers of a subset; None for all rows."""
    if subset == "all":
        return None
    if subset not in SUBSETS:
        raise ValueError(f"subset must be 'all' or one of {sorted(SUBSETS)}, got {subset!r}.")
    if SUBSETS[subset] not in bunch:
        present = [name for name, key in SUBSETS.items() if key in bunch]
        raise ValueError(f"This set has no {subset!r} rows; it has {present or 'no split'}.")
    return bunch[SUBSETS[subset]]


def _as_frame(matrix: Any, names: Sequence[str], index: np.ndarray) -> Any:
    import pandas as pd

    frame: Any = pd.DataFrame
    make = frame.sparse.from_spmatrix if sp.issparse(matrix) else frame
    return make(matrix, index=index, columns=names)


def _take(bunch: Bunch, rows: np.ndarray, per_row: Sequence[str]) -> Bunch:
    """The bunch of the given rows: no index arrays, which would number the whole set."""
    kept = {k: v for k, v in bunch.items() if k not in SUBSETS.values()}
    return Bunch(**kept | {key: kept[key][rows] for key in per_row if key in kept})


def hand_over(
    bunch: Bunch,
    *,
    subset: str,
    return_X_y: bool,
    as_frame: bool,
    per_row: Sequence[str] = ("data", "target"),
) -> Any:
    """Cut a whole set down to a subset and give it the form asked for.

    `per_row` names the entries with one item per row. The frames' index is the row number in the
    whole set.
    """
    rows = _subset_rows(bunch, subset)
    index = np.arange(bunch.data.shape[0]) if rows is None else rows
    if rows is not None:
        bunch = _take(bunch, rows, per_row)
    if as_frame:
        bunch.data = _as_frame(bunch.data, bunch.feature_names, index)
        bunch.target = _as_frame(bunch.target, bunch.target_names, index)
    return (bunch.data, bunch.target) if return_X_y else bunch
