"""Weights that give each label of an anchor a share of its own: MulSupCon, MSC, REG, Proto.

``W_ij = S_ij sum_l Y_il Y_jl / N_il`` with ``N = S Y`` on the labels of the anchor.  Dividing the
label matrix first, ``T = Y / N``, leaves two matrix products and no (n, n, L) array.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sklearn_mlcl.losses._labels import ALL, LabelPairs
from sklearn_mlcl.losses._weights import PairWeights, reciprocal, spans

Similarity = Callable[[LabelPairs, slice, slice], Tensor]


def inverse_union(pairs: LabelPairs, rows: slice, columns: slice) -> Tensor:
    """1 / |y_i u y_j|, 0 when both are empty."""
    return reciprocal(pairs.union(pairs.intersection(rows, columns), rows, columns))


def share_of_candidate(alpha: float) -> Similarity:
    """f(r), r = |y_i n y_j| / |y_j|: r^alpha, or [r = 1] when alpha < 0."""

    def similarity(pairs: LabelPairs, rows: slice, columns: slice) -> Tensor:
        intersection = pairs.intersection(rows, columns)
        size = pairs.candidate_size(rows, columns)
        if alpha < 0:
            return ((intersection == size) & (intersection > 0)).to(intersection.dtype)
        return intersection.div_(size.clamp_min(1.0)).pow_(alpha)

    return similarity


class FactorisedWeights(PairWeights):
    """Instances (and queue) against each other, with prototypes as candidates and as anchors.

    Columns: instances, queue, prototypes, of which those beyond L (sampled negatives) are nobody's
    positive.  ``similarity=None`` means S = 1, where N is a count and needs no product.
    ``prototype_anchors`` adds a row for each of the L prototypes, whose positives are the
    instances with the label, weighted by ``instance_weight``.  Where the labels of anchors have
    weights, each multiplies the share of its label.
    """

    weighs_labels = True

    def __init__(
        self,
        pairs: LabelPairs,
        *,
        similarity: Similarity | None = None,
        n_prototypes: int = 0,
        prototype_anchors: bool = False,
        instance_weight: Tensor | None = None,
        edge: int | None = None,
    ) -> None:
        self._pairs, self._similarity = pairs, similarity
        self._Y, self._keys = pairs.anchors.positive, pairs.candidates.positive
        self.n_instances, self._n_keys = len(self._Y), len(self._keys)
        self._own = float(n_prototypes > 0)
        self.n_columns = self._n_keys + n_prototypes
        self._S = None if similarity is None or edge else self._similarities(ALL, ALL)
        shares = self._label_shares(edge)
        weight = pairs.anchors.weight
        self._T = shares if weight is None else shares * weight
        self._R: Tensor | None = None
        self.n_rows, self.row_sum = self.n_instances, self._row_sums()
        if prototype_anchors:
            self._add_prototype_anchors(shares, instance_weight)

    def tile(self, rows: slice = ALL, columns: slice = ALL) -> Tensor:
        rows = slice(*rows.indices(self.n_rows)[:2])
        columns = slice(*columns.indices(self.n_columns)[:2])
        if rows.stop <= self.n_instances and columns.stop <= self._n_keys:
            return self._instance_block(rows, columns)
        W = self._T.new_zeros(rows.stop - rows.start, columns.stop - columns.start)
        instances, top = _within(rows, 0, self.n_instances)
        keys, left = _within(columns, 0, self._n_keys)
        labels, right = _within(columns, self._n_keys, self._n_keys + self._T.shape[1])
        self._instance_block(instances, keys, out=W[top, left])
        W[top, right] = self._T[instances, labels]
        if self._R is not None:
            anchors, bottom = _within(rows, self.n_instances, self.n_rows)
            W[bottom, left] = self._R[anchors, keys]
        return W

    def _instance_block(self, rows: slice, columns: slice, out: Tensor | None = None) -> Tensor:
        W = torch.mm(self._T[rows], self._keys[columns].T, out=out)
        if self._similarity is None:
            return self.mask_self_(W, rows, columns, 0.0)
        S = self._similarities(rows, columns) if self._S is None else self._S[rows, columns]
        return W.mul_(S)

    def _similarities(self, rows: slice, columns: slice) -> Tensor:
        assert self._similarity is not None
        return self.mask_self_(self._similarity(self._pairs, rows, columns), rows, columns, 0.0)

    def _label_shares(self, edge: int | None) -> Tensor:
        """T = Y / N; a prototype of one's own adds 1 to N."""
        if self._similarity is None:
            # On a label of anchor i the column count includes i itself.
            return self._Y * reciprocal(self._keys.sum(0) - 1.0 + self._own)
        if self._S is not None:
            return self._Y * reciprocal(self._S @ self._keys + self._own)
        N = torch.full_like(self._Y, self._own)
        for rows in spans(self.n_instances, edge):
            for columns in spans(self._n_keys, edge):
                N[rows].addmm_(self._similarities(rows, columns), self._keys[columns])
        return self._Y * reciprocal(N)

    def _row_sums(self) -> Tensor:
        """Every label of an anchor that finds a positive contributes 1, or its weight."""
        if self._own:
            return self._pairs.anchors.weight_of_positives
        found, weight = self._T > 0, self._pairs.anchors.weight
        return found.sum(1, dtype=self._T.dtype) if weight is None else (found * weight).sum(1)

    def _add_prototype_anchors(self, shares: Tensor, instance_weight: Tensor | None) -> None:
        """R (L, B): each row sums to 1, or is empty."""
        total = self._Y.sum(0)
        self._R = shares.T
        if instance_weight is not None:
            weighted = self._Y * instance_weight[:, None]
            total = weighted.sum(0)
            self._R = (weighted * reciprocal(total)).T
        self.n_rows += len(total)
        self.row_sum = torch.cat([self.row_sum, (total > 0).to(total.dtype)])


def _within(span: slice, start: int, stop: int) -> tuple[slice, slice]:
    """The part of a span inside [start, stop): counted from start, and from the span's start."""
    low = max(span.start, start)
    high = max(low, min(span.stop, stop))
    return slice(low - start, high - start), slice(low - span.start, high - span.start)


class PrototypeWeights(PairWeights):
    """Instances against prototypes only: W = Y / |y_i|, zero on sampled negatives."""

    exclude_self = False
    weighs_labels = True

    def __init__(self, pairs: LabelPairs, n_prototypes: int) -> None:
        Y, weight = pairs.anchors.positive, pairs.anchors.weight
        Y = Y if weight is None else Y * weight
        self.n_rows = self.first_column = len(Y)
        self.n_columns = n_prototypes
        self._Y = torch.nn.functional.pad(Y, (0, n_prototypes - Y.shape[1]))
        self.row_sum = pairs.anchors.weight_of_positives

    def tile(self, rows: slice = ALL, columns: slice = ALL) -> Tensor:
        return self._Y[rows, columns]
