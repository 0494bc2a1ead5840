"""Answers of a classifier: probabilities inside (0, 1), the form of the targets, a container."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Self, TypeVar

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.base import TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from sklearn_mlcl.utils._sklearn_compat import OUTPUT_CONFIG, output_containers, wrap_output
from sklearn_mlcl.utils.targets import (
    Indicator,
    as_1d_target,
    as_array,
    as_label_matrix,
    check_label_names,
    compact,
    has_nan,
    holds_strings,
    is_label_sets,
    label_names_in,
    missing_as_nan,
    one_hot,
)

Array = TypeVar("Array", np.ndarray, Tensor)


def clip_open_interval(probabilities: Array) -> Array:
    """Return probabilities strictly inside (0, 1): at least a rounding error from either end."""
    if isinstance(probabilities, Tensor):
        limits = torch.finfo(probabilities.dtype)
        return probabilities.clamp(limits.tiny, 1 - limits.eps / 2)
    of_dtype = np.finfo(probabilities.dtype)
    return np.clip(probabilities, float(of_dtype.tiny), float(1 - of_dtype.epsneg))


def sigmoid(logits: Array) -> Array:
    """Return sigmoids strictly inside (0, 1), in the dtype of ``logits``."""
    if isinstance(logits, Tensor):
        return clip_open_interval(logits.sigmoid())
    # By torch: ten times as fast as SciPy's, which is neither vectorised nor on several threads.
    return sigmoid(torch.from_numpy(logits)).numpy()


def logit(probabilities: Array) -> Array:
    """Return log-odds, in the dtype of ``probabilities``, which are clipped to (0, 1) first."""
    if isinstance(probabilities, Tensor):
        return torch.logit(clip_open_interval(probabilities))
    return logit(torch.from_numpy(probabilities)).numpy()


# ---------------------------------------------------------------------- the form of the targets


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
        """Return targets as an indicator matrix (n, L); see :func:`compact`."""
        if self.kind == "multilabel":
            check_label_names(self.label_names, label_names_in(y))
            return compact(as_label_matrix(y, self.missing_label))
        y = as_1d_target(y)
        alike = holds_strings(y) == holds_strings(self.classes)
        unknown = np.setdiff1d(y, self.classes) if alike else np.unique(y)[:10]
        if len(unknown):
            raise ValueError(
                f"y holds classes that are not in `classes`: got {unknown.tolist()}, "
                f"expected some of {self.classes.tolist()}."
            )
        return one_hot(y, self.classes)

    def check_classes(self, classes: Any) -> None:
        """Raise for ``classes`` of ``partial_fit`` other than those of the targets."""
        given, allowed = classes, [self.classes]
        if self.kind == "multilabel":
            of_each = np.tile([0, 1], (self.n_labels, 1))  # as MultiOutputClassifier takes them
            allowed += [of_each] if self.label_names is None else [of_each, self.label_names]
            expected = f"the numbers of the {self.n_labels} labels, or None for a label matrix"
        else:
            given = np.unique(as_1d_target(classes, "classes"))
            expected = f"the classes of the first call, {self.classes.tolist()}"
        if not any(np.array_equal(given, known) for known in allowed):
            raise ValueError(f"classes must be {expected}, got {classes!r}.")

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


def set_format(estimator: Any, target_format: TargetFormat) -> None:
    """Store how the targets looked, and what users read of it."""
    estimator._format = target_format
    estimator.classes_ = target_format.classes
    if target_format.label_names is not None:
        estimator.label_names_ = target_format.label_names
    elif hasattr(estimator, "label_names_"):
        del estimator.label_names_


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
    known = missing_as_nan(y, missing_label)
    if _is_label_matrix(known):
        dtype = _prediction_dtype(y)
        numbers = np.arange(y.shape[1]) if hasattr(y, "shape") else np.arange(len(y[0]))
        return TargetFormat(
            "multilabel", numbers, dtype, sp.issparse(y), label_names_in(y), missing_label
        )
    if not is_label_sets(y) and has_nan(as_array(known)) and not has_nan(as_array(y)):
        raise ValueError(
            f"y is 1-D and holds missing_label={missing_label!r}, which is for label matrices. "
            "Drop the samples without a class."
        )
    y = as_1d_target(known)
    check_classification_targets(y)
    classes = np.unique(y if classes is None else as_1d_target(classes, "classes"))
    kind = "binary" if len(classes) == 2 else "multiclass"
    return TargetFormat(kind, classes, classes.dtype)


def _is_label_matrix(y: Any) -> bool:
    """Whether y has two columns or more, or one with missing labels."""
    if sp.issparse(y) or is_label_sets(y):
        return sp.issparse(y)
    shape = as_array(y).shape
    return len(shape) == 2 and (shape[1] != 1 or has_nan(as_array(y)))


def _prediction_dtype(y: Any) -> np.dtype:
    """The dtype of Y; int64 where missing labels made it float, or where it is no number."""
    if sp.issparse(y):
        return y.dtype
    values = as_array(y)
    is_plain = values.dtype.kind in "biuf" and not has_nan(values)
    return values.dtype if is_plain else np.dtype(np.int64)


# ---------------------------------------------------------------------- containers


class LabelFrames:
    """Mixin of classifiers whose answers for label matrices can be DataFrames.

    The choice is stored where scikit-learn's ``set_output`` stores its own. It is not that of
    ``transform``: pipelines, ``ColumnTransformer`` and
    ``sklearn.set_config(transform_output="pandas")`` hand the latter to every step for the sake
    of features, and scikit-learn's tools index probabilities as arrays.
    """

    _format: Any

    def set_output(self, *, predict: str | None = None) -> Self:
        """Choose the container of predictions for label matrices.

        ``sklearn.set_config(transform_output="pandas")`` and ``set_output`` of a pipeline change
        features, and not predictions. Clones keep the choice. Predictions for 1-D targets are
        always arrays.

        Parameters
        ----------
        predict : {"default", "pandas", "polars"}, default=None
            Container that ``predict``, ``predict_proba`` and ``decision_function`` return.
            "default" is an array. A DataFrame has the label names as columns, or their numbers if y
            had no names. Its index is that of X. None changes nothing. The scorers of
            :mod:`sklearn_mlcl.metrics` accept both. With two labels, ``neg_log_loss`` and
            ``partial_dependence`` of scikit-learn need "default".

        Returns
        -------
        self : estimator
            The estimator itself.

        Raises
        ------
        ValueError
            For a container that scikit-learn does not know.
        """
        if predict is None:
            return self
        known = output_containers()
        if predict not in known:
            raise ValueError(f"predict must be one of {known}, got {predict!r}.")
        setattr(self, OUTPUT_CONFIG, {**getattr(self, OUTPUT_CONFIG, {}), "predict": predict})
        return self


class EmbeddingFrames(TransformerMixin, LabelFrames):
    """Mixin of classifiers that also transform: a container for either kind of answer."""

    def set_output(self, *, transform: str | None = None, predict: str | None = None) -> Self:
        """Choose the containers of embeddings and of predictions for label matrices.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"}, default=None
            Container that ``transform`` and ``fit_transform`` return, as in scikit-learn. A
            DataFrame has the names of :meth:`get_feature_names_out` as columns. None changes
            nothing.
        predict : {"default", "pandas", "polars"}, default=None
            Container that ``predict``, ``predict_proba`` and ``decision_function`` return; see
            :meth:`MultiLabelLogisticRegression.set_output`. None changes nothing.

        Returns
        -------
        self : estimator
            The estimator itself.

        Raises
        ------
        ValueError
            For a container of predictions that scikit-learn does not know.
        """
        TransformerMixin.set_output(self, transform=transform)
        return LabelFrames.set_output(self, predict=predict)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def in_chosen_container(method: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """Return a method of X that checks the fit and answers in the container of ``set_output``."""

    @wraps(method)
    def wrapped(self: Any, X: Any) -> Any:
        check_is_fitted(self)
        answer = method(self, X)
        container = getattr(self, OUTPUT_CONFIG, {}).get("predict", "default")
        if container == "default" or self._format.kind != "multilabel":
            return answer
        if sp.issparse(answer):
            raise ValueError(
                f"{method.__name__} returns CSR, because y was CSR, and a DataFrame cannot hold "
                'CSR: fit a dense y, or call set_output(predict="default").'
            )
        return wrap_output(answer, X, _columns(self._format, container), container)

    return wrapped


def _columns(target_format: Any, container: str) -> Any:
    names = target_format.label_names
    names = target_format.classes if names is None else names
    if container == "pandas" and all(isinstance(name, tuple) for name in names):
        import pandas as pd

        return pd.MultiIndex.from_tuples(names)
    # Columns of pandas may be anything, those of other libraries are strings.
    return names if container == "pandas" else np.array([str(name) for name in names], dtype=object)
