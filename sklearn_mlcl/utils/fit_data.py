"""What a fit is given: features, targets and weights of the same samples, read once."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp
from sklearn.utils.validation import check_consistent_length, validate_data
from torch import Tensor

from sklearn_mlcl.utils.class_weight import (
    ClassWeights,
    class_weights,
    in_units,
    label_log_odds,
    mask_zero_weight,
    row_weights,
    weighted_counts,
)
from sklearn_mlcl.utils.samples import (
    MemmapView,
    as_memmap_view,
    check_same_kind,
    check_samples,
    chunks,
    is_table,
    n_entries,
    sample_shape,
    take_rows,
)
from sklearn_mlcl.utils.targets import (
    Indicator,
    TargetFormat,
    as_array,
    canonical,
    has_nan,
    infer_format,
)
from sklearn_mlcl.utils.validation import check_in_memory, check_weights

Features: TypeAlias = np.ndarray | sp.csr_matrix
FLOATS = (np.float64, np.float32)
#: Errors of the libraries below about X that do not say so.
_WITHOUT_NAME = re.compile(
    r"could not convert|float\(\) argument|setting an array element|Cannot cast|int too large|"
    r"Expected unique column names|[Cc]an't c|Got unsupported"
)
#: A label whose weights sum to less, or to less of the largest sum, is not learnt.
NOTHING, NOTHING_BESIDE = 1e-10, 1e-30


@dataclass(frozen=True)
class FitData:
    """Features, targets and weights of the same samples, checked.

    Attributes
    ----------
    X : ndarray, MemmapView or CSR of shape (n, d)
        Features, float32 or float64.
    Y : ndarray or CSR of shape (n, L)
        Boolean indicator matrix; dense float32 with NaN where a label is missing.
    sample_weight : ndarray of shape (n,) or (n, L), or None
        Weights of the samples or of the entries, in units of ``weight_unit``, so that float32 holds
        them. Samples of weight zero are dropped, entries of weight zero are missing.
    groups : ndarray of shape (n,) or None
        The group of each sample; a group is held out as a whole.
    numbers : ndarray of shape (n,) or None
        Numbers of the samples among those that ``fit`` was given; None where it kept all.
    n_given : int
        Number of samples that ``fit`` was given.
    weight_unit : float
        What a weight of 1 stands for.
    """

    X: Any
    Y: Indicator
    sample_weight: np.ndarray | None = None
    groups: np.ndarray | None = None
    numbers: np.ndarray | None = None
    n_given: int = 0
    weight_unit: float = 1.0

    @property
    def n_samples(self) -> int:
        """Number of samples n."""
        return self.X.shape[0]

    @property
    def n_features(self) -> int:
        """Number of features d; of samples for a module of the user's, how many numbers."""
        return n_entries(self.X)

    @property
    def n_labels(self) -> int:
        """Number of labels L."""
        return self.Y.shape[1]

    @property
    def row_weight(self) -> np.ndarray | None:
        """One weight a sample, of shape (n,); None where all weigh the same."""
        return row_weights(self.Y, self.sample_weight)

    @property
    def copies(self) -> np.ndarray | None:
        """The weights as they came: a weight of k counts as k copies of a sample."""
        return None if self.sample_weight is None else self.sample_weight * self.weight_unit

    def has_missing(self) -> bool:
        """Return whether a label of a sample is missing."""
        return isinstance(self.Y, np.ndarray) and has_nan(self.Y)

    def take(self, samples: np.ndarray) -> FitData:
        """Return some samples, by number or mask; those of a memory map stay on disk."""
        numbers = np.arange(self.n_samples) if self.numbers is None else self.numbers
        weight, groups = (
            None if array is None else array[samples] for array in (self.sample_weight, self.groups)
        )
        X = take_rows(self.X, samples)
        Y, n_given = self.Y[samples], self.n_given or self.n_samples
        return FitData(X, Y, weight, groups, numbers[samples], n_given, self.weight_unit)

    def weighted(self, weights: ClassWeights) -> FitData:
        """Return the samples with class weights multiplied into their weights."""
        X, Y, weight = weights.rows((self.X, self.Y, self.sample_weight))
        if weight is None or weight is self.sample_weight:
            return self
        weight, unit = in_units(weight)
        unit *= self.weight_unit
        if not 0 < unit < np.inf:
            raise ValueError("float64 does not hold the product of sample_weight and class_weight.")
        return replace(self, X=X, Y=Y, sample_weight=weight, weight_unit=unit)

    def class_weights(self, class_weight: Any, target_format: TargetFormat) -> ClassWeights:
        """Read the parameter ``class_weight``; "balanced" counts the entries of these samples."""
        return class_weights(class_weight, target_format, self.Y, self.sample_weight)


