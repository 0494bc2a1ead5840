"""Checked, double-precision inputs of the logistic solvers, and the labels of one block."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

ArrayLike = Any  # numpy array or torch tensor


def _as_tensor(array: ArrayLike) -> Tensor:
    """A tensor; read-only memory, which a memory map is and torch warns about, is copied."""
    if isinstance(array, Tensor):
        return array
    array = np.asarray(array)
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def as_features(X: ArrayLike) -> Tensor | sp.csr_array:
    """X in float64: a tensor on its own device, or a CSR array."""
    if sp.issparse(X):
        out: sp.csr_array = X.tocsr().astype(np.float64)
        finite, shape = np.isfinite(out.data).all(), out.shape
    else:
        out = _as_tensor(X).to(torch.float64)
        finite, shape = bool(torch.isfinite(out).all()), tuple(out.shape)
    if len(shape) != 2 or 0 in shape:
        raise ValueError(f"X must be a matrix with a row and a column at least, got shape {shape}.")
    if not finite:
        raise ValueError("X must be finite, got NaN or infinity.")
    return out


def as_labels(Y: ArrayLike, n: int) -> ArrayLike:
    """Y as it came, but checked: (n, L) with values 0, 1 and NaN for a missing label."""
    Y = Y if isinstance(Y, Tensor) else np.asarray(Y)
    if Y.ndim != 2 or Y.shape[0] != n:
        raise ValueError(
            f"Y must have shape (n_samples, n_labels) = ({n}, L), got {tuple(Y.shape)}."
        )
    if not bool(((Y == 0) | (Y == 1) | (Y != Y)).all()):
        raise ValueError("Y must hold 0, 1 and, for a missing label, NaN; got other values.")
    return Y


def as_sample_weight(
    weight: ArrayLike | None, shape: tuple[int, int], device: Any
) -> Tensor | None:
    """None, or a float64 tensor of shape (n, 1) or (n, L)."""
    if weight is None:
        return None
    s = torch.as_tensor(weight, dtype=torch.float64, device=device)
    if tuple(s.shape) not in {(shape[0],), (shape[0], 1), shape}:
        raise ValueError(
            f"sample_weight must have shape ({shape[0]},) or {shape}, got {tuple(s.shape)}."
        )
    if not bool((torch.isfinite(s) & (s >= 0)).all()):
        raise ValueError("sample_weight must be finite and non-negative.")
    return s.reshape(shape[0], -1)


def as_C(C: float | ArrayLike, L: int, device: Any) -> Tensor:
    """C as a tensor of shape (L,)."""
    out = torch.as_tensor(C, dtype=torch.float64, device=device)
    if out.ndim > 1 or (out.ndim == 1 and len(out) != L):
        raise ValueError(f"C must be a number or have shape ({L},), got {tuple(out.shape)}.")
    if not bool((torch.isfinite(out) & (out > 0)).all()):
        raise ValueError(f"C must be positive and finite, got {C!r}.")
    return out.expand(L)


def row_weight(Y: ArrayLike, s: Tensor | None, device: Any) -> Tensor | None:
    """Mean weight of each row over its labels (None: all alike), for the shared Gram matrix."""
    observed = torch.as_tensor(Y == Y, device=device)
    if bool(observed.all()):
        weight = None if s is None else s.mean(1)
    else:
        weight = observed.double().mean(1) if s is None else (observed * s).mean(1)
    return None if weight is None or not bool(weight.any()) else weight


def label_block(
    Y: ArrayLike, s: Tensor | None, columns: slice, device: Any
) -> tuple[Tensor, Tensor | None]:
    """Targets with 0 where missing, and weights (None, (n, 1) or (n, l)) with 0 where missing."""
    y = _as_tensor(Y[:, columns]).to(device).to(torch.float64).contiguous()
    s = s if s is None or s.shape[1] == 1 else s[:, columns].contiguous()
    missing = torch.isnan(y)
    if bool(missing.any()):
        observed = (~missing).double()
        y, s = torch.where(missing, 0.0, y), observed if s is None else observed * s
    return y, s
