"""Checks of what comes into a loss: scikit-learn's for parameters, and shapes of tensors."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

from torch import Tensor

from sklearn_mlcl.utils._sklearn_compat import Interval, validate_parameter_constraints

#: Constraints that several losses share, in the form of scikit-learn's parameter tables.
POSITIVE = [Interval(Real, 0, None, closed="neither")]
NON_NEGATIVE = [Interval(Real, 0, None, closed="left")]
COUNT = [Interval(Integral, 1, None, closed="left")]


def check_parameters(owner: Any, parameters: dict[str, Any]) -> None:
    """Raise unless the parameters meet the ``_parameter_constraints`` of their owner."""
    validate_parameter_constraints(
        owner._parameter_constraints, parameters, caller_name=type(owner).__name__
    )


def check_sample_weight(sample_weight: Tensor | None, shape: tuple[int, ...]) -> None:
    """Raise unless there is one weight per sample, or one per entry of labels of this shape."""
    if sample_weight is not None:
        check_shape("sample_weight", sample_weight.shape, shape[:-1], shape)


def check_shape(name: str, shape: tuple[int, ...], *expected: tuple[int, ...]) -> None:
    """Raise unless a shape is one of those expected."""
    if tuple(shape) not in expected:
        choices = " or ".join(map(str, expected))
        raise ValueError(f"{name} must have shape {choices}, got {tuple(shape)}")
