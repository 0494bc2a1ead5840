"""Memory of past embeddings with their label rows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sklearn_mlcl.losses._arguments import check_count


class MemoryQueue(nn.Module):
    """Ring buffer of the last ``queue_size`` embeddings and their labels.

    Pushing detaches; batches may have any size, also more rows than the queue.  What was never
    written is never handed out, so a queue that is not yet full is only shorter.

    Parameters
    ----------
    queue_size : int
        Rows kept, Q >= 1.
    embedding_dim : int
        Width d of the embeddings.
    n_labels : int
        Width L of the label rows.
    dtype : torch.dtype, default=torch.float32
        Of the stored embeddings.
    label_dtype : torch.dtype, default=torch.bool
        Of the stored labels; a floating type where labels may be NaN.
    n_members : int, default=1
        Members of an ensemble that share the labels; from 2 on embeddings have shape
        (n_members, B, d).

    Examples
    --------
    >>> import torch
    >>> from sklearn_mlcl.losses import MemoryQueue
    >>> queue = MemoryQueue(3, embedding_dim=1, n_labels=2)
    >>> queue.push(torch.tensor([[1.0], [2.0]]), torch.tensor([[1, 0], [0, 1]]).bool())
    >>> queue.push(torch.tensor([[3.0], [4.0]]), torch.tensor([[1, 1], [0, 0]]).bool())
    >>> len(queue), sorted(queue.embeddings.squeeze(1).tolist())
    (3, [2.0, 3.0, 4.0])
    """

    _embeddings: Tensor
    _labels: Tensor

    def __init__(
        self,
        queue_size: int,
        embedding_dim: int,
        n_labels: int,
        *,
        dtype: torch.dtype = torch.float32,
        label_dtype: torch.dtype = torch.bool,
        n_members: int = 1,
    ) -> None:
        super().__init__()
        check_count("queue_size", queue_size)
        check_count("embedding_dim", embedding_dim)
        check_count("n_labels", n_labels)
        check_count("n_members", n_members)
        members = () if n_members == 1 else (n_members,)
        shape = (*members, queue_size, embedding_dim)
        self.register_buffer("_embeddings", torch.zeros(shape, dtype=dtype))
        self.register_buffer("_labels", torch.zeros(queue_size, n_labels, dtype=label_dtype))
        self.reset()

    def __len__(self) -> int:
        return self._filled

    @property
    def embeddings(self) -> Tensor:
        """The stored embeddings, shape (..., len(self), d), in no particular order."""
        return self._embeddings[..., : self._filled, :]

    @property
    def labels(self) -> Tensor:
        """Their label rows, shape (len(self), L)."""
        return self._labels[: self._filled]

    def reset(self) -> None:
        """Forget everything."""
        self._filled = self._next = 0

    @torch.no_grad()
    def push(self, embeddings: Tensor, labels: Tensor) -> None:
        """Store a batch in place of the oldest rows.

        Parameters
        ----------
        embeddings : Tensor of shape (B, d) or (n_members, B, d)
            Projections of the batch.
        labels : Tensor of shape (B, L)
            Their labels.

        Raises
        ------
        ValueError
            If the shapes do not fit the queue.
        TypeError
            If labels are floating (NaN possible) and the queue's label dtype is not.
        """
        self._check(embeddings, labels)
        size = len(self._labels)
        batch = min(len(labels), size)
        slots = torch.arange(self._next, self._next + batch, device=self._labels.device) % size
        # A copy, so that tensors handed out earlier (and saved for a backward pass) stay as is.
        kept = slice(len(labels) - batch, None)
        self._embeddings = self._embeddings.index_copy(
            -2, slots, embeddings.detach()[..., kept, :].to(self._embeddings.dtype)
        )
        self._labels = self._labels.index_copy(0, slots, labels[kept].to(self._labels.dtype))
        self._next = (self._next + batch) % size
        self._filled = min(size, self._filled + batch)

    def get_extra_state(self) -> dict[str, int]:
        return {"filled": self._filled, "next": self._next}

    def set_extra_state(self, state: Any) -> None:
        self._filled, self._next = state["filled"], state["next"]

    def _check(self, embeddings: Tensor, labels: Tensor) -> None:
        for name, given, stored in (
            ("embeddings", embeddings, self._embeddings),
            ("labels", labels, self._labels),
        ):
            expected = (*stored.shape[:-2], len(labels), stored.shape[-1])
            if given.shape != expected:
                raise ValueError(f"{name} must have shape {expected}, got {tuple(given.shape)}")
        if labels.is_floating_point() and not self._labels.is_floating_point():
            raise TypeError(
                f"labels are {labels.dtype} and may hold NaN, but the queue stores "
                f"{self._labels.dtype}; give it a floating label_dtype"
            )
