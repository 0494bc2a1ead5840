"""Probabilities from the training samples near a sample in the embedding."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn

from sklearn_mlcl.utils.fit_data import FitData, LabelStats
from sklearn_mlcl.utils.probabilities import sigmoid
from sklearn_mlcl.utils.state import Like, check_tensors

#: Training samples that are kept at most; of more, a random subsample is.
MAX_SAMPLES = 20_000
#: Divides the cosines: the smaller, the fewer samples decide.
TEMPERATURE = 0.06


class NeighborHead(nn.Module):
    r"""Kernel regression of the labels on unit embeddings (Nadaraya-Watson).

    .. math::
        p_l(x) = \frac{\sum_i \kappa_i s_{il} y_{il}}{\sum_i \kappa_i s_{il}}, \qquad
        \kappa_i = \exp(\cos(h(x), h(x_i)) / \tau), \qquad \tau = 0.06

    All kept samples take part: without a cut at the k-th neighbour the answer is a smooth function
    of x, and two matrix products compute it. Labels with a single value, and labels that no kept
    sample knows, get their prior.

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
    weights: Tensor
    prior: Tensor
    informed: Tensor

    def __init__(
        self, embedding: np.ndarray, Y: Any, sample_weight: np.ndarray | None, stats: LabelStats
    ) -> None:
        super().__init__()
        labels = Y.astype(np.float32)
        s = np.ones(len(embedding)) if sample_weight is None else sample_weight
        weights = (s[:, None] if s.ndim == 1 else s).astype(np.float32)
        if sp.issparse(labels):
            # By label, so that one sparse product adds up the votes for each.
            by_label = sp.coo_array(sp.csr_array(labels.multiply(weights)).T.tocsr())
            self.register_buffer("votes", None)
            self.register_buffer("vote_index", torch.from_numpy(np.stack(by_label.coords)).long())
            self.register_buffer("vote_value", torch.from_numpy(by_label.data))
        else:
            missing = np.isnan(labels)
            weights = np.where(missing, np.float32(0), weights) if missing.any() else weights
            self.register_buffer("votes", torch.from_numpy(weights * np.nan_to_num(labels)))
        unit = nn.functional.normalize(torch.from_numpy(embedding), dim=1)
        self.register_buffer("unit", unit)
        self.register_buffer("weights", torch.from_numpy(weights))
        self.register_buffer("prior", torch.from_numpy(sigmoid(stats.log_odds)))
        self.register_buffer("informed", torch.from_numpy(~stats.constant))

    def forward(self, embedding: Tensor) -> Tensor:
        """Return probabilities (n, L) of embeddings (n, h)."""
        queries = nn.functional.normalize(embedding, dim=1) / TEMPERATURE
        kernel = queries @ self.unit.T
        # In place, for the memory. The largest cancels out: it needs no gradient.
        kernel.sub_(kernel.detach().amax(1, keepdim=True)).exp_()
        total = kernel @ self.weights
        known = (total > 0) & self.informed
        if self.votes is None:
            # Rows that lie apart cost the sparse product more than a copy.
            votes = torch.sparse.mm(self._sparse_votes(), kernel.T.contiguous()).T
        else:
            votes = kernel @ self.votes
        shares = votes / torch.where(total > 0, total, 1.0)
        return torch.where(known, shares, self.prior)

    def check_state(self) -> None:
        """Raise a ``ValueError`` unless the tensors fit together: sparse products trust indices."""
        (n_samples, width), n_labels = self.unit.shape, len(self.prior)
        if self.unit.dtype not in (torch.float32, torch.float64):
            raise ValueError(f"the embeddings of the neighbours are {self.unit.dtype}")
        own_weights = self.weights.shape == (n_samples, 1)
        expected: dict[str, Like | None] = {
            "unit": Like((n_samples, width), self.unit.dtype),
            "weights": Like((n_samples, 1 if own_weights else n_labels)),
            "prior": Like((n_labels,), torch.float64),
            "informed": Like((n_labels,), torch.bool),
            "votes": Like((n_samples, n_labels)),
        }
        if self.votes is None:
            n_votes = len(self.get_buffer("vote_value"))
            index, value = Like((2, n_votes), torch.int64), Like((n_votes,))
            expected |= {"votes": None, "vote_index": index, "vote_value": value}
        check_tensors(self, expected)
        if self.votes is None:
            label, sample = self.get_buffer("vote_index")
            inside = (label >= 0) & (label < n_labels) & (sample >= 0) & (sample < n_samples)
            in_order = (label * n_samples + sample).diff() > 0
            if not (inside.all() and in_order.all()):
                raise ValueError("votes of neighbours are of no such label or sample, or unsorted")

    def _sparse_votes(self) -> Tensor:
        index, value = self.get_buffer("vote_index"), self.get_buffer("vote_value")
        shape = (len(self.prior), len(self.unit))
        # torch warns where nobody says whether to check what was built by SciPy.
        return torch.sparse_coo_tensor(
            index, value, shape, is_coalesced=True, check_invariants=False
        )

    def densify(self) -> None:
        """Store sparse votes as a dense matrix: graphs for export have no sparse products."""
        if self.votes is None:
            self.votes = self._sparse_votes().to_dense().T.contiguous()


def subsample(data: FitData, random_state: np.random.RandomState) -> np.ndarray:
    """Return the numbers of the samples that are kept, in order."""
    if data.n_samples <= MAX_SAMPLES:
        return np.arange(data.n_samples)
    return np.sort(random_state.choice(data.n_samples, MAX_SAMPLES, replace=False))
