"""Pairs of a batch: the attraction W that labels give them, and the kernel of all losses.

Every contrastive loss is ``sum_i a_i (Wbar_i log D_i - sum_j W_ij s_ij)`` with
``D_i = sum_k b_ik exp(s_ik)`` and ``Wbar_i = sum_j W_ij``.  :class:`PairWeights` gives the kernel W
up to a factor per anchor, its row sums, the factor, and the mass of each anchor in the average.

With ``pi_ij = b_ij exp(s_ij) / D_i`` the gradient in the logits is ``-a_i (W_ij - Wbar_i pi_ij)``,
the pull of j on i.  On positives its repulsive part is scaled by ``1 - lambda_reg``.  The gradient
is computed together with the value: no autograd graph of pairs exists, and with tiles no array of
all pairs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from math import isqrt
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from sklearn_mlcl.losses._inputs import missing_entries
from sklearn_mlcl.utils.samples import part_of

# Arrays of one tile alive at once: logits, weights, probabilities, one temporary.
_ARRAYS = 4
# Above this edge a tile leaves the caches and gains nothing.
_LARGEST_EDGE = 1024


def tiles(rows: slice, n_columns: int, edge: int | None) -> Iterator[tuple[slice, slice]]:
    """Cut some rows of a matrix into tiles of at most edge x edge; one tile if edge is None."""
    if edge is None:
        yield rows, slice(0, n_columns)
        return
    for top in range(rows.start, rows.stop, edge):
        for left in range(0, n_columns, edge):
            yield slice(top, min(top + edge, rows.stop)), slice(left, min(left + edge, n_columns))


def reciprocal(count: Tensor) -> Tensor:
    """1 / count, and 0 where the count is 0."""
    return torch.where(count > 0, count.reciprocal(), 0.0)


def has_positive(row_sum: Tensor) -> Tensor:
    """1 for an anchor with a positive, else 0."""
    return (row_sum > 0).to(row_sum.dtype)


# ------------------------------------------------------------------------------------------- labels


@dataclass(frozen=True)
class LabelMatrix:
    """An indicator matrix (n, L) in the working dtype, missing entries apart.

    Attributes
    ----------
    positive : Tensor of shape (n, L)
        1 for a positive label; 0 for a negative or missing one.
    missing : Tensor of shape (n, L) or None
        1 for a missing label; None if there cannot be any.
    size : Tensor of shape (n,)
        Number of positives of each sample.
    weight : Tensor of shape (n, L) or None
        Weights of the entries of anchors; None if all weigh 1.
    """

    positive: Tensor
    missing: Tensor | None
    size: Tensor
    weight: Tensor | None = None

    @classmethod
    def of(cls, labels: Tensor, dtype: torch.dtype, weight: Tensor | None = None) -> LabelMatrix:
        """Read an indicator matrix; only a floating one can have NaN."""
        positive, missing = labels.to(dtype), missing_entries(labels, weight)
        if missing is None:
            return cls(positive, None, positive.sum(-1))
        positive = positive.masked_fill(missing, 0.0)
        return cls(positive, missing.to(dtype), positive.sum(-1), weight)

    @property
    def weight_of_positives(self) -> Tensor:
        """Sum of the weights of the positives of each sample; without weights their number."""
        return self.size if self.weight is None else (self.positive * self.weight).sum(-1)

    @property
    def mean_weight_of_positives(self) -> Tensor:
        """Mean of the weights of the positives of each sample; 0 without positives."""
        return self.weight_of_positives / self.size.clamp_min(1.0)

    def append(self, other: LabelMatrix) -> LabelMatrix:
        """Stack the samples of another matrix below these."""
        missing = None
        if self.missing is not None or other.missing is not None:
            parts = (self, other)
            blocks = [
                torch.zeros_like(x.positive) if x.missing is None else x.missing for x in parts
            ]
            missing = torch.cat(blocks, -2)
        positive = torch.cat([self.positive, other.positive], -2)
        return LabelMatrix(positive, missing, torch.cat([self.size, other.size], -1))


@dataclass(frozen=True)
class LabelPairs:
    """Labels y_i of anchors against labels y_j of candidates.

    Every count of a pair runs over the labels that are missing in neither of the two.

    Attributes
    ----------
    anchors, candidates : LabelMatrix
        Their labels.
    part : (int, int)
        Which part of the anchors is looked at, and of how many parts.
    """

    anchors: LabelMatrix
    candidates: LabelMatrix
    part: tuple[int, int] = (0, 1)

    @classmethod
    def of(
        cls,
        labels: Tensor,
        queue_labels: Tensor | None,
        dtype: torch.dtype,
        weight: Tensor | None = None,
        part: tuple[int, int] = (0, 1),
    ) -> LabelPairs:
        """Samples against themselves and a queue; ``weight`` is that of the anchors' entries."""
        anchors = LabelMatrix.of(labels, dtype, None if weight is None else weight.to(dtype))
        if queue_labels is None:
            return cls(anchors, anchors, part)
        return cls(anchors, anchors.append(LabelMatrix.of(queue_labels, dtype)), part)

    def intersection(self, rows: slice, columns: slice) -> Tensor:
        """|y_i n y_j|, shape (rows, columns)."""
        return self.anchors.positive[..., rows, :] @ self.candidates.positive[..., columns, :].mT

    def anchor_size(self, rows: slice, columns: slice) -> Tensor:
        """|y_i|, broadcastable to (rows, columns)."""
        size, missing = self.anchors.size[..., rows, None], self.candidates.missing
        if missing is None:
            return size
        return size - self.anchors.positive[..., rows, :] @ missing[..., columns, :].mT

    def candidate_size(self, rows: slice, columns: slice) -> Tensor:
        """|y_j|, broadcastable to (rows, columns)."""
        size, missing = self.candidates.size[..., None, columns], self.anchors.missing
        if missing is None:
            return size
        return size - missing[..., rows, :] @ self.candidates.positive[..., columns, :].mT

    def union(self, intersection: Tensor, rows: slice, columns: slice) -> Tensor:
        """|y_i u y_j|, shape (rows, columns)."""
        sizes = self.anchor_size(rows, columns) + self.candidate_size(rows, columns)
        return sizes.sub_(intersection)

    def jaccard(self, rows: slice, columns: slice) -> Tensor:
        """|y_i n y_j| / |y_i u y_j|, 0 for two empty sets."""
        intersection = self.intersection(rows, columns)
        return intersection.div_(self.union(intersection, rows, columns).clamp_min_(1.0))


