"""Missing entries of a label matrix, weights of samples and of entries, weighted means.

A sample weight has shape (n,), one for each sample, or (n, L), one for each entry of the label
matrix.  An entry is missing if its label is NaN or its weight is 0.
"""

from __future__ import annotations

import torch
from torch import Tensor


def missing_entries(labels: Tensor, sample_weight: Tensor | None) -> Tensor | None:
    """Mask (n, L) of the missing entries, or None if there cannot be any.

    Boolean and integer labels cannot be NaN, which makes the losses cheaper.
    """
    missing = labels.isnan() if labels.is_floating_point() else None
    if sample_weight is None or sample_weight.ndim < labels.ndim:
        return missing
    return sample_weight <= 0 if missing is None else missing | (sample_weight <= 0)


def mean_entry_weight(sample_weight: Tensor, missing: Tensor) -> Tensor:
    """Mean weight (n,) over the entries of each sample that are not missing; 0 without any."""
    return sample_weight.masked_fill(missing, 0.0).sum(-1) / (~missing).sum(-1).clamp_min(1)


def weight_per_sample(
    labels: Tensor, sample_weight: Tensor | None, dtype: torch.dtype
) -> Tensor | None:
    """Weight (n,) of each sample, 0 if all its labels are missing; None if all weigh 1.

    Given weights of entries, it is their mean over the entries that are not missing.
    """
    missing = missing_entries(labels, sample_weight)
    weight = None if sample_weight is None else sample_weight.to(dtype)
    if missing is None:
        return weight
    if weight is not None and weight.ndim == labels.ndim:
        return mean_entry_weight(weight, missing)
    has_label = (~missing).any(-1).to(dtype)
    return has_label if weight is None else has_label * weight


def weight_per_entry(
    labels: Tensor, sample_weight: Tensor | None, dtype: torch.dtype
) -> Tensor | None:
    """Weight (n, L) of each entry, 0 where it is missing; None if all weigh 1."""
    missing = missing_entries(labels, sample_weight)
    if sample_weight is None:
        return None if missing is None else (~missing).to(dtype)
    weight = sample_weight.to(dtype)
    weight = weight if weight.ndim == 2 else weight[:, None].expand(labels.shape)
    return weight if missing is None else weight.masked_fill(missing, 0.0)


def weighted_mean(values: Tensor, weight: Tensor | None) -> Tensor:
    """Sum of weight * value over the sum of weights; 0 if that sum is 0."""
    if weight is None:
        return values.mean()
    return (values * weight).sum() / weight.sum().clamp_min(torch.finfo(values.dtype).tiny)
