"""Fitting a tree of labels: balanced clusters, and the logistic regressions of their nodes."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.preprocessing import normalize

from sklearn_mlcl.heads.label_tree import LabelTree, TreeLevel
from sklearn_mlcl.heads.logistic import fit_heads
from sklearn_mlcl.solvers import LogisticSolution

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


# ---------------------------------------------------------------------- regressions

#: Rows of the largest Gram matrix of a node: a larger one is decomposed more slowly than the
#: regressions of a node are solved without.
LARGEST_GRAM = 600


@dataclass(frozen=True)
class FittedTree:
    """A tree, and how its regressions went.

    Attributes
    ----------
    tree : LabelTree
        The tree.
    C : ndarray of shape (L,)
        The C of each label's own regression.
    n_iter : ndarray of shape (L,)
        The most steps of a regression on the path of each label.
    converged : ndarray of shape (n_regressions,)
        Whether the regressions of all levels reached the tolerance.
    """

    tree: LabelTree
    C: np.ndarray
    n_iter: np.ndarray
    converged: np.ndarray


def fit_label_tree(
    X: Any, Y: Any, sample_weight: np.ndarray | None, C: Any, **options: Any
) -> FittedTree:
    """Cluster the labels, and solve the regressions of each node on the samples that reach it.

    A sample has a node where it has a label under it. It lacks the node where it has none, and all
    are known; else the node is missing. The samples that reach a node are those that have it.

    Parameters
    ----------
    X : ndarray or CSR of shape (n, d)
        Features or embeddings. Coefficients are float32 where X is.
    Y : ndarray or CSR of shape (n, L)
        Indicator matrix, NaN where missing.
    sample_weight : ndarray of shape (n,) or (n, L), or None
        Weights of the samples or of the entries. A node has the mean weight of its labels.
    C : float, ndarray of shape (L,) or "cv"
        Inverse regularisation. A node has the mean of its labels.
    **options
        As for :func:`sklearn_mlcl.heads.logistic.fit_heads`.
    """
    X = sp.csr_array(X) if sp.issparse(X) else X
    dtype = np.float32 if X.dtype == np.float32 else np.float64
    options |= {"dtype": getattr(torch, dtype.__name__), "largest_gram": LARGEST_GRAM}
    targets = _Targets.of(Y)
    weighted = targets.positive
    if sample_weight is not None:
        weighted = weighted.multiply(sample_weight.reshape(len(sample_weight), -1))
    clusters = cluster_labels(X, sp.csr_array(weighted))
    # A node holds a run of places: this is where those of each child begin, level by level.
    edges = [np.arange(Y.shape[1] + 1)]
    for first in clusters.first[:0:-1]:
        edges.insert(0, edges[0][first])
    targets = targets.ordered(clusters.labels)
    C = _ordered(C, clusters.labels)
    weight = sample_weight
    if weight is not None and weight.ndim == 2:
        weight = _ordered(weight, clusters.labels)
    above, levels, converged, n_iter = None, [], [], np.zeros(1, dtype=np.int64)
    for first, edge in zip(clusters.first, edges, strict=True):
        children = targets.merged(edge)
        fits = []
        for v, part in enumerate(map(slice, first[:-1], first[1:])):
            rows = np.arange(X.shape[0]) if above is None else above.having(v)
            own = edge[part.start : part.stop + 1]
            of_node = _of_rows(weight, rows, own), _merged(C, own)
            fits.append(_node(X, children, part, rows, *of_node, options))
        solutions = [fit.solution for fit in fits]
        levels.append(_level(fits, first, X.shape[1], dtype))
        converged += [solution.converged for solution in solutions]
        steps = np.concatenate([solution.n_iter for solution in solutions])
        n_iter = np.maximum(np.repeat(n_iter, np.diff(first)), steps)
        above = children
    back = np.argsort(clusters.labels)
    C = np.concatenate([solution.C for solution in solutions])
    tree = LabelTree(levels, clusters.labels)
    return FittedTree(tree, C[back], n_iter[back], np.concatenate(converged))


@dataclass(frozen=True)
class _Targets:
    """Where labels, or nodes, are positive, and where they are missing if any is: CSC (n, L)."""

    positive: sp.csc_array
    missing: sp.csc_array | None

    @classmethod
    def of(cls, Y: Any) -> _Targets:
        if sp.issparse(Y):
            return cls(sp.csc_array(Y, dtype=np.int32), None)
        missing = np.isnan(Y)
        positive = sp.csc_array(np.equal(Y, 1).astype(np.int32))
        return cls(positive, sp.csc_array(missing.astype(np.int32)) if missing.any() else None)

    def ordered(self, labels: np.ndarray) -> _Targets:
        return _Targets(
            self.positive[:, labels], None if self.missing is None else self.missing[:, labels]
        )

    def merged(self, edge: np.ndarray) -> _Targets:
        """The targets of nodes: runs of labels from one edge to the next."""
        n_nodes = len(edge) - 1
        node = np.repeat(np.arange(n_nodes), np.diff(edge))
        ones = np.ones(len(node), dtype=np.int32)
        holds = sp.csr_array((ones, node, np.arange(len(node) + 1)), (len(node), n_nodes))
        sums = (
            part if part is None else sp.csc_array(part @ holds) for part in vars(self).values()
        )
        return _Targets(*sums)

    def having(self, v: int) -> np.ndarray:
        """Numbers of the rows that have a node."""
        column = slice(*self.positive.indptr[[v, v + 1]])
        return np.sort(self.positive.indices[column])

    def block(self, rows: np.ndarray, part: slice) -> Any:
        """The targets of some nodes, as a solver takes them."""
        positive = self.positive[:, part].tocsr()[rows]
        positive.data[:] = 1
        if self.missing is None:
            return positive
        block = positive.toarray().astype(np.float64)
        block[(block == 0) & (self.missing[:, part].tocsr()[rows].toarray() > 0)] = np.nan
        return block


@dataclass(frozen=True)
class _Node:
    """The features that the samples of a node have, and the regressions of its children."""

    features: np.ndarray
    solution: LogisticSolution


def _node(
    X: Any,
    children: _Targets,
    part: slice,
    rows: np.ndarray,
    weight: np.ndarray | None,
    C: Any,
    options: dict[str, Any],
) -> _Node:
    """Solve the regressions of a node's children on the samples that reach it."""
    if not len(rows):
        return _unreached(part.stop - part.start, C, options)
    own = X[rows]
    features = np.arange(X.shape[1])
    if sp.issparse(own):
        features, index = np.unique(own.indices, return_inverse=True)
        # A matrix has a column at least.
        features = features if len(features) else np.zeros(1, dtype=np.int64)
        own = sp.csr_array((own.data, index, own.indptr), (len(rows), len(features)))
    solution = fit_heads(own, children.block(rows, part), weight, C, **options)
    return _Node(features, solution)


