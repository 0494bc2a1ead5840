"""Codecs of plain values that JSON does not know: tuples, dicts, NaN, scalars and dtypes."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import nn

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


def _stored(array: np.ndarray, owner: Any, writer: Writer) -> dict[str, Node]:
    """Store an array in the order of its memory: products of it round as before.

    The order of the axes is noted where it is not that of C.
    """
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    axes = sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))
    if array.flags.c_contiguous:
        axes = list(range(array.ndim))
    data = np.ascontiguousarray(native.transpose(axes)).reshape([array.shape[a] for a in axes])
    fields: dict[str, Node] = {"data": writer.array(data, owner)}
    return fields if axes == sorted(axes) else {**fields, "axes": axes}


def _restored(node: dict[str, Node], reader: Reader) -> np.ndarray:
    array = reader.array(node["data"])
    return array.transpose(np.argsort(node["axes"])) if "axes" in node else array


class ArrayCodec(Codec):
    """Arrays of numbers and booleans."""

    kind = "array"

    def takes(self, value: Any) -> bool:
        return type(value) in (np.ndarray, np.memmap) and value.dtype.kind in "biuf"

    def encode(self, value: Any, writer: Writer, where: str) -> dict[str, Node]:
        return _stored(np.asarray(value), value, writer)

    def decode(self, node: dict[str, Node], reader: Reader) -> Any:
        # A copy: two values may share one stored array.
        return _restored(node, reader).copy(order="K")


class ObjectArrayCodec(Codec):
    """Arrays of strings, or of objects that are plain values."""

    kind = "values"

    def takes(self, value: Any) -> bool:
        return type(value) is np.ndarray and value.dtype.kind in "UO"

    def encode(self, value: Any, writer: Writer, where: str) -> dict[str, Node]:
        items = writer.node(value.ravel().tolist(), where)
        return {"dtype": value.dtype.str, "shape": list(value.shape), "items": items}

    def decode(self, node: dict[str, Node], reader: Reader) -> Any:
        array = np.empty(len(node["items"]), dtype=node["dtype"])
        # One by one: NumPy would make further axes of items that are tuples.
        for i, item in enumerate(reader.value(node["items"])):
            array[i] = item
        return array.reshape(node["shape"])


class CSRCodec(Codec):
    """CSR arrays and matrices."""

    kind = "csr"

    def takes(self, value: Any) -> bool:
        return sp.issparse(value) and value.format == "csr" and is_allowed("type", type(value))

    def encode(self, value: Any, writer: Writer, where: str) -> dict[str, Node]:
        parts = {name: getattr(value, name) for name in ("data", "indices", "indptr")}
        shape = [int(n) for n in value.shape]
        return {
            "container": type(value).__name__,
            "shape": shape,
            "parts": writer.fields(parts, where),
        }

    def decode(self, node: dict[str, Node], reader: Reader) -> Any:
        container = class_named("type", node["container"])
        parts = reader.fields(node["parts"])
        triple = (parts["data"], parts["indices"], parts["indptr"])
        matrix = container(triple, shape=tuple(node["shape"]))
        # SciPy's products trust the indices: those of a forged file could point anywhere.
        matrix.check_format(full_check=True)
        return matrix


class TensorCodec(Codec):
    """Torch tensors and parameters, brought to the CPU."""

    kind = "tensor"

    def takes(self, value: Any) -> bool:
        return type(value) in (torch.Tensor, nn.Parameter) and value.layout == torch.strided

    def encode(self, value: Any, writer: Writer, where: str) -> dict[str, Node]:
        tensor = value.detach().cpu()
        fields: dict[str, Node] = {}
        if tensor.dtype == torch.bfloat16:  # no type of NumPy's
            tensor, fields["bfloat16"] = tensor.view(torch.int16), True
        if isinstance(value, nn.Parameter):
            fields["trained"] = value.requires_grad
        return {**_stored(tensor.numpy(), value, writer), **fields}

    def decode(self, node: dict[str, Node], reader: Reader) -> Any:
        # A copy lies where torch puts its own tensors: aligned alike, products round alike.
        tensor = torch.from_numpy(_restored(node, reader)).clone()
        if node.get("bfloat16"):
            tensor = tensor.view(torch.bfloat16)
        return nn.Parameter(tensor, node["trained"]) if "trained" in node else tensor