#: A function of the labels of pairs in a tile, of shape (rows, columns).
PairFunction = Callable[[LabelPairs, slice, slice], Tensor]


# ------------------------------------------------------------------------------------------ weights


class PairWeights(ABC):
    """The label-only side of a contrastive loss.

    Anchors are the first ``n_rows`` points of the stack (instances, queue, prototypes).  Candidates
    are the ``n_columns`` points from ``first_column`` on.

    Parameters
    ----------
    pairs : LabelPairs
        Labels of the instances against labels of instances and queue.
    n_rows, n_columns : int
        Number of anchors and of candidates.
    memory_budget : int or None
        Bytes of pairwise arrays; None is no limit.

    Attributes
    ----------
    blocks : list of slice
        The anchors that are looked at: all, or instances and prototypes of a part.
    edge : int or None
        Edge of the tiles that fit the memory budget; None if the dense kernel fits.
    exclude_self : bool
        Whether anchor i and candidate i are the same point, which is no pair.
    uses_entry_weights : bool
        Whether W, the row sums and the mass contain the weights of the anchors' labels.
    log_b : Tensor of shape (n_columns,) or None
        Logarithm of the repulsion of each candidate; None if it is 1 for all.
    row_sum, factor, mass : Tensor of shape (n_rows,)
        Sums of the rows of ``tile``; the factor of each row in the loss; and the share of each
        anchor in the denominator of the average.
    """

    first_column: int = 0
    exclude_self: bool = True
    uses_entry_weights: bool = False
    log_b: Tensor | None = None
    row_sum: Tensor
    factor: Tensor
    mass: Tensor

    def __init__(
        self, pairs: LabelPairs, n_rows: int, n_columns: int, memory_budget: int | None
    ) -> None:
        self._pairs, self.n_rows, self.n_columns = pairs, n_rows, n_columns
        self.blocks = [slice(0, n_rows)]
        if pairs.part != (0, 1):
            # Instances and prototypes apart: a row of one costs more than a row of the other.
            n_instances = pairs.anchors.size.shape[-1]
            own = part_of(n_rows - n_instances, pairs.part)
            prototypes = slice(n_instances + own.start, n_instances + own.stop)
            self.blocks = [part_of(n_instances, pairs.part), prototypes]
        self.edge: int | None = None
        if memory_budget is not None:
            entries = memory_budget // (_ARRAYS * pairs.anchors.size.element_size())
            if sum(rows.stop - rows.start for rows in self.blocks) * n_columns > entries:
                self.edge = max(1, min(isqrt(entries), _LARGEST_EDGE))

    @abstractmethod
    def tile(self, rows: slice, columns: slice) -> Tensor:
        """W before the factor of each row, on a rectangle of pairs."""

    def tiles(self) -> Iterator[tuple[slice, slice]]:
        """Rows and columns of each tile of the anchors that are looked at."""
        for rows in self.blocks:
            if rows.start < rows.stop:
                yield from tiles(rows, self.n_columns, self.edge)

    @property
    def own_mass(self) -> Tensor:
        """The mass of the anchors that are looked at, 0 of the others."""
        if self._pairs.part == (0, 1):
            return self.mass
        own = torch.zeros_like(self.mass)
        for rows in self.blocks:
            own[..., rows] = self.mass[..., rows]
        return own

    def mask_self_(self, tile: Tensor, rows: slice, columns: slice, value: float) -> Tensor:
        """Write ``value`` where anchor and candidate are the same point."""
        low, high = max(rows.start, columns.start), min(rows.stop, columns.stop)
        if self.exclude_self and low < high:
            square = tile[..., low - rows.start : high - rows.start, :]
            square = square[..., low - columns.start : high - columns.start]
            square.diagonal(dim1=-2, dim2=-1).fill_(value)
        return tile


