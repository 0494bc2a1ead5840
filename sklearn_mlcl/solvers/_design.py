"""Inputs of the logistic solvers, checked, and X in working coordinates.

In these coordinates the Gram matrix that all labels share is close to the identity. With weighted
mean ``mu`` and Gram ``V diag(lam) V'`` of the rows, ``w = V lam^(-1/2) v`` turns the penalty
``|w|^2`` into ``sum_j v_j^2 / lam_j`` and leaves every other part of the objective as it is, so a
diagonal metric preconditions all labels at once. Nothing is approximated: any orthogonal `V` and
positive `lam` give the same minimum. Dense X takes the eigenbasis; CSR X keeps its zeros and takes
``V = I``; with fewer rows than columns both take the row space, of n coordinates, which holds every
minimum since ``w = X' a``.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
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


# ---------------------------------------------------------------------- working coordinates


class DenseOperator:
    """``A @ T`` and ``A.T @ R`` for a dense tensor `A`."""

    def __init__(self, A: Tensor):
        self.A, self.dtype = A, A.dtype

    def forward(self, T: Tensor, out: Tensor | None = None) -> Tensor:
        return torch.mm(self.A, T, out=out)

    def adjoint(self, R: Tensor) -> Tensor:
        return self.A.T @ R

    def to(self, dtype: torch.dtype) -> DenseOperator:
        return DenseOperator(self.A.to(dtype))

    def rows(self, index: Tensor) -> DenseOperator:
        return DenseOperator(self.A[index])


class SparseOperator:
    """The same for a CSR matrix less ``shift`` in every row; the matrix and its transpose are kept.

    Where `shift` is given, the last column is of ones (the intercept), and the shift of the logits
    goes through it.
    """

    def __init__(self, A: sp.csr_array, shift: Tensor | None, dtype: torch.dtype = torch.float64):
        self._matrix, self.dtype = A, dtype
        self.shift = shift
        self.A = _torch_csr(A, dtype)
        self.At = _torch_csr(A.T.tocsr(), dtype)

    def forward(self, T: Tensor, out: Tensor | None = None) -> Tensor:
        if self.shift is not None:
            T = torch.cat([T[:-1], T[-1:] - self.shift @ T[:-1]])
        return torch.mm(self.A, T, out=out)

    def adjoint(self, R: Tensor) -> Tensor:
        G = self.At @ R
        if self.shift is not None:
            G[:-1].addr_(self.shift, G[-1], alpha=-1)
        return G

    def to(self, dtype: torch.dtype) -> SparseOperator:
        shift = None if self.shift is None else self.shift.to(dtype)
        return SparseOperator(self._matrix, shift, dtype)

    def rows(self, index: Tensor) -> SparseOperator:
        return SparseOperator(self._matrix[index.numpy()], self.shift, self.dtype)


Operator = DenseOperator | SparseOperator


def _torch_csr(A: sp.csr_array, dtype: torch.dtype) -> Tensor:
    index = np.int32 if A.nnz < 2**31 else np.int64
    indptr, indices = (torch.from_numpy(part.astype(index)) for part in (A.indptr, A.indices))
    values = torch.from_numpy(A.data).to(dtype)
    _warn_of_csr()
    return torch.sparse_csr_tensor(indptr, indices, values, A.shape, check_invariants=False)


_ONE_AT_A_TIME = threading.Lock()


@cache
def _warned() -> None:
    empty = torch.zeros(1, dtype=torch.int64), torch.zeros(0, dtype=torch.int64), torch.zeros(0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse", UserWarning)
        torch.sparse_csr_tensor(*empty, (0, 0), check_invariants=False)


def _warn_of_csr() -> None:
    """Use up, in silence, torch's one warning that CSR is in beta and goes unchecked.

    Filters of warnings belong to the process: two fits that each set them put back the other's.
    """
    with _ONE_AT_A_TIME:
        _warned()


EIGENBASIS_LIMIT = 4096
#: Rows up to which the row space of CSR is always taken: its decomposition takes a moment.
FEW_ROWS = 1000
#: Times of the steps of both ways, per row cubed, stored entry and column. The unit is that of a
#: dense product, per row squared and label; measured from 500 to 2,000 rows on one core.
DECOMPOSED, ENTRY, COLUMN = 0.1, 10, 150
LIGHTEST = 1e-9  # weight of a row in the moments, relative to the heaviest
Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Design:
    """``logits = operator.forward(theta)``; ridge ``0.5 * sum(penalty * theta**2)``.

    `rotate` takes working coefficients (r, L) to those of X (d, L) and `unrotate` back. With `mean`
    (of X), the last row of theta is the intercept at the mean of X, unpenalised.
    """

    operator: Operator
    penalty: Tensor
    mean: Tensor | None
    rotate: Map
    unrotate: Map

    @property
    def intercept(self) -> bool:
        return self.mean is not None

    def back(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Coefficients (d, L) and intercepts (L,) for X."""
        if self.mean is None:
            return self.rotate(theta), theta.new_zeros(theta.shape[1])
        coef = self.rotate(theta[:-1])
        return coef, theta[-1] - self.mean @ coef

    def into(self, coef: Tensor, intercept: Tensor) -> Tensor:
        """The inverse of `back`, on the span of the rows of X."""
        if self.mean is None:
            return self.unrotate(coef)
        return torch.cat([self.unrotate(coef), (intercept + self.mean @ coef)[None]])


