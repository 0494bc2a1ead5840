"""Checks of what comes into a contrastive loss, and its reduction to dense columns."""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from numbers import Integral, Real

import torch
from torch import Tensor

from sklearn_mlcl.losses._label_indices import LabelIndices, active_labels, sample_negatives

Labels = Tensor | LabelIndices


def check_number(name: str, value: float, *, zero: bool = False) -> None:
    """Raise unless value is a finite number above zero, or zero where allowed."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {type(value).__name__}")
    if not (0 <= value < float("inf")) or (value == 0 and not zero):
        raise ValueError(f"{name} must be finite and {'>=' if zero else '>'} 0, got {value!r}")


def check_count(name: str, value: int, *, zero: bool = False) -> None:
    """Raise unless value is an integer of at least one, or zero where allowed."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be an integer, got {type(value).__name__}")
    if value < (0 if zero else 1):
        raise ValueError(f"{name} must be >= {0 if zero else 1}, got {value!r}")


def check_option(name: str, value: str, options: tuple[str, ...]) -> None:
    """Raise unless value is one of the options."""
    if value not in options:
        raise ValueError(f"{name} must be one of {options}, got {value!r}")


def width(labels: Labels) -> int:
    """Number of labels L."""
    return labels.n_labels if isinstance(labels, LabelIndices) else labels.shape[1]


def check_rows(name: str, vectors: Tensor, labels_name: str, labels: Labels) -> None:
    """Raise unless vectors are (n, d) or (M, n, d) floats with one label row each."""
    if vectors.ndim not in (2, 3) or not vectors.is_floating_point():
        raise ValueError(
            f"{name} must be a floating tensor of shape (n, d) or (M, n, d), got {vectors.dtype} "
            f"of shape {tuple(vectors.shape)}"
        )
    if isinstance(labels, Tensor) and labels.ndim != 2:
        raise ValueError(f"{labels_name} must have shape (n, L), got {tuple(labels.shape)}")
    n_rows = vectors.shape[-2]
    if len(labels) != n_rows:
        raise ValueError(f"{name} has {n_rows} rows but {labels_name} has {len(labels)}")


def check_vectors(name: str, vectors: Tensor, embeddings: Tensor) -> None:
    """Raise unless vectors have the d and the members of the embeddings."""
    members, d = embeddings.shape[:-2], embeddings.shape[-1]
    if vectors.ndim != embeddings.ndim or (*vectors.shape[:-2], vectors.shape[-1]) != (*members, d):
        expected = ", ".join(map(str, (*members, "n", d)))
        raise ValueError(
            f"{name} must have shape ({expected}) as the embeddings do, got {tuple(vectors.shape)}"
        )


def check_width(name: str, given: int, labels: Labels) -> None:
    """Raise unless a count of labels is the L of the labels."""
    if given != width(labels):
        raise ValueError(f"{name} has {given} labels but labels has {width(labels)}")


@dataclass(frozen=True)
class Columns:
    """Indicator matrices over the label columns that matter, their prototypes and weights.

    ``log_weight`` is that of the sampled negatives, which are the prototypes beyond the label
    columns (None when every prototype is there).  ``weight`` are the weights of the anchors'
    labels.
    """

    labels: Tensor
    queue: Tensor | None
    prototypes: Tensor | None
    log_weight: float | None = None
    weight: Tensor | None = None


def dense_columns(
    labels: Labels,
    queue_labels: Labels | None,
    prototypes: Tensor | None,
    n_negatives: int | None,
    weight: Tensor | None = None,
) -> Columns:
    """Take the label columns that matter.

    Leaving out labels without a positive changes no overlap of label sets.
    """
    sampled = n_negatives is not None and prototypes is not None
    lists = isinstance(labels, LabelIndices) or isinstance(queue_labels, LabelIndices)
    if not sampled and (prototypes is not None or not lists):
        queue = None if queue_labels is None else to_dense(queue_labels)
        return Columns(to_dense(labels), queue, prototypes, weight=weight)
    active = active_labels(labels)
    if queue_labels is not None:
        active = torch.cat([active, active_labels(queue_labels)]).unique()
    batch = _restrict(labels, active)
    weight = None if weight is None else weight[:, active]
    queue = None if queue_labels is None else _restrict(queue_labels, active)
    if n_negatives is None or prototypes is None:
        return Columns(batch, queue, None, weight=weight)
    negatives, stands_for = sample_negatives(active, prototypes.shape[-2], n_negatives)
    chosen = prototypes.index_select(-2, torch.cat([active, negatives]))
    log_weight = log(stands_for) if len(negatives) else None
    return Columns(batch, queue, chosen, log_weight, weight)


def to_dense(labels: Labels) -> Tensor:
    """The indicator matrix over all L labels."""
    return labels.dense() if isinstance(labels, LabelIndices) else labels


def _restrict(labels: Labels, active: Tensor) -> Tensor:
    return labels.restrict(active) if isinstance(labels, LabelIndices) else labels[:, active]
