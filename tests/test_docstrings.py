"""Docstrings: their examples run, and numpydoc finds what a reader looks for."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpydoc.docscrape import NumpyDocString
from numpydoc.validate import validate

import sklearn_mlcl
from sklearn_mlcl.estimators.net import NetClassifier

MODULES = sorted(
    info.name for info in pkgutil.walk_packages(sklearn_mlcl.__path__, "sklearn_mlcl.")
)
API_PAGE = (Path(__file__).parents[1] / "doc" / "api.rst").read_text().split()
PUBLIC = ["sklearn_mlcl", *(m for m in MODULES if m.removeprefix("sklearn_mlcl.") in API_PAGE)]
# What numpydoc shall find, by its codes: a summary in the right form; known sections in the right
# order; parameters, all of the signature in its order, each with a type and a description; what is
# returned or yielded, with a description; an example. Methods may group parameters ("as in ...").
SUMMARY = {"GL03", "GL05", "GL06", "GL07", "GL08", "SS01", "SS02", "SS03", "SS04"}
PARAMETERS = {"PR01", "PR02", "PR03", "PR07", "PR10"}
RETURNS = {"RT01", "RT03", "YD01"}
CLASS = SUMMARY | PARAMETERS | {"PR04", "EX01"}
FUNCTION = CLASS | RETURNS
METHOD = SUMMARY | PARAMETERS | RETURNS


def public_objects() -> dict[str, Any]:
    """Functions and classes that public modules export, each by one of its names."""
    found: dict[str, Any] = {}
    for module in map(importlib.import_module, PUBLIC):
        for name in getattr(module, "__all__", []):
            member = getattr(module, name)
            routine = inspect.isclass(member) or inspect.isfunction(member)
            if routine and not any(member is other for other in found.values()):
                found[f"{module.__name__}.{name}"] = member
    return found


OBJECTS = public_objects()
NETS = [c for c in OBJECTS.values() if inspect.isclass(c) and issubclass(c, NetClassifier)]


def public_methods(cls: type) -> Iterator[str]:
    """Methods that a class has from this package, unless torch or scikit-learn names them."""
    own = [base for base in cls.__mro__ if base.__module__.startswith("sklearn_mlcl")]
    for attribute in {a for base in own for a in vars(base) if not a.startswith("_")}:
        known = any(hasattr(base, attribute) for base in cls.__mro__ if base not in own)
        if inspect.isroutine(inspect.unwrap(getattr(cls, attribute))) and not known:
            yield attribute


METHODS = sorted(
    {
        f"{name}.{attribute}"
        for name, member in OBJECTS.items()
        if inspect.isclass(member)
        for attribute in public_methods(member)
    }
)


def codes_of(member: Any) -> set[str]:
    """Return what to ask of a function or class; records and bases list attributes."""
    if inspect.isfunction(member):
        return FUNCTION
    record = is_dataclass(member) or issubclass(member, (tuple, dict))
    base = any(getattr(value, "__isabstractmethod__", False) for value in vars(member).values())
    if record or base:
        return CLASS - {"PR01", "EX01"}
    return CLASS


def complaints(name: str, codes: set[str]) -> list[tuple[str, str]]:
    """Return what numpydoc finds; a signature of torch's own, ``*args``, is not to document."""
    errors = [tuple(error) for error in validate(name)["errors"]]
    return [(code, text) for code, text in errors if code in codes and "'*args'" not in text]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str) -> None:
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    assert doctest.testmod(importlib.import_module(name), optionflags=flags).failed == 0


def test_examples_are_no_wider_than_the_column_of_their_page() -> None:
    wide = [
        f"{name}: {line}"
        for name, found in OBJECTS.items()
        for line in inspect.getdoc(found).partition("Examples\n--------\n")[2].split("\n")
        if len(line) > 80
    ]
    assert wide == []


@pytest.mark.parametrize("name", sorted(OBJECTS))
def test_numpydoc_of_public_objects(name: str) -> None:
    assert not complaints(name, codes_of(OBJECTS[name]))


@pytest.mark.parametrize("name", METHODS)
def test_numpydoc_of_public_methods(name: str) -> None:
    assert not complaints(name, METHOD)


@pytest.mark.parametrize("cls", NETS, ids=lambda cls: cls.__name__)
def test_every_parameter_is_documented_once_with_its_default(cls: Any) -> None:
    page = NumpyDocString(inspect.getdoc(cls))
    entries = [*page["Parameters"], *page["Other Parameters"]]
    shown = {entry.name: entry.type.partition("default=")[2] for entry in entries}
    parameters = inspect.signature(cls).parameters
    assert len(shown) == len(entries) and list(shown) == list(parameters)
    for name, default in shown.items():
        value = np.nan if default == "nan" else ast.literal_eval(default)
        np.testing.assert_equal(value, parameters[name].default, name)
    assert page["Other Parameters"] and set(parameters) == set(cls._parameter_constraints)


def test_api_page_lists_what_is_public() -> None:
    assert {name for name in sklearn_mlcl.__all__ if not name.startswith("_")} <= set(API_PAGE)
    assert len(PUBLIC) >= 13
