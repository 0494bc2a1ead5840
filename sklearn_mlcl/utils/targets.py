"""Targets of every allowed kind: the one reader of label matrices, and the way back."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from numbers import Real
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import assert_all_finite, column_or_1d

from sklearn_mlcl.utils.chunking import chunks

Indicator: TypeAlias = np.ndarray | sp.csr_array
CHECKED_AT_ONCE = 2**18  # entries whose values are looked at together


@dataclass(frozen=True)
class TargetFormat:
    """The form in which the targets came, which predictions take again.

    Attributes
    ----------
    kind : {"binary", "multiclass", "multilabel"}
        One column of 0/1 for binary, one-hot for multiclass, the matrix itself for multilabel.
    classes : ndarray
        Classes of 1-D targets; ``arange(L)`` for a label matrix.
    dtype : numpy.dtype
        The dtype of predictions.
    sparse : bool
        Whether predictions are CSR.
    label_names : ndarray of str or None
        Column names of a DataFrame of labels.
    missing_label : float
        What marks a missing label of a label matrix beside NaN.
    """

    kind: str
    classes: np.ndarray
    dtype: np.dtype
    sparse: bool = False
    label_names: np.ndarray | None = None
    missing_label: float = np.nan

    def __post_init__(self) -> None:
        """Refuse parts that do not fit together; they may come out of a file."""
        dtype, is_matrix = np.dtype(self.dtype), self.kind == "multilabel"
        if self.kind not in ("binary", "multiclass", "multilabel") or self.classes.ndim != 1:
            raise ValueError(f"targets of kind {self.kind!r} and classes {self.classes!r}")
        numbers = np.arange(len(self.classes))
        if is_matrix and (self.classes.dtype.kind != "i" or (self.classes != numbers).any()):
            raise ValueError(f"the labels have the numbers {self.classes!r}")
        if not (dtype.kind in "biuf" if is_matrix else dtype == self.classes.dtype):
            raise ValueError(f"{self.kind} targets have the dtype {dtype}")
        if self.label_names is not None and len(self.label_names) != self.n_labels:
            raise ValueError(f"{self.n_labels} labels have {len(self.label_names)} names")

    @property
    def n_labels(self) -> int:
        """Number of columns of the indicator matrix."""
        return 1 if self.kind == "binary" else len(self.classes)

    def indicator(self, y: Any) -> Indicator:
        """Return targets as a float64 indicator matrix of shape (n, L), NaN where missing."""
        if self.kind == "multilabel":
            Y = as_label_matrix(y, self.missing_label)
            if isinstance(Y, np.ndarray):
                return Y.astype(np.float64)
            # Missing labels are rare in CSR, and NaN is no zero to leave out: make it dense.
            Y = Y.astype(np.float64, copy=False)
            return Y.toarray() if np.isnan(Y.data).any() else Y
        y = column_or_1d(y)
        unknown = np.setdiff1d(y, self.classes)
        if len(unknown):
            raise ValueError(
                f"y holds classes that are not in `classes`: got {unknown.tolist()}, "
                f"expected some of {self.classes.tolist()}."
            )
        index = np.searchsorted(self.classes, y)
        columns = np.array([1]) if self.kind == "binary" else np.arange(len(self.classes))
        return (index[:, None] == columns).astype(np.float64)

    def decisions(self, logits: np.ndarray) -> np.ndarray:
        """Return logits in scikit-learn's shape: 1-D for binary targets."""
        return logits.ravel() if self.kind == "binary" else logits

    def probabilities(self, marginals: np.ndarray) -> np.ndarray:
        """Return marginals P(label) as rows that sum to 1 where classes exclude each other."""
        if self.kind == "binary":
            return np.hstack([1 - marginals, marginals])
        if self.kind == "multiclass":
            return marginals / marginals.sum(axis=1, keepdims=True)
        return marginals

    def predictions(self, marginals: np.ndarray, threshold: float | np.ndarray) -> Any:
        """Return hard predictions in the form that the targets had."""
        if self.kind == "multiclass":
            return self.classes[marginals.argmax(axis=1)]
        positive = marginals >= threshold
        if self.kind == "binary":
            return self.classes[positive.ravel().astype(int)]
        return self.label_matrix(positive)

    def label_matrix(self, labels: Any) -> Any:
        """Return an indicator matrix in the dtype and storage that the targets had."""
        if self.sparse:
            return sp.csr_matrix(labels, dtype=self.dtype)
        dense = labels.toarray() if sp.issparse(labels) else labels
        return dense.astype(self.dtype)


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
        y = np.ma.filled(y.astype(np.float64), np.nan)
    if np.isnan(missing_label):
        return y
    if sp.issparse(y):
        labels = sp.csr_array(y, dtype=np.float64, copy=True)
        labels.data[labels.data == missing_label] = np.nan
        return labels
    if is_label_sets(y) or (values := _as_array(y)).dtype.kind in "bSU":
        return y
    coded = values == missing_label
    return np.where(coded, np.nan, values.astype(np.float64)) if coded.any() else y


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
        Y = sp.csr_array(y)
        if not Y.has_canonical_format or not Y.data.all():
            Y = Y.copy()
            Y.sum_duplicates()
            Y.eliminate_zeros()
    else:
        try:
            Y = _as_array(y)
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


