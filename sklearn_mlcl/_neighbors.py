"""Probabilities from the training rows near a row in the embedding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn

from sklearn_mlcl._targets import Indicator

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
    votes : ndarray of shape (m, L), float32
        Weighted labels, s * y.
    weights : ndarray of shape (m, 1) or (m, L), float32
        The weights s; zero where a label is unknown.
    prior : ndarray of shape (L,)
        What is returned where no neighbour knows the label.
    """

    embedding: np.ndarray
    votes: np.ndarray
    weights: np.ndarray
    prior: np.ndarray

    @classmethod
    def of(
        cls,
        embedding: np.ndarray,
        Y: Indicator,
        sample_weight: np.ndarray | None,
        prior: np.ndarray,
        constant: np.ndarray,
        random_state: np.random.RandomState,
    ) -> NeighborVote:
        """Keep the training rows; labels with a single value vote for their prior."""
        rows = _thinned(len(embedding), random_state)
        labels = Y[rows].toarray() if sp.issparse(Y) else np.array(Y[rows])
        labels[:, constant] = prior[constant]
        weights = np.ones((len(rows), 1)) if sample_weight is None else sample_weight[rows, None]
        unknown = np.isnan(labels)
        if unknown.any():
            weights = np.where(unknown, 0.0, weights)
        votes = weights * np.nan_to_num(labels)
        unit = nn.functional.normalize(torch.from_numpy(embedding[rows]), dim=1).numpy()
        return cls(
            unit.astype(np.float32), votes.astype(np.float32), weights.astype(np.float32), prior
        )

    def probabilities(
        self, embedding: np.ndarray, temperature: float, device: torch.device
    ) -> np.ndarray:
        """Return the vote for each row, of shape (n, L), in the dtype of ``embedding``."""
        queries = torch.from_numpy(embedding).to(device)
        kept, votes, weights = (
            torch.from_numpy(a).to(queries) for a in (self.embedding, self.votes, self.weights)
        )
        prior = torch.from_numpy(self.prior).to(queries)
        size = max(1, BLOCK_ENTRIES // len(kept))
        blocks = (
            _vote(block, kept, votes, weights, prior, temperature) for block in queries.split(size)
        )
        return torch.cat(list(blocks)).cpu().numpy()


def _vote(
    queries: Tensor,
    kept: Tensor,
    votes: Tensor,
    weights: Tensor,
    prior: Tensor,
    temperature: float,
) -> Tensor:
    similarity = (nn.functional.normalize(queries, dim=1) / temperature) @ kept.T
    kernel = similarity.sub_(similarity.amax(1, keepdim=True)).exp_()
    total = kernel @ weights
    return torch.where(total > 0, (kernel @ votes) / total, prior)


def _thinned(n_rows: int, random_state: np.random.RandomState) -> np.ndarray:
    if n_rows <= MAX_ROWS:
        return np.arange(n_rows)
    return np.sort(random_state.choice(n_rows, MAX_ROWS, replace=False))
