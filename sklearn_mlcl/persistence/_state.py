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
#: Values that a tree may stand for, as a multiple of the values that it has.
MOST_REPEATED, FEW_VALUES = 8, 100
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
    width : callable
        (header, fields) -> number of columns or features that it claims, None if it claims none.
    """

    kind: str
    takes: Callable[[Any], bool]
    pack: Callable[[Any], tuple[dict[str, Node], Mapping[str, Any]]]
    unpack: Callable[[dict[str, Node], dict[str, Any]], Any]
    width: Callable[[dict[str, Node], dict[str, Any]], Any] = lambda header, fields: None


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

    def objects(self) -> list[Any]:
        """Return all objects met, those inside others first."""
        return [value for value, _ in self._met.values()]

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

    Every array is used once, and values that many others refer to are bounded: a few lines of
    references could stand for more values than any memory holds.

    Parameters
    ----------
    codecs : dict of str to Codec
        By kind.
    arrays : dict of str to ndarray
        What the writer stored.
    """

    def __init__(self, codecs: Mapping[str, Codec], arrays: Mapping[str, np.ndarray]) -> None:
        self._codecs = codecs
        self._arrays = dict(arrays)
        sizes = (n for array in arrays.values() if array.size for n in array.shape)
        #: What is wider than any array in the file was not fitted on these features and labels.
        self._widest = max(sizes, default=0)
        #: Objects by their "id", each with the number of values that it stands for.
        self._met: dict[int, tuple[Any, int]] = {}
        self._n_nodes = self._n_values = 0

    def read(self, tree: Node) -> Any:
        """Return the value of a whole tree.

        Raises
        ------
        ValueError
            If the tree has no use for an array.
        """
        value = self.value(tree)
        if self._arrays:
            raise ValueError(f"nothing in it uses its arrays {sorted(self._arrays)[:5]}")
        return value

    def objects(self) -> list[Any]:
        """Return all objects met, those inside others first."""
        return [value for value, _ in self._met.values()]

    def value(self, node: Node) -> Any:
        """Return the value of a node."""
        self._n_nodes += 1
        self._n_values += 1
        if isinstance(node, list):
            return [self.value(item) for item in node]
        if not isinstance(node, dict):
            return node
        kind = node["$"]
        if kind == "tuple":
            return tuple(self.value(node["items"]))
        if kind == "dict":
            return {self.value(key): self.value(item) for key, item in node["items"]}
        if kind == "reference":
            return self._referred(node["id"])
        before = self._n_values
        value = self._object(kind, node)
        if type(node["id"]) is not int or node["id"] in self._met:
            raise ValueError(f"two of its objects have the id {node['id']!r}")
        self._met[node["id"]] = value, self._n_values - before
        return value

    def _referred(self, which: int) -> Any:
        value, n_values = self._met[which]
        self._n_values += n_values
        if self._n_values > MOST_REPEATED * (self._n_nodes + FEW_VALUES):
            raise ValueError(
                f"its references stand for {self._n_values:,} values and more, expected at most "
                f"{MOST_REPEATED} for each that it has"
            )
        return value

    def _object(self, kind: str, node: dict[str, Node]) -> Any:
        if kind == "array":
            return self._array(node["name"], node["axes"])
        if kind not in self._codecs:
            raise ValueError(f"it has values of the kind {kind!r}, unknown to this version")
        fields = {name: self.value(field) for name, field in node["fields"].items()}
        width = self._codecs[kind].width(node, fields)
        if width is not None and not 0 <= width <= self._widest:
            raise ValueError(f"a {kind} has the width {width!r}, and no array is as wide")
        return self._codecs[kind].unpack(node, fields)

    def _array(self, name: str, axes: list[int]) -> np.ndarray:
        array = self._arrays.pop(name, None)
        if array is None:
            raise ValueError(f"it has no array {name!r}, or uses it twice")
        if sorted(axes) != list(range(array.ndim)):
            raise ValueError(f"it turns array {name!r} of shape {array.shape} by the axes {axes}")
        if not array.size and max(array.shape) > max(self._widest, FEW_VALUES):
            raise ValueError(f"array {name!r} is empty, but has the shape {array.shape}")
        # A copy: NumPy aligns it, and it can be written to.
        return array.transpose(np.argsort(axes)).copy(order="K")


def unsavable(value: Any, where: str) -> str:
    """Say that a value cannot be saved, and what to do instead."""
    cls = value if isinstance(value, type) else type(value)
    remedy = ", or set_params(callbacks=None)" if "callbacks" in where else ""
    return (
        f"{where} holds {cls.__module__}.{cls.__qualname__}, which cannot be saved: files that "
        "load without running code hold arrays, plain values and classes of sklearn_mlcl only. "
        f"Pickle the estimator instead{remedy}."
    )
