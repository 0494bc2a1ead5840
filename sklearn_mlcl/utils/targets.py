"""Targets of every allowed kind, as an indicator matrix and back."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from numbers import Real
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import assert_all_finite, column_or_1d

Indicator: TypeAlias = np.ndarray | sp.csr_array


@dataclass(frozen=True)
class TargetFormat:
    """How the targets looked, so that predictions can look the same.

    Attributes
    ----------
    kind : {"binary", "multiclass", "multilabel"}
        One column of 0/1 for binary, one-hot for multiclass, the matrix itself for multilabel.
    classes : ndarray
        Classes of 1-D targets; ``arange(L)`` for a label matrix.
    dtype : numpy.dtype
        Of the predictions.
    sparse : bool
        Whether predictions are CSR.
    label_names : ndarray of str or None
        Column names of a DataFrame of labels.
    missing_label : float
        What marks an unknown label of a label matrix beside NaN.
    """

    kind: str
    classes: np.ndarray
    dtype: np.dtype
    sparse: bool = False
    label_names: np.ndarray | None = None
    missing_label: float = np.nan

    @property
    def n_labels(self) -> int:
        """Number of columns of the indicator matrix."""
        return 1 if self.kind == "binary" else len(self.classes)

    def indicator(self, y: Any) -> Indicator:
        """Return targets as a float64 indicator matrix of shape (n, L), NaN where unknown."""
        if self.kind == "multilabel":
            return _label_matrix(unknown_as_nan(y, self.missing_label))
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
        """Return marginals P(label) as rows that sum to 1 where the classes exclude another."""
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


def unknown_as_nan(y: Any, missing_label: float = np.nan) -> Any:
    """Return targets with NaN where they hold ``missing_label``; others come back as they are.

    The one place that knows of another code than NaN: below, an unknown label is NaN. NaN itself
    always counts as unknown.

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
    if np.isnan(missing_label):
        return y
    if sp.issparse(y):
        labels = sp.csr_array(y, dtype=np.float64, copy=True)
        labels.data[labels.data == missing_label] = np.nan
        return labels
    if _is_label_sets(y) or np.ma.isMaskedArray(y) or (values := _as_array(y)).dtype.kind in "bSU":
        return y
    coded = values == missing_label
    return np.where(coded, np.nan, values.astype(np.float64)) if coded.any() else y


def infer_format(y: Any, classes: Any = None, missing_label: float = np.nan) -> TargetFormat:
    """Tell the kind of targets from the targets, or from ``classes`` where they are given.

    Parameters
    ----------
    y : array-like, DataFrame or sparse matrix
        Targets: 1-D classes, or an indicator matrix with NaN for unknown labels.
    classes : array-like or None
        All classes of 1-D targets, as ``partial_fit`` takes them.
    missing_label : float
        What marks an unknown label of a label matrix beside NaN.

    Raises
    ------
    ValueError
        For targets that are neither; the message says what came and what is expected.
    """
    if _is_label_matrix(unknown_as_nan(y, missing_label)):
        dtype = _prediction_dtype(y)
        names = np.asarray(y.columns, dtype=object) if hasattr(y, "columns") else None
        classes = np.arange(y.shape[1]) if hasattr(y, "shape") else np.arange(len(y[0]))
        return TargetFormat("multilabel", classes, dtype, sp.issparse(y), names, missing_label)
    y = as_1d_target(y)
    if unknown_as_nan(y, missing_label) is not y:
        raise ValueError(
            f"y is 1-D and holds missing_label={missing_label!r}, which is for label matrices: a "
            "row without a class has nothing to learn from. Leave it out."
        )
    check_classification_targets(y)
    classes = np.unique(y) if classes is None else np.unique(classes)
    kind = "binary" if len(classes) == 2 else "multiclass"
    return TargetFormat(kind, classes, np.asarray(classes).dtype)


def as_1d_target(y: Any) -> np.ndarray:
    """Ravel a column vector with scikit-learn's warning; refuse label sets, NaN and infinity."""
    if _is_label_sets(y):
        raise ValueError(
            "y looks like a list of label sets; expected an indicator matrix of shape "
            "(n_samples, n_labels). Use sklearn.preprocessing.MultiLabelBinarizer to make one."
        )
    y = column_or_1d(y, warn=True)
    assert_all_finite(y, input_name="y")
    return y


