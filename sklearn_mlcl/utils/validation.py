"""The entries of a label matrix beside scores or decisions, and the one check of weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import scipy.sparse as sp
from torch import Tensor

from sklearn_mlcl.utils.docstrings import document
from sklearn_mlcl.utils.samples import canonical, chunks
from sklearn_mlcl.utils.targets import (
    Indicator,
    as_1d_target,
    as_array,
    as_label_matrix,
    check_label_names,
    holds_strings,
    is_label_sets,
    label_names_in,
    missing_as_nan,
    one_hot,
)

LABELS_PER_BLOCK, SAMPLES_PER_TILE = 64, 1024
#: Entries of a block of samples, or of labels, that is made dense at a time.
ENTRIES_PER_BLOCK = 2**18
Column = tuple[np.ndarray, np.ndarray, np.ndarray | None]
EVERY = slice(None)


@dataclass(frozen=True)
class LabelEntries:
    """Checked targets and scores (or decisions) of the same samples, without zero-weight samples.

    An entry is the label of one sample for one column. It is known if it is not missing.

    Attributes
    ----------
    positive : ndarray of bool, shape (n, L)
        Known positives; False where the label is missing.
    known : ndarray of bool, shape (n, L), or None
        Entries that are not missing and have weight; None where that is every entry.
    values : ndarray, shape (n, L)
        float32 or float64 scores, or bool decisions.
    weight : ndarray of float64, shape (n,) or (n, L), or None
        Weights of the samples or of the entries; None for equal weights.
    """

    positive: np.ndarray
    known: np.ndarray | None
    values: np.ndarray
    weight: np.ndarray | None

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of samples and labels."""
        return self.positive.shape[0], self.positive.shape[1]

    def known_mask(self) -> np.ndarray:
        """Return ``known`` as an array in any case."""
        return np.ones(self.shape, dtype=bool) if self.known is None else self.known

    def row_weight(self) -> np.ndarray:
        """Return the weight of every sample, the mean over its known entries; shape (n,)."""
        if self.weight is None:
            return np.ones(self.shape[0])
        return self.weight if self.weight.ndim == 1 else mean_weights(self.weight, self.known)

    def entry_weight(self) -> np.ndarray:
        """Return the weight of every entry, 0 where the label is missing; shape (n, L)."""
        weight = self.row_weight() if self.weight is None else self.weight
        return self.known_mask() * (weight[:, None] if weight.ndim == 1 else weight)

    def label_sums(self, part: np.ndarray) -> np.ndarray:
        """Return the weight of some entries, a boolean (n, L), by label; shape (L,)."""
        if self.weight is None or self.weight.ndim == 1:
            return self.row_weight() @ part
        return np.einsum("il,il->l", self.weight, part)

    def take(self, samples: slice | np.ndarray = EVERY, labels: slice = EVERY) -> LabelEntries:
        """Return the entries of some samples and labels."""

        def part(array: np.ndarray | None) -> Any:
            if array is None or array.ndim == 1:
                return None if array is None else array[samples]
            return array[samples][:, labels]

        return LabelEntries(*map(part, (self.positive, self.known, self.values, self.weight)))

    def columns(self) -> Iterator[Column]:
        """Yield positives, values and weights (None: equal) of the known entries of every label.

        Blocks of labels are transposed first: a column of a C-ordered matrix lies scattered.
        """
        for block in chunks(self.shape[1], LABELS_PER_BLOCK):
            part = self.take(labels=block)
            positive, values = _transposed(part.positive), _transposed(part.values)
            for label in range(len(positive)):
                y, v, w = positive[label], values[label], part.weight
                w = w[:, label] if w is not None and w.ndim == 2 else w
                if part.known is not None:
                    known = part.known[:, label]
                    y, v, w = y[known], v[known], None if w is None else w[known]
                yield y, v, w


