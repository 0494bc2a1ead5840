"""Memory of past embeddings with their labels."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sklearn_mlcl.losses._inputs import (
    AT_LEAST_ONE,
    check_labels,
    check_parameters,
    check_shape,
    check_tensor,
)


@dataclass(eq=False, repr=False)
class MemoryQueue(nn.Module):
    """Ring buffer of the last ``queue_size`` embeddings and their labels.

    Pushing detaches.  Batches may have any size, also above ``queue_size``.  A queue that is not
    yet full is shorter.

    Parameters
    ----------
    queue_size : int
        Number Q of samples kept, at least 1.
    embedding_dim : int
        Dimension d of the embeddings.
    n_labels : int
        Number of labels L.
    dtype : torch.dtype, default=torch.float32
        Type of the stored embeddings.
    label_dtype : torch.dtype, default=torch.bool
        Type of the stored labels; a floating type where labels may be NaN.
    n_members : int, default=1
        Members of an ensemble, which share the labels.  With 2 or more, embeddings have shape
        (n_members, B, d).

    Raises
    ------
    ValueError
        If a number is below 1.

    Examples
    --------
    >>> import torch
    >>> from sklearn_mlcl.losses import MemoryQueue
    >>> queue = MemoryQueue(3, embedding_dim=1, n_labels=2)
    >>> queue.push(
    ...     torch.tensor([[1.0], [2.0]]), torch.tensor([[1, 0], [0, 1]]).bool()
    ... )
    >>> queue.push(
    ...     torch.tensor([[3.0], [4.0]]), torch.tensor([[1, 1], [0, 0]]).bool()
    ... )
    >>> len(queue), sorted(queue.embeddings.squeeze(1).tolist())
    (3, [2.0, 3.0, 4.0])
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = dict.fromkeys(
        ("queue_size", "embedding_dim", "n_labels", "n_members"), AT_LEAST_ONE
    )

    queue_size: int
    embedding_dim: int
    n_labels: int
    _: KW_ONLY
    dtype: torch.dtype = torch.float32
    label_dtype: torch.dtype = torch.bool
    n_members: int = 1
    _embeddings: Tensor = field(init=False)
    _labels: Tensor = field(init=False)

    def __post_init__(self) -> None:
        super().__init__()
        check_parameters(self, vars(self))
        members = () if self.n_members == 1 else (self.n_members,)
        embeddings = torch.zeros(*members, self.queue_size, self.embedding_dim, dtype=self.dtype)
        labels = torch.zeros(*members, self.queue_size, self.n_labels, dtype=self.label_dtype)
        self.register_buffer("_embeddings", embeddings)
        self.register_buffer("_labels", labels)
        self.reset()

    def __len__(self) -> int:
        return self._filled

    @property
    def embeddings(self) -> Tensor:
        """The stored embeddings, shape (..., len(self), d), in no particular order."""
        return self._embeddings[..., : self._filled, :]

    @property
    def labels(self) -> Tensor:
        """The labels of the stored embeddings, shape (..., len(self), L)."""
        return self._labels[..., : self._filled, :]

    def reset(self) -> None:
        """Empty the queue."""
        self._filled = self._next = 0

    @torch.no_grad()
    def push(self, embeddings: Tensor, labels: Tensor) -> None:
        """Store a batch in place of the oldest samples.

        Parameters
        ----------
        embeddings : Tensor of shape (B, d) or (n_members, B, d)
            Projections of the batch.
        labels : Tensor of shape (B, L) or (n_members, B, L)
            Labels of the batch, one matrix for all members or one for each.

        Raises
        ------
        ValueError
            If the shapes do not fit the queue, or labels have other entries than 0, 1 and NaN.
        TypeError
            If an argument is no tensor. If labels are floating (NaN possible) and the queue's
            label dtype is not.
        """
        check_tensor(embeddings, "embeddings")
        check_tensor(labels, "labels")
        members = self._embeddings.shape[:-2]
        n_samples = labels.shape[-2]
        check_shape("embeddings", embeddings.shape, (*members, n_samples, self.embedding_dim))
        shape = (n_samples, self.n_labels)
        check_shape("labels", labels.shape, shape, (*members, *shape))
        if labels.is_floating_point() and not self._labels.is_floating_point():
            raise TypeError(
                f"labels are {labels.dtype} and may hold NaN, but the queue stores "
                f"{self._labels.dtype}; give it a floating label_dtype"
            )
        check_labels(labels)
        size = self.queue_size
        batch = min(n_samples, size)
        slots = torch.arange(self._next, self._next + batch, device=self._labels.device) % size
        labels = labels.to(self._labels.dtype).expand(*members, *shape)

        def stored(old: Tensor, new: Tensor) -> Tensor:
            # A copy: tensors read earlier, perhaps saved for a backward pass, must not change.
            return old.index_copy(-2, slots, new[..., n_samples - batch :, :].to(old.dtype))

        self._embeddings = stored(self._embeddings, embeddings.detach())
        self._labels = stored(self._labels, labels)
        self._next = (self._next + batch) % size
        self._filled = min(size, self._filled + batch)

    def get_extra_state(self) -> dict[str, int]:
        return {"filled": self._filled, "next": self._next}

    def set_extra_state(self, state: Any) -> None:
        self._filled, self._next = state["filled"], state["next"]
