"""Constructor parameters, each said once: type, bounds, default and text."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from numbers import Real
from typing import Any, ClassVar, Self, dataclass_transform

import numpy as np
from sklearn.base import BaseEstimator

from sklearn_mlcl.utils._sklearn_compat import StrOptions, validate_parameter_constraints


@dataclass(frozen=True)
class Parameter:
    """What is known of a constructor parameter, or of a key of a dict parameter.

    Attributes
    ----------
    default : object
        Its default.
    kind : str
        Its type, as a docstring states it.
    text : str
        What it does, as a docstring states it.
    allowed : list
        Constraints, as scikit-learn's parameter validation takes them.
    advanced : bool
        Whether the docstring lists it under "Other Parameters".
    keys : dict of str to Parameter
        Keys of a dict parameter; empty for all others.
    """

    default: Any
    kind: str = ""
    text: str = ""
    allowed: list[Any] = field(default_factory=list)
    advanced: bool = False
    keys: dict[str, Parameter] = field(default_factory=dict)

    def documented(self, name: str) -> str:
        """Return the entry of a docstring."""
        body = inspect.cleandoc(self.text)
        if self.keys:
            entries = "\n\n".join(key._as_item(k) for k, key in sorted(self.keys.items()))
            body = f"{body}\n\n{entries}"
        head = f"{name} : {self.kind}, default={_shown(self.default)}"
        return f"{head}\n{textwrap.indent(body, '    ')}"

    def _as_item(self, name: str) -> str:
        head = f"- ``{name}`` : {self.kind}, default={_shown(self.default)}."
        return f"{head}\n{textwrap.indent(inspect.cleandoc(self.text), '  ')}"


def param(
    default: Any,
    kind: str = "",
    text: str = "",
    allowed: list[Any] | None = None,
    *,
    advanced: bool = False,
    keys: dict[str, Any] | None = None,
) -> Any:
    """Declare a constructor parameter in the body of a class.

    A subclass that declares a name again with a default alone keeps all else; ``keys`` are added
    to those of the base.
    """
    return Parameter(default, kind, text, allowed or [], advanced, keys or {})


@dataclass_transform(kw_only_default=True, field_specifiers=(param,))
class DeclaredParameters(BaseEstimator):
    """Base of estimators that declare their parameters in the class body with :func:`param`.

    It makes the constructor, the table of constraints and the entries of the docstring. A class
    with an ``__init__`` of its own keeps it. Keys of dict parameters are parameters too:
    ``get_params(deep=True)`` and ``set_params`` know ``loss_params__beta``.
    """

    _parameters: ClassVar[dict[str, Parameter]] = {}
    _parameter_constraints: ClassVar[dict[str, Any]] = {}
    #: Replaces ``{shared_attributes}`` in docstrings.
    _shared_attributes: ClassVar[str] = ""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        declared = {k: p for k, p in vars(cls).items() if isinstance(p, Parameter)}
        if not declared:
            return
        known = dict(cls._parameters)
        for name, parameter in declared.items():
            known[name] = _refined(known[name], parameter) if name in known else parameter
            delattr(cls, name)
        # Those of the subclass first, rare ones last.
        first = [*declared, *(name for name in known if name not in declared)]
        cls._parameters = {n: known[n] for n in sorted(first, key=lambda n: known[n].advanced)}
        cls._parameter_constraints = {n: p.allowed for n, p in cls._parameters.items()}
        if "__init__" not in vars(cls):
            cls.__init__ = _constructor(cls)  # type: ignore[method-assign]
        doc = _filled(cls.__doc__ or "", cls._parameters)
        cls.__doc__ = doc.replace("{shared_attributes}", cls._shared_attributes.strip())

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
            for name in self._dict_parameters():
                params.update({f"{name}__{k}": v for k, v in self._options_of(name).items()})
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
            For a name that is no parameter, or a key that the dict does not take.
        """
        dicts = self._dict_parameters()
        by_key = {k: v for k, v in params.items() if k.partition("__")[0] in dicts and "__" in k}
        super().set_params(**{k: v for k, v in params.items() if k not in by_key})
        for name, value in by_key.items():
            parent, _, key = name.partition("__")
            _check_keys(type(self).__name__, parent, (key,), dicts[parent].keys)
            setattr(self, parent, {**(getattr(self, parent) or {}), key: value})
        return self

    def _dict_parameters(self) -> dict[str, Parameter]:
        return {name: p for name, p in self._parameters.items() if p.keys}

    def _options_of(self, name: str) -> dict[str, Any]:
        """Return a dict parameter with the defaults of the keys that it leaves out."""
        defaults = {key: p.default for key, p in self._parameters[name].keys.items()}
        given = getattr(self, name)
        return {**defaults, **given} if isinstance(given, Mapping) else defaults

    def _validate_params(self) -> None:
        super()._validate_params()
        cls = type(self).__name__
        for name, parameter in self._dict_parameters().items():
            given = getattr(self, name) or {}
            _check_keys(cls, name, given, parameter.keys)
            validate_parameter_constraints(
                {f"{name}__{key}": p.allowed for key, p in parameter.keys.items()},
                {f"{name}__{key}": value for key, value in given.items()},
                caller_name=cls,
            )


