"""Checks of what modules and estimators hold, for those that come out of a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn


class Like(NamedTuple):
    """What a tensor looks like.

    Attributes
    ----------
    shape : tuple of int
        Its shape.
    dtype : torch.dtype
        Its dtype.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32


def check_tensors(module: nn.Module, expected: Mapping[str, Like | None]) -> None:
    """Raise unless a module has these parameters and buffers of its own, and no others.

    Parameters
    ----------
    module : torch.nn.Module
        The module.
    expected : dict of str to Like or None
        What each looks like; None is one that is None.

    Raises
    ------
    ValueError
        If one is missing or another one is there, or has another shape or dtype.
    """
    where = type(module).__name__
    own = module._parameters | module._buffers
    if own.keys() != expected.keys():
        raise ValueError(f"{where} has {sorted(own)}, expected {sorted(expected)}")
    for name, tensor in own.items():
        found = None if tensor is None else Like(tuple(tensor.shape), tensor.dtype)
        if found != expected[name]:
            raise ValueError(f"{where}.{name} is {found}, expected {expected[name]}")


def check_arrays(
    owner: Any, shapes: Mapping[str, tuple[int, ...]], dtype: type = np.float64
) -> None:
    """Raise unless attributes are arrays of these shapes and of a dtype.

    Parameters
    ----------
    owner : object
        Has the attributes.
    shapes : dict of str to tuple of int
        Shape by name.
    dtype : type
        The dtype of all, or a kind of dtypes such as ``numpy.integer``.

    Raises
    ------
    ValueError
        If one has another shape or dtype.
    """
    for name, shape in shapes.items():
        array = np.asarray(getattr(owner, name))
        if array.shape != shape or not np.issubdtype(array.dtype, dtype):
            raise ValueError(
                f"{name} of {type(owner).__name__} must be {dtype.__name__} of shape {shape}, got "
                f"{array.dtype} of shape {array.shape}"
            )
