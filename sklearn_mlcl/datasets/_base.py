"""What all readers share: reading labels, and the form in which a set is returned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.utils import Bunch

from sklearn_mlcl.utils.extras import import_extra
from sklearn_mlcl.utils.parameters import check_arguments

SUBSETS = {"train": "train_idx", "validation": "val_idx", "test": "test_idx"}
TRUTH = {"false": 0, "true": 1, "0": 0, "1": 1, "0.0": 0, "1.0": 1}


def as_indicator(Y: Any) -> Any:
    """Labels as int64, or as float64 where entries are missing (NaN); dense or CSR as they came.

    Strings may be 0, 1, FALSE and TRUE. The result is int64 because scikit-learn's
    `label_binarize` works in the dtype of Y, which overflows for 8-bit integers and more than 256
    labels.
    """
    values = Y.data if sp.issparse(Y) else np.asarray(Y)
    if values.dtype.kind in "OUS":
        spellings, index = np.unique(np.char.lower(values.astype(str)), return_inverse=True)
        strange = [spelling for spelling in spellings.tolist() if spelling not in TRUTH]
        if strange:
            raise ValueError(f"a label entry is {strange[0]!r}, expected TRUE or FALSE")
        Y = values = np.array([TRUTH[s] for s in spellings.tolist()])[index].reshape(values.shape)
    missing = np.isnan(values)
    if not (missing | (values == 0) | (values == 1)).all():
        raise ValueError("the labels hold entries other than 0, 1 and NaN")
    return Y.astype(np.float64 if missing.any() else np.int64)


def make_bunch(
    bunch: Bunch, *, subset: str = "all", return_X_y: bool = False, as_frame: bool = False
) -> Any:
    """Return a whole set in the form asked for: one subset, DataFrames, a Bunch or ``(X, Y)``.

    Every array of the set has one entry a sample, except the index arrays of the split. The index
    of a DataFrame is the number of the sample in the whole set.
    """
    samples = np.arange(bunch.data.shape[0])
    check_subset(subset)
    if subset != "all":
        samples = _samples_of(bunch, subset)
        whole, bunch = bunch, Bunch()
        for key in whole.keys() - SUBSETS.values():
            is_array = hasattr(whole[key], "shape")
            bunch[key] = whole[key][samples] if is_array else whole[key]
    kinds = {"return_X_y": (return_X_y, "boolean"), "as_frame": (as_frame, "boolean")}
    check_arguments("a reader", **kinds)
    if as_frame:
        bunch.data = _as_frame(bunch.data, bunch.feature_names, samples)
        bunch.target = _as_frame(bunch.target, bunch.target_names, samples)
    return (bunch.data, bunch.target) if return_X_y else bunch


def check_subset(subset: Any) -> None:
    """Raise unless there can be such a subset of a data set."""
    if not isinstance(subset, str) or subset not in ("all", *SUBSETS):
        raise ValueError(f"subset must be 'all' or one of {sorted(SUBSETS)}, got {subset!r}.")


def _samples_of(bunch: Bunch, subset: str) -> np.ndarray:
    if SUBSETS[subset] not in bunch:
        present = [name for name, key in SUBSETS.items() if key in bunch]
        raise ValueError(f"This set has no {subset!r} samples; it has {present or 'no split'}.")
    return bunch[SUBSETS[subset]]


def _as_frame(matrix: Any, names: Sequence[str], index: np.ndarray) -> Any:
    pd = import_extra("pandas", "as_frame=True", "plot")
    make = pd.DataFrame.sparse.from_spmatrix if sp.issparse(matrix) else pd.DataFrame
    return make(matrix, index=index, columns=names)
