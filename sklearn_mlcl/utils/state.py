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


#: Attributes that every torch module has; those of hooks have the word in their names.
OF_ANY_MODULE = vars(nn.Module()).keys()


def parts_of(module: nn.Module) -> dict[str, Any]:
    """Return parameters, buffers and modules that a module has of its own, by name.

    What is registered as None is None.
    """
    parts: dict[str, Any] = {}
    parts |= module.named_parameters(recurse=False, remove_duplicate=False)
    parts |= module.named_buffers(recurse=False, remove_duplicate=False)
    inside = module.named_modules(remove_duplicate=False)
    parts |= {name: child for name, child in inside if name and "." not in name}
    # What is registered as None is listed in ``dir`` alone.
    others = set(dir(module)).difference(dir(type(module)), vars(module), parts)
    return parts | dict.fromkeys(sorted(others))


def contents_of(module: nn.Module) -> dict[str, Any]:
    """Return the parts of a module and its attributes besides, by name."""
    attributes = {n: value for n, value in vars(module).items() if n not in OF_ANY_MODULE}
    return attributes | parts_of(module)


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
    own = {n: part for n, part in parts_of(module).items() if not isinstance(part, nn.Module)}
    # Loading makes an attribute of what was registered as None.
    own |= {n: None for n in expected if n not in own and getattr(module, n, own) is None}
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
