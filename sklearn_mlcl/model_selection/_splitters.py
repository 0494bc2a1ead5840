"""Stratified splitters for label matrices, and what the members of an ensemble hold out."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from math import ceil
from numbers import Real
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.random import RandomState
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import KFold, ShuffleSplit
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils.multiclass import type_of_target

from sklearn_mlcl.utils.fit_data import FitData, weighted_counts
from sklearn_mlcl.utils.parameters import AT_LEAST_1, Interval, check_arguments, named_in_errors
from sklearn_mlcl.utils.samples import chunks
from sklearn_mlcl.utils.targets import as_array, as_label_matrix, is_label_sets, missing_as_nan


def _positives(y: Any, missing_label: float) -> sp.csr_matrix:
    """The positives of a label matrix, or one-hot rows of classes, as boolean CSR."""
    y = missing_as_nan(y, missing_label)
    if not sp.issparse(y) and not is_label_sets(y):
        shape = np.shape(y)
        if len(shape) == 1 or shape[1:] == (1,):
            return _positives_of_classes(as_array(y).ravel())
    return sp.csr_matrix(as_label_matrix(y) == 1)


def _positives_of_classes(y: np.ndarray) -> sp.csr_matrix:
    """One-hot rows of a 1-D y; the row of a NaN has no positive."""
    present = ~np.isnan(y) if y.dtype.kind == "f" else np.ones(len(y), dtype=bool)
    kind = type_of_target(y[present], input_name="y") if present.any() else "binary"
    if kind not in ("binary", "multiclass"):
        raise ValueError(
            "A 1-D y must hold classes (integers, booleans or strings) to be stratified; "
            f"got {kind} values."
        )
    classes, codes = np.unique(y[present], return_inverse=True)
    positions = (np.flatnonzero(present), codes)
    return sp.csr_matrix((np.ones(len(codes), dtype=bool), positions), shape=(len(y), len(classes)))


def _greedy_counts(need: np.ndarray, cost: int, room: np.ndarray, n_rows: int) -> np.ndarray:
    """Rows of each fold if every row goes to the fold of greatest need, then of greatest room.

    A row lowers the need of its fold by `cost` and the room by 1. So the greedy walk merges one
    falling sequence for each fold, and sorting all their members gives the same counts.
    """
    n_tokens = np.minimum(room, n_rows)
    fold = np.repeat(np.arange(len(room)), n_tokens)
    step = np.arange(len(fold)) - np.repeat(np.cumsum(n_tokens) - n_tokens, n_tokens)
    order = np.lexsort((fold, step - room[fold], step * cost - need[fold]))
    return np.bincount(fold[order[:n_rows]], minlength=len(room))


def _spread(counts: np.ndarray) -> np.ndarray:
    """Fold of each row in turn, with the rows of a fold evenly spaced."""
    fold = np.repeat(np.arange(len(counts)), counts)
    rank = np.arange(len(fold)) - np.repeat(np.cumsum(counts) - counts, counts)
    return fold[np.lexsort((fold, (rank + 0.5) / counts[fold]))]


def _iterative_stratification(
    Y: sp.csr_matrix, shares: np.ndarray, sizes: np.ndarray
) -> np.ndarray:
    """Fold of every row of Y: from the rarest label on, rows go where the label is most needed.

    How many rows of a label each fold gets depends on the needs of that label alone. So all its
    open rows are placed in one step. Needs are exact integers,
    count * share - total * placed with `total` the sum of the shares, so that ties are ties.
    """
    n_samples, done = Y.shape[0], Y.shape[0] + 1
    columns, total = Y.tocsc(), int(shares.sum())
    n_open = np.diff(columns.indptr).astype(np.int64)
    need = n_open[:, None] * shares.astype(np.int64)
    n_open[n_open == 0] = done
    room = sizes.astype(np.int64)
    fold_of = np.full(n_samples, -1, dtype=np.int64)
    while n_open.size and n_open[label := int(n_open.argmin())] < done:
        rows = columns.indices[columns.indptr[label] : columns.indptr[label + 1]]
        rows = rows[fold_of[rows] < 0]
        counts = _greedy_counts(need[label], total, room, len(rows))
        fold_of[rows] = folds = _spread(counts)
        room -= counts
        placed = Y[rows]
        np.subtract.at(need, (placed.indices, np.repeat(folds, np.diff(placed.indptr))), total)
        np.subtract.at(n_open, placed.indices, 1)
        n_open[placed.indices[n_open[placed.indices] == 0]] = done
    unlabelled = np.flatnonzero(fold_of < 0)
    fold_of[unlabelled] = _spread(room)
    return fold_of


def _stratified_folds(
    Y: sp.csr_matrix, shares: np.ndarray, sizes: np.ndarray, rng: RandomState | None
) -> np.ndarray:
    """Fold of every row; with `rng`, rows with the same number of positives are shuffled.

    Rows are dealt in order of cardinality. Folds then get similar numbers of positives early on,
    which leaves less to balance for the frequent labels, which are placed last.
    """
    order = np.arange(Y.shape[0]) if rng is None else rng.permutation(Y.shape[0])
    order = order[np.argsort(np.diff(Y.indptr)[order], kind="stable")]
    fold_of = np.empty(len(order), dtype=np.int64)
    fold_of[order] = _iterative_stratification(Y[order], shares, sizes)
    return fold_of


class _LabelStratified:
    """Mixin of both splitters: reads y, then splits the rows of its positives."""

    missing_label: float

    @abstractmethod
    def _iter_splits(self, Y: sp.csr_matrix) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Splits of the rows of Y, which holds the positives."""

    def split(
        self, X: Any, y: Any = None, groups: Any = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the row numbers of the training and test part of every split.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Only its number of rows is read.
        y : {ndarray, DataFrame, sparse matrix} of shape (n_samples, n_labels) or (n_samples,)
            Indicator matrix of 0 and 1. NaN and ``missing_label`` mark missing entries, which are
            ignored. A 1-D array of classes is stratified as its one-hot matrix.
        groups : object
            Ignored; a warning says so.

        Yields
        ------
        train : ndarray of shape (n_train,), dtype int64
            Row numbers, ascending.
        test : ndarray of shape (n_test,), dtype int64
            Row numbers, ascending.

        Raises
        ------
        ValueError
            If y is None, is no indicator matrix or class array, or has another length than X. If
            the splitter's parameters do not fit the number of rows.
        """
        if y is None:
            raise ValueError(f"{type(self).__name__} needs y to stratify by, got None.")
        if groups is not None:
            warnings.warn(f"groups is ignored by {type(self).__name__}.", UserWarning, stacklevel=2)
        Y = _positives(y, self.missing_label)
        check_consistent_length(X, Y)
        return self._iter_splits(Y)


@named_in_errors
class MultilabelStratifiedKFold(_LabelStratified, KFold):
    """K-fold splitter that keeps the share of every label about equal in all folds.

    Iterative stratification [1]_ goes through the labels, beginning with the rarest. Each sample
    with the label that has no fold yet goes to the fold that needs most positives of the label. A
    fold needs ``count / n_splits`` positives, less those it has. Among equal folds the sample goes
    to the one with most room. Samples without a positive fill up the folds. Fold sizes are those of
    :class:`sklearn.model_selection.KFold`: the first ``n_samples % n_splits`` folds have one sample
    more than the others.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds, at least 2 and at most the number of samples.
    shuffle : bool, default=False
        Whether to shuffle the samples before they are split. If False, the folds depend on the data
        only; even then they are not consecutive blocks.
    random_state : int, RandomState instance or None, default=None
        Seeds the shuffling; only with ``shuffle=True``.
    missing_label : float, default=NaN
        Value that marks a missing entry of y beside NaN, for example -1.

    Raises
    ------
    TypeError
        If ``shuffle`` is not a bool.
    ValueError
        If ``n_splits`` is below 2, or ``random_state`` is given without ``shuffle=True``. In
        ``split``, if y is missing or has other entries.

    References
    ----------
    .. [1] Sechidis, Tsoumakas and Vlahavas, "On the stratification of multi-label data",
       ECML PKDD 2011, Algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_mlcl.model_selection import MultilabelStratifiedKFold
    >>> Y = np.array(
    ...     [[1, 0], [1, 1], [0, 1], [0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]
    ... )
    >>> for train, test in MultilabelStratifiedKFold(2).split(np.zeros((8, 1)), Y):
    ...     print(test, Y[test].sum(axis=0))
    [0 1 2 3] [2 2]
    [4 5 6 7] [2 2]
    """

    def __init__(
        self,
        n_splits: int = 5,
        *,
        shuffle: bool = False,
        random_state: int | RandomState | None = None,
        missing_label: float = np.nan,
    ) -> None:
        super().__init__(n_splits, shuffle=shuffle, random_state=random_state)
        self.missing_label = missing_label

    def _iter_splits(self, Y: sp.csr_matrix) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        k, rows = self.n_splits, np.empty((Y.shape[0], 0))
        sizes = np.array([len(test) for _, test in KFold(k).split(rows)])
        rng = check_random_state(self.random_state) if self.shuffle else None
        fold_of = _stratified_folds(Y, np.ones(k), sizes, rng)
        return ((np.flatnonzero(fold_of != f), np.flatnonzero(fold_of == f)) for f in range(k))


@named_in_errors
class MultilabelStratifiedShuffleSplit(_LabelStratified, ShuffleSplit):
    """Random splits into training and test samples that keep the share of every label.

    Iterative stratification [1]_ with two parts, or three if `train_size` and `test_size` leave
    samples over. The sizes are exactly those of :class:`sklearn.model_selection.ShuffleSplit`. A
    label with fewer positives than ``1 / test_size`` goes to the larger part, the training samples.

    Parameters
    ----------
    n_splits : int, default=10
        Number of independent splits, at least 1.
    test_size : float or int, default=None
        Share (rounded up) or number of test samples. None is the rest of `train_size`, or 0.1.
    train_size : float or int, default=None
        Share (rounded down) or number of training samples. None is the rest of `test_size`.
    random_state : int, RandomState instance or None, default=None
        Seeds the splits.
    missing_label : float, default=NaN
        Value that marks a missing entry of y beside NaN, for example -1.

    References
    ----------
    .. [1] Sechidis, Tsoumakas and Vlahavas, "On the stratification of multi-label data",
       ECML PKDD 2011, Algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_mlcl.model_selection import MultilabelStratifiedShuffleSplit
    >>> Y = np.repeat([[1, 0], [1, 1], [0, 0]], [40, 20, 40], axis=0)
    >>> splitter = MultilabelStratifiedShuffleSplit(
    ...     1, test_size=0.25, random_state=0
    ... )
    >>> train, test = next(splitter.split(np.zeros((100, 1)), Y))
    >>> len(train), len(test), Y[test].sum(axis=0)
    (75, 25, array([15,  5]))
    """

    def __init__(
        self,
        n_splits: int = 10,
        *,
        test_size: float | int | None = None,
        train_size: float | int | None = None,
        random_state: int | RandomState | None = None,
        missing_label: float = np.nan,
    ) -> None:
        super().__init__(
            n_splits, test_size=test_size, train_size=train_size, random_state=random_state
        )
        self.missing_label = missing_label

    def _iter_splits(self, Y: sp.csr_matrix) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        n, given = Y.shape[0], {"test_size": self.test_size, "train_size": self.train_size}
        size = (Interval(Real, 0, 1, closed="neither"), AT_LEAST_1, None)
        sizes_given = {name: (value, *size) for name, value in given.items()}
        check_arguments(type(self).__name__, n_splits=(self.n_splits, AT_LEAST_1), **sizes_given)
        train, test = next(ShuffleSplit(1, **given, random_state=0).split(np.empty((n, 0))))
        sizes = np.array([len(train), len(test), n - len(train) - len(test)])
        rng = check_random_state(self.random_state)
        for _ in range(self.n_splits):
            part_of = _stratified_folds(Y, sizes, sizes, rng)
            yield np.flatnonzero(part_of == 0), np.flatnonzero(part_of == 1)


# ---------------------------------------------------------------------- folds of members


@dataclass(frozen=True)
class Folds:
    """Samples that are held out from training, to judge and to choose.

    Attributes
    ----------
    of_sample : ndarray of shape (n,), int64
        The fold of each sample; -1 where nobody holds it out.
    n_folds : int
        Number of folds K. Each of K members holds out one fold; with one fold all members hold out
        the same samples; with none nothing is held out.
    """

    of_sample: np.ndarray
    n_folds: int

    @property
    def by_member(self) -> bool:
        """Whether each member learns from samples of its own."""
        return self.n_folds > 1

    def held_out(self, k: int) -> np.ndarray:
        """Return the numbers of the samples of fold k."""
        return np.flatnonzero(self.of_sample == k)

    def learnt(self, k: int) -> np.ndarray:
        """Return the numbers of the samples that are not in fold k."""
        return np.flatnonzero(self.of_sample != k)

    @property
    def judged(self) -> np.ndarray:
        """Numbers of the samples that somebody holds out."""
        return np.flatnonzero(self.of_sample >= 0)


def no_folds(n_samples: int) -> Folds:
    """Return folds that hold nothing out."""
    return Folds(np.full(n_samples, -1), 0)


def member_folds(data: FitData, n_folds: int, seed: int) -> Folds:
    """Deal the samples to the folds of ``n_folds`` members, stratified over the labels.

    A group stays in one fold, and so do equal samples.
    """
    group = joined_groups(data.X, data.groups)
    units = unit_labels(data.Y, group)
    if units.shape[0] < n_folds:
        return no_folds(data.n_samples)
    splitter = MultilabelStratifiedKFold(n_folds, shuffle=True, random_state=seed)
    fold = np.empty(units.shape[0], dtype=np.int64)
    for k, (_, part) in enumerate(splitter.split(np.empty((units.shape[0], 0)), units)):
        fold[part] = k
    return _keeping_labels(fold, n_folds, units, data, group)


def common_share(data: FitData, share: float, seed: int) -> Folds:
    """Hold out one stratified share of the samples, from which no member learns."""
    group = joined_groups(data.X, data.groups)
    units = unit_labels(data.Y, group)
    if units.shape[0] < 2:
        return no_folds(data.n_samples)
    if ceil(share * units.shape[0]) >= units.shape[0]:
        raise ValueError(
            f"validation={share:g} holds out all {units.shape[0]} samples (equal samples, and "
            "those of a group, count once); expected a smaller share."
        )
    splitter = MultilabelStratifiedShuffleSplit(1, test_size=share, random_state=seed)
    _, test = next(splitter.split(np.empty((units.shape[0], 0)), units))
    fold = np.full(units.shape[0], -1)
    fold[test] = 0
    return _keeping_labels(fold, 1, units, data, group)


def _keeping_labels(
    fold: np.ndarray, n_folds: int, units: sp.csr_array, data: FitData, group: np.ndarray
) -> Folds:
    """Let all members learn from groups without which a label would have no positive, or no other.

    Where a fold is then empty, nothing is held out.
    """
    fold = fold.copy()
    # A label with more negatives than a fold has samples cannot lose all of them: no dense matrix
    # of all labels is made.
    largest = np.bincount(fold[group] + 1)[1:].max()
    Y: Any = data.Y[:, weighted_counts(data.Y, None)[1] <= largest]
    without = unit_labels((Y.toarray() if sp.issparse(Y) else Y) == 0, group)
    for k in range(n_folds):
        own = np.flatnonzero(fold == k)
        fold[own[_has_the_last(units, own) | _has_the_last(without, own)]] = -1
    if len(np.unique(fold[fold >= 0])) < n_folds:
        return no_folds(len(group))
    return Folds(fold[group], n_folds)


def _has_the_last(units: sp.csr_array, own: np.ndarray) -> np.ndarray:
    """Return which of the groups ``own`` have a label that no other group has."""
    total = units.sum(axis=0)
    lost = (units[own].sum(axis=0) == total) & (total > 0)
    return units[own] @ lost.astype(np.int64) > 0


def joined_groups(X: Any, groups: Any) -> np.ndarray:
    """Return the number of the group of each sample; equal samples are in one group.

    Parameters
    ----------
    X : ndarray, MemmapView or CSR of shape (n, d)
        The samples.
    groups : ndarray of shape (n,) or None
        The user's groups.
    """
    same = _equal_samples(X)
    if groups is None:
        return same
    n = len(same)
    # Samples and groups are the nodes of a graph: what hangs together stays together. Numbers of
    # groups have gaps where samples were dropped.
    groups = np.unique(groups, return_inverse=True)[1]
    nodes = np.concatenate([same, n + groups])
    edges = np.tile(np.arange(n), 2) + 2 * n
    graph = sp.coo_array((np.ones(2 * n, dtype=bool), (edges, nodes)), shape=(3 * n, 3 * n))
    joined = connected_components(graph, directed=False)[1][2 * n :]
    return np.unique(joined, return_inverse=True)[1]


def _equal_samples(X: Any) -> np.ndarray:
    """Return a number for each sample, the same for samples that are equal."""
    if sp.issparse(X):
        X = sp.csr_array(X, copy=True)
        X.sum_duplicates()
        X.eliminate_zeros()
        ends = zip(X.indptr[:-1], X.indptr[1:], strict=True)
        keys = (X.indices[a:b].tobytes() + X.data[a:b].tobytes() for a, b in ends)
    elif X.dtype.names:
        keys = (row.tobytes() for row in X)
    else:
        # Adding 0 makes 0 of -0.
        keys = ((np.asarray(row) + 0).tobytes() for row in X)
    digests = (blake2b(key, digest_size=16).digest() for key in keys)
    table = np.fromiter(digests, dtype="S16", count=X.shape[0])
    _, first, number = np.unique(table, return_index=True, return_inverse=True)
    # Numbers go by the first sample of each.
    return np.argsort(np.argsort(first))[number]


def unit_labels(Y: Any, group: np.ndarray) -> sp.csr_array:
    """Return the labels that any sample of a group has, as booleans (n_groups, L)."""
    # A block at a time: on the way to CSR a dense matrix takes 16 bytes for each positive.
    blocks = [sp.csr_array(Y[part] == 1) for part in chunks(Y.shape[0])]
    member = sp.csr_array(
        (np.ones(len(group), dtype=bool), (group, np.arange(len(group)))),
        shape=(int(group.max()) + 1, len(group)),
    )
    # A sum of booleans is true where one is.
    return sp.csr_array(member @ sp.vstack(blocks, format="csr"))
