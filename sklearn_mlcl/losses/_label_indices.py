"""Label matrices as index lists, and the few label columns that a batch needs out of very many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from torch.nn import functional

from sklearn_mlcl.utils.runtime import generator_on
from sklearn_mlcl.utils.targets import as_label_matrix


@dataclass(frozen=True)
class LabelIndices:
    """The positive labels of each sample as one flat list of indices, cut by offsets.

    Sample i has the labels ``indices[offsets[i]:offsets[i + 1]]``, as in a CSR matrix.  Every
    contrastive loss accepts it in place of an indicator matrix.  No array of width ``n_labels`` is
    built unless every prototype is a candidate.

    Parameters
    ----------
    indices : Tensor of shape (n_positives,), int64
        Label indices in ``[0, n_labels)``.
    offsets : Tensor of shape (n_samples + 1,), int64
        Non-decreasing, from 0 to ``n_positives``.
    n_labels : int
        Number of labels L.

    Raises
    ------
    ValueError
        If ``indices`` or ``offsets`` is not one-dimensional, or ``offsets`` is empty; on the CPU
        also for values out of range.

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> from sklearn_mlcl.losses import LabelIndices
    >>> labels = LabelIndices.from_csr(
    ...     csr_array([[1, 0, 0, 1], [0, 0, 0, 0], [0, 1, 0, 0]])
    ... )
    >>> len(labels), labels.dense().int().tolist()
    (3, [[1, 0, 0, 1], [0, 0, 0, 0], [0, 1, 0, 0]])
    """

    indices: Tensor
    offsets: Tensor
    n_labels: int

    def __post_init__(self) -> None:
        if self.indices.ndim != 1 or self.offsets.ndim != 1 or len(self.offsets) == 0:
            raise ValueError(
                "indices must have shape (n_positives,) and offsets shape (n_samples + 1,); got "
                f"{tuple(self.indices.shape)} and {tuple(self.offsets.shape)}"
            )
        if self.indices.device.type == "cpu":  # a look at another device would wait for it
            places, ends, n = self.indices, self.offsets, len(self.indices)
            inside = bool(((places >= 0) & (places < self.n_labels)).all())
            if not inside or ends[0] != 0 or ends[-1] != n or bool((ends.diff() < 0).any()):
                raise ValueError(
                    f"indices must lie in [0, {self.n_labels}), and offsets rise from 0 to {n}."
                )

    @classmethod
    def from_csr(cls, matrix: sparse.csr_array | sparse.csr_matrix) -> LabelIndices:
        """Read a sparse indicator matrix; explicitly stored zeros are not labels.

        Parameters
        ----------
        matrix : csr_array or csr_matrix of shape (n_samples, L)
            Indicator matrix.

        Returns
        -------
        LabelIndices
            The labels as index lists.

        Raises
        ------
        ValueError
            For other entries than 0 and 1.
        """
        csr: Any = as_label_matrix(sparse.csr_array(matrix), name="matrix")
        if np.isnan(csr.data).any():
            raise ValueError("matrix has missing labels (NaN), which index lists cannot hold.")
        indices = torch.as_tensor(csr.indices, dtype=torch.int64)
        return cls(indices, torch.as_tensor(csr.indptr, dtype=torch.int64), csr.shape[1])

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def shape(self) -> tuple[int, int]:
        """Shape (n_samples, n_labels) of the indicator matrix."""
        return len(self), self.n_labels

    @property
    def rows(self) -> Tensor:
        """The sample of each label index, of the length of ``indices``."""
        rows = torch.arange(len(self), device=self.indices.device)
        return rows.repeat_interleave(self.offsets.diff(), output_size=len(self.indices))

    def to(self, device: torch.device | str, non_blocking: bool = False) -> LabelIndices:
        """Copy the index lists to a device.

        Parameters
        ----------
        device : torch.device or str
            The device.
        non_blocking : bool, default=False
            As for ``torch.Tensor.to``.

        Returns
        -------
        LabelIndices
            The same labels there.
        """
        indices, offsets = (
            part.to(device, non_blocking=non_blocking) for part in (self.indices, self.offsets)
        )
        return LabelIndices(indices, offsets, self.n_labels)

    def dense(self, columns: Tensor | None = None) -> Tensor:
        """Build the indicator matrix, or some columns of it.

        Parameters
        ----------
        columns : Tensor of shape (n_columns,), int64, optional
            The columns, sorted; they include all labels of the samples.  By default all columns.

        Returns
        -------
        Tensor of shape (n_samples, n_columns), bool
            True for the labels of a sample.
        """
        places, width = self.indices, self.n_labels
        if columns is not None:
            places, width = torch.searchsorted(columns, places), len(columns)
        Y = torch.zeros(len(self), width, dtype=torch.bool, device=places.device)
        Y[self.rows, places] = True
        return Y


@dataclass(frozen=True)
class SampledLabels:
    """Labels of a batch on some columns: those that a sample has, and drawn ones of the others.

    Several losses of one batch can share the sample.

    Attributes
    ----------
    values : Tensor of shape (..., B, C)
        Labels on the columns, as in an indicator matrix.
    active, drawn : Tensor of shape (A,) and (C - A,), int64
        The labels of the columns, first those that a sample has.
    stands_for : float
        Number of labels that each drawn one stands for.
    n_labels : int
        Number of all labels L.
    """

    values: Tensor
    active: Tensor
    drawn: Tensor
    stands_for: float
    n_labels: int

    @classmethod
    def of(cls, labels: Tensor | LabelIndices, n_negatives: int) -> SampledLabels:
        """Choose the columns of a batch; NaN marks missing labels of a floating indicator matrix.

        Drawn as :func:`sample_negatives` does.
        """
        active, n_labels = active_labels(labels), labels.shape[-1]
        drawn, stands_for = sample_negatives(active, n_labels, n_negatives)
        if isinstance(labels, LabelIndices):
            values = functional.pad(labels.dense(active), (0, len(drawn)))
        else:
            values = labels.index_select(-1, torch.cat([active, drawn]))
        return cls(values, active, drawn, stands_for, n_labels)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (..., B, L) of the whole indicator matrix."""
        return (*self.values.shape[:-1], self.n_labels)

    @property
    def columns(self) -> Tensor:
        """Labels of the columns, of shape (C,)."""
        return torch.cat([self.active, self.drawn])

    @property
    def active_values(self) -> Tensor:
        """Labels on the columns that a sample has, of shape (..., B, A)."""
        return self.values[..., : len(self.active)]

    def entry_weights(self, sample_weight: Tensor | None, dtype: torch.dtype) -> Tensor:
        """Weights (..., B, C) of the entries: a drawn column counts as often as it stands for."""
        weight = self.values.new_ones(len(self.columns), dtype=dtype)
        weight[len(self.active) :] = self.stands_for
        if sample_weight is not None:
            each = sample_weight.ndim == self.values.ndim
            weight = weight * (sample_weight if each else sample_weight[..., None])
        return weight.expand(self.values.shape)