@dataclass(frozen=True)
class EntrySource:
    """Checked targets and scores (or decisions) as they are stored, dense or CSR.

    What CSR does not store is a 0: a label that is no positive, a score of 0, no decision.
    :class:`LabelEntries` are made of a block at a time, so that CSR never becomes dense as a whole.

    Attributes
    ----------
    labels : ndarray or CSR of shape (n, L)
        Entries 0, 1, and NaN for a missing label.
    values : ndarray or CSR of shape (n, L)
        Scores or decisions.
    weight : ndarray of float64, shape (n,) or (n, L), or None
        Weights of the samples or of the entries; None for equal weights.
    samples : ndarray of int, or None
        Numbers of the samples that have weight; None for all.
    """

    labels: Indicator
    values: Any
    weight: np.ndarray | None
    samples: np.ndarray | None

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of samples with weight, and of labels."""
        n, L = self.labels.shape
        return n if self.samples is None else len(self.samples), L

    @property
    def is_sparse(self) -> bool:
        """Whether scores or decisions are CSR."""
        return sp.issparse(self.values)

    def blocks(self) -> Iterator[LabelEntries]:
        """Yield the entries of one block of samples after the other."""
        n, L = self.shape
        for rows in chunks(n, max(1, ENTRIES_PER_BLOCK // L)):
            yield self._take(rows if self.samples is None else self.samples[rows])

    def whole(self) -> LabelEntries:
        """Return the entries of all samples."""
        return self._take(EVERY if self.samples is None else self.samples)

    def columns(self) -> Iterator[tuple[int, Column]]:
        """Yield the number, and the known entries, of each label that has a positive."""
        if not (self.is_sparse or sp.issparse(self.labels)):
            yield from enumerate(self.whole().columns())
            return
        is_positive = self.labels == 1
        present = np.flatnonzero(is_positive.sum(axis=0))
        labels, values, weight = (
            part if part is None or part.ndim == 1 else part[:, present]
            for part in (_by_column(self.labels), _by_column(self.values), self.weight)
        )
        by_label = EntrySource(labels, values, weight, self.samples)
        samples = EVERY if self.samples is None else self.samples
        size = max(1, min(LABELS_PER_BLOCK, ENTRIES_PER_BLOCK // self.shape[0]))
        for block in chunks(len(present), size):
            yield from zip(present[block], by_label._take(samples, block).columns(), strict=True)

    def label_sums(self, parts: Callable[[LabelEntries], Iterable[np.ndarray]]) -> np.ndarray:
        """Return the weight of some entries by label, (number of parts, L).

        ``parts`` maps the entries of a block to boolean arrays of their shape.
        """
        blocks = ([block.label_sums(part) for part in parts(block)] for block in self.blocks())
        return sum(map(np.array, blocks), start=np.zeros(()))

    def _take(self, samples: slice | np.ndarray, labels: slice = EVERY) -> LabelEntries:
        def part(matrix: Any) -> np.ndarray:
            rows = matrix[:, labels] if labels != EVERY else matrix
            rows = rows[samples]
            return rows.toarray() if sp.issparse(rows) else rows

        y, weight = part(self.labels), self.weight
        positive = y == 1
        missing = np.isnan(y) if y.dtype.kind == "f" else np.zeros(0, dtype=bool)
        known = ~missing if missing.any() else None
        if weight is not None:
            weight = weight[samples] if weight.ndim == 1 else part(weight)
            if weight.ndim == 2 and not weight.all():
                known = weight > 0 if known is None else known & (weight > 0)
                positive &= known
        return LabelEntries(positive, known, part(self.values), weight)


def _by_column(matrix: Any) -> Any:
    """CSR in the order of its columns; a dense matrix as it is."""
    return matrix.tocsc() if sp.issparse(matrix) else matrix


def _transposed(block: np.ndarray) -> np.ndarray:
    """Contiguous transpose, copied in tiles that fit a core's cache (five times as fast)."""
    out = np.empty(block.shape[::-1], dtype=block.dtype)
    for tile in chunks(len(block), SAMPLES_PER_TILE):
        out[:, tile] = block[tile].T
    return out


