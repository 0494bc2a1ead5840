"""A tree of labels: logistic regressions at its nodes, and the search for the best labels."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.functional import logsigmoid

from sklearn_mlcl.utils.samples import as_tensor, chunks
from sklearn_mlcl.utils.state import Like, check_tensors

#: Nodes of a level that a search for the best labels goes on from.
BEAM = 10
#: Entries of X, and scores, that are looked at together.
ENTRIES_AT_ONCE = 2**21
#: Log-probabilities are compared with a floor after rounding: this much below is above.
SLACK = 1e-3


class LabelTree(nn.Module):
    r"""Log-odds of labels, each by the classifiers on its path from the root.

    A node says how probable its children are where the node itself is right:

    .. math:: p_l = \prod_{v \,\in\, \mathrm{path}(l)} \sigma(w_v \cdot x + b_v)

    Parameters
    ----------
    levels : list of TreeLevel
        From the root to the labels.
    labels : ndarray of shape (L,)
        The labels in the order of the leaves.
    """

    labels: Tensor
    #: Where each label stands; set where it is to be a constant.
    place: Tensor | None = None

    def __init__(self, levels: list[TreeLevel], labels: np.ndarray) -> None:
        super().__init__()
        self.levels: Any = nn.ModuleList(levels)
        self.register_buffer("labels", torch.from_numpy(labels.astype(np.int64)))

    def check_state(self) -> None:
        """Raise a ``ValueError`` unless the levels fit together."""
        n = len(self.labels)
        check_tensors(self, {"labels": Like((n,), torch.int64)})
        if not torch.equal(self.labels.sort().values, torch.arange(n)):
            raise ValueError("the labels of a tree are no permutation")
        n_nodes = [level.n_nodes for level in self.levels]
        n_children = [level.n_children for level in self.levels]
        if [1, *n_children] != [*n_nodes, n]:
            raise ValueError(f"levels of {n_nodes} nodes have {n_children} children")
        if len({(level.n_features, level.weight.dtype) for level in self.levels}) != 1:
            raise ValueError("the levels of a tree differ in features or dtype")

    def forward(self, X: Any) -> Tensor:
        """Return log-odds (n, L) of samples (n, d): a tensor, or CSR."""
        total: Any = 0.0
        for level in self.levels:
            scores, parent = level.all_scores(X)
            total = total[:, parent] if level.n_nodes > 1 else total
            total = total + logsigmoid(scores)
        return log_odds_of(total[:, self.labels.argsort() if self.place is None else self.place])

    def unroll(self) -> None:
        """Read off what depends on numbers in tensors, so that a graph has it as constants."""
        self.place = self.labels.argsort()
        for level in self.levels:
            level.plan = level.planned()

    def best(self, X: Any, k: int) -> tuple[Tensor, Tensor]:
        """Return the k most probable labels that a beam search meets, and their log-odds, (n, k).

        Labels ascend. Of equal ones the search prefers those that come first in the tree.
        """
        n, beam = X.shape[0], self._beam(k)
        total = self._zero(n, 1)
        node, row = torch.zeros_like(total, dtype=torch.int64), self._numbers(n)
        for i, level in enumerate(self.levels):
            width = node.shape[1]
            last = i == len(self.levels) - 1
            child, found = level.descend(X, row.repeat_interleave(width), node.ravel())
            found = (found.view(n, width, -1) + total[:, :, None]).flatten(1)
            keep = k if last else min(beam, level.n_children)
            total, at = found.sort(dim=1, descending=True, stable=True)
            total, node = total[:, :keep], child.view(n, -1).gather(1, at[:, :keep])
        labels, order = self.labels[node].sort(dim=1)
        return labels, log_odds_of(total.gather(1, order))

    def above(self, X: Any, floor: float) -> tuple[Tensor, Tensor, Tensor]:
        """Return rows, labels and log-odds of all labels whose log-probability is at least a floor.

        A probability never exceeds that of its node, so no other node needs to be looked at.
        """
        n = X.shape[0]
        row, total = self._numbers(n), self._zero(n)
        node = torch.zeros_like(row)
        for level in self.levels:
            child, found = level.descend(X, row, node)
            found = found + total[:, None]
            kept = found >= floor - SLACK
            row = row[:, None].expand_as(child)[kept]
            node, total = child[kept], found[kept]
        return row, self.labels[node], log_odds_of(total)

    @property
    def n_features(self) -> int:
        """Number of features."""
        return self.levels[0].n_features

    def _beam(self, k: int) -> int:
        """Nodes to go on from, so many that k labels are under them."""
        smallest = min(int(level.sizes.min()) for level in self.levels)
        return max(BEAM, ceil(k / smallest))

    def _zero(self, *shape: int) -> Tensor:
        return self.levels[0].weight.new_zeros(shape)

    def _numbers(self, n: int) -> Tensor:
        return torch.arange(n, device=self.labels.device)


class Plan(NamedTuple):
    """Where the nodes of a level begin and end.

    Attributes
    ----------
    rows : list of int
        The first row of coefficients of each node, and the number of all rows.
    sizes : list of int
        The number of children of each node.
    parent : Tensor of shape (n_children,)
        The node of each child.
    """

    rows: list[int]
    sizes: list[int]
    parent: Tensor


class TreeLevel(nn.Module):
    """The classifiers of the nodes of one level: one for each child of a node.

    Parameters
    ----------
    weight : ndarray of shape (n_rows, n_children_of_a_node)
        For every node, a row of coefficients of its children for each feature that it knows.
    bias : ndarray of shape (n_nodes, n_children_of_a_node)
        The intercepts. Nodes with fewer children have zeros behind them.
    key : ndarray of shape (n_rows,)
        ``node * n_features + feature`` of each row, ascending.
    first : ndarray of shape (n_nodes + 1,)
        Number of the first child of each node.
    n_features : int
        Number of features.
    """

    weight: Tensor
    bias: Tensor
    key: Tensor
    first: Tensor
    #: Set where it is to be a constant.
    plan: Plan | None = None

    def __init__(
        self,
        weight: np.ndarray,
        bias: np.ndarray,
        key: np.ndarray,
        first: np.ndarray,
        n_features: int,
    ) -> None:
        super().__init__()
        self.n_features = n_features
        for name, array in {"weight": weight, "bias": bias, "key": key, "first": first}.items():
            self.register_buffer(name, torch.from_numpy(array))

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""
        return len(self.first) - 1

    @property
    def n_children(self) -> int:
        """Number of children of all nodes together."""
        return int(self.first[-1])

    @property
    def sizes(self) -> Tensor:
        """Numbers of children, (n_nodes,)."""
        return self.first.diff()

    def check_state(self) -> None:
        """Raise a ``ValueError`` unless the tensors fit together."""
        n_rows, n_nodes, sizes = len(self.key), self.n_nodes, self.sizes
        width = self.bias.shape[-1]
        dtype = self.weight.dtype if self.weight.dtype == torch.float32 else torch.float64
        check_tensors(
            self,
            {
                "weight": Like((n_rows, width), dtype),
                "bias": Like((n_nodes, width), dtype),
                "key": Like((n_rows,), torch.int64),
                "first": Like((n_nodes + 1,), torch.int64),
            },
        )
        if n_nodes < 1 or self.first[0] != 0 or sizes.min() < 1 or sizes.max() > width:
            raise ValueError("the children of the nodes of a tree are none")
        outside = (self.key < 0) | (self.key >= n_nodes * self.n_features)
        if outside.any() or (self.key.diff() <= 0).any():
            raise ValueError("the rows of the nodes of a tree are out of order")

    def descend(self, X: Any, row: Tensor, node: Tensor) -> tuple[Tensor, Tensor]:
        """Return children and their log-probabilities, (n_pairs, n_children_of_a_node).

        Places without a child have the log-probability minus infinity.
        """
        child = self.first[node][:, None] + self._numbers(self.bias.shape[1])
        is_child = child < self.first[node + 1][:, None]
        found = logsigmoid(self.scores(X, row, node)).masked_fill(~is_child, -torch.inf)
        return child, found

    def planned(self) -> Plan:
        """Return where its nodes begin and end."""
        ends = self._numbers(self.n_nodes + 1) * self.n_features
        rows = torch.searchsorted(self.key, ends).tolist()
        parent = self._numbers(self.n_nodes).repeat_interleave(self.sizes)
        return Plan(rows, self.sizes.tolist(), parent)

    def all_scores(self, X: Any) -> tuple[Tensor, Tensor]:
        """Return the scores of all children, (n, n_children), and the node of each child."""
        plan = self.plan or self.planned()
        if isinstance(X, Tensor):
            nodes = (self._of_node(X, v, plan)[:, :size] for v, size in enumerate(plan.sizes))
            return torch.cat(list(nodes), dim=1), plan.parent
        n, n_nodes = X.shape[0], self.n_nodes
        row, node = self._numbers(n), self._numbers(n_nodes)
        pairs = row.repeat_interleave(n_nodes), node.repeat(n)
        is_child = self._numbers(self.bias.shape[1]) < self.sizes[:, None]
        return self.scores(X, *pairs).view(n, n_nodes, -1)[:, is_child], plan.parent

    def scores(self, X: Any, row: Tensor, node: Tensor) -> Tensor:
        """Return the scores of the children of nodes for rows of X, pair by pair."""
        return self._by_node(X, row, node) if isinstance(X, Tensor) else self._by_pair(X, row, node)

    def _by_node(self, X: Tensor, row: Tensor, node: Tensor) -> Tensor:
        """One product for all rows of dense X that ask the same node."""
        out, plan = self.bias.new_empty(len(row), self.bias.shape[1]), self.planned()
        order = node.argsort(stable=True)
        visited, counts = node[order].unique_consecutive(return_counts=True)
        for v, at in zip(visited.tolist(), order.split(counts.tolist()), strict=True):
            out[at] = self._of_node(X[row[at]], v, plan)
        return out

    def _of_node(self, X: Tensor, v: int, plan: Plan) -> Tensor:
        rows = slice(plan.rows[v], plan.rows[v + 1])
        if rows.stop - rows.start < self.n_features:
            X = X[:, self.key[rows] % self.n_features]
        return torch.addmm(self.bias[v], X, self.weight[rows])

    def _by_pair(self, X: sp.csr_array, row: Tensor, node: Tensor) -> Tensor:
        """Sums of the rows of coefficients that the entries of CSR X pick."""
        out = self.bias[node]
        if not len(self.key):
            return out
        arrays = (X.indptr, X.indices, X.data)
        start, feature, value = (as_tensor(part).to(self.key.device) for part in arrays)
        n_entries = start.diff()[row]
        for part in _even_chunks(n_entries, ENTRIES_AT_ONCE):
            some = n_entries[part]
            pair = self._numbers(len(some)).repeat_interleave(some)
            # Number of an entry among those of its pair.
            nth = self._numbers(len(pair)) - (some.cumsum(0) - some)[pair]
            at = start[row[part]][pair] + nth
            asked = node[part][pair] * self.n_features + feature[at]
            place = torch.searchsorted(self.key, asked)
            known = (place < len(self.key)) & (
                self.key[place.clamp_max(len(self.key) - 1)] == asked
            )
            bag = pair.new_zeros(len(some) + 1)
            bag[1:] = pair[known].bincount(minlength=len(some)).cumsum(0)
            out[part] += functional.embedding_bag(
                place[known],
                self.weight,
                bag,
                mode="sum",
                per_sample_weights=value[at][known].to(self.weight.dtype),
                include_last_offset=True,
            )
        return out

    def _numbers(self, n: int) -> Tensor:
        return torch.arange(n, device=self.key.device)


def _even_chunks(sizes: Tensor, limit: int) -> Iterator[slice]:
    """Yield slices of items whose sizes together are within a limit, if one item is."""
    mean = float(sizes.double().mean()) if len(sizes) else 0.0
    return chunks(len(sizes), max(1, int(limit / max(1.0, mean))))


def log_odds_of(log_p: Tensor) -> Tensor:
    """Return log-odds from log-probabilities."""
    log_p = log_p.clamp_max(-torch.finfo(log_p.dtype).tiny)
    return log_p - torch.log(-torch.expm1(log_p))