class OverlapWeights(PairWeights):
    """One overlap of label sets for each pair; rows are divided by their sum.

    With ``divide_by_count`` rows are divided by their number of positives instead.
    """

    def __init__(
        self,
        pairs: LabelPairs,
        overlap: PairFunction,
        memory_budget: int | None,
        *,
        divide_by_count: bool,
    ) -> None:
        size = pairs.anchors.size
        super().__init__(pairs, size.shape[-1], pairs.candidates.size.shape[-1], memory_budget)
        self._overlap = overlap
        self._dense: Tensor | None = None
        if self.edge is None:
            self._dense = self.tile(self.blocks[0], slice(0, self.n_columns))
        self.row_sum, count = torch.zeros_like(size), torch.zeros_like(size)
        for rows, columns in self.tiles():
            W = self.tile(rows, columns)
            self.row_sum[..., rows] += W.sum(-1)
            if divide_by_count:
                count[..., rows] += (W > 0).sum(-1)
        self.factor = reciprocal(count if divide_by_count else self.row_sum)
        self.mass = has_positive(self.row_sum)

    def tile(self, rows: slice, columns: slice) -> Tensor:
        if self._dense is not None:
            return self._dense
        return self.mask_self_(self._overlap(self._pairs, rows, columns), rows, columns, 0.0)


