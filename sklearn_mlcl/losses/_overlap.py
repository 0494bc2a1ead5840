"""Weights that compare two label sets as wholes: shared labels, equal sets, Jaccard and kin."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sklearn_mlcl.losses._labels import ALL, LabelPairs
from sklearn_mlcl.losses._weights import PairWeights, active, reciprocal, spans

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