Labels = Tensor | LabelIndices | SampledLabels


def indicator(labels: Labels, columns: Tensor | None = None) -> Tensor:
    """Indicator matrix of all labels, or of some columns that include all positives."""
    if isinstance(labels, SampledLabels):
        return labels.active_values
    if isinstance(labels, LabelIndices):
        return labels.dense(columns)
    return labels if columns is None else labels[..., columns]


def active_labels(*batches: Tensor | LabelIndices) -> Tensor:
    """Sorted labels with a positive in any of the batches; waits for the device."""
    active = [
        labels.indices
        if isinstance(labels, LabelIndices)
        else (labels == 1).flatten(0, -2).any(0).nonzero().squeeze(1)
        for labels in batches
    ]
    return torch.cat(active).unique()


def sample_negatives(active: Tensor, n_labels: int, n_negatives: int) -> tuple[Tensor, float]:
    """Draw labels that are not active, uniformly without repetition; and the weight of each.

    The weight (number not active) / (number drawn) makes the sampled part of a denominator an
    unbiased estimate of the sum over all labels that are not active.
    """
    inactive = torch.ones(n_labels, dtype=torch.bool, device=active.device)
    inactive[active] = False
    pool = inactive.nonzero().squeeze(1)
    order = torch.randperm(len(pool), generator=generator_on(pool.device), device=pool.device)
    drawn = pool[order[:n_negatives]]
    return drawn, len(pool) / max(1, len(drawn))
