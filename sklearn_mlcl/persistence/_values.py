"""Codecs of values: scalars, dtypes, devices and classes, arrays of objects, CSR, tensors."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import attrgetter
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn

from sklearn_mlcl.persistence._registry import is_registered, registered
from sklearn_mlcl.persistence._state import Codec, Node

Parts = tuple[dict[str, Node], dict[str, Any]]
_TENSOR_DTYPES = {
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64,
    torch.float16, torch.bfloat16, torch.float32, torch.float64,
}  # fmt: skip


def _random_state(header: dict[str, Node], fields: dict[str, Any]) -> np.random.RandomState:
    generator = np.random.RandomState()
    generator.set_state(fields)
    return generator


def _has_items(value: Any) -> bool:
    if isinstance(value, np.generic):
        return value.dtype.kind in "biufU"
    return type(value) is np.ndarray and value.dtype.kind in "UO"


def _unpack_items(header: dict[str, Node], fields: dict[str, Any]) -> Any:
    array = np.empty(len(fields["items"]), dtype=header["dtype"])
    # One by one: NumPy would make further axes of items that are tuples.
    for i, item in enumerate(fields["items"]):
        array[i] = item
    return array.reshape(header["shape"])[()]  # a scalar, if it has no axes


def _is_dtype(value: Any) -> bool:
    return isinstance(value, np.dtype) and value.kind in "biufUO"


def _is_class(value: Any) -> bool:
    return isinstance(value, type) and is_registered("type", value)


def _is_csr(value: Any) -> bool:
    return sp.issparse(value) and value.format == "csr" and is_registered("type", type(value))


def _pack_csr(value: Any) -> Parts:
    header = {"container": type(value).__name__, "shape": [int(n) for n in value.shape]}
    return header, {name: getattr(value, name) for name in ("data", "indices", "indptr")}


def _unpack_csr(header: dict[str, Node], fields: dict[str, Any]) -> Any:
    parts = (fields["data"], fields["indices"], fields["indptr"])
    matrix = registered("type", header["container"])(parts, shape=tuple(header["shape"]))
    # SciPy's products trust the indices: those of a forged file could point anywhere.
    matrix.check_format(full_check=True)
    return matrix


def _is_dense(value: Any) -> bool:
    known = type(value) in (Tensor, nn.Parameter) and value.dtype in _TENSOR_DTYPES
    return known and value.layout == torch.strided


def _pack_tensor(value: Tensor) -> Parts:
    tensor = value.detach().cpu()
    half = tensor.dtype == torch.bfloat16  # unknown to NumPy
    trained = value.requires_grad if isinstance(value, nn.Parameter) else None
    data = (tensor.view(torch.int16) if half else tensor).numpy()
    return {"bfloat16": half, "trained": trained}, {"data": data}


def _unpack_tensor(header: dict[str, Node], fields: dict[str, Any]) -> Tensor:
    # A copy lies where torch puts its own tensors: aligned alike, products round alike.
    tensor = torch.from_numpy(fields["data"]).clone()
    tensor = tensor.view(torch.bfloat16) if header["bfloat16"] else tensor
    return tensor if header["trained"] is None else nn.Parameter(tensor, header["trained"])


def _text_codec(
    kind: str, make: Callable[[str], Any], text: Callable[[Any], str], takes: Callable[[Any], bool]
) -> Codec:
    """Return the codec of values that a text stands for."""
    return Codec(
        kind, takes, lambda v: ({"text": text(v)}, {}), lambda header, _: make(header["text"])
    )


VALUES = (
    # NaN and infinity, for which JSON has no words.
    _text_codec("float", float, repr, lambda v: type(v) is float),
    _text_codec("dtype", np.dtype, attrgetter("str"), _is_dtype),
    _text_codec("device", torch.device, str, lambda v: isinstance(v, torch.device)),
    # Optimizers, containers of sparse labels.
    _text_codec("type", partial(registered, "type"), attrgetter("__name__"), _is_class),
    Codec(
        "random_state",
        lambda v: type(v) is np.random.RandomState,
        lambda v: ({}, v.get_state(legacy=False)),
        _random_state,
    ),
    # Scalars of NumPy, and arrays of strings or of objects that are values themselves.
    Codec(
        "items",
        _has_items,
        lambda v: ({"dtype": v.dtype.str, "shape": list(v.shape)}, {"items": v.ravel().tolist()}),
        _unpack_items,
    ),
    Codec("csr", _is_csr, _pack_csr, _unpack_csr),
    Codec("tensor", _is_dense, _pack_tensor, _unpack_tensor),
)
