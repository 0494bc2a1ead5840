"""Constructor parameters, each said once: default and bounds in the body, text in the docstring.

Errors about parameters of a constructor and arguments of a method name the class that the user
knows.
"""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import wraps
from numbers import Integral, Real
from types import FunctionType
from typing import Any, ClassVar, Self, TypeVar, dataclass_transform

import numpy as np

from sklearn_mlcl.utils._sklearn_compat import (
    AnyInterval,
    CheckedParameters,
    StrOptions,
    validate_parameter_constraints,
)
from sklearn_mlcl.utils.runtime import rollback_on_error


class Interval(AnyInterval):
    """Numbers in a range: those of Python and NumPy, whole ones of 64 bits, no booleans."""

    def is_satisfied_by(self, val: Any) -> bool:
        """Return whether a value is such a number."""
        kinds = (int, np.integer) if self.type is Integral else (int, float, np.number)
        if isinstance(val, bool | np.complexfloating) or not isinstance(val, kinds):
            return False
        # Arithmetic of torch and NumPy ends at 64 bits; bounds may be beyond half precision.
        number = int(val) if isinstance(val, int | np.integer) else float(val)
        return not (isinstance(number, int) and number.bit_length() > 63) and number in self


#: The largest number that nets compute with: they do in float32, where its square is finite.
LARGEST = 1e10
ABOVE_0 = Interval(Real, 0, LARGEST, closed="right")
AT_LEAST_0 = Interval(Real, 0, LARGEST, closed="both")
NUMBER = Interval(Real, -LARGEST, LARGEST, closed="both")
AT_LEAST_1 = Interval(Integral, 1, None, closed="left")
COUNT = Interval(Integral, 0, None, closed="left")
#: Numbers that float64 arithmetic takes at any size, as C of logistic regressions.
STRENGTH = Interval(Real, 0, None, closed="neither")
STRENGTH_OR_0 = Interval(Real, 0, None, closed="left")
SHARE = Interval(Real, 0, 1, closed="both")
#: Default of a parameter that must be given.
REQUIRED = inspect.Parameter.empty
#: Sections of a docstring: everyday parameters, then advanced ones.
SECTIONS = ("Parameters", "Other Parameters")


@dataclass(frozen=True)
class Parameter:
    """What is known of a constructor parameter, or of a key of a dict parameter.

    Attributes
    ----------
    default : object
        Its default.
    allowed : tuple
        Constraints, as scikit-learn's parameter validation takes them.
    keys : dict of str to Parameter
        Keys of a dict parameter; empty for all others.
    """

    default: Any
    allowed: tuple[Any, ...] = ()
    keys: dict[str, Parameter] = field(default_factory=dict)

    def refined(self, other: Parameter) -> Parameter:
        """Return this parameter with the default, bounds and keys that ``other`` states."""
        keys = {k: self.keys[k].refined(p) if k in self.keys else p for k, p in other.keys.items()}
        return Parameter(other.default, other.allowed or self.allowed, self.keys | keys)


def param(default: Any, *allowed: Any) -> Any:
    """Declare a constructor parameter in the body of a class.

    A subclass that declares a name again states what changes: the default, bounds if they differ.

    Parameters
    ----------
    default : object
        Its default.
    *allowed : constraints
        As scikit-learn's parameter validation takes them.
    """
    return Parameter(default, allowed)


def options(**keys: Any) -> Any:
    """Declare a constructor parameter that is a dict of known keys, or None.

    A subclass that declares it again states keys that change, and keys of its own.

    Parameters
    ----------
    **keys : param(...)
        The keys.
    """
    return Parameter(None, (dict, None), keys)


def required(*allowed: Any, kw_only: bool) -> Any:
    """Declare a constructor parameter without a default, to be given by place or by name.

    Parameters
    ----------
    *allowed : constraints
        As scikit-learn's parameter validation takes them.
    kw_only : bool
        False; type checkers read it where the parameter is declared.
    """
    return Parameter(REQUIRED, allowed)


