"""All codecs together: values to a tree and arrays, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sklearn_mlcl.persistence import _arrays, _objects, _plain
from sklearn_mlcl.persistence._state import Codec, Node, Reader, Writer

_ALL: tuple[Codec, ...] = (
    _plain.TupleCodec(),
    _plain.DictCodec(),
    _plain.NonFiniteCodec(),
    _arrays.ArrayCodec(),
    _arrays.ObjectArrayCodec(),
    _arrays.CSRCodec(),
    _arrays.TensorCodec(),
    _objects.ObjectCodec(),
    _objects.MappingCodec(),
    _objects.ModuleCodec(),
    _objects.StatefulCodec(),
    _plain.ScalarCodec(),
    _plain.DtypeCodec(),
    _plain.DeviceCodec(),
    _plain.TypeCodec(),
    _plain.RandomStateCodec(),
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
