"""What the losses on logits share: reading labels, and averages over observed cells."""

from __future__ import annotations

import torch
from torch import Tensor


def read_targets(
    logits: Tensor, labels: Tensor, sample_weight: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Logits in at least float32, targets with 0 for unknown, and the mask of the known cells.

    A cell of weight 0 is not known. The mask is None for boolean and integer labels, which cannot
    hold NaN, unless cells have weights.
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
    check_weight(sample_weight, len(labels), labels.shape[1])
    dtype = torch.promote_types(logits.dtype, torch.float32)
    known = known_cells(labels, sample_weight)
    if not labels.is_floating_point():
        return logits.to(dtype), labels.to(dtype), known
    return logits.to(dtype), labels.to(dtype).nan_to_num(nan=0.0), known


def check_weight(sample_weight: Tensor | None, n_rows: int, n_labels: int) -> None:
    """Raise unless there is one weight a row, or one a cell."""
    if sample_weight is None or sample_weight.shape in ((n_rows,), (n_rows, n_labels)):
        return
    raise ValueError(
        f"sample_weight must have shape ({n_rows},) or ({n_rows}, {n_labels}), got "
        f"{tuple(sample_weight.shape)}"
    )


def weighs_cells(sample_weight: Tensor | None) -> bool:
    """Whether there is a weight for each cell."""
    return sample_weight is not None and sample_weight.ndim == 2


def known_cells(labels: Tensor, sample_weight: Tensor | None) -> Tensor | None:
    """Mask of the cells that are not NaN and have weight; None where none could be."""
    known = ~labels.isnan() if labels.is_floating_point() else None
    if sample_weight is None or sample_weight.ndim == 1:
        return known
    return sample_weight > 0 if known is None else known & (sample_weight > 0)


def weighted_mean(values: Tensor, weight: Tensor | None) -> Tensor:
    """Sum of weight * value over sum of weight; 0 when nothing has weight."""
    if weight is None:
        return values.mean()
    total = weight.sum().clamp_min(torch.finfo(values.dtype).tiny)
    return (values * weight).sum() / total


def mean_over_known(weight: Tensor, known: Tensor | None) -> Tensor:
    """Mean weight (B,) of the known cells of each row, 0 where there is none."""
    if known is None:
        return weight.mean(1)
    return torch.where(known, weight, 0.0).sum(1) / known.sum(1).clamp_min(1)


def row_weight(
    known: Tensor | None, sample_weight: Tensor | None, dtype: torch.dtype
) -> Tensor | None:
    """Weight of each row, 0 for a row of which nothing is known; None when all weigh 1.

    Under weights of cells it is the mean over the known cells of the row.
    """
    if sample_weight is not None and sample_weight.ndim == 2:
        return mean_over_known(sample_weight.to(dtype), known)
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
    if sample_weight is None:
        return weight
    of_cells = sample_weight if sample_weight.ndim == 2 else sample_weight[:, None]
    return weight * of_cells.to(values)
