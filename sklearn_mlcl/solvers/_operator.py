"""The feature matrix as a linear operator: dense, or CSR with an implicit shift of its columns."""

from __future__ import annotations

import warnings

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor


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
    with warnings.catch_warnings():  # torch announces once that its CSR layout is in beta
        warnings.simplefilter("ignore", UserWarning)
        return torch.sparse_compressed_tensor(
            indptr, indices, values, A.shape, layout=torch.sparse_csr, check_invariants=False
        )
