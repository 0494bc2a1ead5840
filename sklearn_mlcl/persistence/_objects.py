"""Codecs of objects of registered classes, by their attributes.

Only dataclasses are made by their constructors, which check what they are given. What others hold
is checked once everything is read, before it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import is_dataclass
from functools import partial
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from sklearn_mlcl.persistence._custom import Custom, custom_codecs, is_custom
from sklearn_mlcl.persistence._rebuilt import check_modules
from sklearn_mlcl.persistence._registry import is_registered, registered
from sklearn_mlcl.persistence._state import Codec, Node, Reader, Writer
from sklearn_mlcl.persistence._values import VALUES, Parts
from sklearn_mlcl.utils._sklearn_compat import (
    expand_routing,
    flatten_routing,
    validate_parameters,
    without_callbacks,
)
from sklearn_mlcl.utils.state import OF_ANY_MODULE, parts_of

#: Field for the items of objects that are dicts; no attribute has this name.
_ITEMS = "items()"


def _takes(kind: str, value: Any) -> bool:
    return is_registered(kind, type(value))


def kept_in_files(value: Any) -> dict[str, Any]:
    """Return the attributes of an object that leave with a model.

    Labels of training samples do not, and what watches a training does not. Nor does the wish for a
    compiler: it is one of the machine.
    """
    known = without_callbacks(vars(value)) if isinstance(value, BaseEstimator) else vars(value)
    if isinstance(value, BaseEstimator) and isinstance(known.get("net_params"), dict):
        kept = {k: v for k, v in known["net_params"].items() if k != "compile"}
        known = known | {"net_params": kept}
    # What an estimator can no longer compute without what stays behind.
    computed = value._computed_for_files() if hasattr(value, "_computed_for_files") else {}
    return known | computed | dict.fromkeys(known.keys() & getattr(value, "not_in_files", set()))


def _pack_object(value: Any) -> Parts:
    fields = flatten_routing(kept_in_files(value))
    if isinstance(value, BaseEstimator) and callable(fields.get("module")):
        fields["module"] = Custom(fields["module"])
    if isinstance(value, dict):
        fields[_ITEMS] = dict(value)
    return {"class": type(value).__name__}, fields


def _unpack_object(header: dict[str, Node], fields: dict[str, Any]) -> Any:
    cls = registered("object", header["class"])
    if is_dataclass(cls):
        make: Any = cls
        return make(**fields)  # they check what they are given
    instance = cls.__new__(cls)
    if _ITEMS in fields:
        dict.update(instance, fields.pop(_ITEMS))
    _set_attributes(instance, fields)
    expand_routing(instance)
    return instance


def _set_attributes(instance: Any, attributes: dict[str, Any]) -> None:
    for name in attributes:
        of_class = getattr(type(instance), name, None)
        if callable(of_class) or isinstance(of_class, property):
            raise ValueError(f"it sets {name!r}, a method of {type(instance).__name__}")
    vars(instance).update(attributes)


def _pack_module(module: nn.Module) -> Parts:
    """Return attributes, parameters, buffers and modules inside, and hooks, which are refused."""
    fields: dict[str, Any] = {}
    for name, value in vars(module).items():
        if name not in OF_ANY_MODULE:
            fields[name] = value
        elif "hook" in name and isinstance(value, dict) and value:
            fields[name] = next(iter(value.values()))
    parts, persistent = parts_of(module), module.state_dict().keys()
    buffers = {
        name: name in persistent
        for name, part in parts.items()
        if isinstance(part, Tensor) and not isinstance(part, nn.Parameter)
    }
    header = {"class": type(module).__name__, "training": module.training, "buffers": buffers}
    return header, fields | parts


def _unpack_module(header: dict[str, Node], fields: dict[str, Any]) -> nn.Module:
    cls = registered("module", header["class"])
    module = cls.__new__(cls)
    nn.Module.__init__(module)
    attributes = {}
    for name, value in fields.items():
        if name in OF_ANY_MODULE:
            raise ValueError(f"it sets {name!r} of a module")
        if name in header["buffers"]:
            module.register_buffer(name, value, persistent=header["buffers"][name])
        elif isinstance(value, nn.Parameter):
            module.register_parameter(name, value)
        elif isinstance(value, nn.Module):
            module.register_module(name, value)
        else:
            attributes[name] = value
    _set_attributes(module, attributes)
    module.training = header["training"] is True
    return module


def _pack_stateful(value: Any, optimizer: bool = False) -> Parts:
    return {"class": type(value).__name__}, value.saved_state(optimizer)


def _unpack_stateful(header: dict[str, Node], fields: dict[str, Any]) -> Any:
    return registered("stateful", header["class"]).from_saved_state(fields)


def _width_of_object(header: dict[str, Node], fields: dict[str, Any]) -> Any:
    return fields.get("n_features_in_")


OBJECTS = (
    Codec("object", partial(_takes, "object"), _pack_object, _unpack_object, _width_of_object),
    Codec("module", partial(_takes, "module"), _pack_module, _unpack_module),
    Codec("stateful", partial(_takes, "stateful"), _pack_stateful, _unpack_stateful),
)
CODECS = {codec.kind: codec for codec in (*VALUES, *OBJECTS)}


def encode(
    value: Any, where: str, *, custom: bool = False, optimizer: bool = False
) -> tuple[Node, dict[str, np.ndarray]]:
    """Return a value as a JSON tree and the arrays that it refers to.

    Parameters
    ----------
    value : object
        The value.
    where : str
        How messages call it.
    custom : bool, default=False
        Whether a module of the user's may be in it, by its name.
    optimizer : bool, default=False
        Whether the states of optimizers are part of nets in it.

    Raises
    ------
    TypeError
        If there is something in it that files may not hold; the message says where.
    ValueError
        If a module in it is no longer as it was built, so that no file of it could be loaded.
    """
    codecs = {**custom_codecs(None), **CODECS} if custom else CODECS
    if optimizer:
        with_state = partial(_pack_stateful, optimizer=True)
        codecs = codecs | {"stateful": CODECS["stateful"]._replace(pack=with_state)}
    writer = Writer(codecs)
    tree = writer.node(value, where)
    check_modules(_modules_in(writer.objects()))
    return tree, writer.arrays


def decode(tree: Node, arrays: Mapping[str, np.ndarray], module: Any = None) -> Any:
    """Return the value of a tree.

    Parameters
    ----------
    tree : JSON value
        The tree.
    arrays : dict of str to ndarray
        Its arrays.
    module : callable, default=None
        What the name of a module of the user's stands for.

    Raises
    ------
    ValueError
        If the tree says what this version does not know, or nothing that makes sense.
    """
    reader = Reader({**CODECS, **custom_codecs(module)}, arrays)
    try:
        value = reader.read(tree)
        objects = reader.objects()
        if module is not None and not any(met is module for met in objects):
            raise ValueError(
                f"it names no module of the user's, so module={module!r} is not for it"
            )
        check_modules(_modules_in(objects))
        for met in objects:
            if isinstance(met, BaseEstimator) and is_registered("object", type(met)):
                check_estimator(met)
    except ValueError:
        raise
    # Whatever a strange file does to NumPy, SciPy and torch: they have no common exception.
    except Exception as error:
        raise ValueError(f"its state makes no sense to this version ({error!r})") from error
    return value


def _modules_in(objects: list[Any]) -> list[nn.Module]:
    """Return the modules of this package and of torch."""
    known = (value for value in objects if is_registered("module", type(value)))
    return [module for module in known if not is_custom(module)]


def check_estimator(estimator: Any) -> None:
    """Raise unless an estimator has parameters that ``fit`` would take, and can predict."""
    parameters = estimator.get_params(deep=False)  # fails if one is missing
    if (parameters.get("net_params") or {}).get("compile"):
        raise ValueError("its net_params have compile=True, which would start a compiler")
    validate_parameters(estimator)
    try:
        check_is_fitted(estimator)
    except NotFittedError:  # a parameter of another estimator
        return
    estimator._check_state()