def _is_label_sets(y: Any) -> bool:
    if not isinstance(y, (list, tuple, np.ndarray)) or len(y) == 0:
        return False
    if isinstance(y[0], (list, tuple)):
        return len({len(row) for row in y}) > 1
    return isinstance(y[0], (set, frozenset))


def _is_label_matrix(y: Any) -> bool:
    """Whether y has two columns or more, or one with unknown labels."""
    if sp.issparse(y):
        return True
    if _is_label_sets(y):
        return False
    shape = _as_array(y).shape
    if len(shape) != 2:
        return False
    return shape[1] != 1 or _has_nan(y)


def _as_array(y: Any) -> np.ndarray:
    """A plain array; the missing values of pandas' nullable columns become NaN."""
    if hasattr(y, "iloc") and any(not isinstance(t, np.dtype) for t in np.ravel(y.dtypes)):
        return y.to_numpy(dtype=np.float64, na_value=np.nan)
    return np.asarray(y)


def _has_nan(y: Any) -> bool:
    values = _as_array(y)
    return values.dtype.kind == "f" and bool(np.isnan(values).any())


def _prediction_dtype(y: Any) -> np.dtype:
    """The dtype of Y; int64 where unknown labels made it float, or where it is no number."""
    if sp.issparse(y):
        return y.dtype
    if _has_nan(y):
        return np.dtype(np.int64)
    dtype = _as_array(y).dtype
    return dtype if dtype.kind in "biuf" else np.dtype(np.int64)


def _label_matrix(y: Any) -> Indicator:
    """Check an indicator matrix and return it as float64, CSR kept as CSR."""
    if np.ma.isMaskedArray(y):
        raise ValueError("y is a masked array; mark unknown labels by NaN: y.filled(np.nan).")
    if sp.issparse(y):
        labels = sp.csr_array(y, dtype=np.float64)
        labels.eliminate_zeros()
        check_indicator_values(labels.data)
        # Unknown cells are rare in CSR, and as NaN they are no zeros to leave out: go dense.
        return labels.toarray() if np.isnan(labels.data).any() else labels
    try:
        labels = _as_array(y).astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            "Unknown label type: y has two dimensions but its entries are not numbers. Expected "
            "an indicator matrix of 0 and 1, NaN for unknown labels; lists of label names become "
            "one by sklearn.preprocessing.MultiLabelBinarizer."
        ) from error
    if labels.ndim != 2 or labels.shape[1] == 0:
        raise ValueError(f"y must have shape (n_samples, n_labels >= 1), got {labels.shape}.")
    check_indicator_values(labels)
    return labels


def check_indicator_values(values: np.ndarray) -> None:
    """Refuse entries of an indicator matrix other than 0, 1 and NaN."""
    allowed = (values == 0) | (values == 1) | np.isnan(values)
    if not allowed.all():
        raise ValueError(
            "Unknown label type: an indicator matrix y holds 0, 1 and NaN (unknown) only, "
            + strange_values(values[~allowed])
        )


def strange_values(values: np.ndarray) -> str:
    """Say what came instead of 0 and 1, and what to do if it is the code of unknown labels."""
    strange = np.unique(values)[:5].tolist()
    if len(strange) > 1:
        return f"got also {strange}."
    code = strange[0]
    return f"got also {strange}. If {code:g} marks unknown labels, pass missing_label={code:g}."


def warn_constant_labels(constant: np.ndarray, names: np.ndarray | None) -> None:
    """Warn once about labels that show one value only."""
    if not constant.any():
        return
    shown = np.flatnonzero(constant) if names is None else names[constant]
    listed = ", ".join(str(label) for label in shown[:10]) + (" ..." if len(shown) > 10 else "")
    warnings.warn(
        f"{len(shown)} of {len(constant)} labels have a single value in the training rows and "
        f"are predicted by a constant: {listed}.",
        UserWarning,
        stacklevel=3,
    )
