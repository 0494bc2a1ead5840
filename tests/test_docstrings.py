"""Docstrings: their examples run, and numpydoc finds what a reader looks for."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpydoc.validate import validate

import sklearn_mlcl
from sklearn_mlcl.estimators.net import NetClassifier

MODULES = sorted(
    info.name for info in pkgutil.walk_packages(sklearn_mlcl.__path__, "sklearn_mlcl.")
)
PRIVATE_ROOMS = {"solvers", "training"}
# What numpydoc shall find, by its codes: a summary in the right form; known sections in the right
# order; parameters, all of the signature in its order, each with a type and a description; what is
# returned or yielded, with a description; an example. Methods may group parameters ("as in ...").
SUMMARY = {"GL03", "GL05", "GL06", "GL07", "GL08", "SS01", "SS02", "SS03", "SS04"}
PARAMETERS = {"PR01", "PR02", "PR03", "PR07", "PR10"}
RETURNS = {"RT01", "RT03", "YD01"}
CLASS = SUMMARY | PARAMETERS | {"PR04", "EX01"}
FUNCTION = CLASS | RETURNS
METHOD = SUMMARY | PARAMETERS | RETURNS


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
    """Methods that a class has from this package, unless torch or scikit-learn names them."""
    foreign = [base for base in cls.__mro__ if not base.__module__.startswith("sklearn_mlcl")]
    for attribute in {a for base in cls.__mro__ if base not in foreign for a in vars(base)}:
        method = inspect.unwrap(getattr(cls, attribute)) if attribute[0] != "_" else None
        known = any(hasattr(base, attribute) for base in foreign)
        if inspect.isroutine(method) and not known:
            # A class method is another object at each look; its function is one and the same.
            yield f"{name}.{attribute}", getattr(method, "__func__", method)


def home_of_estimator(module_name: str) -> bool:
    """A file whose class is exported at the top: ``contrastive``, say."""
    module = importlib.import_module(module_name)
    exported = [getattr(sklearn_mlcl, name) for name in sklearn_mlcl.__all__]
    return any(getattr(member, "__module__", None) == module.__name__ for member in exported)


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

NETS = [m for m in OBJECTS.values() if inspect.isclass(m) and issubclass(m, NetClassifier)]


def codes_of(member: Any) -> set[str]:
    """Return what to ask of a function or class; records and bases list attributes."""
    if inspect.isfunction(member):
        return FUNCTION
    record = is_dataclass(member) or issubclass(member, (tuple, dict))
    base = any(getattr(value, "__isabstractmethod__", False) for value in vars(member).values())
    return CLASS - {"PR01", "EX01"} if record or base else CLASS


def complaints(name: str, codes: set[str]) -> list[tuple[str, str]]:
    """Return what numpydoc finds; a signature of torch's own, ``*args``, is not to document."""
    errors = [tuple(error) for error in validate(name)["errors"]]
    return [(code, text) for code, text in errors if code in codes and "'*args'" not in text]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str) -> None:
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    module = importlib.import_module(name)
    assert doctest.testmod(module, optionflags=flags).failed == 0


@pytest.mark.parametrize("name", sorted(OBJECTS))
def test_numpydoc_of_public_objects(name: str) -> None:
    assert not complaints(name, codes_of(OBJECTS[name]))


@pytest.mark.parametrize("name", sorted(METHODS))
def test_numpydoc_of_public_methods(name: str) -> None:
    assert not complaints(name, METHOD)


def raised(member: Any) -> set[str]:
    """Return the names of the exceptions that a function, or a class when made, raises itself."""
    code = member if inspect.isroutine(member) else vars(member).get("__init__")
    if code is None or not inspect.isfunction(code):
        return set()
    tree = ast.parse(textwrap.dedent(inspect.getsource(code)))
    calls = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise)]
    return {call.func.id for call in calls if isinstance(call, ast.Call)}


@pytest.mark.parametrize("name", sorted(OBJECTS | METHODS))
def test_what_is_raised_is_documented(name: str) -> None:
    member = (OBJECTS | METHODS)[name]
    if is_dataclass(member) or member.__module__.startswith("sklearn."):
        return  # generated, or scikit-learn's request methods
    _, _, section = inspect.getdoc(member).partition("Raises\n------\n")
    assert raised(member) <= set(re.findall(r"^\w+", section, flags=re.MULTILINE))


@pytest.mark.parametrize("cls", NETS, ids=lambda cls: cls.__name__)
def test_every_parameter_is_documented_once_with_its_default(cls: type) -> None:
    doc = inspect.getdoc(cls) or ""
    section = doc[doc.index("Parameters\n---") : doc.index("Attributes\n---")]
    documented = re.findall(r"(?m)^(\w+) : .*\bdefault=(.+)$", section)
    parameters = inspect.signature(cls).parameters
    assert sorted(name for name, _ in documented) == sorted(parameters)
    for name, default in documented:
        if default == "nan":
            assert np.isnan(parameters[name].default), name
        else:
            assert ast.literal_eval(default) == parameters[name].default, name
    assert set(parameters) <= set(cls._parameter_constraints)  # type: ignore[attr-defined]


def test_api_page_lists_what_is_public() -> None:
    page = Path(__file__).parents[1] / "doc" / "api.rst"
    listed = {line.strip() for line in page.read_text().splitlines()}
    names = {name for name in sklearn_mlcl.__all__ if not name.startswith("_")}
    modules = {m.split(".")[1] for m in MODULES if is_public(m) and not home_of_estimator(m)}
    assert not (names | modules) - listed
