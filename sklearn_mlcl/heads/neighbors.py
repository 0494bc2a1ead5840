"""Probabilities from the training samples near a sample in the embedding."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn
from torch.nn import functional

from sklearn_mlcl.utils.answers import sigmoid
from sklearn_mlcl.utils.fit_data import FitData, LabelStats
from sklearn_mlcl.utils.state import Like, check_tensors

#: Training samples that are kept at most; of more, a random subsample is.
MAX_SAMPLES = 20_000
#: Divides the cosines: the smaller, the fewer samples decide.
TEMPERATURE = 0.06
#: Samples whose similarities are there at once: they stay in the caches until they have voted.
BLOCK = 2048
#: Queries below which the layout of oneDNN costs more than its products save.
FEW_QUERIES = 32


class NeighborHead(nn.Module):
    r"""Kernel regression of the labels on unit embeddings (Nadaraya-Watson).

    .. math::
        p_l(x) = \frac{\sum_i \kappa_i s_{il} y_{il}}{\sum_i \kappa_i s_{il}}, \qquad
        \kappa_i = \exp(\cos(h(x), h(x_i)) / \tau), \qquad \tau = 0.06

    All kept samples take part: without a cut at the k-th neighbour the answer is a smooth function
    of x. They vote block by block, each for the labels that it has. Labels with a single value, and
    labels that no kept sample knows, get their prior.

    Parameters
    ----------
    embedding : ndarray of shape (m, h)
        Embeddings of the training samples.
    Y : ndarray or CSR of shape (m, L)
        Their indicator matrix, NaN where a label is missing.
    sample_weight : ndarray of shape (m,) or (m, L), or None
        Weights s.
    stats : LabelStats
        Gives the prior and the labels with a single value.
    """

    unit: Tensor
    votes: Tensor | None
    voter: Tensor
    vote_value: Tensor
    first_vote: Tensor
    weights: Tensor
    prior: Tensor
    informed: Tensor

    def __init__(
        self, embedding: np.ndarray, Y: Any, sample_weight: np.ndarray | None, stats: LabelStats
    ) -> None:
        super().__init__()
        labels = Y.astype(np.float32)
        s = np.ones(len(embedding)) if sample_weight is None else sample_weight
        weights = s[:, None] if s.ndim == 1 else s
        # Their scale cancels out, and sums of large ones are beyond float32.
        largest = weights.max(axis=0)
        weights = (weights / np.where(largest > 0, largest, 1.0)).astype(np.float32)
        if not sp.issparse(labels) and (missing := np.isnan(labels)).any():
            weights, labels = np.where(missing, np.float32(0), weights), np.nan_to_num(labels)
        votes = sp.csr_array(labels).multiply(weights).tocsr()
        votes.eliminate_zeros()
        #: Samples of a block; part of what is saved, for the votes are in the order of blocks.
        self.block_size = min(BLOCK, len(embedding))
        starts = range(0, len(embedding), self.block_size)
        # By label within a block, so that one sum of rows adds up the votes for each.
        blocks = [votes[start : start + self.block_size].tocsc() for start in starts]
        ends = np.cumsum([0, *(block.nnz for block in blocks)])
        first = np.stack([b.indptr + end for b, end in zip(blocks, ends[:-1], strict=True)])
        unit = functional.normalize(torch.from_numpy(embedding), dim=1)
        self.register_buffer("unit", unit)
        self.register_buffer("votes", None)
        self.register_buffer("voter", _int32(np.concatenate([b.indices for b in blocks])))
        self.register_buffer(
            "vote_value", torch.from_numpy(np.concatenate([b.data for b in blocks]))
        )
        self.register_buffer("first_vote", _int32(first))
        self.register_buffer("weights", torch.from_numpy(weights))
        self.register_buffer("prior", torch.from_numpy(sigmoid(stats.log_odds)))
        self.register_buffer("informed", torch.from_numpy(~stats.constant))

    def forward(self, embedding: Tensor) -> Tensor:
        """Return probabilities (n, L) of embeddings (n, h)."""
        queries = functional.normalize(embedding, dim=1) / TEMPERATURE
        votes, total = self._by_blocks(queries) if self.votes is None else self._at_once(queries)
        known = (total > 0) & self.informed
        shares = votes / torch.where(total > 0, total, 1.0)
        return torch.where(known, shares, self.prior)

    def _by_blocks(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sums (n, L) of votes and (n, 1) or (n, L) of weights."""
        given = queries
        on_cpu = queries.device.type == "cpu" and torch.backends.mkldnn.is_available()
        if on_cpu and queries.dtype == torch.float32 and len(queries) >= FEW_QUERIES:
            # On processors of AMD, twice as fast as the products of MKL.
            given = queries.to_mkldnn()
        votes = queries.new_zeros(len(self.prior), len(queries))
        total = queries.new_zeros(len(queries), self.weights.shape[1])
        size = self.block_size
        for start, first in zip(range(0, len(self.unit), size), self.first_vote, strict=True):
            part = slice(start, start + size)
            similarity = functional.linear(given, self.unit[part])
            # A cosine over the temperature is below 17: no exponential overflows.
            kernel = (similarity.to_dense() if similarity.is_mkldnn else similarity).exp_()
            weights = self.weights[part]
            if weights.shape[1] == 1:
                # A product with a single column would round ten times more.
                total += (kernel * weights.T).sum(dim=1, keepdim=True)
            else:
                total += kernel @ weights
            own = slice(*first[[0, -1]].tolist())
            votes += functional.embedding_bag(
                self.voter[own],
                kernel.T.contiguous(),
                first - first[0],
                mode="sum",
                per_sample_weights=self.vote_value[own],
                include_last_offset=True,
            )
        return votes.T, total

    def _at_once(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Return the same sums by plain products: for graphs, gradients and half precision."""
        kernel = queries @ self.unit.T
        # In place, for the memory. The largest cancels out: it needs no gradient.
        kernel.sub_(kernel.detach().amax(1, keepdim=True)).exp_()
        sums = kernel @ self.get_buffer("votes")
        return sums[:, : len(self.prior)], sums[:, len(self.prior) :]

    def check_state(self) -> None:
        """Raise a ``ValueError`` unless the tensors fit together: sums of rows trust indices."""
        (n_samples, width), n_labels = self.unit.shape, len(self.prior)
        if self.unit.dtype not in (torch.float32, torch.float64):
            raise ValueError(f"the embeddings of the neighbours are {self.unit.dtype}")
        size = self.block_size
        if type(size) is not int or not 0 < size <= n_samples:
            raise ValueError(f"blocks of {size!r} of {n_samples} neighbours")
        own_weights = self.weights.shape == (n_samples, 1)
        n_votes, n_blocks = len(self.vote_value), -(-n_samples // size)
        expected: dict[str, Like | None] = {
            "unit": Like((n_samples, width), self.unit.dtype),
            "weights": Like((n_samples, 1 if own_weights else n_labels)),
            "prior": Like((n_labels,), torch.float64),
            "informed": Like((n_labels,), torch.bool),
            "votes": None,
            "voter": Like((n_votes,), torch.int32),
            "vote_value": Like((n_votes,)),
            "first_vote": Like((n_blocks, n_labels + 1), torch.int32),
        }
        check_tensors(self, expected)
        first = self.first_vote.long()
        whole = first[0, 0] == 0 and first[-1, -1] == n_votes
        in_order = (first.diff() >= 0).all() and (first[1:, 0] == first[:-1, -1]).all()
        if not (whole and in_order):
            raise ValueError("votes of neighbours are of no such label, or unsorted")
        sample, _ = self._places()
        if not ((self.voter >= 0) & (self.voter < size) & (sample < n_samples)).all():
            raise ValueError("votes of neighbours are of no such sample")

    def _places(self) -> tuple[Tensor, Tensor]:
        """Return the numbers of the sample and of the label of each vote."""
        n_blocks, n_labels = len(self.first_vote), len(self.prior)
        bags = torch.arange(n_blocks * n_labels, device=self.first_vote.device)
        bag = bags.repeat_interleave(self.first_vote.diff().flatten())
        return bag // n_labels * self.block_size + self.voter, bag % n_labels

    def densify(self) -> None:
        """Store votes and weights as one matrix: graphs have no sums of chosen rows.

        A product with a single column of weights would round ten times more.
        """
        sample, label = self._places()
        votes = self.vote_value.new_zeros(len(self.unit), len(self.prior))
        votes[sample, label] = self.vote_value
        self.votes = torch.cat([votes, self.weights], dim=1)
        for name in ("voter", "vote_value", "first_vote", "weights"):
            setattr(self, name, None)


def _int32(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.astype(np.int32))


def subsample(data: FitData, random_state: np.random.RandomState) -> np.ndarray:
    """Return the numbers of the samples that are kept, in order."""
    if data.n_samples <= MAX_SAMPLES:
        return np.arange(data.n_samples)
    return np.sort(random_state.choice(data.n_samples, MAX_SAMPLES, replace=False))
