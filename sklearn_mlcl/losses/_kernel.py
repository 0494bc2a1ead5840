"""The one kernel of the contrastive losses: value and gradient, dense or by tiles.

With ``pi_ij = b_ij exp(s_ij) / D_i`` the gradient in the logits is ``-a_i (W_ij - Wbar_i pi_ij)``,
the pull of j on i.  On positives its repulsive part is scaled by ``1 - lambda_reg``.  The gradient
is computed together with the value: no autograd graph of pairs exists, and with tiles no array of
all pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sklearn_mlcl.losses._pair_weights import PairWeights

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
