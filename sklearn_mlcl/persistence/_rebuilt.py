"""Modules of a file against freshly built ones: what a tensor must look like.

A module is built anew from its own constructor arguments, on torch's device without memory. What
the file gives it must have the shapes and dtypes of what was built.
"""

from __future__ import annotations

from inspect import Parameter, signature
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sklearn_mlcl.utils.state import contents_of

#: Types whose values change after a module is built, as counters and weights of terms do.
_CHANGING = (bool, int, float)


def check_modules(modules: list[nn.Module]) -> None:
    """Raise unless modules are as their constructors build them, but for the values of tensors.

    A module that does more than to keep its arguments has a method ``check_state`` instead.

    Parameters
    ----------
    modules : list of torch.nn.Module
        Those inside others first.

    Raises
    ------
    ValueError
        If a tensor has another shape or dtype, or an attribute another type.
    """
    checked: set[int] = set()
    for module in reversed(modules):
        if id(module) in checked:
            continue
        own_check: Any = getattr(module, "check_state", None)
        if own_check is not None:
            own_check()
        elif not isinstance(module, nn.Sequential | nn.ModuleList):
            with torch.device("meta"), np.errstate(all="ignore"):
                fresh = type(module)(**_arguments(module))
            _compare(module, fresh, type(module).__name__, checked)
        elif not all(isinstance(v, (nn.Module, *_CHANGING)) for v in contents_of(module).values()):
            raise ValueError(f"{type(module).__name__} has more than modules in it")


def _arguments(module: nn.Module) -> dict[str, Any]:
    """Return constructor arguments: a module keeps each under its name, or knows its default."""
    arguments = {}
    for name, parameter in signature(type(module)).parameters.items():
        of_torch = name in ("device", "dtype") and type(module).__module__.startswith("torch.")
        if of_torch or parameter.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD):
            continue
        if not hasattr(module, name):
            if parameter.default is Parameter.empty:
                raise ValueError(f"{type(module).__name__} has no {name}")
            continue
        value = getattr(module, name)
        if isinstance(value, Tensor):
            value = value.detach().to("meta")
        if parameter.annotation in (bool, "bool") and not isinstance(value, bool):
            value = value is not None  # ``bias`` of a layer: whether there is one
        arguments[name] = value
    return arguments


def _compare(module: nn.Module, fresh: nn.Module, where: str, checked: set[int]) -> None:
    if module is fresh:
        return
    checked.add(id(module))
    if type(module) is not type(fresh):
        raise ValueError(f"{where} is a {type(module).__name__}, not a {type(fresh).__name__}")
    contents, built = contents_of(module), contents_of(fresh)
    if built.keys() - contents.keys():
        raise ValueError(f"{where} has no {sorted(built.keys() - contents.keys())}")
    for name, value in contents.items():
        # What training adds to a module are numbers.
        expected = built.get(name, value if type(value) in _CHANGING else None)
        at = f"{where}.{name}"
        if isinstance(value, nn.Module) and isinstance(expected, nn.Module):
            _compare(value, expected, at, checked)
        elif type(value) is not type(expected):
            raise ValueError(f"{at} is a {type(value).__name__}, not a {type(expected).__name__}")
        elif isinstance(value, Tensor) and isinstance(expected, Tensor):
            _compare_tensors(value, expected, at)
        elif isinstance(value, str | tuple | list) and value != expected:
            raise ValueError(f"{at} is {value!r}, expected {expected!r}")


def _compare_tensors(value: Tensor, expected: Tensor, where: str) -> None:
    # Nets are trained in float32, whatever dtype the process has by default.
    default = expected.dtype == torch.get_default_dtype() and value.dtype == torch.float32
    if value.shape != expected.shape or not (value.dtype == expected.dtype or default):
        raise ValueError(
            f"{where} is {value.dtype} of shape {tuple(value.shape)}, expected {expected.dtype} of "
            f"shape {tuple(expected.shape)}"
        )
