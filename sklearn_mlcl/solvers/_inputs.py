"""Checked, double-precision inputs of the logistic solvers, and the labels of one block."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from sklearn_mlcl.utils.samples import as_tensor, chunks
from sklearn_mlcl.utils.targets import as_label_matrix, check_indicator_values
from sklearn_mlcl.utils.validation import check_weights

ArrayLike = Any  # numpy array or torch tensor
BLOCK_ENTRIES = 2**20
#: The largest size of a feature: the sums of squares of many are to stay far from overflow.
LARGEST_FEATURE = 1e100


def _as_tensor(array: ArrayLike) -> Tensor:
    return array if isinstance(array, Tensor) else as_tensor(np.asarray(array))


def as_features(X: ArrayLike) -> Tensor | sp.csr_array:
    """X in float64: a tensor on its own device, or a CSR array."""
    if sp.issparse(X):
        out: sp.csr_array = X.tocsr().astype(np.float64)
        values, shape = torch.from_numpy(out.data), out.shape
    else:
        out = _as_tensor(X).to(torch.float64)
        values, shape = out, tuple(out.shape)
    if len(shape) != 2 or 0 in shape:
        raise ValueError(f"X must be a matrix with a row and a column at least, got shape {shape}.")
    largest = max(map(abs, torch.stack(torch.aminmax(values)).tolist())) if values.numel() else 0.0
    if not largest < np.inf:
        raise ValueError("X must be finite, got NaN or infinity.")
    if largest > LARGEST_FEATURE:
        raise ValueError(
            f"X holds values up to {largest:g}, expected at most {LARGEST_FEATURE:g}: squares of "
            "larger ones overflow. Bring the features to a common scale (StandardScaler)."
        )
    return out


def as_labels(Y: ArrayLike, n: int) -> ArrayLike:
    """Y as it came, or CSC, but checked: (n, L) with 0, 1 and, where dense, NaN for missing."""
    if isinstance(Y, Tensor):
        check_indicator_values(Y, "Y")
    else:
        Y = as_label_matrix(Y, name="Y")
        Y = sp.csc_array(Y) if sp.issparse(Y) else Y
    if Y.ndim != 2 or Y.shape[0] != n:
        raise ValueError(
            f"Y must have shape (n_samples, n_labels) = ({n}, L), got {tuple(Y.shape)}."
        )
    return Y


def as_sample_weight(
    weight: ArrayLike | None, shape: tuple[int, int], device: Any
) -> tuple[Tensor | None, Tensor]:
    """None, or a float64 tensor of shape (n, 1) or (n, L), and the units (1,) or (L,) of it.

    The largest weight is from 1 to 2 and the unit a power of two: so no product of weights leaves
    the range of single precision, and nothing is rounded.
    """
    weight = check_weights(weight, *shape, tensors=True)
    if weight is None:
        return None, torch.ones(1, dtype=torch.float64, device=device)
    s = _as_tensor(weight).to(device).reshape(shape[0], -1)
    largest = s.amax(0)
    unit = torch.where(largest > 0, largest / (2 * torch.frexp(largest).mantissa), 1.0)
    return s / unit, unit


def as_C(C: float | ArrayLike, L: int, device: Any, name: str = "C") -> Tensor:
    """C as a tensor of shape (L,)."""
    out = torch.as_tensor(C, dtype=torch.float64, device=device)
    if out.ndim > 1 or (out.ndim == 1 and len(out) != L):
        raise ValueError(f"{name} must be a number or have shape ({L},), got {tuple(out.shape)}.")
    if not bool((torch.isfinite(out) & (out > 0)).all()):
        raise ValueError(f"{name} must be positive and finite, got {C!r}.")
    return out.expand(L)


def gram_weight(Y: ArrayLike, s: Tensor | None, device: Any) -> Tensor | None:
    """Mean weight of each row over all labels, 0 where missing, for the shared Gram matrix.

    None if all rows weigh the same. Columns come in blocks, so that no mask of all entries exists.
    """
    sums, alike = torch.zeros(Y.shape[0], dtype=torch.float64, device=device), True
    for columns in chunks(Y.shape[1], max(1, BLOCK_ENTRIES // Y.shape[0])):
        y, weight = label_block(Y, s, columns, device)
        alike = alike and weight is None
        sums += y.shape[1] if weight is None else weight.expand_as(y).sum(1)
    return None if alike or not bool(sums.any()) else sums / Y.shape[1]


def label_block(
    Y: ArrayLike, s: Tensor | None, columns: slice, device: Any
) -> tuple[Tensor, Tensor | None]:
    """Which labels are positive (n, l), and weights (None, (n, 1), (n, l)), 0 where missing."""
    block = Y[:, columns].toarray() if sp.issparse(Y) else Y[:, columns]
    block = _as_tensor(block).to(device)
    s = s if s is None or s.shape[1] == 1 else s[:, columns].contiguous()
    if block.is_floating_point():
        observed = block == block
        if not bool(observed.all()):
            s = observed if s is None else observed * s
    return (block == 1).contiguous(), s
