"""What a fit is given: features, targets and weights of the same samples, read once."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.utils.validation import check_consistent_length, validate_data

from sklearn_mlcl.utils.answers import TargetFormat, infer_format
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
    as_memmap_view,
    check_features,
    check_in_memory,
    n_entries,
    take_rows,
)
from sklearn_mlcl.utils.targets import Indicator, as_array, has_nan
from sklearn_mlcl.utils.validation import check_weights

#: A label whose weights sum to less, or to less of the largest sum, is not learnt.
NOTHING, NOTHING_BESIDE = 1e-10, 1e-30

#: Samples that speak for all where more would cost too much.
MAX_SAMPLES = 20_000


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

    def subsample(self, random_state: np.random.RandomState) -> np.ndarray:
        """Return the numbers of the samples, in order; of more than MAX_SAMPLES a random part."""
        if self.n_samples <= MAX_SAMPLES:
            return np.arange(self.n_samples)
        return np.sort(random_state.choice(self.n_samples, MAX_SAMPLES, replace=False))

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
        return np.unique(values.ravel(), return_inverse=True)[1]
    except TypeError as error:
        raise ValueError(
            "groups must hold values that can be put in order, numbers or strings, and none that "
            f"are missing: {error}."
        ) from error