def read_decisions(
    y_true: Any, y_pred: Any, sample_weight: Any = None, missing_label: float = np.nan
) -> EntrySource:
    """Read targets and decisions, an indicator matrix of 0 and 1.

    Parameters
    ----------
    y_true : {ndarray, DataFrame, sparse matrix} of shape (n, L)
        Indicator matrix of 0 and 1, NaN where missing. Missing entries are ignored. Or strings of
        shape (n,): each class is a column, but of two classes only the second.
    y_pred : {ndarray, DataFrame, sparse matrix} of shape (n, L)
        Decisions, 0 or 1; or classes that are strings. A DataFrame must have the labels of a
        DataFrame ``y_true`` in the same order.
    sample_weight : array-like of shape (n,) or (n, L), default=None
        Weights of the samples or of the entries. Entries with zero weight count as missing. Where
        samples are averaged, a sample gets the mean weight of its entries that are not missing.
    missing_label : float, default=NaN
        What marks a missing entry of ``y_true`` beside NaN, for example -1.
    """
    names = label_names_in(y_true)
    check_label_names(names, label_names_in(y_pred), "y_pred")
    if holds_strings(y_true):
        truth, decisions = as_1d_target(y_true, "y_true"), as_1d_target(y_pred, "y_pred")
        classes = np.unique(truth)
        if holds_strings(decisions):
            classes = np.union1d(classes, decisions)
            y_true, y_pred = one_hot(truth, classes), one_hot(decisions, classes)
    decided = _as_labels(y_pred, name="y_pred")
    if decided.dtype.kind == "f" and np.isnan(decided.sum()):
        raise ValueError("y_pred holds NaN; expected decisions of 0 and 1.")
    return _source(y_true, decided.astype(bool), "y_pred", sample_weight, missing_label, names)


@document(read_decisions)
def read_scores(
    y_true: Any, y_score: Any, sample_weight: Any = None, missing_label: float = np.nan
) -> EntrySource:
    """Read targets and scores, which stay float32 if they are.

    Parameters
    ----------
    <y_true>
    y_score : {array-like, DataFrame, sparse matrix} of shape (n, L)
        Probabilities or other finite scores, float32 or float64. What a sparse matrix does not
        store is a score of 0. A DataFrame must have the labels of a DataFrame ``y_true`` in the
        same order.
    <sample_weight>
    <missing_label>
    """
    return read_values(y_true, y_score, "y_score", sample_weight, missing_label)


def read_values(
    y_true: Any, values: Any, name: str, sample_weight: Any, missing_label: float
) -> EntrySource:
    """Read targets and scores, which messages call by a name."""
    names = label_names_in(y_true)
    check_label_names(names, label_names_in(values), name)
    if holds_strings(y_true):
        truth = as_1d_target(y_true, "y_true")
        classes = np.unique(truth)
        if len(classes) < 2:
            raise ValueError(
                f"y_true holds only the class {classes[0]!r}, which may be the positive or the "
                "negative one. Expected at least two classes, or an indicator matrix."
            )
        y_true = one_hot(truth, classes)
    scores = canonical(sp.csr_array(values)) if sp.issparse(values) else as_array(values)
    scores = scores.reshape(-1, 1) if scores.ndim == 1 else scores
    if scores.dtype not in (np.float32, np.float64):
        scores = as_floats(scores, name)
    if not np.isfinite(scores.data if sp.issparse(scores) else scores).all():
        raise ValueError(f"{name} holds NaN or inf; expected finite scores.")
    return _source(y_true, scores, name, sample_weight, missing_label, names)


@document(read_decisions)
def read_probabilities(
    y_true: Any, y_proba: Any, sample_weight: Any = None, missing_label: float = np.nan
) -> EntrySource:
    """Read targets and probabilities.

    Parameters
    ----------
    <y_true>
    y_proba : {array-like, DataFrame, sparse matrix} of shape (n, L)
        Probabilities in [0, 1]. What a sparse matrix does not store is a probability of 0.
    <sample_weight>
    <missing_label>
    """
    source = read_values(y_true, y_proba, "y_proba", sample_weight, missing_label)
    lowest, highest = source.values.min(), source.values.max()
    if lowest < 0 or highest > 1:
        raise ValueError(f"y_proba must lie in [0, 1], got values from {lowest:g} to {highest:g}.")
    return source


@document(read_decisions)
def check_decisions(
    y_true: Any, y_pred: Any, sample_weight: Any = None, missing_label: float = np.nan
) -> LabelEntries:
    """Return all entries of :func:`read_decisions`, dense.

    Parameters
    ----------
    <y_true>
    <y_pred>
    <sample_weight>
    <missing_label>
    """
    return read_decisions(y_true, y_pred, sample_weight, missing_label).whole()


