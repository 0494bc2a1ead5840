"""What the losses on logits share: reading labels, and averages over observed cells."""

from __future__ import annotations

import torch
from torch import Tensor


def read_targets(
    logits: Tensor, labels: Tensor, sample_weight: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Logits in at least float32, targets with 0 for unknown, and the mask of the known cells.

    The mask is None for boolean and integer labels, which cannot hold NaN.
    """
    if logits.ndim != 2 or not logits.is_floating_point():
        raise ValueError(
            f"logits must be a floating tensor of shape (B, L), got {logits.dtype} of shape "
            f"{tuple(logits.shape)}"
        )
    if labels.shape != logits.shape:
        raise ValueError(
            f"labels must have the shape of logits, {tuple(logits.shape)}, got "
            f"{tuple(labels.shape)}"
        )
    if sample_weight is not None and sample_weight.shape != logits.shape[:1]:
        raise ValueError(
            f"sample_weight must have shape ({len(logits)},), got {tuple(sample_weight.shape)}"
        )
    dtype = torch.promote_types(logits.dtype, torch.float32)
    if not labels.is_floating_point():
        return logits.to(dtype), labels.to(dtype), None
    known = ~labels.isnan()
    return logits.to(dtype), labels.to(dtype).nan_to_num(nan=0.0), known


def weighted_mean(values: Tensor, weight: Tensor | None) -> Tensor:
    """Sum of weight * value over sum of weight; 0 when nothing has weight."""
    if weight is None:
        return values.mean()
    total = weight.sum().clamp_min(torch.finfo(values.dtype).tiny)
    return (values * weight).sum() / total


def row_weight(
    known: Tensor | None, sample_weight: Tensor | None, dtype: torch.dtype
) -> Tensor | None:
    """Weight of each row, 0 for a row of which nothing is known; None when all weigh 1."""
    if known is None:
        return None if sample_weight is None else sample_weight.to(dtype)
    observed = known.any(1).to(dtype)
    return observed if sample_weight is None else observed * sample_weight


def cell_weight(
    known: Tensor | None, sample_weight: Tensor | None, values: Tensor
) -> Tensor | None:
    """Weight of each cell; None when all weigh 1."""
    if known is None and sample_weight is None:
        return None
    weight = torch.ones_like(values) if known is None else known.to(values.dtype)
    return weight if sample_weight is None else weight * sample_weight.to(values)[:, None]
