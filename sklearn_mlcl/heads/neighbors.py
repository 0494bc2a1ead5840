"""Probabilities from the training rows near a row in the embedding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn

#: Training rows that are kept as neighbours at most; more are thinned out at random.
MAX_ROWS = 20_000
#: Entries of the similarity block of one chunk of rows: bounds the memory of a prediction.
BLOCK_ENTRIES = 2**24


@dataclass(frozen=True)
class NeighborVote:
    r"""Kernel regression of the labels on unit embeddings.

    .. math::
        p_l(x) = \frac{\sum_i \kappa_i s_{il} y_{il}}{\sum_i \kappa_i s_{il}}, \qquad
        \kappa_i = \exp(\cos(h(x), h(x_i)) / \tau)

    All rows take part: without a cut at the k-th neighbour the vote is a smooth function of x,
    and two matrix products compute it.

    Attributes
    ----------
    embedding : ndarray of shape (m, h), float32
        Unit rows.
    votes : ndarray or CSR of shape (m, L), float32
        Weighted labels, s * y.
    weights : ndarray of shape (m, 1) or (m, L), float32
        The weights s; zero where a label is unknown.
    prior : ndarray of shape (L,)
        What is returned where no neighbour knows the label, and for labels with a single value.
    constant : ndarray of shape (L,), bool
        The labels with a single value.
    """

    embedding: np.ndarray
    votes: Any
    weights: np.ndarray
    prior: np.ndarray
    constant: np.ndarray

    @classmethod
    def of(
        cls,
        embedding: np.ndarray,
        Y: Any,
        sample_weight: np.ndarray | None,
        prior: np.ndarray,
        constant: np.ndarray,
    ) -> NeighborVote:
        """Let rows vote, of which embeddings, labels and weights are given."""
        labels = Y.astype(np.float32)
        s = np.ones(len(embedding)) if sample_weight is None else sample_weight
        weights = (s[:, None] if s.ndim == 1 else s).astype(np.float32)
        if sp.issparse(labels):
            votes = sp.csr_array(labels.multiply(weights))
        else:
            unknown = np.isnan(labels)
            weights = np.where(unknown, np.float32(0), weights) if unknown.any() else weights
            votes = weights * np.nan_to_num(labels)
        unit = nn.functional.normalize(torch.from_numpy(embedding), dim=1).numpy()
        return cls(unit, votes, weights, prior, constant)

    def probabilities(
        self, embedding: np.ndarray, temperature: float, device: torch.device
    ) -> np.ndarray:
        """Return the vote for each row, of shape (n, L), in the dtype of ``embedding``."""
        queries = torch.from_numpy(embedding).to(device)
        kept = torch.from_numpy(self.embedding).to(queries)
        size = max(1, BLOCK_ENTRIES // len(kept))
        kernels = (_kernel(block, kept, temperature) for block in queries.split(size))
        return np.concatenate([self._shares(kernel) for kernel in kernels])

    def _shares(self, kernel: Tensor) -> np.ndarray:
        """Return the weighted mean of the labels under each row of the kernel."""
        if sp.issparse(self.votes):
            for_label = (self.votes.T @ kernel.cpu().numpy().T).T
        else:
            for_label = (kernel @ torch.from_numpy(self.votes).to(kernel)).cpu().numpy()
        total = (kernel @ torch.from_numpy(self.weights).to(kernel)).cpu().numpy()
        known = (total > 0) & ~self.constant
        shares = np.broadcast_to(self.prior.astype(for_label.dtype), for_label.shape).copy()
        np.divide(for_label, total, out=shares, where=known)
        return shares


def _kernel(queries: Tensor, kept: Tensor, temperature: float) -> Tensor:
    """Return exp(cos / temperature) up to a factor of the row, of shape (n, m)."""
    similarity = (nn.functional.normalize(queries, dim=1) / temperature) @ kept.T
    return similarity.sub_(similarity.amax(1, keepdim=True)).exp_()


def thinned(n_rows: int, random_state: np.random.RandomState) -> np.ndarray:
    """Return the numbers of the rows that are kept, in order."""
    if n_rows <= MAX_ROWS:
        return np.arange(n_rows)
    return np.sort(random_state.choice(n_rows, MAX_ROWS, replace=False))
