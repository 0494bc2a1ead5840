"""Balanced clusters of labels: those that occur with the same features stand together."""

from __future__ import annotations

from math import ceil
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from sklearn.preprocessing import normalize

#: Children of a node at most, unless the tree would then be a single level.
MOST_CHILDREN = 100
#: Steps of a two-means split at most; a step that moves no label ends it before.
SPLIT_STEPS = 10


class Clusters(NamedTuple):
    """A tree over labels.

    Attributes
    ----------
    labels : ndarray of shape (L,)
        The labels in the order of the leaves.
    first : list of ndarray
        For each level, the number of the first child of each node, and the number of all children.
        Children are nodes of the next level, or places in ``labels``.
    """

    labels: np.ndarray
    first: list[np.ndarray]


def cluster_labels(X: Any, Y: sp.csr_array) -> Clusters:
    """Return balanced clusters of clusters of labels.

    A label is described by the direction of the weighted sum of the samples that have it. Halving
    by two-means splits a cluster. Its first centres are the label that is furthest from the mean
    of all, and the label furthest from that one. So nothing is drawn at random.

    Parameters
    ----------
    X : ndarray or CSR of shape (n, d)
        Samples.
    Y : CSR of shape (n, L)
        Weights of the entries where a sample has a label.
    """
    n_labels = Y.shape[1]
    depth, width = tree_shape(n_labels)
    directions = normalize(Y.T.astype(X.dtype) @ X)
    groups, firsts = [np.arange(n_labels)], []
    for _ in range(depth - 1):
        parts = [_split(directions, group, min(width, len(group))) for group in groups]
        firsts.append(np.cumsum([0, *map(len, parts)]))
        groups = [part for some in parts for part in some]
    firsts.append(np.cumsum([0, *map(len, groups)]))
    return Clusters(np.concatenate(groups), firsts)


def tree_shape(n_labels: int) -> tuple[int, int]:
    """Return the number of levels of a tree, two at least, and the children of a node."""
    depth = 2
    while MOST_CHILDREN**depth < n_labels:
        depth += 1
    return depth, max(1, ceil(round(n_labels ** (1 / depth), 6)))


def _split(directions: Any, group: np.ndarray, n_parts: int) -> list[np.ndarray]:
    """Return the parts of a group, equal in size but for one label."""
    if n_parts == 1:
        return [group]
    left = n_parts // 2
    first = _halves(directions[group], round(len(group) * left / n_parts))
    return [
        *_split(directions, group[first], left),
        *_split(directions, group[~first], n_parts - left),
    ]


def _halves(directions: Any, size: int) -> np.ndarray:
    """Return a mask of the ``size`` labels on one side of a two-means split."""
    n = directions.shape[0]
    # Sums by products with masks: no rows are copied.
    total = np.ones(n, dtype=directions.dtype) @ directions
    one = _row(directions, int((directions @ total).argmin()))
    axis = one - _row(directions, int((directions @ one).argmin()))
    first = np.zeros(n, dtype=bool)
    for _ in range(SPLIT_STEPS):
        before, first = first, np.zeros_like(first)
        first[np.argsort(-(directions @ axis), kind="stable")[:size]] = True
        if (first == before).all():
            break
        own = first.astype(directions.dtype) @ directions
        axis = _direction(own) - _direction(total - own)
    return first


def _row(rows: Any, i: int) -> np.ndarray:
    row = rows[[i]]
    return np.ravel(row.toarray() if sp.issparse(row) else row)


def _direction(total: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(total)
    return total / length if length > 0 else total
