"""Label rows as index lists, and the few prototypes such a batch needs out of very many."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from scipy import sparse
from torch import Tensor


@dataclass(frozen=True)
class LabelIndices:
    """The positive labels of each row as one flat list of indices, cut by offsets.

    Row i holds the labels ``indices[offsets[i]:offsets[i + 1]]``, as in a CSR matrix.  Every loss
    of the contrastive family accepts it in place of an indicator matrix; nothing of width
    ``n_labels`` is built unless every prototype is a candidate.

    Parameters
    ----------
    indices : Tensor of shape (n_positives,), int64
        Label indices in ``[0, n_labels)``.
    offsets : Tensor of shape (n_rows + 1,), int64
        Non-decreasing, from 0 to ``n_positives``.
    n_labels : int
        Width L of the label space.

    Raises
    ------
    ValueError
        If ``indices`` or ``offsets`` is not one-dimensional, or ``offsets`` is empty.

    Examples
    --------
    >>> from sklearn_mlcl.losses import LabelIndices
    >>> labels = LabelIndices.from_lists([[0, 3], [], [1]], n_labels=4)
    >>> len(labels), labels.dense().int().tolist()
    (3, [[1, 0, 0, 1], [0, 0, 0, 0], [0, 1, 0, 0]])
    """

    indices: Tensor
    offsets: Tensor
    n_labels: int

    def __post_init__(self) -> None:
        if self.indices.ndim != 1 or self.offsets.ndim != 1 or len(self.offsets) == 0:
            raise ValueError(
                "indices must have shape (n_positives,) and offsets shape (n_rows + 1,); got "
                f"{tuple(self.indices.shape)} and {tuple(self.offsets.shape)}"
            )

    @classmethod
    def from_lists(cls, rows: Sequence[Iterable[int]], n_labels: int) -> LabelIndices:
        """Make one from an iterable of label indices per row.

        Parameters
        ----------
        rows : sequence of iterables of int
            The labels of each row.
        n_labels : int
            Width L of the label space.

        Returns
        -------
        LabelIndices
            The lists.
        """
        lists = [list(row) for row in rows]
        sizes = torch.tensor([0, *map(len, lists)])
        flat = torch.tensor([label for row in lists for label in row], dtype=torch.int64)
        return cls(flat, sizes.cumsum(0), n_labels)

    @classmethod
    def from_csr(cls, matrix: sparse.csr_array | sparse.csr_matrix) -> LabelIndices:
        """Make one from a sparse indicator matrix; explicitly stored zeros are not labels.

        Parameters
        ----------
        matrix : csr_array or csr_matrix of shape (n_rows, L)
            Indicator matrix.

        Returns
        -------
        LabelIndices
            The lists.
        """
        csr = sparse.csr_array(matrix, copy=True)
        csr.eliminate_zeros()
        indices = torch.as_tensor(csr.indices, dtype=torch.int64)
        return cls(indices, torch.as_tensor(csr.indptr, dtype=torch.int64), csr.shape[1])

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def rows(self) -> Tensor:
        """The row of each entry of ``indices``."""
        rows = torch.arange(len(self), device=self.indices.device)
        return rows.repeat_interleave(self.offsets.diff(), output_size=len(self.indices))

    def to(self, device: torch.device | str) -> LabelIndices:
        """Copy the lists to a device.

        Parameters
        ----------
        device : torch.device or str
            Where to.

        Returns
        -------
        LabelIndices
            The same lists there.
        """
        return LabelIndices(self.indices.to(device), self.offsets.to(device), self.n_labels)

    def dense(self) -> Tensor:
        """Build the indicator matrix.

        Returns
        -------
        Tensor of shape (n_rows, n_labels), bool
            True for the labels of a row.
        """
        return self._scatter(self.indices, self.n_labels)

    def restrict(self, active: Tensor) -> Tensor:
        """Build some columns of the indicator matrix.

        Parameters
        ----------
        active : Tensor of shape (n_active,), int64
            The columns, sorted; all labels of the lists are among them.

        Returns
        -------
        Tensor of shape (n_rows, n_active), bool
            True for the labels of a row.
        """
        return self._scatter(torch.searchsorted(active, self.indices), len(active))

    def _scatter(self, columns: Tensor, width: int) -> Tensor:
        Y = torch.zeros(len(self), width, dtype=torch.bool, device=columns.device)
        Y[self.rows, columns] = True
        return Y


def active_labels(labels: Tensor | LabelIndices) -> Tensor:
    """Sorted labels with a positive in the batch; waits for the device, the count being data."""
    if isinstance(labels, LabelIndices):
        return labels.indices.unique()
    return (labels == 1).any(0).nonzero().squeeze(1)


def sample_negatives(active: Tensor, n_labels: int, n_negatives: int) -> tuple[Tensor, float]:
    """Labels drawn evenly without repetition from those not active, and the weight of each.

    The weight (number not active) / (number drawn) makes the sampled part of a denominator an
    unbiased estimate of the sum over all labels not active.
    """
    absent = torch.ones(n_labels, dtype=torch.bool, device=active.device)
    absent[active] = False
    pool = absent.nonzero().squeeze(1)
    drawn = pool[torch.randperm(len(pool), device=pool.device)[:n_negatives]]
    return drawn, len(pool) / max(1, len(drawn))
