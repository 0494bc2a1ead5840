"""Names of methods in Python's own errors."""

from __future__ import annotations

import inspect
from typing import TypeVar

C = TypeVar("C", bound=type)


def plain_names(cls: C) -> C:
    """Let Python's errors about arguments name a method alone; a class decorator.

    They would name the base that has the method: ``NetClassifier.fit() got an unexpected ...``,
    and users know its subclasses only. Methods inside a wrapper are renamed. The wrapper keeps its
    name, by which pickle finds it.
    """
    for member in vars(cls).values():
        method = inspect.unwrap(member) if callable(member) else member
        if method is not member:
            method.__qualname__ = method.__name__
    return cls
