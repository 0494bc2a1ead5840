"""Targets of every allowed kind: the one reader of label matrices, and names of labels."""

from __future__ import annotations

import warnings
from collections.abc import Hashable
from numbers import Integral, Real
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.utils.validation import assert_all_finite, column_or_1d
from torch import Tensor

from sklearn_mlcl.utils.samples import canonical, chunks

Indicator: TypeAlias = np.ndarray | sp.csr_array
CHECKED_AT_ONCE = 2**18  # entries whose values are looked at together


def missing_as_nan(y: Any, missing_label: float = np.nan) -> Any:
    """Return targets with NaN where they hold ``missing_label`` or are masked.

    Other targets come back as they are. NaN itself always marks a missing label. No other function
    knows of another mark.

    Raises
    ------
    ValueError
        If ``missing_label`` is neither NaN nor a finite number other than 0 and 1.
    """
    if not isinstance(missing_label, Real) or missing_label in (0, 1, np.inf, -np.inf):
        raise ValueError(
            f"missing_label must be NaN or a finite number other than 0 and 1, got "
            f"{missing_label!r}."
        )
    if np.ma.isMaskedArray(y):
        masked = np.ma.getmaskarray(y).any()
        y = np.ma.filled(y.astype(np.float64), np.nan) if masked else y.data
    if missing_label != missing_label:
        return y
    if sp.issparse(y):
        labels = sp.csr_array(y, dtype=np.float64, copy=True)
        labels.sum_duplicates()
        labels.data[labels.data == missing_label] = np.nan
        return labels
    if is_label_sets(y) or (values := as_array(y)).dtype.kind in "bSU":
        return y
    coded = values == missing_label
    if not coded.any():
        return y
    values = values if values.dtype.kind in "iuf" else values.astype(np.float64)
    return np.where(coded, np.float32(np.nan), values)


def as_label_matrix(y: Any, missing_label: float = np.nan, name: str = "y") -> Indicator:
    """Read a label matrix: the one place that knows in which forms it can come.

    Parameters
    ----------
    y : array-like, DataFrame, masked array or sparse matrix of shape (n, L)
        Entries 0, 1 and NaN, ``missing_label``, ``pd.NA`` or a mask for a missing label.
    missing_label : float
        What marks a missing label beside NaN.
    name : str
        How messages call ``y``.

    Returns
    -------
    ndarray or csr_array of shape (n, L)
        Entries 0, 1 and NaN in a boolean, integer or floating dtype, that of ``y`` where it is one
        of them. Sparse input becomes CSR without explicit zeros. ``y`` itself is not copied if it
        has that form already, so do not write into the answer.

    Raises
    ------
    ValueError
        For other entries or another shape; the message says what came and what is expected.
    """
    y = missing_as_nan(y, missing_label)
    if sp.issparse(y):
        Y = canonical(sp.csr_array(y))
    else:
        try:
            Y = as_array(y)
            if Y.dtype.kind == "c":
                raise TypeError("they are complex")
            Y = Y if Y.dtype.kind in "buif" else Y.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"Unknown label type: the entries of {name} are not numbers. Expected an indicator "
                "matrix of 0 and 1, NaN for missing labels; sklearn.preprocessing."
                "MultiLabelBinarizer makes one of lists of label names."
            ) from error
    if Y.ndim != 2 or Y.shape[1] == 0:
        raise ValueError(f"{name} must have shape (n_samples, n_labels >= 1), got {Y.shape}.")
    check_indicator_values(Y.data if sp.issparse(Y) else Y, name)
    return Y


def compact(Y: Indicator) -> Indicator:
    """Return a matrix of 0, 1 and NaN as a fit keeps it: boolean, or dense float32 with NaN.

    Missing labels are rare in CSR, and NaN is no zero to leave out.
    """
    values: Any = Y.data if sp.issparse(Y) else Y
    if not has_nan(values):
        return Y.astype(bool, copy=False)
    Y = Y.astype(np.float32, copy=False)
    return Y if isinstance(Y, np.ndarray) else Y.toarray()