def _refined(base: Parameter, own: Parameter) -> Parameter:
    known = base.keys
    keys = {k: _refined(known[k], p) if k in known else p for k, p in own.keys.items()}
    changed: dict[str, Any] = {"keys": known | keys, "default": own.default}
    changed |= {k: v for k in ("kind", "text", "allowed") if (v := getattr(own, k))}
    return replace(base, **changed)


def _check_keys(cls: str, name: str, given: Any, known: dict[str, Parameter]) -> None:
    for key in given:
        if key not in known:
            near = get_close_matches(str(key), known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ValueError(
                f"{name} of {cls} has no key {key!r}.{hint} Its keys are {sorted(known)}."
            )


def _constructor(cls: type[DeclaredParameters]) -> Any:
    """Return an ``__init__`` that stores its keyword arguments, with an explicit signature."""
    names = list(cls._parameters)
    head = ", ".join(f"{name}=defaults[{name!r}]" for name in names)
    body = "\n".join(f"    self.{name} = {name}" for name in names)
    space: dict[str, Any] = {"defaults": {n: p.default for n, p in cls._parameters.items()}}
    exec(f"def __init__(self, *, {head}):\n{body}", space)
    init = space["__init__"]
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    init.__module__ = cls.__module__
    return init


def _filled(doc: str, parameters: dict[str, Parameter]) -> str:
    for field_name, advanced in (("{parameters}", False), ("{other_parameters}", True)):
        entries = [p.documented(n) for n, p in parameters.items() if p.advanced == advanced]
        doc = doc.replace(field_name, textwrap.indent("\n".join(entries), "    ").lstrip())
    return doc


def _shown(default: Any) -> str:
    if isinstance(default, str):
        return f'"{default}"'
    return "nan" if isinstance(default, float) and np.isnan(default) else repr(default)


MISSING_LABEL = param(
    np.nan,
    "float",
    "Marks a missing label in a label matrix beside NaN, for example -1.",
    [Real],
)
CLASS_WEIGHT = param(
    None,
    '"balanced", dict, list of dict or None',
    """
    Factors on the weights of negatives and positives: a dict ``{label: {0: w0, 1: w1}}`` by number
    or name of the label, a list with a dict ``{0: w0, 1: w1}`` for each label, or "balanced" for
    (entries) / (2 * entries of that value) in each label. For 1-D targets a dict
    ``{class: weight}`` or "balanced", as in scikit-learn. Probabilities are then those of the
    weighted samples; see :ref:`missing-labels`.
    """,
    [StrOptions({"balanced"}), dict, list, None],
)