class FactorisedWeights(PairWeights):
    r"""Weights that divide the attraction of each label among the candidates with that label.

    .. math:: W_{ij} = \sum_l \frac{Y_{il} Y_{jl} S_{ij}}{N_{il}}
       = S_{ij} \big[ (Y / N) \, Y^\top \big]_{ij}, \qquad N = (S \odot O) Y + [\text{prototypes}]

    S is the similarity of label sets, O masks self pairs.  Each label of an anchor has a total
    weight of 1 over the candidates, or the weight of its entry.

    Parameters
    ----------
    pairs : LabelPairs
        Labels of the instances against labels of instances and queue.
    memory_budget : int or None
        Bytes of pairwise arrays; None is no limit.
    similarity : callable, optional
        S; by default 1, so that N is a count and needs no product.
    n_prototypes : int, default=0
        Prototypes are the last candidates.  Those beyond L (sampled negatives) are no positives.
    prototype_anchors : bool, default=False
        Whether the L prototypes are anchors too.  The positives of a prototype are the instances
        with its label; each row sums to 1 or is empty.
    instance_weight : Tensor of shape (B,), optional
        Weights of the instances as positives of prototypes; 1 by default.
    """

    uses_entry_weights = True

    def __init__(
        self,
        pairs: LabelPairs,
        memory_budget: int | None,
        *,
        similarity: PairFunction | None = None,
        n_prototypes: int = 0,
        prototype_anchors: bool = False,
        instance_weight: Tensor | None = None,
    ) -> None:
        anchors = pairs.anchors
        self._Y, self._keys = anchors.positive, pairs.candidates.positive
        *_, self._n_instances, n_labels = self._Y.shape
        self._n_keys = self._keys.shape[-2]
        n_rows = self._n_instances + (n_labels if prototype_anchors else 0)
        super().__init__(pairs, n_rows, self._n_keys + n_prototypes, memory_budget)
        self._similarity = similarity
        self._S: Tensor | None = None
        rows = self.blocks[0]
        self._own = slice(rows.start, min(rows.stop, self._n_instances))
        if similarity is not None and self.edge is None:
            self._S = self._similarities(self._own, slice(0, self._n_keys))
        shares = self._Y * reciprocal(self._normaliser(float(n_prototypes > 0)))
        self._T = shares if anchors.weight is None else shares * anchors.weight
        self._R: Tensor | None = None
        # A label counts if it finds a positive; its prototype is one.
        self.row_sum = anchors.weight_of_positives
        if not n_prototypes:
            found = (shares > 0).to(shares.dtype)
            self.row_sum = (found if anchors.weight is None else found * anchors.weight).sum(-1)
        self.factor = reciprocal(anchors.size)
        self.mass = has_positive(self.row_sum) * anchors.mean_weight_of_positives
        if prototype_anchors:
            self._add_prototype_anchors(shares, instance_weight)

    def tile(self, rows: slice, columns: slice) -> Tensor:
        if rows.stop <= self._n_instances and columns.stop <= self._n_keys:
            return self._instance_block(rows, columns)
        size = (rows.stop - rows.start, columns.stop - columns.start)
        W = self._T.new_zeros(*self._T.shape[:-2], *size)
        instances, top = _within(rows, 0, self._n_instances)
        keys, left = _within(columns, 0, self._n_keys)
        labels, right = _within(columns, self._n_keys, self._n_keys + self._T.shape[-1])
        W[..., top, left] = self._instance_block(instances, keys)
        W[..., top, right] = self._T[..., instances, labels]
        if self._R is not None:
            prototypes, bottom = _within(rows, self._n_instances, self.n_rows)
            W[..., bottom, left] = self._R[..., prototypes, keys]
        return W

    def _instance_block(self, rows: slice, columns: slice) -> Tensor:
        W = self._T[..., rows, :] @ self._keys[..., columns, :].mT
        if self._similarity is None:
            return self.mask_self_(W, rows, columns, 0.0)
        return W.mul_(self._similarities(rows, columns))

    def _similarities(self, rows: slice, columns: slice) -> Tensor:
        """S with self pairs masked; computed once for the dense kernel."""
        assert self._similarity is not None
        if self._S is not None:
            first = self._own.start
            return self._S[..., rows.start - first : rows.stop - first, columns]
        return self.mask_self_(self._similarity(self._pairs, rows, columns), rows, columns, 0.0)

    def _normaliser(self, own: float) -> Tensor:
        """N (B, L), or (L,) for S = 1; a label's own prototype adds 1."""
        if self._similarity is None:
            # On a label of anchor i the count of the column includes i itself.
            return self._keys.sum(-2, keepdim=True) - 1.0 + own
        N = torch.full_like(self._Y, own)
        for rows, columns in tiles(self._own, self._n_keys, self.edge):
            N[..., rows, :] += self._similarities(rows, columns) @ self._keys[..., columns, :]
        return N

    def _add_prototype_anchors(self, shares: Tensor, instance_weight: Tensor | None) -> None:
        """Append the rows R (L, B) of the prototypes."""
        total = self._Y.sum(-2)
        self._R = shares.mT
        if instance_weight is not None:
            weighted = self._Y * instance_weight[..., None]
            total = weighted.sum(-2)
            self._R = (weighted * reciprocal(total)[..., None, :]).mT
        self.row_sum = torch.cat([self.row_sum, has_positive(total)], -1)
        self.factor = torch.cat([self.factor, torch.ones_like(total)], -1)
        self.mass = torch.cat([self.mass, has_positive(total)], -1)