@dataclass_transform(kw_only_default=True, field_specifiers=(required,))
class DeclaredParameters(CheckedParameters):
    """Base of estimators that declare their parameters in the class body.

    They do so with :func:`param` and :func:`options`. The base makes the constructor and the table
    of constraints. A class with an ``__init__`` of its own keeps it. Keys of dict parameters are
    parameters too: ``get_params(deep=True)`` and ``set_params`` know ``loss_params__beta``.

    The text of a parameter stands once, in the docstring of the class that declares it, without
    its default. Subclasses list it with their default: everyday parameters under "Parameters",
    advanced ones under "Other Parameters".

    Parameters
    ----------
    class_weight : "balanced", dict, list of dict or None
        Factors on the weights of negatives and positives. Give a dict ``{label: {0: w0, 1: w1}}``
        by number or name of the label, or a list with a dict ``{0: w0, 1: w1}`` for each label.
        "balanced" is (entries) / (2 * entries of that value) in each label. For 1-D targets give a
        dict ``{class: weight}`` or "balanced", as in scikit-learn. Class weights change the meaning
        of the probabilities; see :ref:`missing-labels`.
    missing_label : float
        Marks a missing label in a label matrix beside NaN, for example -1.
    """

    _declared: ClassVar[dict[str, Parameter]] = {}
    _parameter_constraints: ClassVar[dict[str, Any]] = {}
    _texts: ClassVar[dict[str, Text]] = {}
    #: Replaces ``{shared_attributes}`` in docstrings.
    _shared_attributes: ClassVar[str] = ""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        declared = {k: p for k, p in vars(cls).items() if isinstance(p, Parameter)}
        if not declared:
            return
        known = cls._declared
        for name, parameter in declared.items():
            declared[name] = known[name].refined(parameter) if name in known else parameter
            delattr(cls, name)
        doc = inspect.cleandoc(vars(cls).get("__doc__") or "")
        cls._texts = texts = _merged(cls._texts, _texts_in(doc))
        # Required ones first, then everyday ones; those of the subclass before those of its base.
        merged = declared | {name: p for name, p in known.items() if name not in declared}
        advanced = {name: name in texts and texts[name].section == SECTIONS[1] for name in merged}
        rank = {name: advanced[name] - (p.default is REQUIRED) for name, p in merged.items()}
        cls._declared = {name: merged[name] for name in sorted(merged, key=rank.__getitem__)}
        cls._parameter_constraints = {n: list(p.allowed) for n, p in cls._declared.items()}
        if "__init__" not in vars(cls):
            cls.__init__ = _constructor(cls)  # type: ignore[method-assign]
        shared = inspect.cleandoc(cls._shared_attributes)
        cls.__doc__ = _listed(doc, cls._declared, texts).replace("{shared_attributes}", shared)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters; with ``deep`` also the keys of dict parameters.

        Parameters
        ----------
        deep : bool, default=True
            Whether to add ``loss_params__beta`` and the like, and parameters of inner estimators.

        Returns
        -------
        params : dict
            Values by name.
        """
        params = super().get_params(deep=deep)
        if deep:
            for name in [name for name in dict_parameters(self) if name in params]:
                params.update({f"{name}__{k}": v for k, v in options_of(self, name).items()})
        return params

    def set_params(self, **params: Any) -> Self:
        """Set parameters, keys of dict parameters among them.

        Parameters
        ----------
        **params : dict
            Values by name; ``loss_params__beta=0.2`` sets one key and keeps the others.

        Returns
        -------
        self : estimator
            The estimator itself.

        Raises
        ------
        ValueError
            For a name that is no parameter, or a key that the dict does not take. Then nothing is
            set.
        """
        # A subclass with an ``__init__`` of its own may not have them all.
        own = super().get_params(deep=False)
        dicts = {name: p for name, p in dict_parameters(self).items() if name in own}
        by_key = {k: v for k, v in params.items() if k.partition("__")[0] in dicts and "__" in k}
        with rollback_on_error(self):
            super().set_params(**{k: v for k, v in params.items() if k not in by_key})
            for name, value in by_key.items():
                parent, _, key = name.partition("__")
                _check_keys(type(self).__name__, parent, (key,), dicts[parent].keys)
                setattr(self, parent, {**(getattr(self, parent) or {}), key: value})
        return self

    def _check_parameters(self) -> None:
        super()._check_parameters()
        for name in dict_parameters(self):
            check_dict(self, name)


def dict_parameters(estimator: DeclaredParameters) -> dict[str, Parameter]:
    """Return the parameters that are dicts of known keys."""
    return {name: p for name, p in estimator._declared.items() if p.keys}


def check_dict(estimator: DeclaredParameters, name: str) -> None:
    """Raise unless a dict parameter has keys that it takes, with values that they take."""
    cls, known = type(estimator).__name__, estimator._declared[name].keys
    given = getattr(estimator, name) or {}
    _check_keys(cls, name, given, known)
    validate_parameter_constraints(
        {f"{name}__{key}": p.allowed for key, p in known.items() if key in given},
        {f"{name}__{key}": value for key, value in given.items()},
        caller_name=cls,
    )


def check_some(estimator: DeclaredParameters, names: Iterable[str]) -> None:
    """Raise unless some of the parameters are as ``fit`` would take them."""
    given = {name: vars(estimator)[name] for name in names if name in vars(estimator)}
    validate_parameter_constraints(
        estimator._parameter_constraints, given, caller_name=type(estimator).__name__
    )
    for name in given:
        if estimator._declared[name].keys:
            check_dict(estimator, name)


def options_of(estimator: DeclaredParameters, name: str) -> dict[str, Any]:
    """Return a dict parameter with the defaults of the keys that it leaves out."""
    defaults = {key: p.default for key, p in estimator._declared[name].keys.items()}
    given = getattr(estimator, name)
    return {**defaults, **given} if isinstance(given, Mapping) else defaults


def check_arguments(caller: str, **given: tuple[Any, ...]) -> None:
    """Raise unless arguments of a function meet their constraints.

    Parameters
    ----------
    caller : str
        Name of the function.
    **given : tuple
        The value of each argument, and its constraints, as :func:`param` takes them.
    """
    validate_parameter_constraints(
        {name: list(allowed) for name, (_, *allowed) in given.items()},
        {name: value for name, (value, *_) in given.items()},
        caller,
    )


def plain_number(value: Any) -> Any:
    """Return a scalar of NumPy as a number of Python; products of small ones would overflow."""
    kinds = {np.integer: int, np.floating: float, np.bool_: bool}
    return next((make(value) for kind, make in kinds.items() if isinstance(value, kind)), value)


def setting(estimator: DeclaredParameters, name: str, absent: Any = None) -> Any:
    """Return a key of a dict parameter, or its default; ``absent`` where there is no such key."""
    options = (options_of(estimator, parent) for parent in dict_parameters(estimator))
    return plain_number(next((given[name] for given in options if name in given), absent))


def _check_keys(cls: str, name: str, given: Any, known: dict[str, Parameter]) -> None:
    for key in given:
        if key not in known:
            near = get_close_matches(str(key), known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ValueError(
                f"{name} of {cls} has no key {key!r}.{hint} Its keys are {sorted(known)}."
            )


def _constructor(cls: type[DeclaredParameters]) -> Any:
    """Return an ``__init__`` that stores its arguments, with an explicit signature."""
    names = list(cls._declared)
    required = [f"{name}, " for name in names if cls._declared[name].default is REQUIRED]
    head = ", ".join(f"{name}=defaults[{name!r}]" for name in names[len(required) :])
    body = "\n".join(f"    self.{name} = {name}" for name in names)
    # The names in annotations are those of the module that declares the class.
    space = dict(vars(sys.modules[cls.__module__]))
    space["defaults"] = {n: p.default for n, p in cls._declared.items()}
    exec(f"def __init__(self, {''.join(required)}*, {head}):\n{body}", space)
    init = space["__init__"]
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    init.__module__ = cls.__module__
    known = ChainMap(*map(inspect.get_annotations, cls.__mro__))
    init.__annotations__ = {n: known[n] for n in names if n in known} | {"return": None}
    return init


@dataclass(frozen=True)
class Text:
    """What a docstring says of a parameter.

    Attributes
    ----------
    section : str
        The section that it stands in.
    kind : str
        Its type.
    body : str
        What it does.
    keys : dict of str to Text
        Texts of the keys of a dict parameter.
    """

    section: str
    kind: str
    body: str
    keys: dict[str, Text] = field(default_factory=dict)


def _texts_in(doc: str) -> dict[str, Text]:
    """Return what a docstring says of parameters."""
    found: dict[str, Text] = {}
    for section in SECTIONS:
        entries = re.search(rf"(?ms)^{section}\n-+\n(.*?)(?=\n\S[^\n]*\n---|\Z)", doc)
        for name, kind, body in _entries(r"(\w+) : (.*)", entries[1] if entries else ""):
            text, *items = re.split(r"(?m)^(?=- ``)", body)
            keys = {
                k: Text(section, key_kind, key_body)
                for item in items
                for k, key_kind, key_body in _entries(r"- ``(\w+)`` : (.*)", item)
            }
            found[name] = Text(section, kind, text.strip(), keys)
    return found


def _entries(head: str, text: str) -> Iterable[tuple[str, str, str]]:
    """Yield name, type and indented body of the entries whose first lines look like ``head``."""
    for match in re.finditer(rf"(?m)^{head}\n((?:(?:[ ].*)?\n?)*)", text):
        yield match[1], match[2], inspect.cleandoc("\n" + match[3])


def _merged(base: dict[str, Text], own: dict[str, Text]) -> dict[str, Text]:
    """Return texts of a class: a dict parameter keeps the keys that its base describes."""
    merged = dict(base)
    for name, text in own.items():
        before = base.get(name, text)
        body, keys = text.body or before.body, before.keys | text.keys
        merged[name] = replace(text, section=before.section, body=body, keys=keys)
    return merged


def _listed(doc: str, parameters: dict[str, Parameter], texts: dict[str, Text]) -> str:
    """Return a docstring that lists all parameters with their defaults.

    numpydoc wants "Other Parameters" behind "Attributes".
    """
    parts = re.split(r"(?m)^(?=[A-Z][A-Za-z ]+\n-{3,}\n)", doc)
    named = {part.partition("\n")[0]: part.strip() for part in parts[1:]}
    if "Parameters" not in named:
        return doc
    for section in SECTIONS:
        entries = [
            _entry(f"{name} : ", texts[name], parameter)
            for name, parameter in parameters.items()
            if name in texts and texts[name].section == section
        ]
        named[section] = "\n".join([section, "-" * len(section), *entries]) if entries else ""
    order = ["Parameters", "Attributes", "Other Parameters"]
    order += [name for name in named if name not in order]
    return "\n\n".join([parts[0].strip(), *(named[n] for n in order if named.get(n))])


def _entry(head: str, text: Text, parameter: Parameter) -> str:
    items = [
        _entry(f"- ``{key}`` : ", text.keys[key], p)
        for key, p in sorted(parameter.keys.items())
        if key in text.keys
    ]
    body = "\n\n".join(part for part in (text.body, "\n".join(items)) if part)
    indent = "  " if head.startswith("-") else "    "
    default = parameter.default
    shown = f'"{default}"' if isinstance(default, str) else repr(default)
    suffix = "" if default is REQUIRED else f", default={shown}"
    return f"{head}{text.kind}{suffix}\n" + textwrap.indent(body, indent)


MISSING_LABEL = param(np.nan, Interval(Real, None, None, closed="neither"), "nan")
CLASS_WEIGHT = param(None, StrOptions({"balanced"}), dict, list, None)

DeclaredParameters._texts = _texts_in(inspect.cleandoc(DeclaredParameters.__doc__ or ""))


# ---------------------------------------------------------------------- arguments of methods

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
