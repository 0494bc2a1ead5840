"""Objects as JSON trees beside named arrays, and back: the walk itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from math import isfinite
from typing import Any, ClassVar, TypeAlias

import numpy as np

#: A JSON value; a dict has the key "$" with the kind of its codec.
Node: TypeAlias = Any
#: What JSON says by itself.
_AS_THEY_ARE = (type(None), bool, int, str)


class Codec(ABC):
    """How values of one kind become a node, and a node becomes a value again."""

    kind: ClassVar[str]

    @abstractmethod
    def takes(self, value: Any) -> bool:
        """Return whether the value is of this kind."""

    @abstractmethod
    def encode(self, value: Any, writer: Writer, where: str) -> dict[str, Node]:
        """Return the fields of the node."""

    @abstractmethod
    def decode(self, node: dict[str, Node], reader: Reader) -> Any:
        """Return the value."""


class Writer:
    """Take values apart.

    Attributes
    ----------
    arrays : dict of str to ndarray
        The arrays of all values so far, C-contiguous.
    """

    def __init__(self, codecs: Mapping[str, Codec]) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self._codecs = codecs
        self._names: dict[int, tuple[Any, str]] = {}

    def node(self, value: Any, where: str) -> Node:
        """Return a value as a node.

        Raises
        ------
        TypeError
            If the value, which stands at ``where``, is not of a kind that files may hold.
        """
        if type(value) in _AS_THEY_ARE or (type(value) is float and isfinite(value)):
            return value
        if type(value) is list:
            return [self.node(item, f"{where}[{i}]") for i, item in enumerate(value)]
        for codec in self._codecs.values():
            if codec.takes(value):
                return {"$": codec.kind, **codec.encode(value, self, where)}
        raise TypeError(refusal(value, where))

    def fields(self, values: Mapping[str, Any], where: str) -> dict[str, Node]:
        """Return named values as nodes."""
        return {name: self.node(value, f"{where}.{name}") for name, value in values.items()}

    def array(self, array: np.ndarray, owner: Any) -> str:
        """Store an array and return its name; that of an owner met before is stored once."""
        if id(owner) not in self._names:
            name = str(len(self.arrays))
            self.arrays[name] = array
            # The owner is kept: a dead one would leave its id to another.
            self._names[id(owner)] = (owner, name)
        return self._names[id(owner)][1]


class Reader:
    """Put values together again.

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

    def value(self, node: Node) -> Any:
        """Return the value of a node."""
        if isinstance(node, list):
            return [self.value(item) for item in node]
        if not isinstance(node, dict):
            return node
        if node["$"] not in self._codecs:
            raise ValueError(f"it has values of the kind {node['$']!r}, unknown to this version")
        return self._codecs[node["$"]].decode(node, self)

    def fields(self, nodes: Mapping[str, Node]) -> dict[str, Any]:
        """Return named values."""
        return {name: self.value(node) for name, node in nodes.items()}

    def array(self, name: str) -> np.ndarray:
        """Return a stored array."""
        return self._arrays[name]


def refusal(value: Any, where: str) -> str:
    """Say that a value cannot be saved, and what to do instead."""
    cls = value if isinstance(value, type) else type(value)
    return (
        f"{where} holds {cls.__module__}.{cls.__qualname__}, which cannot be saved: files that "
        "load without running code hold arrays, plain values and classes of sklearn_mlcl only. "
        "Pickle the estimator instead. Callbacks are no part of a model: detach them first "
        "(callbacks=None, set_callbacks())."
    )