def _within(span: slice, start: int, stop: int) -> tuple[slice, slice]:
    """The part of a span inside [start, stop): counted from start, and from the span's start."""
    low = max(span.start, start)
    high = max(low, min(span.stop, stop))
    return slice(low - start, high - start), slice(low - span.start, high - span.start)


class PrototypeWeights(PairWeights):
    """Instances against prototypes alone: W = Y / |y_i|, 0 on sampled negatives."""

    exclude_self = False
    uses_entry_weights = True

    def __init__(self, pairs: LabelPairs, n_prototypes: int, memory_budget: int | None) -> None:
        anchors = pairs.anchors
        Y = anchors.positive if anchors.weight is None else anchors.positive * anchors.weight
        super().__init__(pairs, Y.shape[-2], n_prototypes, memory_budget)
        self.first_column = Y.shape[-2]
        self._Y = functional.pad(Y, (0, n_prototypes - Y.shape[-1]))
        self.row_sum = anchors.weight_of_positives
        self.factor = reciprocal(anchors.size)
        self.mass = has_positive(self.row_sum) * anchors.mean_weight_of_positives

    def tile(self, rows: slice, columns: slice) -> Tensor:
        return self._Y[..., rows, columns]


# ---------------------------------------------------------------------- kernel

# Finite, so that a weight of 0 times a masked logit is 0; far below any cosine / temperature.
MASKED = -1e30
# A vector shorter than this has no direction: it stays zero and gets no gradient.
_SHORTEST = 1e-12


def full_precision(x: Tensor) -> AbstractContextManager[Any]:
    """Turn autocast off where it is on."""
    kind = x.device.type
    if torch.is_autocast_enabled(kind):
        return torch.autocast(kind, enabled=False)
    return nullcontext()