@document(read_scores)
def check_scores(
    y_true: Any, y_score: Any, sample_weight: Any = None, missing_label: float = np.nan
) -> LabelEntries:
    """Return all entries of :func:`read_scores`, dense.

    Parameters
    ----------
    <y_true>
    <y_score>
    <sample_weight>
    <missing_label>
    """
    return read_scores(y_true, y_score, sample_weight, missing_label).whole()


@document(read_probabilities)
def check_probabilities(
    y_true: Any, y_proba: Any, sample_weight: Any = None, missing_label: float = np.nan
) -> LabelEntries:
    """Return all entries of :func:`read_probabilities`, dense.

    Parameters
    ----------
    <y_true>
    <y_proba>
    <sample_weight>
    <missing_label>
    """
    return read_probabilities(y_true, y_proba, sample_weight, missing_label).whole()


def positives_and_known(
    y: Any, missing_label: float = np.nan, name: str = "y_true"
) -> tuple[np.ndarray, np.ndarray | None]:
    """Split a label matrix into booleans: positive, and not missing (None: all)."""
    Y = _as_labels(y, missing_label, name)
    Y = Y.toarray() if not isinstance(Y, np.ndarray) else Y
    missing = np.isnan(Y) if Y.dtype.kind == "f" else np.zeros(0, dtype=bool)
    return Y == 1, ~missing if missing.any() else None


def positives_and_known_of_labels(
    y: Any, missing_label: float = np.nan, name: str = "y_true"
) -> tuple[np.ndarray, np.ndarray]:
    """Return how many samples have each label, and of how many it is known; both (L,)."""
    Y = _as_labels(y, missing_label, name)
    n, L = Y.shape
    if isinstance(Y, np.ndarray):
        return (Y == 1).sum(axis=0), n - np.isnan(Y).sum(axis=0)
    missing = np.isnan(Y.data)
    positive, unknown = (np.bincount(Y.indices[at], minlength=L) for at in (~missing, missing))
    return positive, n - unknown


def _as_labels(y: Any, missing_label: float = np.nan, name: str = "y_true") -> Indicator:
    """Read a label matrix, or a single label as one column."""
    if not (sp.issparse(y) or is_label_sets(y)) and np.ndim(y) == 1:
        y = missing_as_nan(as_array(y), missing_label).reshape(-1, 1)
    return as_label_matrix(y, missing_label, name)


def _source(
    y_true: Any,
    values: Any,
    name: str,
    sample_weight: Any,
    missing_label: float,
    label_names: Any,
) -> EntrySource:
    labels = _as_labels(y_true, missing_label)
    if labels.shape[0] == 0:
        raise ValueError(f"y_true must have one sample or more, got shape {labels.shape}.")
    if labels.shape != values.shape:
        raise ValueError(
            f"y_true and {name} must have one shape (n_samples, n_labels), got "
            f"{labels.shape} and {values.shape}."
        )
    n, L = labels.shape
    weight = check_weights(sample_weight, n, L, label_names)
    if weight is None or weight.all():
        return EntrySource(labels, values, weight, None)
    kept = np.flatnonzero(weight if weight.ndim == 1 else weight.any(axis=1))
    return EntrySource(labels, values, weight, kept)


