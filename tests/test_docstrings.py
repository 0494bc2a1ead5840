"""Docstrings: their examples run, and numpydoc finds what a reader looks for."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from numpydoc.validate import validate

import sklearn_mlcl

MODULES = sorted(
    info.name for info in pkgutil.walk_packages(sklearn_mlcl.__path__, "sklearn_mlcl.")
)
PRIVATE_ROOMS = {"solvers", "training"}
# No summary, wrong sections or section order, undocumented or unknown parameters, missing
# types, returns or examples. Left out are codes of taste (GL01: where the text begins).
CODES = {
    "GL03", "GL05", "GL06", "GL07", "GL08", "GL10", "SS01", "SS02", "SS03", "SS04",
    "PR01", "PR02", "PR03", "PR04", "PR10", "RT01", "RT02", "YD01", "SA04", "EX01",
}  # fmt: skip
METHOD_CODES = CODES - {"EX01"}


def is_public(module_name: str) -> bool:
    room, *deeper = module_name.split(".")[1:] or [""]
    return not deeper and not room.startswith("_") and room not in PRIVATE_ROOMS


def public_objects(module_name: str) -> Iterator[tuple[str, Any]]:
    """Functions and classes that a module exports: its ``__all__``, else what it defines."""
    module = importlib.import_module(module_name)
    exported = getattr(module, "__all__", None)
    for name, member in vars(module).items():
        if not (inspect.isclass(member) or inspect.isfunction(member)):
            continue
        here = member.__module__ == module_name and not name.startswith("_")
        if name in exported if exported is not None else here:
            yield f"{module_name}.{name}", member


def public_methods(name: str, cls: type) -> Iterator[tuple[str, Any]]:
    """Methods that a class has from this package, not from scikit-learn or torch."""
    for base in cls.__mro__:
        for attribute, value in vars(base).items():
            if not inspect.isfunction(value) or attribute.startswith("_"):
                continue
            if str(value.__module__).startswith("sklearn_mlcl"):
                yield f"{name}.{attribute}", value


def once_each(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Drop further names of what has been met: the estimators, say, or inherited methods."""
    met: dict[int, tuple[str, Any]] = {}
    for name, member in pairs:
        met.setdefault(id(member), (name, member))
    return dict(met.values())


OBJECTS = once_each(
    pair
    for module in ["sklearn_mlcl", *MODULES]
    if is_public(module)
    for pair in public_objects(module)
)
METHODS = once_each(
    pair
    for name, member in OBJECTS.items()
    if inspect.isclass(member)
    for pair in public_methods(name, member)
)


def complaints(name: str, codes: set[str]) -> list[tuple[str, str]]:
    return [error for error in validate(name)["errors"] if error[0] in codes]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str) -> None:
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    module = importlib.import_module(name)
    assert doctest.testmod(module, optionflags=flags).failed == 0


@pytest.mark.parametrize("name", sorted(OBJECTS))
def test_numpydoc_of_public_objects(name: str) -> None:
    assert not complaints(name, CODES)


@pytest.mark.parametrize("name", METHODS)
def test_numpydoc_of_public_methods(name: str) -> None:
    assert not complaints(name, METHOD_CODES)