def has_nan(values: np.ndarray) -> bool:
    """Return whether an array holds NaN; a mask is made for a block at a time."""
    if values.dtype.kind != "f":
        return False
    values = np.atleast_1d(values)
    entries_a_row = max(1, int(np.prod(values.shape[1:])))
    blocks = chunks(len(values), max(1, CHECKED_AT_ONCE // entries_a_row))
    return any(bool(np.isnan(values[block]).any()) for block in blocks)


def check_indicator_values(values: Any, name: str = "y") -> None:
    """Refuse entries other than 0, 1 and NaN, of an array or a tensor.

    Masks are made for a block at a time, never for all entries.
    """
    entries_a_row = max(1, int(np.prod(values.shape[1:])))
    for part in chunks(len(values), max(1, CHECKED_AT_ONCE // entries_a_row)):
        block = values[part]
        allowed = (block == 0) | (block == 1) | (block != block)
        if allowed.all():
            continue
        strange = sorted({float(value) for value in block[~allowed].tolist()})[:5]
        hint = "."
        if len(strange) == 1:
            code = f"{strange[0]:g}"
            hint = f". If {code} marks missing labels, pass missing_label={code}."
        raise ValueError(
            f"Unknown label type: {name} must hold 0, 1 and NaN (a missing label) only, got also "
            f"{strange}{hint}"
        )


def as_1d_target(y: Any, name: str = "y") -> np.ndarray:
    """Return 1-D classes as an array of numbers or strings, whatever library they come from.

    A column vector is raveled with scikit-learn's warning.

    Raises
    ------
    ValueError
        For label sets, missing values, infinity, and objects that are no strings.
    """
    values = y if is_label_sets(y) else column_or_1d(as_array(y), warn=True)
    if is_label_sets(values):
        raise ValueError(
            f"{name} looks like a list of label sets; expected an indicator matrix of shape "
            "(n_samples, n_labels). Use sklearn.preprocessing.MultiLabelBinarizer to make one."
        )
    others = [v for v in values if not isinstance(v, str)] if values.dtype.kind == "O" else []
    if (values.dtype.kind in "fc" and np.isnan(values).any()) or any(map(_is_missing, others)):
        raise ValueError(
            f"Input {name} contains NaN: only label matrices have missing labels. Drop the samples "
            "without a class."
        )
    if others:
        raise ValueError(
            f"Unknown label type: {name} is an array of objects and holds {others[0]!r} of type "
            f"{type(others[0]).__name__}. Expected strings only, or numbers in a numeric dtype."
        )
    assert_all_finite(values, input_name=name)
    return values


def one_hot(y: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return a column for each class, or one for the second of two; all of y are in classes."""
    columns = np.array([1]) if len(classes) == 2 else np.arange(len(classes))
    indicator: np.ndarray = np.searchsorted(classes, y)[:, None] == columns
    return indicator


def holds_strings(y: Any) -> bool:
    """Return whether y is 1-D, or a column, and holds strings, which are classes."""
    if sp.issparse(y) or is_label_sets(y):
        return False
    values = as_array(y)
    return values.ndim in (1, 2) and values.size == len(values) and _holds_strings(values.ravel())


def _holds_strings(values: np.ndarray) -> bool:
    is_object = values.dtype.kind == "O"
    return values.dtype.kind == "U" or (is_object and any(isinstance(v, str) for v in values))


def _is_missing(value: Any) -> bool:
    """Whether an object is None, NaN, NaT or pd.NA."""
    return value is None or type(value).__name__ == "NAType" or bool(np.all(value != value))


def is_label_sets(y: Any) -> bool:
    """Return whether y is a sequence of label sets, as MultiLabelBinarizer takes them."""
    rows = isinstance(y, (list, tuple)) or (isinstance(y, np.ndarray) and y.dtype == object)
    if not rows or len(y) == 0:
        return False
    if any(isinstance(row, (set, frozenset)) for row in y):
        return True
    sizes = {len(row) if isinstance(row, (list, tuple, np.ndarray)) else None for row in y}
    return len(sizes) > 1


def as_array(values: Any) -> np.ndarray:
    """Return a plain array of numbers, or of objects where there are others.

    Columns of pandas' own dtypes (nullable, categories, strings, Arrow) get the dtype of their
    values, floating with NaN where one is missing. A torch tensor may be on any device.
    """
    if isinstance(values, Tensor):
        values = values.detach().cpu().to_dense()
        values = values.float() if values.dtype == torch.bfloat16 else values
    if not hasattr(values, "iloc"):
        array = np.asarray(values)
        return array.astype(object) if array.dtype.kind == "T" else array
    found = set(np.ravel(values.dtypes))
    if all(isinstance(dtype, np.dtype) for dtype in found):
        return np.asarray(values)
    plain = {_dtype_of_values(dtype) for dtype in found}
    if any(dtype.kind not in "biuf" for dtype in plain):
        return np.asarray(values, dtype=object)
    if np.any(values.isna()):
        return values.to_numpy(dtype=np.float64, na_value=np.nan)
    return values.to_numpy(dtype=np.result_type(*plain))


def _dtype_of_values(dtype: Any) -> np.dtype:
    if isinstance(dtype, np.dtype):
        return dtype
    if hasattr(dtype, "categories"):
        return _dtype_of_values(dtype.categories.dtype)
    return np.dtype(dtype.type)


# ---------------------------------------------------------------------- names of labels


def label_names_in(y: Any) -> np.ndarray | None:
    """Return the column names of a DataFrame as an array of objects; None for anything else."""
    columns = getattr(y, "columns", None)
    return None if columns is None else np.fromiter(columns, dtype=object, count=len(columns))


def check_label_names(known: Any, given: Any, name: str = "y") -> None:
    """Refuse names other than those known, or in another order: labels go by their place.

    Parameters
    ----------
    known, given : sequence or None
        Names of the labels. None is that of an array, which goes with any. The numbers 0, 1, ...,
        the default of a DataFrame, go with any but the same numbers in another order.
    name : str
        How the message calls what has the names given.

    Raises
    ------
    ValueError
        If the names differ; the message says both. Names of another number are left to the checks
        of shapes.
    """
    if known is None or given is None:
        return
    expected, got, numbers = list(known), list(given), list(range(len(known)))
    if len(expected) != len(got) or _are_equal(expected, got):
        return
    for names, others in ((expected, got), (got, expected)):
        if names == numbers and not _is_permutation(others):
            return
    place = next(k for k, pair in enumerate(zip(expected, got, strict=True)) if pair[0] != pair[1])
    raise ValueError(
        f"The labels of {name} must have the same names in the same order: expected "
        f"{_listed(expected)}, got {_listed(got)}. The first to differ is number {place}."
    )


def label_places(keys: Any, names: Any, n_labels: int, name: str = "labels") -> list[int]:
    """Return the numbers of labels that are called by name, as it is or as text, or by number.

    A name comes first: a number is that of a label only where no label has it as its name.

    Raises
    ------
    ValueError
        If there is no such label, or several have the name.
    """
    own = [] if names is None else list(names)
    by_name: dict[Any, list[int]] = {}
    by_text: dict[str, list[int]] = {}
    for k, label in enumerate(own):
        by_name.setdefault(label, []).append(k)
        by_text.setdefault(str(label), []).append(k)

    def place(key: Any) -> int:
        named = by_name.get(key) if isinstance(key, Hashable) else None
        found = named or by_text.get(str(key)) or []
        is_number = isinstance(key, Integral) and not isinstance(key, bool)
        if not found and is_number and 0 <= key < n_labels:
            found = [int(key)]
        if len(found) == 1:
            return found[0]
        expected = f"a number from 0 to {n_labels - 1}"
        expected += "" if not own else f" or one of the names {_listed(own)}"
        if found:
            raise ValueError(
                f"{name} names {key!r}, which is the name of the labels {found}; call these by "
                "number, or rename them."
            )
        raise ValueError(f"{name}: there is no label {key!r}; expected {expected}.")

    return [place(key) for key in keys]


def _are_equal(names: list[Any], others: list[Any]) -> bool:
    """Whether names are equal; where one side has texts only, those of the other side count."""
    if names == others:
        return True
    of_text = any(all(isinstance(x, str) for x in each) for each in (names, others))
    return of_text and [str(x) for x in names] == [str(x) for x in others]


def _is_permutation(names: list[Any]) -> bool:
    return all(isinstance(x, Integral) for x in names) and sorted(names) == list(range(len(names)))


def _listed(names: list[Any]) -> str:
    shown = [x.item() if isinstance(x, np.generic) else x for x in names[:20]]
    return f"[{', '.join(map(repr, shown))}{', ...' if len(names) > 20 else ''}]"


def warn_constant_labels(constant: np.ndarray, names: np.ndarray | None) -> None:
    """Warn once about labels that show one value only."""
    if not constant.any():
        return
    shown = np.flatnonzero(constant) if names is None else names[constant]
    listed = ", ".join(str(label) for label in shown[:10]) + (" ..." if len(shown) > 10 else "")
    warnings.warn(
        f"{len(shown)} of {len(constant)} labels have a single value in the training samples and "
        f"are predicted by a constant: {listed}.",
        UserWarning,
        stacklevel=3,
    )