def check_weights(
    sample_weight: Any,
    n: int,
    n_labels: int | None,
    label_names: Any = None,
    *,
    tensors: bool = False,
) -> Any:
    """Return weights of samples (n,) or of entries (n, n_labels) in float64, None for None.

    A number is the weight of every sample. With ``tensors`` a tensor stays one, on its device. With
    one label, (n, 1) becomes (n,). Where ``n_labels`` is None, only weights of samples will do. A
    DataFrame must have the labels in their order.
    """
    if sample_weight is None:
        return None
    name = "sample_weight"
    check_label_names(label_names, label_names_in(sample_weight), name)
    weight = sample_weight
    if isinstance(weight, Tensor) and not tensors:
        weight = as_array(weight)
    if sp.issparse(weight):
        weight = weight.toarray()
    elif isinstance(weight, Real):
        weight = np.full(n, weight)
    elif np.ma.is_masked(weight):
        raise ValueError(f"{name} has masked entries; a weight of 0 leaves out what it belongs to.")
    weight = weight.double() if isinstance(weight, Tensor) else as_floats(as_array(weight), name)
    shapes = [(n,)] if n_labels is None else [(n,), (n, n_labels)]
    if tuple(weight.shape) not in shapes:
        expected = " or ".join(map(str, shapes))
        raise ValueError(f"{name} must have shape {expected}, got {tuple(weight.shape)}.")
    if not ((weight >= 0) & (weight < np.inf)).all():
        raise ValueError(f"{name} must be finite and not negative.")
    if not weight.any():
        raise ValueError(f"{name} is zero everywhere; expected a positive weight.")
    with np.errstate(over="ignore"):
        total = weight.sum()
    if not total < np.inf:
        raise ValueError(
            f"{name} sums to more than float64 holds, got weights up to {weight.max():g}."
        )
    return weight.reshape(n) if n_labels == 1 else weight


def as_floats(values: np.ndarray, name: str) -> np.ndarray:
    """Return an array in float64; the error for what are no real numbers names the argument."""
    try:
        if values.dtype.kind in "cmMSU":
            raise TypeError(f"they are {values.dtype}")
        return values.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name} must hold real numbers: {error}.") from error


def check_numbers(
    values: Any, name: str, shape: tuple[int | str, ...], *, finite: bool = True
) -> np.ndarray:
    """Return a dense array of real numbers, in float64 or in float32 if it is.

    Parameters
    ----------
    values : {array-like, DataFrame, Tensor, sparse matrix}
        The numbers.
    name : str
        How messages call them.
    shape : tuple of int or str
        The length of each dimension; a text is the name of any length.
    finite : bool, default=True
        Whether infinity is refused. NaN always is.
    """
    if np.ma.is_masked(values):
        raise ValueError(f"{name} has masked entries, expected a number for each.")
    array = values.toarray() if sp.issparse(values) else as_array(values)
    array = array if array.dtype in (np.float32, np.float64) else as_floats(array, name)
    fits = [isinstance(n, str) or n == found for n, found in zip(shape, array.shape, strict=False)]
    if array.ndim != len(shape) or not all(fits):
        raise ValueError(
            f"{name} must have shape ({', '.join(map(str, shape))}), got {array.shape}."
        )
    if np.isnan(array).any() or (finite and np.isinf(array).any()):
        raise ValueError(f"{name} holds NaN{' or infinity' if finite else ''}; expected numbers.")
    return array


def check_per_label(value: Any, n_labels: int, label_names: Any, name: str) -> np.ndarray:
    """Return a number, or one for each label, as an array of shape () or (n_labels,).

    A Series whose index has names must have those of the labels, in their order.
    """
    if hasattr(value, "iloc"):
        check_label_names(label_names, value.index, name)
    if isinstance(value, (Mapping, set, frozenset)):
        raise ValueError(
            f"{name} must be a number or a sequence of one for each label, got a "
            f"{type(value).__name__}."
        )
    given = as_floats(as_array(value), name)
    if given.shape not in ((), (n_labels,)):
        raise ValueError(
            f"{name} must be a number or have shape ({n_labels},), one for each label; got shape "
            f"{given.shape}."
        )
    return given


def check_threshold(threshold: Any, n_labels: int, label_names: Any = None) -> float | np.ndarray:
    """Return a threshold in [0, 1], as a number or one for each label, (L,)."""
    given = check_per_label(threshold, n_labels, label_names, "threshold")
    if not ((given >= 0) & (given <= 1)).all():
        raise ValueError(f"threshold must lie in [0, 1], got {threshold!r}.")
    return given if given.ndim else float(given)


def mean_weights(weights: np.ndarray, known: np.ndarray | None) -> np.ndarray:
    """Return the mean weight (n,) of the entries (n, L) of each sample that are not missing.

    A sample whose labels are all missing gets the mean of its weights that are not 0. `known` is
    False where a label is missing, or None.
    """
    if known is None:
        return weights.mean(axis=1)
    known = np.where(known.any(axis=1, keepdims=True), known, weights > 0)
    return (weights * known).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
