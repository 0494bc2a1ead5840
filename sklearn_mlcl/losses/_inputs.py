"""What comes into a loss: parameters, labels and weights, checked; labels as index lists.

A sample weight has shape (n,), one for each sample, or (n, L), one for each entry of the label
matrix. An entry is missing if its label is NaN or its weight is 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from torch.nn import functional

from sklearn_mlcl.utils._sklearn_compat import validate_parameter_constraints
from sklearn_mlcl.utils.parameters import ABOVE_0, AT_LEAST_0, AT_LEAST_1, plain_number
from sklearn_mlcl.utils.runtime import generator_on
from sklearn_mlcl.utils.targets import as_label_matrix, check_indicator_values

#: Constraints that several losses share, in the form of scikit-learn's parameter tables.
POSITIVE = [ABOVE_0]
NON_NEGATIVE = [AT_LEAST_0]
AT_LEAST_ONE = [AT_LEAST_1]


def check_parameters(owner: Any, parameters: dict[str, Any]) -> None:
    """Raise unless the parameters meet the ``_parameter_constraints`` of their owner.

    Scalars of NumPy become plain numbers: small ones would overflow where torch's do not.
    """
    validate_parameter_constraints(
        owner._parameter_constraints, parameters, caller_name=type(owner).__name__
    )
    for name, value in list(parameters.items()):
        if name in owner._parameter_constraints:
            setattr(owner, name, plain_number(value))


def check_tensor(value: Any, name: str) -> None:
    """Raise unless an argument is a tensor."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(value).__name__}")


def check_sample_weight(sample_weight: Tensor | None, shape: tuple[int, ...]) -> None:
    """Raise unless there is one weight per sample, or one per entry of labels of this shape."""
    if sample_weight is None:
        return
    check_tensor(sample_weight, "sample_weight")
    check_shape("sample_weight", sample_weight.shape, shape[:-1], shape)
    if _looks() and not bool(((sample_weight >= 0) & (sample_weight < float("inf"))).all()):
        raise ValueError("sample_weight must be finite and not negative.")


def check_labels(labels: Tensor, name: str = "labels", *, mixed: bool = False) -> None:
    """Raise unless labels hold 0, 1 and NaN, and where ``mixed`` what is between 0 and 1."""
    if labels.is_complex():
        raise ValueError(f"{name} must be real, got {labels.dtype}.")
    if labels.dtype == torch.bool or not _looks():
        return
    if mixed and labels.is_floating_point():
        labels = labels.masked_fill((labels > 0) & (labels < 1), 0.0)
    check_indicator_values(labels, name)


#: Whether the values of labels and weights are known to be right.
_CHECKED: ContextVar[bool] = ContextVar("_CHECKED", default=False)


@contextmanager
def values_checked() -> Iterator[None]:
    """Let losses not look at the values of labels and weights: ``fit`` has, once for all.

    A look at each batch would make the host wait for the device.
    """
    token = _CHECKED.set(True)
    try:
        yield
    finally:
        _CHECKED.reset(token)


def _looks() -> bool:
    return not (torch.compiler.is_compiling() or _CHECKED.get())  # Dynamo traces no ContextVar


#: Whether labels are known to be all there, although floats could be NaN.
_COMPLETE: ContextVar[bool] = ContextVar("_COMPLETE", default=False)


@contextmanager
def labels_complete(complete: bool) -> Iterator[None]:
    """Let losses on entries not look for missing labels: mixed labels are floats, yet all there."""
    token = _COMPLETE.set(complete)
    try:
        yield
    finally:
        _COMPLETE.reset(token)


def may_be_missing(labels: Tensor) -> bool:
    """Whether some of the labels may be NaN."""
    return labels.is_floating_point() and (torch.compiler.is_compiling() or not _COMPLETE.get())


def check_shape(name: str, shape: tuple[int, ...], *expected: tuple[int, ...]) -> None:
    """Raise unless a shape is one of those expected."""
    if tuple(shape) not in expected:
        choices = " or ".join(map(str, expected))
        raise ValueError(f"{name} must have shape {choices}, got {tuple(shape)}")


def missing_entries(labels: Tensor, sample_weight: Tensor | None) -> Tensor | None:
    """Mask (n, L) of the missing entries, or None if there cannot be any.

    Boolean and integer labels cannot be NaN, which makes the losses cheaper.
    """
    missing = labels.isnan() if labels.is_floating_point() else None
    if sample_weight is None or sample_weight.ndim < labels.ndim:
        return missing
    return sample_weight <= 0 if missing is None else missing | (sample_weight <= 0)


def mean_entry_weight(sample_weight: Tensor, missing: Tensor) -> Tensor:
    """Mean weight (n,) over the entries of each sample that are not missing; 0 without any."""
    return sample_weight.masked_fill(missing, 0.0).sum(-1) / (~missing).sum(-1).clamp_min(1)


def weight_per_sample(
    labels: Tensor, sample_weight: Tensor | None, dtype: torch.dtype
) -> Tensor | None:
    """Weight (n,) of each sample, 0 if all its labels are missing; None if all weigh 1.

    Given weights of entries, it is their mean over the entries that are not missing.
    """
    missing = missing_entries(labels, sample_weight)
    weight = None if sample_weight is None else sample_weight.to(dtype)
    if missing is None:
        return weight
    if weight is not None and weight.ndim == labels.ndim:
        return mean_entry_weight(weight, missing)
    has_label = (~missing).any(-1).to(dtype)
    return has_label if weight is None else has_label * weight


def weight_per_entry(
    labels: Tensor, sample_weight: Tensor | None, dtype: torch.dtype
) -> Tensor | None:
    """Weight (n, L) of each entry, 0 where it is missing; None if all weigh 1."""
    missing = missing_entries(labels, sample_weight)
    if sample_weight is None:
        return None if missing is None else (~missing).to(dtype)
    weight = sample_weight.to(dtype)
    weight = weight if weight.ndim == 2 else weight[:, None].expand(labels.shape)
    return weight if missing is None else weight.masked_fill(missing, 0.0)


def weighted_mean(values: Tensor, weight: Tensor | None) -> Tensor:
    """Sum of weight * value over the sum of weights; 0 if that sum is 0."""
    if weight is None:
        return values.mean()
    return (values * weight).sum() / divisor(weight.sum())


def divisor(total: Tensor) -> Tensor:
    """Return sums of weights to divide by: 1 where there is nothing to share out.

    A tiny number in its place would give gradients that overflow, and those times 0 are NaN.
    """
    return total.masked_fill(total < torch.finfo(total.dtype).tiny, 1.0)


# ---------------------------------------------------------------------- labels as index lists


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