def _unreached(n_children: int, C: Any, options: dict[str, Any]) -> _Node:
    """Even odds for the children of a node that no sample has."""
    none = np.zeros(n_children)
    C = none + (options["Cs"][0] if isinstance(C, str) else C)
    true = np.ones(n_children, dtype=bool)
    solution = LogisticSolution(none[:, None][:, :0], none, none.astype(int), true, none, true, C)
    return _Node(np.zeros(0, dtype=np.int64), solution)


def _level(fits: list[_Node], first: np.ndarray, n_features: int, dtype: Any) -> TreeLevel:
    """Return the regressions of the nodes of a level in one set of arrays."""
    n_rows, width = sum(len(fit.features) for fit in fits), int(np.diff(first).max())
    weight = np.zeros((n_rows, width), dtype=dtype)
    bias = np.zeros((len(fits), width), dtype=dtype)
    key = np.empty(n_rows, dtype=np.int64)
    begin = 0
    for v, fit in enumerate(fits):
        rows = slice(begin, begin + len(fit.features))
        n_children = len(fit.solution.intercept)
        weight[rows, :n_children] = fit.solution.coef.T
        bias[v, :n_children] = fit.solution.intercept
        key[rows] = v * n_features + fit.features.astype(np.int64)
        begin = rows.stop
    return TreeLevel(weight, bias, key, first.astype(np.int64), n_features)


def _ordered(values: Any, labels: np.ndarray) -> Any:
    """Return what stands for labels along the last axis in another order; the rest as it is."""
    per_label = isinstance(values, np.ndarray) and values.shape[-1:] == labels.shape
    return values[..., labels] if per_label else values


def _of_rows(weight: np.ndarray | None, rows: np.ndarray, own: np.ndarray) -> np.ndarray | None:
    """Return the weights of some rows, of entries for nodes with these edges."""
    if weight is None or weight.ndim == 1:
        return None if weight is None else weight[rows]
    return _merged(weight[rows], own)


def _merged(values: Any, own: np.ndarray) -> Any:
    """Return the mean over the labels of each node, along the last axis; a number stays one."""
    if not isinstance(values, np.ndarray) or values.ndim == 0:
        return values
    inside = values[..., own[0] : own[-1]]
    return np.add.reduceat(inside, own[:-1] - own[0], axis=-1) / np.diff(own)