@dataclass(frozen=True)
class LabelStats:
    """What a fit needs to know of each label, counted once.

    Attributes
    ----------
    log_odds : ndarray of shape (L,)
        Weighted log-odds; each count is raised by one half, so that they are finite.
    constant : ndarray of shape (L,), bool
        The labels that show a single value.
    counts : ndarray of shape (2, L)
        Samples that have each label, and samples that lack it. A sample counts as one whatever
        its weight.
    """

    log_odds: np.ndarray
    constant: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, data: FitData) -> LabelStats:
        """Count the labels of ``data``."""
        w = data.sample_weight
        counts = weighted_counts(data.Y, None if w is None else (w > 0).astype(float))
        weighted = counts if w is None else weighted_counts(data.Y, data.copies)
        return cls(*label_log_odds(*weighted), np.stack(counts))


def check_features(estimator: Any, X: Any, *, reset: bool) -> Features:
    """Return X as scikit-learn checks it: float32 or float64, dense or CSR, finite.

    CSR comes without duplicates and explicit zeros: equal matrices are equal arrays.
    """
    check_in_memory("X", X)
    if getattr(estimator, "_own_inputs", False) and not sp.issparse(X):
        frame = hasattr(X, "columns")
        named = validate_data(estimator, X, reset=reset, dtype=None) if frame else X
        samples = check_samples(named)
        known = None if reset else getattr(estimator, "_sample_shape", None)
        if known is not None or not is_table(samples):
            return _checked_kind(estimator, samples, known, reset)
        X = X if frame else samples
    if reset:
        vars(estimator).pop("_sample_shape", None)
    if np.ma.is_masked(X):
        raise ValueError("X has masked entries, expected a value for each: impute them.")
    if _holds_times(X):
        raise ValueError("X must hold numbers, got dates or durations.")
    try:
        # scikit-learn takes the dtype of a tensor for none, and would make float64 of it.
        X = np.asarray(X) if isinstance(X, Tensor) else X
        X = validate_data(estimator, X, reset=reset, accept_sparse="csr", dtype=FLOATS)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        if not _WITHOUT_NAME.match(str(error)):
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"X cannot be read as a matrix of numbers: {error}") from error
    return canonical(X) if sp.issparse(X) else X


def _checked_kind(estimator: Any, X: np.ndarray, known: Any, reset: bool) -> np.ndarray:
    """Note what a sample looks like, or compare it with those of the fit."""
    if reset:
        estimator._sample_shape = sample_shape(X)
        estimator.n_features_in_ = len(X.dtype.names) if X.dtype.names else X.shape[1]
    else:
        check_same_kind(X, known or [("", "<f8", (estimator.n_features_in_,))])
    return X


def _holds_times(X: Any) -> bool:
    """Return whether there are dates or durations, which would be read as numbers."""
    schema = getattr(X, "schema", None)
    if isinstance(schema, Mapping):  # of polars
        return any(dtype.is_temporal() for dtype in schema.values())
    dtypes = np.ravel(np.asarray(getattr(X, "dtypes", getattr(X, "dtype", ())), dtype=object))
    return any(getattr(dtype, "kind", "") in ("m", "M") for dtype in dtypes)


#: Samples of a memory map whose size is looked at.
SAMPLES_OF_MAP = 32


def largest_value(X: Any) -> float:
    """Return the largest size of a feature of samples; of a memory map a few samples speak."""
    if isinstance(X, MemmapView):
        X = X[:: max(1, ceil(X.shape[0] / SAMPLES_OF_MAP))]
    values = X.data if sp.issparse(X) else X
    if not is_table(X) and not sp.issparse(X):
        return 0.0  # numbers that nothing here is computed with
    parts = (np.asarray(values[part]) for part in chunks(len(values)))
    return float(max((max(part.max(), -part.min()) for part in parts if part.size), default=0.0))


