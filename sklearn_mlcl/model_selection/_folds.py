"""Which samples the members of an ensemble hold out: one fold each, or one common share."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from math import ceil
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from sklearn_mlcl.model_selection._splitters import (
    MultilabelStratifiedKFold,
    MultilabelStratifiedShuffleSplit,
)
from sklearn_mlcl.utils.class_weight import weighted_counts
from sklearn_mlcl.utils.fit_data import FitData
from sklearn_mlcl.utils.samples import chunks


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
            f"validation={share:g} holds out all {units.shape[0]} samples, where equal ones and "
            "those of a group count once; expected a smaller share."
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
