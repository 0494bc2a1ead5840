"""Samples for a module of the user's: numbers of any dtype and shape, one array or several."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from sklearn_mlcl.utils.chunking import as_tensor

#: What a module is called with: a tensor, or tensors by name.
Inputs = Tensor | dict[str, Tensor]
#: Name, dtype and shape of a sample, one for each of several arrays.
SampleShape = list[tuple[str, str, tuple[int, ...]]]
#: What tensors of some integers are cast to.
WIDER = dict.fromkeys((torch.uint16, torch.uint32, torch.uint64), torch.int64)


def pack_inputs(**arrays: ArrayLike) -> np.ndarray:
    """Put several arrays of the same samples side by side, as one array.

    A ``module`` of your own is then called with a dict of tensors. The result is a structured array
    of NumPy: it can be indexed, split, memory-mapped and pickled as any other array.

    Parameters
    ----------
    **arrays : array-like of shape (n_samples, ...)
        Token ids, a mask, an image, by name.

    Returns
    -------
    samples : ndarray of shape (n_samples,)
        With the names as fields.

    Raises
    ------
    ValueError
        If there is no array, or they have different numbers of samples.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_mlcl.modules import pack_inputs
    >>> X = pack_inputs(
    ...     ids=np.zeros((3, 5), dtype=int), mask=np.ones((3, 5), dtype=bool)
    ... )
    >>> X.shape, X[:2]["mask"].shape
    ((3,), (2, 5))
    """
    parts = {name: np.asarray(array) for name, array in arrays.items()}
    sizes = {name: len(part) if part.ndim else None for name, part in parts.items()}
    if len(set(sizes.values())) != 1 or None in sizes.values():
        raise ValueError(f"pack_inputs needs arrays of the same samples, got the numbers {sizes}.")
    fields = [(name, part.dtype, part.shape[1:]) for name, part in parts.items()]
    samples = np.empty(len(next(iter(parts.values()))), dtype=fields)
    for name, part in parts.items():
        samples[name] = part
    return samples


def fields_of(array: np.ndarray) -> dict[str, np.ndarray]:
    """Return the arrays of packed samples by name; an array alone has the name ""."""
    names = array.dtype.names
    return {"": array} if names is None else {name: array[name] for name in names}


def each_tensor(change: Callable[[Tensor], Any], inputs: Any) -> Any:
    """Return inputs of a module, each tensor changed."""
    if isinstance(inputs, dict):
        return {name: change(tensor) for name, tensor in inputs.items()}
    return change(inputs)


def tensors_of(array: np.ndarray, dtype: torch.dtype = torch.float32) -> Inputs:
    """Return samples as tensors: floats in a dtype, all others as they are.

    Wide unsigned integers become int64: torch neither indexes nor computes with them.
    """

    def as_wanted(tensor: Tensor) -> Tensor:
        return tensor.to(
            dtype if tensor.is_floating_point() else WIDER.get(tensor.dtype, tensor.dtype)
        )

    if array.dtype.names is None:
        return as_wanted(as_tensor(array))
    # Fields of packed samples lie between one another, which torch has no strides for.
    parts = fields_of(array).items()
    return {name: as_wanted(as_tensor(part.copy(order="C"))) for name, part in parts}


def n_entries(X: Any) -> int:
    """Return how many numbers a sample has."""
    if getattr(X.dtype, "names", None):
        return sum(max(1, int(np.prod(X.dtype[name].shape))) for name in X.dtype.names)
    return int(np.prod(X.shape[1:]))


def is_table(X: Any) -> bool:
    """Return whether samples are rows of floats: an array of two dimensions, or CSR."""
    return sp.issparse(X) or (len(X.shape) == 2 and X.dtype.kind == "f")


def sample_shape(X: Any) -> SampleShape:
    """Return what a sample looks like."""
    if getattr(X.dtype, "names", None):
        return [(n, X.dtype[n].base.str, X.dtype[n].shape) for n in X.dtype.names]
    return [("", X.dtype.str, tuple(X.shape[1:]))]


def zero_samples(like: SampleShape, n: int) -> np.ndarray:
    """Return samples of zeros of the shape that :func:`sample_shape` returned."""
    (name, dtype, shape), *others = like
    return np.zeros((n, *shape), dtype) if not (name or others) else np.zeros(n, np.dtype(like))


def check_samples(X: Any) -> np.ndarray:
    """Return samples for a module of the user's.

    Raises
    ------
    TypeError
        If they are no numbers.
    ValueError
        If they have fewer than two dimensions, none at all, NaN or infinity.
    """
    try:
        X = X.detach().cpu().numpy() if isinstance(X, Tensor) else np.asarray(X)
    except ValueError as error:
        raise ValueError(
            f"X cannot be read as one array: {error} Pad samples of different lengths to one."
        ) from error
    parts = fields_of(X)
    kinds = {part.dtype.kind for part in parts.values()}
    if not kinds <= set("biuf"):
        raise TypeError(
            f"module needs numbers, and X has the dtype {X.dtype}: put a step in front of the "
            "classifier that makes numbers of it, as a tokenizer makes ids of texts."
        )
    if not X.dtype.names and X.ndim < 2:
        raise ValueError(f"X must have shape (n_samples, ...), got {X.shape}.")
    if X.shape[0] == 0:
        raise ValueError(f"X has no samples: its shape is {X.shape}.")
    for name, part in parts.items():
        if part.dtype.kind == "f" and not np.isfinite(part).all():
            raise ValueError(f"X{f'[{name!r}]' if name else ''} contains NaN or infinity.")
    if X.dtype.names or X.dtype.kind != "f":
        return X if X.dtype.isnative else X.astype(X.dtype.newbyteorder("="))
    return X.astype(np.float64 if X.dtype.itemsize > 4 else np.float32, copy=False)


def check_same_kind(X: np.ndarray, like: SampleShape) -> None:
    """Raise unless samples have the arrays, dimensions and kinds of those of the fit."""
    given = sample_shape(X)

    def kinds(shape: SampleShape) -> list[tuple[str, int, bool]]:
        return [(name, len(sizes), np.dtype(d).kind == "f") for name, d, sizes in shape]

    if kinds(given) != kinds(like):
        raise ValueError(f"X has samples of {given}, expected those of the fit: {like}.")