def warn_weightless(data: FitData, label_names: Any, C: Any = 1.0) -> None:
    """Warn of labels whose weights amount to nothing.

    Parameters
    ----------
    data : FitData
        The samples.
    label_names : ndarray of shape (L,) or None
        Names of the labels.
    C : float or ndarray of shape (L,), default=1.0
        What the weights are multiplied by.
    """
    if data.copies is None:
        return
    with np.errstate(over="ignore", under="ignore"):
        weight = np.broadcast_to(data.copies.sum(axis=0) * C, data.n_labels)
    nothing = (weight < NOTHING) | (weight < NOTHING_BESIDE * weight.max())
    if not nothing.any():
        return
    labels = np.flatnonzero(nothing) if label_names is None else label_names[nothing]
    which = "all labels" if nothing.all() else f"the labels {labels[:5].tolist()}"
    warnings.warn(
        f"The sample_weight of {which} amounts to nothing: it sums to {weight[nothing].max():g}, "
        "and a weight of k counts as k copies of a sample. Give weights near 1.",
        UserWarning,
        stacklevel=3,
    )


def check_sizes(X: Any, smallest: float, largest: float) -> None:
    """Raise unless the largest size of a feature is 0 or within bounds."""
    found = largest_value(X)
    if found and not smallest <= found <= largest:
        raise ValueError(
            f"X holds values up to {found:g}, expected {smallest:g} to {largest:g}: the arithmetic "
            "ends beyond. Bring the features to a common scale (StandardScaler)."
        )


def check_fit_data(
    estimator: Any,
    X: Any,
    y: Any,
    sample_weight: Any,
    *,
    groups: Any = None,
    classes: Any = None,
    known: TargetFormat | None = None,
    on_disk: bool = False,
) -> tuple[FitData, TargetFormat]:
    """Read what ``fit`` was given.

    Parameters
    ----------
    estimator : estimator
        Its ``n_features_in_`` and ``feature_names_in_`` are set, or checked where ``known`` is
        given; its parameter ``missing_label`` is read.
    X, y, sample_weight : array-like
        As ``fit`` takes them.
    groups : array-like of shape (n,), default=None
        The group of each sample.
    classes : array-like, default=None
        All classes of 1-D targets.
    known : TargetFormat, default=None
        The format of the targets of an earlier call, which these go on from.
    on_disk : bool, default=False
        Whether a large memory map stays on disk, to be read a batch at a time.

    Returns
    -------
    data : FitData
        The samples that weigh something.
    target_format : TargetFormat
        How the targets looked.

    Raises
    ------
    ValueError
        If an argument has a form, a shape or values that it cannot have; the message names it.
    """
    check_in_memory("y", y)
    reset = known is None
    if y is None:
        validate_data(estimator, X, y=None, reset=reset)
    X = check_features(estimator, X, reset=reset)
    X = as_memmap_view(X) if on_disk else X
    found = infer_format(y, classes, estimator.missing_label) if known is None else known
    found = replace(found, missing_label=estimator.missing_label)
    if classes is not None:
        found.check_classes(classes)
    Y = found.indicator(y)
    if Y.shape[1] != found.n_labels:
        raise ValueError(
            f"y has {Y.shape[1]} labels, but {type(estimator).__name__} was fitted with "
            f"{found.n_labels}."
        )
    check_consistent_length(X, Y)
    groups = None if groups is None else _numbered(groups, X.shape[0])
    w = check_weights(sample_weight, X.shape[0], found.n_labels, found.label_names)
    if w is None:
        return FitData(X, Y, None, groups), found
    w, unit = in_units(w)
    if w.all():
        return FitData(X, Y, w, groups, weight_unit=unit), found
    samples = np.flatnonzero(w > 0 if w.ndim == 1 else w.any(axis=1))
    Y = mask_zero_weight(Y, w)
    return FitData(X, Y, w, groups, weight_unit=unit).take(samples), found


def _numbered(groups: Any, n_samples: int) -> np.ndarray:
    """Return the number of each sample's group."""
    values = np.asarray(groups) if sp.issparse(groups) else as_array(groups)
    if values.shape not in ((n_samples,), (n_samples, 1)):
        raise ValueError(
            f"groups must have shape ({n_samples},), one for each sample, got "
            f"{type(groups).__name__} of shape {values.shape}."
        )
    try:
        if (values != values).any():
            raise TypeError("some are NaN or NaT")
        return np.unique(values.ravel(), return_inverse=True)[1]
    except TypeError as error:
        raise ValueError(
            "groups must hold values that can be put in order, numbers or strings, and none that "
            f"are missing: {error}."
        ) from error
