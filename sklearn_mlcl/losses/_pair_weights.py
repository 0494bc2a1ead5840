"""The label-only side of the unified form: W by tiles, and what turns rows into an average.

Every contrastive loss is ``sum_i a_i (Wbar_i log D_i - sum_j W_ij s_ij)`` with
``D_i = sum_k b_ik exp(s_ik)``.  A recipe hands the kernel W up to a positive factor per row, the
row sums of that W, the per-row factor, and the share of each row in the average.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from sklearn_mlcl.losses._targets import known_cells

# Finite, so that a weight of zero times a masked logit is zero; far below any cosine / temperature.
MASKED = -1e30

ALL = slice(None)


class PairWeights(ABC):
    """What a loss says about its pairs, from labels alone.

    Anchors are the first ``n_rows`` points of the stack (instances, queue, prototypes); candidates
    are the points from ``first_column`` on.  Anchor i and candidate i are the same point exactly
    when ``exclude_self`` holds.
    """

    n_rows: int
    n_columns: int
    first_column: int = 0
    exclude_self: bool = True
    # Whether W of the unified form includes the row factor (else the factor belongs to a_i).
    factor_in_weights: bool = True
    # Whether W, the row sums and the mass hold the weights of an anchor's labels, if there are any.
    weighs_labels: bool = False
    log_b: Tensor | None = None
    row_sum: Tensor
    factor: Tensor
    mass: Tensor

    @abstractmethod
    def tile(self, rows: slice = ALL, columns: slice = ALL) -> Tensor:
        """W / factor on a rectangle of pairs."""

    def full(self) -> Tensor:
        """W of the unified form, shape (n_rows, n_columns)."""
        W = self.tile()
        return W * self.factor[:, None] if self.factor_in_weights else W

    def mask_self_(self, tile: Tensor, rows: slice, columns: slice, value: float) -> Tensor:
        """Write ``value`` where anchor and candidate are the same point."""
        if not self.exclude_self:
            return tile
        if rows == ALL and columns == ALL:
            tile.diagonal(dim1=-2, dim2=-1).fill_(value)
            return tile
        low, high = max(rows.start, columns.start), min(rows.stop, columns.stop)
        if low < high:
            square = tile[..., low - rows.start : high - rows.start, :]
            square = square[..., low - columns.start : high - columns.start]
            square.diagonal(dim1=-2, dim2=-1).fill_(value)
        return tile


def spans(length: int, edge: int | None) -> Iterator[slice]:
    """Cut ``range(length)`` into slices of at most ``edge``; no edge means one full slice."""
    if edge is None:
        yield ALL
        return
    for start in range(0, length, edge):
        yield slice(start, min(start + edge, length))


def reciprocal(count: Tensor) -> Tensor:
    """1 / count, and 0 where the count is 0."""
    return torch.where(count > 0, count.reciprocal(), 0.0)


def active(row_sum: Tensor) -> Tensor:
    """1 for an anchor with a positive, else 0."""
    return (row_sum > 0).to(row_sum.dtype)


@dataclass(frozen=True)
class LabelSets:
    """Known positives (n, L) in the working dtype; ``known`` is None when no label is missing.

    ``weight`` (n, L) are the weights of the labels of anchors, where each has one.
    """

    positive: Tensor
    known: Tensor | None
    size: Tensor
    weight: Tensor | None = None

    @classmethod
    def of(cls, labels: Tensor, dtype: torch.dtype, weight: Tensor | None = None) -> LabelSets:
        """Read an indicator matrix; only a floating one can hold NaN, so only it pays for them.

        A label of weight 0 is not known.
        """
        positive, known = labels.to(dtype), known_cells(labels, weight)
        if known is None:
            return cls(positive, None, positive.sum(1))
        positive = torch.where(known, positive, 0.0)
        return cls(positive, known.to(dtype), positive.sum(1), weight)

    @property
    def weight_of_positives(self) -> Tensor:
        """Sum of the weights of each row's positives, their number without weights."""
        return self.size if self.weight is None else (self.positive * self.weight).sum(1)

    @property
    def mean_weight_of_positives(self) -> Tensor:
        """Mean of the weights of each row's positives, 0 for a row without any."""
        return self.weight_of_positives / self.size.clamp_min(1.0)

    def append(self, other: LabelSets) -> LabelSets:
        """Stack the rows of another set of label rows below these."""
        known = None
        if self.known is not None or other.known is not None:
            known = torch.cat([_known(self), _known(other)])
        positive = torch.cat([self.positive, other.positive])
        return LabelSets(positive, known, torch.cat([self.size, other.size]))


