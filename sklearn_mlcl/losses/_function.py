"""Autograd around the kernel: unit vectors in, gradients of the raw vectors out."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from sklearn_mlcl.losses._kernel import Problem
from sklearn_mlcl.losses._weights import PairWeights

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
