"""Codecs of objects of registered classes, by their attributes; no constructor runs on loading."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from torch import nn

from sklearn_mlcl.persistence._registry import is_registered, registered
from sklearn_mlcl.persistence._state import Codec, Node, Reader, Writer
from sklearn_mlcl.persistence._values import VALUES, Parts
from sklearn_mlcl.utils._sklearn_compat import (
    expand_routing,
    flatten_routing,
)

#: Attributes that every torch module has; those of hooks have the word in their names.
_OF_ANY_MODULE = vars(nn.Module()).keys()
#: Field for the items of objects that are dicts; no attribute has this name.
_ITEMS = "items()"


def _takes(kind: str, value: Any) -> bool:
    return is_registered(kind, type(value))


def _pack_object(value: Any) -> Parts:
    fields = flatten_routing(vars(value))
    # Labels of training samples do not leave with a model.
    fields |= dict.fromkeys(fields.keys() & getattr(value, "not_in_files", set()))
    if isinstance(value, dict):
        fields[_ITEMS] = dict(value)
    return {"class": type(value).__name__}, fields


def _unpack_object(header: dict[str, Node], fields: dict[str, Any]) -> Any:
    cls = registered("object", header["class"])
    instance = cls.__new__(cls)
    if _ITEMS in fields:
        dict.update(instance, fields.pop(_ITEMS))
    vars(instance).update(fields)
    expand_routing(instance)
    if isinstance(instance, BaseEstimator):
        instance.get_params(deep=False)  # fails if one is missing
    return instance


def _pack_module(module: nn.Module) -> Parts:
    """Return attributes, parameters, buffers and modules inside, and hooks, which are refused."""
    fields: dict[str, Any] = {}
    for name, value in vars(module).items():
        if name not in _OF_ANY_MODULE:
            fields[name] = value
        elif "hook" in name and isinstance(value, dict) and value:
            fields[name] = next(iter(value.values()))
    fields |= module.named_parameters(recurse=False, remove_duplicate=False)
    buffers = dict(module.named_buffers(recurse=False, remove_duplicate=False))
    inside = module.named_modules(remove_duplicate=False)
    fields |= buffers | {name: child for name, child in inside if name and "." not in name}
    # What is registered as None is listed in ``dir`` alone.
    others = set(dir(module)).difference(dir(type(module)), vars(module), fields)
    persistent = module.state_dict().keys()
    header = {
        "class": type(module).__name__,
        "training": module.training,
        "buffers": {name: name in persistent for name in buffers},
    }
    return header, fields | dict.fromkeys(sorted(others))


def _unpack_module(header: dict[str, Node], fields: dict[str, Any]) -> nn.Module:
    cls = registered("module", header["class"])
    module = cls.__new__(cls)
    nn.Module.__init__(module)
    for name, value in fields.items():
        if name in _OF_ANY_MODULE:
            raise ValueError(f"it sets {name!r} of a module")
        if name in header["buffers"]:
            module.register_buffer(name, value, persistent=header["buffers"][name])
        elif isinstance(value, nn.Parameter):
            module.register_parameter(name, value)
        elif isinstance(value, nn.Module):
            module.register_module(name, value)
        else:
            vars(module)[name] = value
    module.training = header["training"]
    return module


def _pack_stateful(value: Any) -> Parts:
    return {"class": type(value).__name__}, value.saved_state()


def _unpack_stateful(header: dict[str, Node], fields: dict[str, Any]) -> Any:
    return registered("stateful", header["class"]).from_saved_state(fields)


OBJECTS = (
    Codec("object", partial(_takes, "object"), _pack_object, _unpack_object),
    Codec("module", partial(_takes, "module"), _pack_module, _unpack_module),
    Codec("stateful", partial(_takes, "stateful"), _pack_stateful, _unpack_stateful),
)
CODECS = {codec.kind: codec for codec in (*VALUES, *OBJECTS)}


def encode(value: Any, where: str) -> tuple[Node, dict[str, np.ndarray]]:
    """Return a value as a JSON tree and the arrays that it refers to.

    Raises
    ------
    TypeError
        If there is something in it that files may not hold; the message says where.
    """
    writer = Writer(CODECS)
    return writer.node(value, where), writer.arrays


def decode(tree: Node, arrays: Mapping[str, np.ndarray]) -> Any:
    """Return the value of a tree.

    Raises
    ------
    ValueError
        If the tree says what this version does not know, or nothing that makes sense.
    """
    try:
        return Reader(CODECS, arrays).value(tree)
    except (KeyError, IndexError, TypeError, AttributeError, RuntimeError) as error:
        raise ValueError(f"its state makes no sense to this version ({error!r})") from error
