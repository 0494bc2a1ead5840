"""Errors about arguments of methods name the class that the user knows."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from copy import copy
from functools import wraps
from types import FunctionType
from typing import Any, TypeVar

C = TypeVar("C", bound=type)
#: Methods from elsewhere are public under the name of their own class, as ``Module.to`` of torch.
PACKAGES = {"sklearn_mlcl", "sklearn"}


def named_in_errors(cls: C) -> C:
    """Let Python's errors about arguments name the class of the object; a class decorator.

    They would name the class that has the method: ``NetClassifier.fit() got an unexpected ...`` or
    ``_SetOutputMixin.set_output() ...``. The decorated class gets a wrapper around every public
    method, inherited ones too, and subclasses inherit the wrappers.
    """
    for name in dir(cls):
        member = inspect.getattr_static(cls, name)
        # A class method keeps its function as __func__, ``available_if`` of scikit-learn as fn.
        method = getattr(member, "__func__", getattr(member, "fn", member))
        ours = isinstance(method, FunctionType) and method.__module__.split(".")[0] in PACKAGES
        if name.startswith("_") or not ours:
            continue
        wrapper = _wrapper(method, cls)
        if hasattr(member, "fn"):
            own = copy(member)  # a base of this class has the descriptor too
            own.fn = wrapper
        else:
            own = classmethod(wrapper) if method is not member else wrapper
        setattr(cls, name, own)
    return cls


def _wrapper(method: Callable[..., Any], owner: type) -> Callable[..., Any]:
    """Return the method, with errors about its arguments written anew."""

    @wraps(method)
    def named(self: Any, *args: Any, **kwargs: Any) -> Any:
        cls = self if isinstance(self, type) else type(self)
        if not issubclass(cls, owner):
            raise TypeError(
                f"{owner.__name__}.{method.__name__}() was called on the class, and needs an "
                f"object of it: {owner.__name__}(...).{method.__name__}(...)."
            )
        try:
            return method(self, *args, **kwargs)
        except TypeError:
            problem = _misfit(method, (self, *args), kwargs)
            if problem is None:
                raise  # not about these arguments: something inside the method
        raise TypeError(f"{cls.__name__}.{method.__name__}() {problem}")

    # Pickle finds a function by these two.
    named.__module__, named.__qualname__ = (
        owner.__module__,
        f"{owner.__qualname__}.{named.__name__}",
    )
    return named


def _misfit(method: Callable[..., Any], args: Any, kwargs: Any) -> str | None:
    """Return what is wrong with the arguments of a call, None if they fit the signature."""
    try:
        inspect.signature(method).bind(*args, **kwargs)
    except TypeError as error:
        return str(error)
    return None
