"""Codecs of plain values that JSON does not know: tuples, dicts, NaN, scalars and dtypes."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import torch

from sklearn_mlcl.persistence._registry import class_named, is_allowed
from sklearn_mlcl.persistence._state import Codec, Node, Reader, Writer, refusal


class TupleCodec(Codec):
    """Tuples, but not named ones."""

    kind = "tuple"

    def takes(self, value: Any) -> bool:
        return type(value) is tuple

    def encode(self, value: Any, writer: Writer, where: str) -> dict[str, Node]:
        return {"items": writer.node(list(value), where)}

    def decode(self, node: dict[str, Node], reader: Reader) -> Any:
        return tuple(reader.value(node["items"]))


class DictCodec(Codec):
    """Dicts with keys of any kind, in their order."""

    kind = "dict"

    def takes(self, value: Any) -> bool:
        return type(value) in (dict, OrderedDict)

    def encode(self, value: Any, writer: Writer, where: str) -> dict[str, Node]:
        pairs = [
            [writer.node(key, f"a key of {where}"), writer.node(item, f"{where}[{key!r}]")]
            for key, item in value.items()
        ]
        return {"items": pairs}

    def decode(self, node: dict[str, Node], reader: Reader) -> Any:
        return {reader.value(key): reader.value(item) for key, item in node["items"]}


class NonFiniteCodec(Codec):
    """NaN and infinity, for which JSON has no words."""

    kind = "float"

    def takes(self, value: Any) -> bool:
        return type(value) is float

    def encode(self, value: Any, writer: Writer, where: str) -> dict[str, Node]:
        return {"value": repr(value)}

    def decode(self, node: dict[str, Node], reader: Reader) -> Any:
        return float(node["value"])


class ScalarCodec(Codec):
    """NumPy's scalars: they keep their type."""

    kind = "scalar"

    def takes(self, value: Any) -> bool:
        return isinstance(value, np.generic) and value.dtype.kind in "biufU"

    def encode(self, value: Any, writer: Writer, where: str) -> dict[str, Node]:
        return {"dtype": value.dtype.str, "value": writer.node(value.item(), where)}

    def decode(self, node: dict[str, Node], reader: Reader) -> Any:
        return np.dtype(node["dtype"]).type(reader.value(node["value"]))


class DtypeCodec(Codec):
    """NumPy's dtypes."""

    kind = "dtype"

    def takes(self, value: Any) -> bool:
        return isinstance(value, np.dtype)

    def encode(self, value: Any, writer: Writer, where: str) -> dict[str, Node]:
        if value.kind not in "biufUO":
            raise TypeError(refusal(value, where))
        return {"name": value.str}

    def decode(self, node: dict[str, Node], reader: Reader) -> Any:
        return np.dtype(node["name"])


class DeviceCodec(Codec):
    """Torch's devices."""

    kind = "device"

    def takes(self, value: Any) -> bool:
        return isinstance(value, torch.device)

    def encode(self, value: Any, writer: Writer, where: str) -> dict[str, Node]:
        return {"name": str(value)}

    def decode(self, node: dict[str, Node], reader: Reader) -> Any:
        return torch.device(node["name"])


class TypeCodec(Codec):
    """Classes as values: optimizers, containers of sparse labels."""

    kind = "type"

    def takes(self, value: Any) -> bool:
        return isinstance(value, type) and is_allowed("type", value)

    def encode(self, value: Any, writer: Writer, where: str) -> dict[str, Node]:
        return {"name": value.__name__}

    def decode(self, node: dict[str, Node], reader: Reader) -> Any:
        return class_named("type", node["name"])


class RandomStateCodec(Codec):
    """NumPy's legacy generators, as they stand."""

    kind = "random_state"

    def takes(self, value: Any) -> bool:
        return type(value) is np.random.RandomState

    def encode(self, value: Any, writer: Writer, where: str) -> dict[str, Node]:
        return {"state": writer.node(value.get_state(legacy=False), where)}

    def decode(self, node: dict[str, Node], reader: Reader) -> Any:
        generator = np.random.RandomState()
        generator.set_state(reader.value(node["state"]))
        return generator
