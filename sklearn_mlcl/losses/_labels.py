"""Label sets of anchors and candidates, and the counts that every pair weight is made of."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sklearn_mlcl.losses._targets import known_cells

ALL = slice(None)


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
