"""From rows to embeddings, and the statistics that a net starts from."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn
from torch.func import functional_call

from sklearn_mlcl.modules import side_by_side
from sklearn_mlcl.utils.chunking import by_chunks, chunk_rows, take_rows
from sklearn_mlcl.utils.runtime import threads_for


class RowEmbedding:
    """The embedding of rows by an encoder as it is now, computed where somebody asks for it.

    Parameters
    ----------
    encoder : torch.nn.Module
        Maps rows to embeddings.
    X : ndarray, MemmapView or CSR of shape (n, d)
        The rows.
    device : torch.device
        Where they are embedded, in float32.
    """

    def __init__(self, encoder: nn.Module, X: Any, device: torch.device) -> None:
        self.encoder = encoder
        self.X = X
        self.device = device
        self._all: np.ndarray | None = None

    def all(self) -> np.ndarray:
        """Return the embeddings (n, h) of all rows."""
        if self._all is None:
            self._all = self._embedded(self.X)
        return self._all

    def of(self, rows: np.ndarray) -> np.ndarray:
        """Return the embeddings of some rows, by number."""
        if self._all is None and len(rows) < self.X.shape[0]:
            return self._embedded(take_rows(self.X, rows))
        return self.all()[rows]

    def _embedded(self, X: Any) -> np.ndarray:
        return Evaluator(self.device, torch.float32)(self.encoder, X)


class Evaluator:
    """What modules make of rows, on one device and in one dtype.

    A module is made ready the first time that it is met: a prediction asks chunk after chunk.
    For float64 rows the weights are cast up: a float32 pass gives a row another answer in another
    batch, by more than scikit-learn's checks allow.

    Parameters
    ----------
    device : torch.device
        Where the modules run.
    dtype : torch.dtype
        Of rows and weights there.
    work : float
        Multiply-adds of one chunk, by which threads are chosen; infinite takes all that torch has.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype, work: float = inf) -> None:
        self.device = device
        self.dtype = dtype
        self.work = work
        self._ready: dict[nn.Module, tuple[Callable[..., Tensor], int]] = {}

    def __call__(self, module: nn.Module, X: Any) -> np.ndarray:
        """Return the rows of output; those of members stand side by side."""
        if module not in self._ready:
            self._ready[module] = (_cast(module.eval(), self.device, self.dtype), widest(module))
        evaluate, width = self._ready[module]

        def evaluated(part: slice) -> np.ndarray:
            with torch.inference_mode():
                rows = _dense_tensor(X[part], self.dtype, self.device)
                return side_by_side(evaluate(rows)).cpu().numpy()

        with threads_for(self.work, self.device):
            return by_chunks(X.shape[0], chunk_rows(X.shape[1] + width), evaluated)


def _cast(encoder: nn.Module, device: torch.device, dtype: torch.dtype) -> Callable[..., Tensor]:
    """Return the encoder with its weights on a device and in a dtype, itself where they are so."""
    tensors = (*encoder.parameters(), *encoder.buffers())
    if all(_is_as_asked(tensor, device, dtype) for tensor in tensors):
        return encoder
    state = {
        name: value.to(device, dtype if value.is_floating_point() else None)
        for name, value in encoder.state_dict().items()
    }
    return lambda rows: functional_call(encoder, state, (rows,))


def _is_as_asked(tensor: Tensor, device: torch.device, dtype: torch.dtype) -> bool:
    return tensor.device == device and (not tensor.is_floating_point() or tensor.dtype == dtype)


def widest(encoder: nn.Module) -> int:
    """Return the entries that the widest layer makes of a row, over all members."""
    return max((p.numel() for p in encoder.parameters() if p.ndim == 1), default=0)


def _dense_tensor(rows: Any, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    dense = rows.toarray() if sp.issparse(rows) else rows
    # from_numpy warns about read-only memory, which a memory map is.
    dense = dense if dense.flags.writeable else dense.copy()
    return torch.from_numpy(dense).to(device=device, dtype=dtype)