def _known(sets: LabelSets) -> Tensor:
    return torch.ones_like(sets.positive) if sets.known is None else sets.known


@dataclass(frozen=True)
class LabelPairs:
    """Anchor rows against candidate rows; every count runs over the jointly known labels."""

    anchors: LabelSets
    candidates: LabelSets

    def intersection(self, rows: slice = ALL, columns: slice = ALL) -> Tensor:
        """|y_i n y_j|, shape (rows, columns)."""
        return self.anchors.positive[rows] @ self.candidates.positive[columns].T

    def anchor_size(self, rows: slice = ALL, columns: slice = ALL) -> Tensor:
        """|y_i|, broadcastable to (rows, columns)."""
        if self.candidates.known is None:
            return self.anchors.size[rows, None]
        return self.anchors.positive[rows] @ self.candidates.known[columns].T

    def candidate_size(self, rows: slice = ALL, columns: slice = ALL) -> Tensor:
        """|y_j|, broadcastable to (rows, columns)."""
        if self.anchors.known is None:
            return self.candidates.size[columns]
        return self.anchors.known[rows] @ self.candidates.positive[columns].T

    def union(self, intersection: Tensor, rows: slice = ALL, columns: slice = ALL) -> Tensor:
        """|y_i u y_j|, shape (rows, columns)."""
        sizes = self.anchor_size(rows, columns) + self.candidate_size(rows, columns)
        return sizes.sub_(intersection)


Overlap = Callable[[LabelPairs, slice, slice], Tensor]


def any_shared(pairs: LabelPairs, rows: slice, columns: slice) -> Tensor:
    """1 where the pair shares a label."""
    return (pairs.intersection(rows, columns) > 0).to(pairs.anchors.positive.dtype)


def all_equal(pairs: LabelPairs, rows: slice, columns: slice) -> Tensor:
    """1 where both label sets are equal and not empty."""
    intersection = pairs.intersection(rows, columns)
    equal = (intersection == pairs.union(intersection, rows, columns)) & (intersection > 0)
    return equal.to(intersection.dtype)


def jaccard(pairs: LabelPairs, rows: slice, columns: slice) -> Tensor:
    """|intersection| / |union|, 0 for two empty sets (their intersection is 0)."""
    intersection = pairs.intersection(rows, columns)
    return intersection.div_(pairs.union(intersection, rows, columns).clamp_min_(1.0))


def similarity_dissimilarity(pairs: LabelPairs, rows: slice, columns: slice) -> Tensor:
    """K^s K^d = (|S n T| / |S|) / (1 + |T \\ S|) for anchor labels S, candidate labels T."""
    intersection = pairs.intersection(rows, columns)
    foreign = pairs.candidate_size(rows, columns) - intersection
    size = pairs.anchor_size(rows, columns).clamp_min(1.0)
    return intersection.div_(foreign.add_(1.0).mul_(size))


class OverlapWeights(PairWeights):
    """Rows divided by their sum, or by their number of positives."""

    def __init__(
        self, pairs: LabelPairs, overlap: Overlap, *, divide_by_count: bool, edge: int | None
    ) -> None:
        self._pairs, self._overlap = pairs, overlap
        self.n_rows, self.n_columns = len(pairs.anchors.size), len(pairs.candidates.size)
        self._dense = self._raw(ALL, ALL) if edge is None else None
        self.row_sum = self._sum_rows(edge, lambda tile: tile)
        divisor = self.row_sum
        if divide_by_count:
            divisor = self._sum_rows(edge, lambda tile: tile > 0)
        self.factor = reciprocal(divisor)
        self.mass = active(self.row_sum)

    def tile(self, rows: slice = ALL, columns: slice = ALL) -> Tensor:
        return self._raw(rows, columns) if self._dense is None else self._dense

    def _raw(self, rows: slice, columns: slice) -> Tensor:
        return self.mask_self_(self._overlap(self._pairs, rows, columns), rows, columns, 0.0)

    def _sum_rows(self, edge: int | None, term: Callable[[Tensor], Tensor]) -> Tensor:
        dtype = self._pairs.anchors.positive.dtype
        if edge is None:
            return term(self.tile()).sum(1, dtype=dtype)
        total = torch.zeros_like(self._pairs.anchors.size)
        for rows in spans(self.n_rows, edge):
            for columns in spans(self.n_columns, edge):
                total[rows] += term(self.tile(rows, columns)).sum(1, dtype=dtype)
        return total


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
