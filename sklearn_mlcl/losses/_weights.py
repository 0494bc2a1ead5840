"""The label-only side of the unified form: W by tiles, and what turns rows into an average.

Every contrastive loss is ``sum_i a_i (Wbar_i log D_i - sum_j W_ij s_ij)`` with
``D_i = sum_k b_ik exp(s_ik)``.  A recipe hands the kernel W up to a positive factor per row, the
row sums of that W, the per-row factor, and the share of each row in the average.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor

from sklearn_mlcl.losses._labels import ALL

# Finite, so that a weight of zero times a masked logit is zero; far below any cosine / temperature.
MASKED = -1e30


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
