"""Codecs of values: scalars, dtypes, devices and classes, arrays of objects, CSR, tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn

from sklearn_mlcl.persistence._registry import is_registered, registered
from sklearn_mlcl.persistence._state import Codec, Node
from sklearn_mlcl.solvers._design import csr_tensor

Parts = tuple[dict[str, Node], dict[str, Any]]
_TENSOR_DTYPES = {
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64,
    torch.float16, torch.bfloat16, torch.float32, torch.float64,
}  # fmt: skip
#: Layout of a sparse tensor -> methods that return its dense parts.
_SPARSE_PARTS = {
    torch.sparse_coo: ("indices", "values"),
    torch.sparse_csr: ("crow_indices", "col_indices", "values"),
}


def _random_state(header: dict[str, Node], fields: dict[str, Any]) -> np.random.RandomState:
    generator = np.random.RandomState()
    generator.set_state(fields)
    return generator


def _object_array(header: dict[str, Node], fields: dict[str, Any]) -> np.ndarray:
    array = np.empty(len(fields["items"]), dtype=header["dtype"])
    # One by one: NumPy would make further axes of items that are tuples.
    for i, item in enumerate(fields["items"]):
        array[i] = item
    return array.reshape(header["shape"])


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


def _pack_sparse(value: Tensor) -> Parts:
    tensor = value.detach().cpu()
    tensor = tensor.coalesce() if tensor.layout == torch.sparse_coo else tensor
    parts = {name: getattr(tensor, name)() for name in _SPARSE_PARTS[tensor.layout]}
    return {"shape": list(tensor.shape)}, parts


def _unpack_sparse(header: dict[str, Node], fields: dict[str, Any]) -> Tensor:
    shape = tuple(header["shape"])
    # The indices are checked: those of a forged file could point anywhere.
    if "indices" in fields:
        return torch.sparse_coo_tensor(**fields, size=shape, check_invariants=True).coalesce()
    return csr_tensor(**fields, shape=shape, check_invariants=True)


VALUES = (
    # NaN and infinity, for which JSON has no words.
    Codec(
        "float",
        lambda v: type(v) is float,
        lambda v: ({"text": repr(v)}, {}),
        lambda header, _: float(header["text"]),
    ),
    Codec(
        "scalar",
        lambda v: isinstance(v, np.generic) and v.dtype.kind in "biufU",
        lambda v: ({"dtype": v.dtype.str}, {"value": v.item()}),
        lambda header, fields: np.dtype(header["dtype"]).type(fields["value"]),
    ),
    Codec(
        "dtype",
        lambda v: isinstance(v, np.dtype) and v.kind in "biufUO",
        lambda v: ({"text": v.str}, {}),
        lambda header, _: np.dtype(header["text"]),
    ),
    Codec(
        "device",
        lambda v: isinstance(v, torch.device),
        lambda v: ({"text": str(v)}, {}),
        lambda header, _: torch.device(header["text"]),
    ),
    # Optimizers, containers of sparse labels.
    Codec(
        "type",
        lambda v: isinstance(v, type) and is_registered("type", v),
        lambda v: ({"text": v.__name__}, {}),
        lambda header, _: registered("type", header["text"]),
    ),
    Codec(
        "random_state",
        lambda v: type(v) is np.random.RandomState,
        lambda v: ({}, v.get_state(legacy=False)),
        _random_state,
    ),
    # Strings, or objects that are values themselves.
    Codec(
        "object_array",
        lambda v: type(v) is np.ndarray and v.dtype.kind in "UO",
        lambda v: ({"dtype": v.dtype.str, "shape": list(v.shape)}, {"items": v.ravel().tolist()}),
        _object_array,
    ),
    Codec("csr", _is_csr, _pack_csr, _unpack_csr),
    Codec("tensor", _is_dense, _pack_tensor, _unpack_tensor),
    Codec(
        "sparse_tensor",
        lambda v: type(v) is Tensor and v.layout in _SPARSE_PARTS,
        _pack_sparse,
        _unpack_sparse,
    ),
)
