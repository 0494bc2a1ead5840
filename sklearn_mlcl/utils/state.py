"""Checks of what a module holds, for modules that come out of a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

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
