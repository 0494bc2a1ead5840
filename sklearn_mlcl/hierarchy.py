"""Hierarchies of labels: ancestors of positive labels before training, consistent decisions after.

A hierarchy says which labels imply which: a sample with a label has its ancestors too. It is a dict
from a label to its parent, or to a list of parents, by name or by number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike
from scipy.optimize import linprog

from sklearn_mlcl.utils.answers import logit
from sklearn_mlcl.utils.targets import as_label_matrix, label_names_in, label_places
from sklearn_mlcl.utils.validation import check_numbers, check_threshold

__all__ = ["consistent_decision", "with_ancestors"]


@dataclass(frozen=True)
class _Order:
    """Labels by number, parents before children.

    Attributes
    ----------
    parents : list of list of int
        Parents of each label.
    order : list of int
        All labels, each behind its parents.
    """

    parents: list[list[int]]
    order: list[int]

    @classmethod
    def of(cls, hierarchy: Any, names: Any, n_labels: int) -> _Order:
        """Read a hierarchy."""
        if not isinstance(hierarchy, Mapping):
            raise TypeError(
                "hierarchy must be a dict from a label to its parent or a list of parents, got "
                f"{type(hierarchy).__name__}."
            )
        parents: list[list[int]] = [[] for _ in range(n_labels)]
        for child, above in hierarchy.items():
            several = isinstance(above, Iterable) and not isinstance(above, str | tuple | bytes)
            keys = [child, *(above if several else [above])]
            own, *others = label_places(keys, names, n_labels, "hierarchy")
            parents[own] = others
        try:
            order = list(TopologicalSorter(dict(enumerate(parents))).static_order())
        except CycleError as error:
            labels = [i if names is None else names[i] for i in error.args[1]]
            raise ValueError(f"hierarchy must have no cycle, got {labels}.") from error
        return cls(parents, order)

    @property
    def is_forest(self) -> bool:
        """Whether no label has two parents."""
        return all(len(set(above)) < 2 for above in self.parents)

    @cached_property
    def edges(self) -> np.ndarray:
        """Pairs of a child and a parent, (n_edges, 2)."""
        pairs = [(child, p) for child, above in enumerate(self.parents) for p in above]
        return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def with_ancestors(y: Any, hierarchy: Any, *, missing_label: float = np.nan) -> Any:
    """Add the ancestors of positive labels, and fill what follows for missing ones.

    A positive label makes all its ancestors positive, also those that were negative. Then a
    negative label makes its missing descendants negative.

    Parameters
    ----------
    y : {array-like, DataFrame, CSR matrix} of shape (n_samples, n_labels)
        Indicator matrix, NaN or ``missing_label`` where a label is missing.
    hierarchy : dict
        A label -> its parent or a list of parents, by name or number.
    missing_label : float, default=NaN
        Marks a missing label beside NaN.

    Returns
    -------
    closed : ndarray, DataFrame or CSR matrix of shape (n_samples, n_labels)
        Of the kind and dtype of ``y``; NaN where a label is still missing.

    Raises
    ------
    TypeError
        If the hierarchy is no dict.
    ValueError
        If the hierarchy has an unknown label or a cycle.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn_mlcl.hierarchy import with_ancestors
    >>> Y = pd.DataFrame({"animal": [0, 0], "cat": [1, 0], "lion": [0, 0]})
    >>> with_ancestors(Y, {"cat": "animal", "lion": "cat"})
       animal  cat  lion
    0       1    1     0
    1       0    0     0
    """
    names = label_names_in(y)
    Y: Any = as_label_matrix(y, missing_label)
    order = _Order.of(hierarchy, names, Y.shape[1])
    if sp.issparse(Y):
        if not np.isnan(Y.data).any():
            return type(y)(_closed_csr(Y, order))
        return type(y)(_closed(Y.toarray(), order))
    closed = _closed(Y.copy(), order)
    return closed if names is None else _like(y, closed)


def _closed(Y: np.ndarray, order: _Order) -> np.ndarray:
    """Close a matrix in place."""
    for child in reversed(order.order):
        for parent in order.parents[child]:
            Y[Y[:, child] == 1, parent] = 1
    if Y.dtype.kind == "f":
        for child in order.order:
            for parent in order.parents[child]:
                Y[(Y[:, parent] == 0) & np.isnan(Y[:, child]), child] = 0
    return Y


def _closed_csr(Y: Any, order: _Order) -> Any:
    """Return a CSR matrix without missing labels, closed."""
    ancestors = sp.identity(Y.shape[1], dtype=np.int64, format="lil")
    for child in order.order:
        for parent in order.parents[child]:
            ancestors[child] += ancestors[parent]
    n_reasons = sp.csr_matrix(Y, dtype=np.int64) @ ancestors.tocsr()
    return (n_reasons > 0).astype(Y.dtype)


def _like(frame: Any, values: np.ndarray) -> Any:
    """Return values in a frame with the columns, and the index, of another."""
    if hasattr(frame, "iloc"):
        return type(frame)(values, columns=frame.columns, index=frame.index)
    return type(frame)(values, schema=list(frame.columns))


def consistent_decision(probabilities: Any, hierarchy: Any, *, threshold: ArrayLike = 0.5) -> Any:
    r"""Return the best label sets that hold the ancestors of all their labels.

    .. math::
        \hat S = \arg\max_{S \text{ closed}} \sum_{l \in S}
        \big(\mathrm{logit}(p_l) - \mathrm{logit}(t_l)\big)

    Without a hierarchy this is the decision by the threshold t. With a hierarchy, a label is
    predicted together with its ancestors if this raises the sum.

    Parameters
    ----------
    probabilities : {array-like, DataFrame} of shape (n_samples, n_labels)
        Probabilities of the labels.
    hierarchy : dict
        A label -> its parent or a list of parents, by name or number.
    threshold : float or array-like of shape (n_labels,), default=0.5
        A label without parents and children is predicted if its probability is at least this
        threshold, inside (0, 1).

    Returns
    -------
    labels : ndarray or DataFrame of shape (n_samples, n_labels), int64
        Indicator matrix. Ties leave labels out.

    Raises
    ------
    TypeError
        If the hierarchy is no dict.
    ValueError
        If the hierarchy has an unknown label or a cycle, or a threshold is not inside (0, 1).

    Notes
    -----
    If no label has two parents, a sum over each subtree finds the best set. If some label has
    several parents, a linear programme with integral solutions finds it. It is solved only for
    samples whose labels by the threshold lack an ancestor.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_mlcl.hierarchy import consistent_decision
    >>> P = np.array([[0.4, 0.9], [0.1, 0.6]])
    >>> consistent_decision(P, {1: 0})
    array([[1, 1],
           [0, 0]])
    """
    names = label_names_in(probabilities)
    P = check_numbers(probabilities, "probabilities", ("n_samples", "n_labels")).astype(np.float64)
    if not ((P >= 0) & (P <= 1)).all():
        raise ValueError("probabilities must lie in [0, 1].")
    order = _Order.of(hierarchy, names, P.shape[1])
    t = np.asarray(check_threshold(threshold, P.shape[1], names), dtype=np.float64)
    if not ((t > 0) & (t < 1)).all():
        raise ValueError(f"threshold must lie inside (0, 1), got {threshold!r}.")
    gain = np.asarray(logit(P) - logit(np.atleast_1d(t)))
    chosen = _best_in_forest(gain, order) if order.is_forest else _best_closed(gain, order)
    labels = chosen.astype(np.int64)
    return labels if names is None else _like(probabilities, labels)


def _best_in_forest(gain: np.ndarray, order: _Order) -> np.ndarray:
    """Return the closed sets of the largest gain where no label has two parents."""
    total = gain.copy()  # of a label with the best of its descendants
    for child in reversed(order.order):
        for parent in set(order.parents[child]):
            total[:, parent] += np.maximum(total[:, child], 0)
    chosen = total > 0
    for child in order.order:
        for parent in order.parents[child]:
            chosen[:, child] &= chosen[:, parent]
    return chosen


def _best_closed(gain: np.ndarray, order: _Order) -> np.ndarray:
    """Return the closed sets of the largest gain by a linear programme a sample."""
    chosen = gain > 0
    child, parent = order.edges.T
    n_edges, n_labels = len(child), gain.shape[1]
    rows = np.arange(n_edges)
    # x_child <= x_parent: each row has a 1 and a -1, so the corners are integral.
    entries = np.concatenate([np.ones(n_edges), -np.ones(n_edges)])
    places = (np.concatenate([rows, rows]), np.concatenate([child, parent]))
    constraints = sp.csr_matrix((entries, places), shape=(n_edges, n_labels))
    for i in np.flatnonzero((chosen[:, child] & ~chosen[:, parent]).any(axis=1)):
        # A tiny cost a label leaves out those that gain nothing.
        cost = -np.clip(gain[i], -1e3, 1e3) + 1e-9
        solution = linprog(cost, A_ub=constraints, b_ub=np.zeros(n_edges), bounds=(0, 1))
        chosen[i] = solution.x > 0.5
    return chosen
