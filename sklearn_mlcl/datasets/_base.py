"""The one form in which every set is handed over: rows of a subset, frames, Bunch or (X, Y)."""

from __future__ import annotations

import bz2
import gzip
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike, fspath
from typing import IO, Any

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


OPENERS = {".gz": gzip.open, ".bz2": bz2.open}


def name_of(source: Any) -> str:
    """Name of a path or file object for messages."""
    return str(getattr(source, "name", source if isinstance(source, str | PathLike) else "input"))


@contextmanager
def open_text(source: str | PathLike[str] | IO[Any]) -> Iterator[IO[str]]:
    """Text of a path (`.gz` and `.bz2` are unpacked), or of a file object, which stays open."""
    if isinstance(source, str | PathLike):
        path = fspath(source)
        opener: Any = next((o for end, o in OPENERS.items() if path.endswith(end)), open)
        with opener(path, "rt", encoding="utf-8") as file:
            yield file
    elif isinstance(source, io.TextIOBase):
        yield source
    elif hasattr(source, "read"):
        text = io.TextIOWrapper(source, encoding="utf-8")
        try:
            yield text
        finally:
            text.detach()
    else:
        raise TypeError(f"Expected a path or a file object, got {type(source).__name__}.")


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