def make_design(
    X: Tensor | sp.csr_array,
    weight: Tensor | None,
    fit_intercept: bool,
    largest_gram: int = EIGENBASIS_LIMIT,
    n_solves: int = 1,
) -> Design:
    """Coordinates for X with row weights of shape (n,), None meaning one.

    A Gram matrix of more than `largest_gram` rows is not decomposed, nor that of CSR where it would
    not pay for `n_solves` regressions.
    """
    n, d = X.shape
    if weight is None:
        weight = X.new_ones(n) if isinstance(X, Tensor) else torch.ones(n, dtype=torch.float64)
    # Any positive moments will do: those of one heavy row would leave the others no length.
    lightest = LIGHTEST * weight.max()
    weight = torch.where(weight > 0, weight.clamp_min(lightest), weight)
    weight = weight / weight.sum()
    mean = _times(X.T, weight[:, None])[:, 0] if fit_intercept else None
    if n < d and n <= largest_gram and _row_space_pays(X, n_solves):
        return _row_space(X, mean)
    if isinstance(X, Tensor):
        return _dense(X if mean is None else X - mean, mean, weight, largest_gram)
    return _sparse(X, mean, weight)


def _row_space_pays(X: Tensor | sp.csr_array, n_solves: int) -> bool:
    """Whether products of n rows are shorter than those of CSR, with the decomposition."""
    n, d = X.shape
    if isinstance(X, Tensor) or n < FEW_ROWS:
        return True
    of_rows = DECOMPOSED * n**3 + n_solves * n**2
    return bool(of_rows <= n_solves * (ENTRY * X.nnz + COLUMN * d))


def _dense(Xc: Tensor, mean: Tensor | None, weight: Tensor, largest_gram: int) -> Design:
    if Xc.shape[1] > largest_gram:
        lam = _floored(weight @ Xc.square())
        root = lam.sqrt()[:, None]
        operator = DenseOperator(_with_ones(Xc / root[:, 0], mean))
        return _design(operator, lam, mean, lambda v: v / root, lambda w: w * root)
    lam, V = torch.linalg.eigh((Xc * weight[:, None]).T @ Xc)
    lam = _floored(lam)
    root = lam.sqrt()[:, None]
    operator = DenseOperator(_with_ones(Xc @ (V / root.T), mean))
    return _design(operator, lam, mean, lambda v: V @ (v / root), lambda w: (V.T @ w) * root)


def _sparse(X: sp.csr_array, mean: Tensor | None, weight: Tensor) -> Design:
    lam = _times(X.multiply(X).T, weight[:, None])[:, 0]
    lam = _floored(lam if mean is None else lam - mean.square())
    root = lam.sqrt()[:, None]
    A = sp.csr_array(X @ sp.diags_array(1 / root[:, 0].numpy()))
    if mean is not None:
        A = sp.csr_array(sp.hstack([A, sp.csr_array(np.ones((X.shape[0], 1)))]))
    operator = SparseOperator(A, None if mean is None else mean / root[:, 0])
    return _design(operator, lam, mean, lambda v: v / root, lambda w: w * root)


def _row_space(X: Tensor | sp.csr_array, mean: Tensor | None) -> Design:
    n = X.shape[0]
    centre = torch.zeros(X.shape[1], 1, dtype=torch.float64) if mean is None else mean[:, None]
    centre = centre.to(X.device) if isinstance(X, Tensor) else centre
    lam, U = torch.linalg.eigh(_row_gram(X, centre))
    kept = lam > n * torch.finfo(lam.dtype).eps * lam[-1].clamp_min(0)
    lam, U = lam[kept], U[:, kept]
    spread = (n**0.5 / lam)[:, None]

    def rotate(v: Tensor) -> Tensor:
        a = U @ (v * spread)
        return _times(X.T, a) - centre * a.sum(0)

    def unrotate(w: Tensor) -> Tensor:
        return U.T @ (_times(X, w) - centre.T @ w) / n**0.5

    return _design(DenseOperator(_with_ones(U * n**0.5, mean)), lam / n, mean, rotate, unrotate)


def _row_gram(X: Tensor | sp.csr_array, centre: Tensor) -> Tensor:
    if isinstance(X, Tensor):
        Xc = X - centre.T
        return Xc @ Xc.T
    inner = _times(X, centre)
    return torch.from_numpy((X @ X.T).toarray()) - inner - inner.T + centre.square().sum()


def _design(
    operator: Operator, lam: Tensor, mean: Tensor | None, rotate: Map, unrotate: Map
) -> Design:
    penalty = 1 / lam
    if mean is not None:
        penalty = torch.cat([penalty, penalty.new_zeros(1)])
    return Design(operator, penalty, mean, rotate, unrotate)


def _with_ones(A: Tensor, mean: Tensor | None) -> Tensor:
    return A if mean is None else torch.cat([A, A.new_ones(len(A), 1)], 1)


def _times(X: Tensor | sp.sparray, T: Tensor) -> Tensor:
    return X @ T if isinstance(X, Tensor) else torch.from_numpy(X @ T.numpy())


def _floored(lam: Tensor) -> Tensor:
    """Second moments kept off zero: directions without variance stay at a zero coefficient."""
    top = float(lam.max())
    if top <= 0:
        return torch.ones_like(lam)
    return lam.clamp_min(top * lam.numel() * torch.finfo(lam.dtype).eps)