def _to_unit(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors divided by their length, and 1 / length; both 0 for a zero vector."""
    length = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    inverse = torch.where(length > _SHORTEST, length.reciprocal(), 0.0)
    return vectors * inverse, inverse


def _through_unit(gradient: Tensor, points: Tensor, inverse: Tensor) -> Tensor:
    """Gradient in x from the gradient in x / |x|: drop the radial part, divide by |x|."""
    radial = torch.linalg.vecdot(gradient, points).unsqueeze(-1)
    return torch.addcmul(gradient, points, radial, value=-1.0).mul_(inverse)


@dataclass(frozen=True)
class PairKernel:
    """Value and gradient for unit points (..., n, d): instances, queue, prototypes.

    Leading dimensions are the members of an ensemble, which share the weights.
    """

    weights: PairWeights
    temperature: float
    lambda_reg: float
    points: Tensor

    @property
    def anchors(self) -> Tensor:
        return self.points[..., : self.weights.n_rows, :]

    @property
    def candidates(self) -> Tensor:
        return self.points[..., self.weights.first_column :, :]

    def evaluate(self, scale: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Loss of each anchor before its factor; with ``scale`` also the gradient in the points."""
        gradient = None if scale is None else torch.zeros_like(self.points)
        evaluate = self._dense if self.weights.edge is None else self._tiled
        return evaluate(scale, gradient), gradient

    def logits(self, rows: slice, columns: slice) -> Tensor:
        """s + log b, the self pairs masked."""
        s = (self.anchors[..., rows, :] / self.temperature) @ self.candidates[..., columns, :].mT
        if self.weights.log_b is not None:
            s += self.weights.log_b[columns]
        return self.weights.mask_self_(s, rows, columns, MASKED)

    def pull(self, W: Tensor, pi: Tensor, rows: slice, scratch: Tensor) -> Tensor:
        """W - Wbar pi, its negative entries on positives clamped; overwrites pi."""
        pull = torch.addcmul(W, pi, self.weights.row_sum[..., rows, None], value=-1.0, out=pi)
        if self.lambda_reg:
            # Arithmetic on signs: several times cheaper on a CPU than masks and where.
            overshoot = torch.mul(W.sign(), pull, out=scratch).clamp_max_(0.0)
            pull.sub_(overshoot, alpha=self.lambda_reg)
        return pull

    def _dense(self, scale: Tensor | None, gradient: Tensor | None) -> Tensor:
        values = self._values(0.0)
        for rows, columns in self.weights.tiles():
            s, W = self.logits(rows, columns), self.weights.tile(rows, columns)
            log_p = s.log_softmax(-1)
            values[..., rows] = self._attraction(W, log_p, columns, scratch=s).neg_()
            if scale is not None and gradient is not None:
                pull = self.pull(W, log_p.exp_(), rows, scratch=s)
                self._accumulate(gradient, pull, scale, rows, columns)
        return values

    def _tiled(self, scale: Tensor | None, gradient: Tensor | None) -> Tensor:
        log_D = self._values(-torch.inf)
        for rows, columns in self.weights.tiles():
            log_sum = self.logits(rows, columns).logsumexp(-1)
            log_D[..., rows] = torch.logaddexp(log_D[..., rows], log_sum)
        values = self._values(0.0)
        for rows in self.weights.blocks:
            values[..., rows] = self.weights.row_sum[..., rows] * log_D[..., rows]
        for rows, columns in self.weights.tiles():
            s, W = self.logits(rows, columns), self.weights.tile(rows, columns)
            scratch = torch.empty_like(s)
            values[..., rows] -= self._attraction(W, s, columns, scratch)
            if scale is not None and gradient is not None:
                pi = s.sub_(log_D[..., rows, None]).exp_()
                pull = self.pull(W, pi, rows, scratch)
                self._accumulate(gradient, pull, scale, rows, columns)
        return values

    def _values(self, start: float) -> Tensor:
        """One number for each anchor."""
        return self.points.new_full((*self.points.shape[:-2], self.weights.n_rows), start)

    def _attraction(self, W: Tensor, s: Tensor, columns: slice, scratch: Tensor) -> Tensor:
        """sum_j W_ij (s_ij - log b_j): attraction acts on the bare logit."""
        total = torch.mul(W, s, out=scratch).sum(-1)
        if self.weights.log_b is not None:
            total -= W @ self.weights.log_b[columns]
        return total

    def _accumulate(
        self, gradient: Tensor, pull: Tensor, scale: Tensor, rows: slice, columns: slice
    ) -> None:
        """Add the gradient in the points; the row factor goes on the thin matrices."""
        a = (scale[..., rows] / -self.temperature).unsqueeze(-1)
        candidates = self.candidates[..., columns, :]
        gradient[..., : self.weights.n_rows, :][..., rows, :].addcmul_(pull @ candidates, a)
        gradient[..., self.weights.first_column :, :][..., columns, :].add_(
            pull.mT @ (self.anchors[..., rows, :] * a)
        )


class _PairLoss(torch.autograd.Function):
    """Loss of every anchor, or their weighted sum with the gradient from the forward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        embeddings: Tensor,
        prototypes: Tensor | None,
        queue: Tensor | None,
        kernel_of: Callable[..., PairKernel],
        scale: Tensor,
        summed: bool,
        differentiate: bool,
    ) -> Tensor:
        blocks = [block for block in (embeddings, queue, prototypes) if block is not None]
        points, inverse = _to_unit(torch.cat([block.to(scale.dtype) for block in blocks], dim=-2))
        kernel = kernel_of(points=points)
        values, gradient = kernel.evaluate(scale if differentiate and summed else None)
        if not summed:
            ctx.later = kernel, inverse, scale
        if gradient is not None:
            ctx.gradient = _through_unit(gradient, points, inverse)
        ctx.blocks = [
            None if x is None else (x.shape[-2], x.dtype) for x in (embeddings, prototypes)
        ]
        values = values * scale
        return values.sum(-1) if summed else values

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        (grad_output,) = outer
        if hasattr(ctx, "later"):
            kernel, inverse, scale = ctx.later
            with full_precision(grad_output):
                _, gradient = kernel.evaluate(scale * grad_output)
                total = _through_unit(gradient, kernel.points, inverse)
        else:
            total = ctx.gradient * grad_output[..., None, None]
        (n_embeddings, dtype), prototypes = ctx.blocks
        grads: list[Tensor | None] = [total[..., :n_embeddings, :].to(dtype), None]
        if prototypes is not None:
            n_prototypes, dtype = prototypes
            grads[1] = total[..., total.shape[-2] - n_prototypes :, :].to(dtype)
        return (*grads, *[None] * 5)


#: The loss as a function, with the arguments of ``_PairLoss.forward`` that follow ``ctx``.
pair_loss: Callable[..., Tensor] = _PairLoss.apply
