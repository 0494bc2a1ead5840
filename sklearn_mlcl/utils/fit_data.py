"""What a fit is given: features, targets and weights of the same samples, read once."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.validation import check_consistent_length, validate_data

from sklearn_mlcl.utils.answers import TargetFormat, infer_format
from sklearn_mlcl.utils.samples import (
    as_memmap_view,
    check_features,
    check_in_memory,
    chunks,
    n_entries,
    take_rows,
)
from sklearn_mlcl.utils.targets import Indicator, as_array, has_nan, label_places
from sklearn_mlcl.utils.validation import check_weights, mean_weights

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
        Y, weight = weights.applied(self.Y, self.sample_weight)
        if weight is None or weight is self.sample_weight:
            return self
        weight, unit = in_units(weight)
        unit *= self.weight_unit
        if not 0 < unit < np.inf:
            raise ValueError("The product of sample_weight and class_weight is beyond float64.")
        return replace(self, Y=Y, sample_weight=weight, weight_unit=unit)


@dataclass(frozen=True)
class LabelStats:
    """What a fit needs to know of each label, counted once.

    Attributes
    ----------
    constant : ndarray of shape (L,), bool
        The labels that show a single value.
    counts : ndarray of shape (2, L)
        Samples that have each label, and samples that lack it. A sample counts as one whatever
        its weight.
    weighted_counts : ndarray of shape (2, L)
        The weights of these samples.
    """

    constant: np.ndarray
    counts: np.ndarray
    weighted_counts: np.ndarray

    @property
    def log_odds(self) -> np.ndarray:
        """Weighted log-odds (L,); each count is raised by one half, so that they are finite."""
        return label_log_odds(*self.weighted_counts)[0]

    @classmethod
    def of(cls, data: FitData) -> LabelStats:
        """Count the labels of ``data``."""
        w = data.sample_weight
        counts = weighted_counts(data.Y, None if w is None else (w > 0).astype(float))
        weighted = counts if w is None else weighted_counts(data.Y, data.copies)
        constant = label_log_odds(*weighted)[1]
        return cls(constant, np.stack(counts), np.stack(weighted))

    def with_earlier(self, counts: np.ndarray, weighted_counts: np.ndarray) -> LabelStats:
        """Return what is known with samples that were counted before.

        A label that shows a single value among the latest samples still counts as constant.
        """
        weighted = self.weighted_counts + weighted_counts
        return LabelStats(self.constant, self.counts + counts, weighted)


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
        f"The sample_weight of {which} is too small: it sums to {weight[nothing].max():g}, and a "
        "weight of k counts as k copies of a sample. Use weights near 1.",
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


# ---------------------------------------------------------------------- weights

#: Entries of which a float64 copy is made to count them.
COUNTED_AT_ONCE = 2**20


def weighted_counts(Y: Any, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the weight of the positives and of the negatives of each label, shape (L,) each.

    Parameters
    ----------
    Y : ndarray or CSR of shape (n, L)
        Indicator matrix, NaN where missing: such entries do not count.
    weights : ndarray of shape (n,) or (n, L), or None
        Weights of the samples or of the entries; None counts each as 1.
    """
    n, L = Y.shape
    counts = np.zeros((2, L))
    stays_sparse = sp.issparse(Y) and (weights is None or weights.ndim == 1)
    for part in chunks(n) if stays_sparse else chunks(n, max(1, COUNTED_AT_ONCE // L)):
        counts += _counts_of_chunk(Y[part], None if weights is None else weights[part])
    return counts[0], counts[1]


def _counts_of_chunk(Y: Any, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    if sp.issparse(Y) and (weights is None or weights.ndim == 1):
        w = np.ones(Y.shape[0]) if weights is None else weights
        positive = w @ Y
        return positive, w.sum() - positive
    labels = _dense(Y)
    if weights is None and labels.dtype == bool:  # where none is missing
        positive = np.count_nonzero(labels, axis=0)
        return positive, len(labels) - positive
    masks = labels == 1, labels == 0
    if weights is None:
        return np.count_nonzero(masks[0], axis=0), np.count_nonzero(masks[1], axis=0)
    if weights.ndim == 1:
        return weights @ masks[0], weights @ masks[1]
    return (weights * masks[0]).sum(axis=0), (weights * masks[1]).sum(axis=0)


def label_log_odds(positive: np.ndarray, negative: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r"""Return smoothed log-odds (L,) of the labels, and which labels show a single value.

    :math:`\log \frac{N_+ + 1/2}{N_- + 1/2}` with the weighted counts of positives and negatives,
    which is finite for a constant label.
    """
    constant = (positive <= 0) | (negative <= 0)
    return np.log((positive + 0.5) / (negative + 0.5)), constant


def row_weights(Y: Any, weights: np.ndarray | None) -> np.ndarray | None:
    """Return one weight a sample; see :func:`mean_weights` for weights of entries."""
    if weights is None or weights.ndim == 1:
        return weights
    return mean_weights(weights, None if sp.issparse(Y) else ~np.isnan(Y))


#: Largest weights from 2^-20 to 2^20 are ordinary.
ORDINARY_EXPONENT = 20


def in_units(weights: np.ndarray) -> tuple[np.ndarray, float]:
    """Return weights that float32 holds, and the power of two they were divided by.

    Ordinary weights stay as they are: prototypes weigh 1 beside them. Of others the largest
    becomes one from 1 to 2. Nothing is rounded.
    """
    exponent = int(np.frexp(weights.max())[1]) - 1
    unit = float(np.ldexp(1.0, exponent)) if abs(exponent) > ORDINARY_EXPONENT else 1.0
    return (weights if unit == 1 else weights / unit), unit


def mask_zero_weight(Y: Any, weights: np.ndarray | None) -> Any:
    """Return targets in which the entries of weight zero are missing."""
    if weights is None or weights.ndim == 1 or weights.all():
        return Y
    return np.where(weights > 0, _dense(Y), np.float32(np.nan))


@dataclass(frozen=True)
class ClassWeights:
    """Factors that ``class_weight`` puts on the weights of entries or samples.

    Attributes
    ----------
    negative, positive : ndarray of shape (L,)
        Factors on the negatives and the positives of each label.
    of_class : ndarray of shape (L,) or None
        Factor on the samples of each class, for classes that exclude each other.
    """

    negative: np.ndarray
    positive: np.ndarray
    of_class: np.ndarray | None = None

    def applied(self, Y: Any, weights: np.ndarray | None) -> tuple[Any, np.ndarray | None]:
        """Return Y and weights with the factors in them; zero weight means missing."""
        if self.of_class is not None:
            factors = Y @ self.of_class
        elif (self.negative == 1).all() and (self.positive == 1).all():
            return Y, weights
        else:
            factors = np.where(_dense(Y) == 1, self.positive, self.negative)
            factors = factors[:, 0] if Y.shape[1] == 1 else factors
        if weights is not None:
            two = weights.ndim == 2 or factors.ndim == 2
            weights, factors = (
                a[:, None] if two and a.ndim == 1 else a for a in (weights, factors)
            )
            with np.errstate(over="ignore", under="ignore"):
                factors = factors * weights
        if not factors.any():
            raise ValueError("The product of sample_weight and class_weight is zero everywhere.")
        with np.errstate(over="ignore"):
            total = factors.sum()
        if not np.isfinite(total):
            raise ValueError(
                "The product of sample_weight and class_weight sums to more than float64 holds."
            )
        return mask_zero_weight(Y, factors), factors


def class_weights(
    class_weight: Any, target_format: TargetFormat, Y: Any, weights: np.ndarray | None
) -> ClassWeights:
    """Read ``class_weight``; "balanced" counts the entries of Y that are not missing.

    Raises
    ------
    ValueError
        If it has a form, labels, classes or numbers that it cannot have.
    """
    ones = np.ones(Y.shape[1])
    if hasattr(class_weight, "iloc"):
        class_weight = dict(class_weight.items())
    if class_weight is None:
        return ClassWeights(ones, ones)
    if target_format.kind == "multiclass":
        if isinstance(class_weight, str):
            count, _ = weighted_counts(Y, weights)
            of_class = count.sum() / (len(count) * np.where(count > 0, count, 1.0))
        else:
            of_class = _of_dict(class_weight, target_format.classes)
        return ClassWeights(ones, ones, _checked(of_class))
    if isinstance(class_weight, str):
        counts = np.array(weighted_counts(Y, weights)[::-1])
        both = np.broadcast_to((counts > 0).all(axis=0), counts.shape)
        half = np.broadcast_to(counts.sum(axis=0) / 2, counts.shape)
        by_label = np.divide(half, counts, out=np.ones(counts.shape), where=both)
    elif target_format.kind == "binary":
        by_label = _of_dict(class_weight, target_format.classes)[:, None]
    else:
        by_label = np.array(_pairs(class_weight, target_format), dtype=np.float64).T
    return ClassWeights(*_checked(by_label))


def _of_dict(class_weight: Any, classes: np.ndarray) -> np.ndarray:
    numbers = isinstance(class_weight, Mapping) and all(
        _is_number(weight) for weight in class_weight.values()
    )
    if not numbers:
        raise ValueError(
            f"class_weight must be a dict {{class: weight}} for 1-D targets, got {class_weight!r}."
        )
    return compute_class_weight(dict(class_weight), classes=classes, y=classes)


def _pairs(class_weight: Any, target_format: TargetFormat) -> list[tuple[Any, Any]]:
    """Weights of 0 and 1 for each label, from a list or a dict by number or name of the label."""
    n_labels, names = target_format.n_labels, target_format.label_names
    by_label = class_weight
    if isinstance(class_weight, Mapping):
        places = label_places(class_weight, names, n_labels, "class_weight")
        given = dict(zip(places, class_weight.values(), strict=True))
        if len(given) < len(class_weight):
            raise ValueError(
                f"class_weight names a label twice, by name and by number: {list(class_weight)}."
            )
        by_label = [given.get(label, {}) for label in range(n_labels)]
    if len(by_label) != n_labels:
        raise ValueError(
            f"class_weight must hold one dict for each of {n_labels} labels, got {len(by_label)}."
        )
    for pair in by_label:
        if not isinstance(pair, Mapping) or not set(pair) <= {0, 1}:
            raise ValueError(
                "class_weight of a label matrix must be 'balanced', a dict {label: {0: w0, 1: w1}} "
                f"or a list with a dict {{0: w0, 1: w1}} for each label; got {pair!r} for a label."
            )
        if not all(map(_is_number, pair.values())):
            raise ValueError(f"class_weight must hold numbers, got {pair!r} for a label.")
    return [(pair.get(0, 1.0), pair.get(1, 1.0)) for pair in by_label]


def _is_number(weight: Any) -> bool:
    """Return whether float64 holds a weight, be it infinite or NaN."""
    return isinstance(weight, Real) and not (
        isinstance(weight, int) and weight.bit_length() > np.finfo(np.float64).maxexp
    )


def _checked(factors: np.ndarray) -> np.ndarray:
    if not (np.isfinite(factors) & (factors >= 0)).all():
        raise ValueError(
            f"class_weight must hold finite weights of at least 0, got {factors.tolist()}."
        )
    return factors


def _dense(Y: Any) -> np.ndarray:
    return Y.toarray() if sp.issparse(Y) else Y
