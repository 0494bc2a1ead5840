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
_DTYPES_BY_NAME = {str(dtype): dtype for dtype in _TENSOR_DTYPES}


#: Bytes of an item of a NumPy array that is stored by items, and of all its items.
LARGEST_ITEM, LARGEST_ITEMS = 2**16, 2**26


def _random_state(header: dict[str, Node], fields: dict[str, Any]) -> np.random.RandomState:
    key, position = fields["state"]["key"], fields["state"]["pos"]
    words = np.random.MT19937().state["state"]["key"]
    if (key.dtype, key.shape) != (words.dtype, words.shape):
        raise ValueError(f"a generator has a key of {key.dtype} {key.shape}")
    # NumPy trusts the position, and would read behind the key.
    if type(position) is not int or not 0 <= position <= len(words):
        raise ValueError(f"a generator stands at {position!r}, expected 0 to {len(words)}")
    generator = np.random.RandomState()
    generator.set_state(fields)
    return generator


def _has_items(value: Any) -> bool:
    if isinstance(value, np.generic):
        return value.dtype.kind in "biufU" and value.dtype.itemsize <= LARGEST_ITEM
    known = type(value) is np.ndarray and value.dtype.kind in "UO"
    return known and value.dtype.itemsize <= LARGEST_ITEM and value.nbytes <= LARGEST_ITEMS


def _unpack_items(header: dict[str, Node], fields: dict[str, Any]) -> Any:
    items, dtype = fields["items"], _dtype(header["dtype"])
    n_bytes = len(items) * dtype.itemsize
    if n_bytes > LARGEST_ITEMS:
        raise ValueError(f"{len(items):,} items of {dtype} take {n_bytes:,} bytes")
    array = np.empty(len(items), dtype=dtype)
    # One by one: NumPy would make further axes of items that are tuples.
    for i, item in enumerate(items):
        array[i] = item
    return array.reshape(header["shape"])[()]  # a scalar, if it has no axes


def _dtype(text: str) -> np.dtype:
    dtype = np.dtype(text)
    if dtype.kind not in "biufUO" or dtype.itemsize > LARGEST_ITEM:
        raise ValueError(f"it names the dtype {text!r}")
    return dtype


def _is_dtype(value: Any) -> bool:
    return isinstance(value, np.dtype) and value.kind in "biufUO"


def _is_torch_dtype(value: Any) -> bool:
    return isinstance(value, torch.dtype)


def _is_class(value: Any) -> bool:
    return isinstance(value, type) and is_registered("type", value)


def _is_csr(value: Any) -> bool:
    return sp.issparse(value) and value.format == "csr" and is_registered("type", type(value))


def _pack_csr(value: Any) -> Parts:
    header = {"container": type(value).__name__, "shape": [int(n) for n in value.shape]}
    return header, {name: getattr(value, name) for name in ("data", "indices", "indptr")}


def _unpack_csr(header: dict[str, Node], fields: dict[str, Any]) -> Any:
    parts = (fields["data"], fields["indices"], fields["indptr"])
    if any(part.dtype.kind != "i" for part in parts[1:]) or len(parts[0]) != len(parts[1]):
        raise ValueError("the parts of a CSR matrix do not fit together")
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
    _text_codec("dtype", _dtype, attrgetter("str"), _is_dtype),
    _text_codec("device", torch.device, str, lambda v: isinstance(v, torch.device)),
    _text_codec("torch dtype", _DTYPES_BY_NAME.__getitem__, str, _is_torch_dtype),
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
    Codec("csr", _is_csr, _pack_csr, _unpack_csr, lambda header, _: header["shape"][1]),
    Codec("tensor", _is_dense, _pack_tensor, _unpack_tensor),
)