def infer_format(y: Any, classes: Any = None, missing_label: float = np.nan) -> TargetFormat:
    """Tell the kind of targets from the targets, or from ``classes`` where they are given.

    Parameters
    ----------
    y : array-like, DataFrame or sparse matrix
        Targets: 1-D classes, or an indicator matrix with NaN for missing labels.
    classes : array-like or None
        All classes of 1-D targets, as ``partial_fit`` takes them.
    missing_label : float
        What marks a missing label of a label matrix beside NaN.

    Raises
    ------
    ValueError
        For targets that are neither; the message says what came and what is expected.
    """
    if _is_label_matrix(missing_as_nan(y, missing_label)):
        dtype = _prediction_dtype(y)
        names = np.asarray(y.columns, dtype=object) if hasattr(y, "columns") else None
        classes = np.arange(y.shape[1]) if hasattr(y, "shape") else np.arange(len(y[0]))
        return TargetFormat("multilabel", classes, dtype, sp.issparse(y), names, missing_label)
    y = as_1d_target(y)
    if missing_as_nan(y, missing_label) is not y:
        raise ValueError(
            f"y is 1-D and holds missing_label={missing_label!r}, which is for label matrices. "
            "Drop the samples without a class."
        )
    check_classification_targets(y)
    classes = np.unique(y) if classes is None else np.unique(classes)
    kind = "binary" if len(classes) == 2 else "multiclass"
    return TargetFormat(kind, classes, np.asarray(classes).dtype)


def as_1d_target(y: Any) -> np.ndarray:
    """Ravel a column vector with scikit-learn's warning; refuse label sets, NaN and infinity."""
    if is_label_sets(y):
        raise ValueError(
            "y looks like a list of label sets; expected an indicator matrix of shape "
            "(n_samples, n_labels). Use sklearn.preprocessing.MultiLabelBinarizer to make one."
        )
    y = column_or_1d(y, warn=True)
    assert_all_finite(y, input_name="y")
    return y


def is_label_sets(y: Any) -> bool:
    """Return whether y is a sequence of label sets, as MultiLabelBinarizer takes them."""
    if not isinstance(y, (list, tuple, np.ndarray)) or len(y) == 0:
        return False
    if isinstance(y[0], (list, tuple)):
        return len({len(row) for row in y}) > 1
    return isinstance(y[0], (set, frozenset))


def _is_label_matrix(y: Any) -> bool:
    """Whether y has two columns or more, or one with missing labels."""
    if sp.issparse(y) or is_label_sets(y):
        return sp.issparse(y)
    shape = _as_array(y).shape
    return len(shape) == 2 and (shape[1] != 1 or _has_nan(y))


def _as_array(y: Any) -> np.ndarray:
    """A plain array; the missing values of pandas' nullable columns become NaN."""
    if hasattr(y, "iloc") and any(not isinstance(t, np.dtype) for t in np.ravel(y.dtypes)):
        return y.to_numpy(dtype=np.float64, na_value=np.nan)
    return np.asarray(y)


def _has_nan(y: Any) -> bool:
    values = _as_array(y)
    return values.dtype.kind == "f" and bool(np.isnan(values).any())


def _prediction_dtype(y: Any) -> np.dtype:
    """The dtype of Y; int64 where missing labels made it float, or where it is no number."""
    if sp.issparse(y):
        return y.dtype
    dtype = _as_array(y).dtype
    return np.dtype(np.int64) if dtype.kind not in "biuf" or _has_nan(y) else dtype


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
