"""Objects as JSON trees beside named arrays, and back: the walk itself."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any, NamedTuple, TypeAlias

import numpy as np

#: A JSON value. A dict has the key "$" with its kind: "tuple", "dict", "array", that of a codec, or
#: "reference" for an object met before, which has the same "id".
Node: TypeAlias = Any
#: What JSON says by itself.
_PLAIN = (type(None), bool, int, str)


class Codec(NamedTuple):
    """How objects of one kind are taken to pieces, and made from them.

    Attributes
    ----------
    kind : str
        Names the codec in the node.
    takes : callable
        Whether an object is of this kind.
    pack : callable
        Object -> (header, fields): what JSON says by itself, and other values by name.
    unpack : callable
        (header, fields) -> object.
    """

    kind: str
    takes: Callable[[Any], bool]
    pack: Callable[[Any], tuple[dict[str, Node], Mapping[str, Any]]]
    unpack: Callable[[dict[str, Node], dict[str, Any]], Any]


class Writer:
    """Turn values into nodes; an object met twice is stored once.

    Attributes
    ----------
    arrays : dict of str to ndarray
        The arrays of all values so far, C-contiguous.
    """

    def __init__(self, codecs: Mapping[str, Codec]) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self._codecs = codecs
        # The objects are kept: a dead one would leave its id to another.
        self._met: dict[int, tuple[Any, int]] = {}

    def node(self, value: Any, where: str) -> Node:
        """Return a value as a node.

        Raises
        ------
        TypeError
            If the value, which stands at ``where``, is not of a kind that files may hold.
        """
        if type(value) in _PLAIN or (type(value) is float and isfinite(value)):
            return value
        if type(value) is list:
            return [self.node(item, f"{where}[{i}]") for i, item in enumerate(value)]
        if type(value) is tuple:
            return {"$": "tuple", "items": self.node(list(value), where)}
        if type(value) in (dict, OrderedDict):
            pairs = [
                [self.node(key, f"a key of {where}"), self.node(item, f"{where}[{key!r}]")]
                for key, item in value.items()
            ]
            return {"$": "dict", "items": pairs}
        if id(value) in self._met:
            return {"$": "reference", "id": self._met[id(value)][1]}
        if type(value) in (np.ndarray, np.memmap) and value.dtype.kind in "biuf":
            node = self._array(np.asarray(value))
        else:
            node = self._packed(value, where)
        node["id"] = len(self._met)
        self._met[id(value)] = value, node["id"]
        return node

    def _packed(self, value: Any, where: str) -> dict[str, Node]:
        for codec in self._codecs.values():
            if codec.takes(value):
                header, fields = codec.pack(value)
                nodes = {n: self.node(field, f"{where}.{n}") for n, field in fields.items()}
                return {"$": codec.kind, **header, "fields": nodes}
        raise TypeError(unsavable(value, where))

    def _array(self, array: np.ndarray) -> dict[str, Node]:
        """Store an array in the order of its memory: products of it round as before.

        The order of the axes is noted where it is not that of C.
        """
        native = array.astype(array.dtype.newbyteorder("="), copy=False)
        axes = list(range(array.ndim))
        if not native.flags.c_contiguous:
            axes.sort(key=lambda axis: -abs(native.strides[axis]))
        shape = [native.shape[axis] for axis in axes]
        name = str(len(self.arrays))
        self.arrays[name] = np.ascontiguousarray(native.transpose(axes)).reshape(shape)
        return {"$": "array", "name": name, "axes": axes}


class Reader:
    """Turn nodes into values.

    Parameters
    ----------
    codecs : dict of str to Codec
        By kind.
    arrays : dict of str to ndarray
        What the writer stored.
    """

    def __init__(self, codecs: Mapping[str, Codec], arrays: Mapping[str, np.ndarray]) -> None:
        self._codecs = codecs
        self._arrays = arrays
        self._met: dict[int, Any] = {}

    def value(self, node: Node) -> Any:
        """Return the value of a node."""
        if isinstance(node, list):
            return [self.value(item) for item in node]
        if not isinstance(node, dict):
            return node
        kind = node["$"]
        if kind == "tuple":
            return tuple(self.value(node["items"]))
        if kind == "dict":
            return {self.value(key): self.value(item) for key, item in node["items"]}
        if kind != "reference":
            self._met[node["id"]] = self._object(kind, node)
        return self._met[node["id"]]

    def _object(self, kind: str, node: dict[str, Node]) -> Any:
        if kind == "array":
            # A copy: NumPy aligns it, and it can be written to.
            return self._arrays[node["name"]].transpose(np.argsort(node["axes"])).copy(order="K")
        if kind not in self._codecs:
            raise ValueError(f"it has values of the kind {kind!r}, unknown to this version")
        fields = {name: self.value(field) for name, field in node["fields"].items()}
        return self._codecs[kind].unpack(node, fields)


def unsavable(value: Any, where: str) -> str:
    """Say that a value cannot be saved, and what to do instead."""
    cls = value if isinstance(value, type) else type(value)
    return (
        f"{where} holds {cls.__module__}.{cls.__qualname__}, which cannot be saved: files that "
        "load without running code hold arrays, plain values and classes of sklearn_mlcl only. "
        "Pickle the estimator instead. Callbacks are no part of a model: detach them first "
        "(callbacks=None, set_callbacks())."
    )
