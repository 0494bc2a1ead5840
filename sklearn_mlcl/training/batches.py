"""Batches as slices of a permutation: convert once, move once, index."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor
from torch.utils.data import Dataset

Batch = tuple[Tensor, tuple[Tensor, Tensor | None]]


def _to_device(
    array: np.ndarray | sp.csr_array, device: torch.device, dtype: type = np.float32
) -> Tensor | sp.csr_array:
    """Dense arrays become tensors on the device; CSR stays where it is."""
    if sp.issparse(array):
        return sp.csr_array(array, dtype=dtype)
    dense: np.ndarray = np.asarray(array, dtype=dtype)
    # torch has no read-only tensors: a read-only memory map is copied rather than warned about.
    return torch.as_tensor(dense if dense.flags.writeable else dense.copy(), device=device)


class RowTensors(Dataset[Batch]):
    """The rows of one fit: features, labels and weights, ready to be indexed.

    Parameters
    ----------
    X : ndarray or CSR of shape (n, d)
        Features. CSR stays CSR and becomes dense a batch at a time.
    Y : ndarray or CSR of shape (n, L)
        Indicator matrix, NaN where a label is unknown.
    sample_weight : ndarray of shape (n,) or (n, L), or None
        Weights of the rows or of the cells.
    device : torch.device
        Where the batches live.
    """

    def __init__(
        self,
        X: np.ndarray | sp.csr_array,
        Y: np.ndarray | sp.csr_array,
        sample_weight: np.ndarray | None,
        device: torch.device,
    ) -> None:
        self.device = device
        self.X = _to_device(X, device)
        # Boolean labels tell the losses that none is unknown, which makes them cheaper.
        known = sp.issparse(Y) or not np.isnan(Y).any()
        self.Y = _to_device(Y, device, bool if known else np.float32)
        self.sample_weight = None if sample_weight is None else _to_device(sample_weight, device)

    def __len__(self) -> int:
        return self.X.shape[0]

    def __getitem__(self, index: int) -> Batch:
        return self.rows(torch.tensor([index], device=self.device))

    def _gather(self, array: Tensor | sp.csr_array, index: Tensor) -> Tensor:
        if isinstance(array, Tensor):
            return array[index]
        dense = array[index.cpu().numpy()].toarray()
        return torch.from_numpy(dense).to(self.device)

    def rows(self, index: Tensor) -> Batch:
        """Return ``(X, (Y, sample_weight))`` of the rows ``index``."""
        weight = None if self.sample_weight is None else self.sample_weight[index]
        return self._gather(self.X, index), (self._gather(self.Y, index), weight)


class IndexBatches:
    """Iterate over a :class:`RowTensors` in batches, without a loader.

    Parameters
    ----------
    rows : RowTensors
        The data.
    batch_size : int
        Rows a batch.
    generator : torch.Generator or None
        Draws a new permutation for each pass; None keeps the order of the rows.

    Notes
    -----
    While shuffling, a last batch of a single row is left out (of another row each epoch): a
    row alone has no pair to learn from, and layers that normalise over the batch refuse it.
    """

    def __init__(
        self, rows: RowTensors, batch_size: int, generator: torch.Generator | None = None
    ) -> None:
        self.rows = rows
        self.batch_size = batch_size
        self.generator = generator

    def _starts(self) -> range:
        n = len(self.rows)
        lone_row = self.generator is not None and n > 1 and n % self.batch_size == 1
        return range(0, n - 1 if lone_row else n, self.batch_size)

    def __len__(self) -> int:
        return len(self._starts())

    def __iter__(self) -> Iterator[Batch]:
        n = len(self.rows)
        if self.generator is None:
            order = torch.arange(n)
        else:
            order = torch.randperm(n, generator=self.generator)
        order = order.to(self.rows.device)
        for start in self._starts():
            yield self.rows.rows(order[start : start + self.batch_size])
