"""The one kernel: value and gradient of the unified form, dense or by tiles.

With ``pi_ij = b_ij exp(s_ij) / D_i`` the gradient in the logits is ``-a_i (W_ij - Wbar_i pi_ij)``,
the pull of j on i; on positives its repulsive part is scaled by ``1 - lambda_reg``.  It is formed
next to the value, so no autograd graph of pairs ever exists, and by tiles no array of all pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from math import isqrt
from typing import Any

import torch
from torch import Tensor

from sklearn_mlcl.losses._pair_weights import ALL, MASKED, PairWeights, spans

# Arrays of one tile alive at once: logits, weights, probabilities, one temporary.
_ARRAYS = 4
# Above this edge a tile leaves the caches and gains nothing.
_LARGEST_EDGE = 1024


def tile_edge(n_rows: int, n_columns: int, itemsize: int, memory_budget: int) -> int | None:
    """Edge of the tiles that fit the budget in bytes; None when the dense kernel fits."""
    entries = memory_budget // (_ARRAYS * itemsize)
    if n_rows * n_columns <= entries:
        return None
    return max(1, min(isqrt(entries), _LARGEST_EDGE))


@dataclass(frozen=True)
class Problem:
    """Unit points (instances, queue, prototypes), a set of them a member, and their weights."""

    points: Tensor
    weights: PairWeights
    temperature: float
    lambda_reg: float

    @property
    def anchors(self) -> Tensor:
        return self.points[..., : self.weights.n_rows, :]

    @property
    def candidates(self) -> Tensor:
        return self.points[..., self.weights.first_column :, :]

    def logits(self, rows: slice = ALL, columns: slice = ALL) -> Tensor:
        """s + log b, the self pairs masked."""
        s = (self.anchors[..., rows, :] / self.temperature) @ self.candidates[..., columns, :].mT
        if self.weights.log_b is not None:
            s += self.weights.log_b[columns]
        return self.weights.mask_self_(s, rows, columns, MASKED)

    def evaluate(self, scale: Tensor | None, edge: int | None) -> tuple[Tensor, Tensor | None]:
        """Loss of each anchor before its factor; with ``scale`` the gradient in the points too."""
        return self._dense(scale) if edge is None else self._tiled(scale, edge)

    def _dense(self, scale: Tensor | None) -> tuple[Tensor, Tensor | None]:
        s = self.logits()
        log_p = s.log_softmax(-1)
        W = self.weights.tile()
        values = self._attraction(W, log_p, ALL, scratch=s).neg_()
        if scale is None:
            return values, None
        gradient = torch.zeros_like(self.points)
        pull = self._pull(W, log_p.exp_(), ALL, scratch=s)
        self._accumulate(gradient, pull, scale, ALL, ALL)
        return values, gradient

    def _tiled(self, scale: Tensor | None, edge: int) -> tuple[Tensor, Tensor | None]:
        log_D = self._log_denominators(edge)
        values = self.weights.row_sum * log_D
        gradient = None if scale is None else torch.zeros_like(self.points)
        for rows in spans(self.weights.n_rows, edge):
            for columns in spans(self.weights.n_columns, edge):
                s = self.logits(rows, columns)
                W = self.weights.tile(rows, columns)
                scratch = torch.empty_like(s)
                values[..., rows] -= self._attraction(W, s, columns, scratch)
                if scale is not None and gradient is not None:
                    pi = s.sub_(log_D[..., rows, None]).exp_()
                    pull = self._pull(W, pi, rows, scratch)
                    self._accumulate(gradient, pull, scale, rows, columns)
        return values, gradient

    def _log_denominators(self, edge: int) -> Tensor:
        log_D = self.points.new_full((*self.points.shape[:-2], self.weights.n_rows), -torch.inf)
        for rows in spans(self.weights.n_rows, edge):
            for columns in spans(self.weights.n_columns, edge):
                tile = self.logits(rows, columns).logsumexp(-1)
                log_D[..., rows] = torch.logaddexp(log_D[..., rows], tile)
        return log_D

    def _attraction(self, W: Tensor, s: Tensor, columns: slice, scratch: Tensor) -> Tensor:
        """sum_j W_ij (s_ij - log b_j): attraction acts on the bare logit."""
        total = torch.mul(W, s, out=scratch).sum(-1)
        if self.weights.log_b is not None:
            total -= W @ self.weights.log_b[columns]
        return total

    def _pull(self, W: Tensor, pi: Tensor, rows: slice, scratch: Tensor) -> Tensor:
        """W - Wbar pi, its negative entries on positives clamped; overwrites pi."""
        pull = torch.addcmul(W, pi, self.weights.row_sum[rows, None], value=-1.0, out=pi)
        if self.lambda_reg:
            # Arithmetic on signs: several times cheaper on a CPU than masks and where.
            overshoot = torch.mul(W.sign(), pull, out=scratch).clamp_max_(0.0)
            pull.sub_(overshoot, alpha=self.lambda_reg)
        return pull

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


# A vector shorter than this has no direction: it stays zero and receives no gradient.
_SHORTEST = 1e-12


def full_precision(x: Tensor) -> AbstractContextManager[Any]:
    """Switch autocast off where it is on."""
    kind = x.device.type
    if torch.is_autocast_enabled(kind):
        return torch.autocast(kind, enabled=False)
    return nullcontext()


def _unit(stack: Tensor) -> tuple[Tensor, Tensor]:
    length = torch.linalg.vector_norm(stack, dim=-1, keepdim=True)
    inverse = torch.where(length > _SHORTEST, length.reciprocal(), 0.0)
    return stack * inverse, inverse


def _through_unit(gradient: Tensor, points: Tensor, inverse: Tensor) -> Tensor:
    """Gradient in x from the gradient in x / |x|: drop the radial part, divide by |x|."""
    radial = torch.linalg.vecdot(gradient, points).unsqueeze(-1)
    return torch.addcmul(gradient, points, radial, value=-1.0).mul_(inverse)


class PairLoss(torch.autograd.Function):
    """Loss of every anchor, or their weighted sum with the gradient formed in the forward pass.

    Vectors may have a leading dimension, the members of an ensemble: all share one set of weights.
    """

    @staticmethod
    def forward(
        ctx: Any,
        embeddings: Tensor,
        prototypes: Tensor | None,
        queue: Tensor | None,
        weights: PairWeights,
        settings: tuple[float, float, int | None],
        scale: Tensor,
        summed: bool,
        differentiate: bool,
    ) -> Tensor:
        blocks = [block for block in (embeddings, queue, prototypes) if block is not None]
        points, inverse = _unit(torch.cat([block.to(scale.dtype) for block in blocks], dim=-2))
        problem = Problem(points, weights, *settings[:2])
        in_forward = scale if differentiate and summed else None
        values, gradient = problem.evaluate(in_forward, settings[2])
        if not summed:
            ctx.later = problem, inverse, scale, settings[2]
        if gradient is not None:
            ctx.gradient = _through_unit(gradient, points, inverse)
        ctx.blocks = [
            None if x is None else (x.shape[-2], x.dtype) for x in (embeddings, prototypes)
        ]
        return values @ scale if summed else values * scale

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        (grad_output,) = outer
        if hasattr(ctx, "later"):
            problem, inverse, scale, edge = ctx.later
            with full_precision(grad_output):
                _, gradient = problem.evaluate(scale * grad_output, edge)
                total = _through_unit(gradient, problem.points, inverse)
        else:
            total = ctx.gradient * grad_output[..., None, None]
        (n_embeddings, dtype), prototypes = ctx.blocks
        grads: list[Tensor | None] = [total[..., :n_embeddings, :].to(dtype), None]
        if prototypes is not None:
            n_prototypes, dtype = prototypes
            grads[1] = total[..., total.shape[-2] - n_prototypes :, :].to(dtype)
        return (*grads, *[None] * 6)


#: The loss as a function, with the arguments of ``PairLoss.forward`` that follow ``ctx``.
pair_loss: Callable[..., Tensor] = PairLoss.apply
