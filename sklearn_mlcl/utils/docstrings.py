"""Descriptions of parameters that many docstrings share, written once."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any, TypeVar

Documented = TypeVar("Documented", bound=Callable[..., Any])


def document(*sources: Callable[..., Any]) -> Callable[[Documented], Documented]:
    """Return a decorator that describes parameters as the docstrings of other functions do.

    In the docstring of the decorated function or class, a line ``<name>`` is replaced by what a
    source says of its parameter of that name.

    Parameters
    ----------
    *sources : functions or classes
        Objects with a section "Parameters" in their docstrings; the first wins.

    Examples
    --------
    >>> from sklearn_mlcl.utils.docstrings import document
    >>> def square(x):
    ...     '''Return the square.
    ...
    ...     Parameters
    ...     ----------
    ...     x : float
    ...         Any number.
    ...     '''
    >>> @document(square)
    ... def cube(x):
    ...     '''Return the cube.
    ...
    ...     Parameters
    ...     ----------
    ...     <x>
    ...     '''
    >>> print(cube.__doc__)
    Return the cube.
    <BLANKLINE>
    Parameters
    ----------
    x : float
        Any number.
    """

    def fill(member: Documented) -> Documented:
        doc = inspect.cleandoc(member.__doc__ or "")
        for source in sources:
            parameters = inspect.getdoc(source) or ""
            parameters = parameters.partition("Parameters\n----------\n")[2].partition("\n\n")[0]
            for described in re.split(r"\n(?=\S)", parameters):
                doc = doc.replace(f"<{described.partition(' :')[0]}>", described)
        member.__doc__ = doc
        return member

    return fill
