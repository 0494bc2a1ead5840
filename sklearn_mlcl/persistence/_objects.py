"""Codecs of objects of allowed classes: by attributes, as torch modules, by their own state."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.metadata_routing import MetadataRequest
from torch import nn

from sklearn_mlcl.persistence import _values
from sklearn_mlcl.persistence._registry import class_named, is_allowed
from sklearn_mlcl.persistence._state import Codec, Node, Reader, Writer, refusal

#: What every torch module has in its ``__dict__``.
_OF_ANY_MODULE = frozenset(vars(nn.Module()))
_PARTS = ("_parameters", "_buffers", "_modules")
_TRANSIENT = "_non_persistent_buffers_set"
#: Where an estimator keeps what it asks of metadata routing; it refers back to the estimator.
_REQUEST = "_metadata_request"


class ObjectCodec(Codec):
    """Estimators and records: a class and its attributes. No constructor runs on loading."""

    kind = "object"

    def takes(self, value: Any) -> bool:
        return is_allowed("object", type(value))

    def encode(self, value: Any, writer: Writer, where: str) -> dict[str, Node]:
        attributes = dict(vars(value))
        node = {"class": type(value).__name__}
        if _REQUEST in attributes:
            node["routing"] = writer.node(_routing_of(attributes.pop(_REQUEST)), where)
        return {**node, "attributes": writer.fields(attributes, where)}

    def decode(self, node: dict[str, Node], reader: Reader) -> Any:
        cls = class_named("object", node["class"])
        instance = cls.__new__(cls)
        attributes = reader.fields(node["attributes"])
        newer = _defaults(cls) if issubclass(cls, BaseEstimator) else {}
        vars(instance).update(attributes)
        vars(instance).update({k: v for k, v in newer.items() if k not in attributes})
        if "routing" in node:
            setattr(instance, _REQUEST, _request(instance, reader.value(node["routing"])))
        return instance


def _routing_of(request: MetadataRequest) -> dict[str, dict[str, Any]]:
    """Return what each method was told to take, by ``set_fit_request`` and the like."""
    parts = {name: part for name, part in vars(request).items() if name != "owner"}
    return {name: dict(part.requests) for name, part in parts.items() if part.requests}


def _request(owner: Any, routing: dict[str, dict[str, Any]]) -> MetadataRequest:
    request = MetadataRequest(owner=owner)
    for method, asked in routing.items():
        for name, alias in asked.items():
            getattr(request, method).add_request(param=name, alias=alias)
    return request


def _defaults(cls: type) -> dict[str, Any]:
    """Return the defaults of an estimator's parameters: an older file does not know them all."""
    parameters = inspect.signature(cls).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


class MappingCodec(Codec):
    """Dicts of an allowed class: their items, and their attributes."""

    kind = "mapping"

    def takes(self, value: Any) -> bool:
        return isinstance(value, dict) and is_allowed("mapping", type(value))

    def encode(self, value: Any, writer: Writer, where: str) -> dict[str, Node]:
        return {
            "class": type(value).__name__,
            "items": writer.fields(value, where),
            "attributes": writer.fields(vars(value), where),
        }

    def decode(self, node: dict[str, Node], reader: Reader) -> Any:
        cls = class_named("mapping", node["class"])
        mapping = cls.__new__(cls)
        dict.update(mapping, reader.fields(node["items"]))
        vars(mapping).update(reader.fields(node["attributes"]))
        return mapping


class ModuleCodec(Codec):
    """Torch modules: parameters, buffers, modules inside and plain attributes."""

    kind = "module"

    def takes(self, value: Any) -> bool:
        return is_allowed("module", type(value))

    def encode(self, value: Any, writer: Writer, where: str) -> dict[str, Node]:
        state = vars(value)
        _check_no_hooks(state, value, where)
        own = {name: item for name, item in state.items() if name not in _OF_ANY_MODULE}
        parts = {name: writer.fields(state[name], where) for name in _PARTS}
        return {
            "class": type(value).__name__,
            "training": value.training,
            "attributes": writer.fields(own, where),
            "transient": sorted(state[_TRANSIENT]),
            **parts,
        }

    def decode(self, node: dict[str, Node], reader: Reader) -> Any:
        cls = class_named("module", node["class"])
        module = cls.__new__(cls)
        nn.Module.__init__(module)
        state = vars(module)
        state.update(reader.fields(node["attributes"]))
        state["training"] = node["training"]
        state[_TRANSIENT].update(node["transient"])
        for name in _PARTS:
            state[name].update(reader.fields(node[name]))
        return module


def _check_no_hooks(state: dict[str, Any], module: nn.Module, where: str) -> None:
    hooks = _OF_ANY_MODULE.difference(_PARTS, ("training", _TRANSIENT))
    for name in sorted(hooks):
        if state.get(name):
            raise TypeError(refusal(state[name], f"{where}.{name}"))


class StatefulCodec(Codec):
    """Objects that give their state as a dict of values, and are made from it."""

    kind = "stateful"

    def takes(self, value: Any) -> bool:
        return is_allowed("stateful", type(value))

    def encode(self, value: Any, writer: Writer, where: str) -> dict[str, Node]:
        return {"class": type(value).__name__, "state": writer.fields(value.saved_state(), where)}

    def decode(self, node: dict[str, Node], reader: Reader) -> Any:
        cls = class_named("stateful", node["class"])
        return cls.from_saved_state(reader.fields(node["state"]))


_ALL: tuple[Codec, ...] = (
    _values.TupleCodec(),
    _values.DictCodec(),
    _values.NonFiniteCodec(),
    _values.ArrayCodec(),
    _values.ObjectArrayCodec(),
    _values.CSRCodec(),
    _values.TensorCodec(),
    ObjectCodec(),
    MappingCodec(),
    ModuleCodec(),
    StatefulCodec(),
    _values.ScalarCodec(),
    _values.DtypeCodec(),
    _values.DeviceCodec(),
    _values.TypeCodec(),
    _values.RandomStateCodec(),
)
CODECS: dict[str, Codec] = {codec.kind: codec for codec in _ALL}


def taken_apart(value: Any, where: str) -> tuple[Node, dict[str, np.ndarray]]:
    """Return a value as a JSON tree and the arrays that it refers to.

    Raises
    ------
    TypeError
        If there is something in it that files may not hold; the message says where.
    """
    writer = Writer(CODECS)
    return writer.node(value, where), writer.arrays


def put_together(tree: Node, arrays: Mapping[str, np.ndarray]) -> Any:
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
