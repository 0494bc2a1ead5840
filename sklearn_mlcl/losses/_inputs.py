"""What comes into a loss: checked parameters, labels and weights; missing entries; means.

A sample weight has shape (n,), one for each sample, or (n, L), one for each entry of the label
matrix. An entry is missing if its label is NaN or its weight is 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from sklearn_mlcl.utils._sklearn_compat import Interval, validate_parameter_constraints
from sklearn_mlcl.utils.parameters import ABOVE_0, AT_LEAST_0, plain_number
from sklearn_mlcl.utils.targets import check_indicator_values

#: Constraints that several losses share, in the form of scikit-learn's parameter tables.
POSITIVE = [ABOVE_0]
NON_NEGATIVE = [AT_LEAST_0]
COUNT = [Interval(Integral, 1, None, closed="left")]


def check_parameters(owner: Any, parameters: dict[str, Any]) -> None:
    """Raise unless the parameters meet the ``_parameter_constraints`` of their owner.

    Scalars of NumPy become plain numbers: small ones would overflow where torch's do not.
    """
    validate_parameter_constraints(
        owner._parameter_constraints, parameters, caller_name=type(owner).__name__
    )
    for name, value in list(parameters.items()):
        if name in owner._parameter_constraints:
            setattr(owner, name, plain_number(value))


def check_tensor(value: Any, name: str) -> None:
    """Raise unless an argument is a tensor."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(value).__name__}")


def check_sample_weight(sample_weight: Tensor | None, shape: tuple[int, ...]) -> None:
    """Raise unless there is one weight per sample, or one per entry of labels of this shape."""
    if sample_weight is None:
        return
    check_tensor(sample_weight, "sample_weight")
    check_shape("sample_weight", sample_weight.shape, shape[:-1], shape)
    if _looks() and not bool(((sample_weight >= 0) & (sample_weight < float("inf"))).all()):
        raise ValueError("sample_weight must be finite and not negative.")


def check_labels(labels: Tensor, name: str = "labels", *, mixed: bool = False) -> None:
    """Raise unless labels hold 0, 1 and NaN, and where ``mixed`` what is between 0 and 1."""
    if labels.is_complex():
        raise ValueError(f"{name} must be real, got {labels.dtype}.")
    if labels.dtype == torch.bool or not _looks():
        return
    if mixed and labels.is_floating_point():
        labels = labels.masked_fill((labels > 0) & (labels < 1), 0.0)
    check_indicator_values(labels, name)


#: Whether the values of labels and weights are known to be right.
_CHECKED: ContextVar[bool] = ContextVar("_CHECKED", default=False)


@contextmanager
def values_checked() -> Iterator[None]:
    """Let losses not look at the values of labels and weights: ``fit`` has, once for all.

    A look at each batch would make the host wait for the device.
    """
    token = _CHECKED.set(True)
    try:
        yield
    finally:
        _CHECKED.reset(token)


def _looks() -> bool:
    return not (torch.compiler.is_compiling() or _CHECKED.get())  # Dynamo traces no ContextVar


#: Whether labels are known to be all there, although floats could be NaN.
_COMPLETE: ContextVar[bool] = ContextVar("_COMPLETE", default=False)


@contextmanager
def labels_complete(complete: bool) -> Iterator[None]:
    """Let losses on entries not look for missing labels: mixed labels are floats, yet all there."""
    token = _COMPLETE.set(complete)
    try:
        yield
    finally:
        _COMPLETE.reset(token)


def may_be_missing(labels: Tensor) -> bool:
    """Whether some of the labels may be NaN."""
    return labels.is_floating_point() and (torch.compiler.is_compiling() or not _COMPLETE.get())


def check_shape(name: str, shape: tuple[int, ...], *expected: tuple[int, ...]) -> None:
    """Raise unless a shape is one of those expected."""
    if tuple(shape) not in expected:
        choices = " or ".join(map(str, expected))
        raise ValueError(f"{name} must have shape {choices}, got {tuple(shape)}")


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
    return (values * weight).sum() / divisor(weight.sum())


def divisor(total: Tensor) -> Tensor:
    """Return sums of weights to divide by: 1 where there is nothing to share out.

    A tiny number in its place would give gradients that overflow, and those times 0 are NaN.
    """
    return total.masked_fill(total < torch.finfo(total.dtype).tiny, 1.0)
