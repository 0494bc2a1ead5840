"""Predictions as torch modules: what ``predict_proba`` does, for float32 rows, in one graph."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn
from torch.nn import functional

from sklearn_mlcl.collapse import ONNDecoder
from sklearn_mlcl.heads.label_prior import RareLabels
from sklearn_mlcl.heads.neighbors import NeighborVote
from sklearn_mlcl.modules import InputScaler, side_by_side

_LIMITS = torch.finfo(torch.float32)
#: Smallest and largest probability, those of :func:`sklearn_mlcl.utils.probabilities.inside`.
LOWEST, HIGHEST = _LIMITS.tiny, 1 - _LIMITS.eps / 2


def _constant(array: Any, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.from_numpy(np.array(array)).to(dtype)


def probabilities(logits: Tensor) -> Tensor:
    """Return sigmoids inside (0, 1)."""
    return logits.sigmoid().clamp(LOWEST, HIGHEST)


def log_odds(p: Tensor) -> Tensor:
    """Return the logits of probabilities, brought inside (0, 1) first."""
    p = p.clamp(LOWEST, HIGHEST)
    return p.log() - (1 - p).log()


class AffineGraph(nn.Module):
    """Logits ``X @ coef.T + intercept``."""

    def __init__(self, coef: np.ndarray, intercept: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("weight", _constant(coef))
        self.register_buffer("bias", _constant(intercept))

    def forward(self, X: Tensor) -> Tensor:
        """Return logits (n, L) of rows (n, d)."""
        return functional.linear(X, self.get_buffer("weight"), self.get_buffer("bias"))


class DecoderGraph(nn.Module):
    """Logits of the marginals of an :class:`ONNDecoder` that lists its label sets."""

    def __init__(self, decoder: ONNDecoder) -> None:
        super().__init__()
        if decoder.marginals_are_exact():
            raise ValueError(
                "to_onnx: the marginals over all label sets on a simplex ETF are a recursion "
                "that ONNX has no operations for; expected general tags: onn_variant='tags' and "
                "classifier='linear', or onn_variant='observed'."
            )
        points, log_prior, sets = decoder.listed_sets()
        offsets = log_prior - (points**2).sum(axis=1) / (2 * decoder.variance)
        self.variance = decoder.variance
        # In float64, as the decoder computes: the variance of collapsed features is tiny.
        self.register_buffer("intercept", _constant(decoder.intercept, torch.float64))
        self.register_buffer("points", _constant(points, torch.float64))
        self.register_buffer("offsets", _constant(offsets, torch.float64))
        self.register_buffer("sets", _constant(sets.toarray(), torch.float64))

    def forward(self, embedding: Tensor) -> Tensor:
        """Return logits (n, L) of embeddings (n, h)."""
        centered = embedding.double() - self.get_buffer("intercept")
        scores = centered @ self.get_buffer("points").T / self.variance
        shares = (scores + self.get_buffer("offsets")).softmax(dim=1)
        return log_odds((shares @ self.get_buffer("sets")).float())


class VoteGraph(nn.Module):
    """The probabilities of a :class:`NeighborVote`."""

    def __init__(self, vote: NeighborVote, temperature: float) -> None:
        super().__init__()
        votes = vote.votes.toarray() if sp.issparse(vote.votes) else vote.votes
        self.temperature = temperature
        self.register_buffer("kept", _constant(vote.embedding))
        self.register_buffer("votes", _constant(votes))
        self.register_buffer("weights", _constant(vote.weights))
        self.register_buffer("prior", _constant(vote.prior))
        self.register_buffer("informed", _constant(~vote.constant, torch.bool))

    def forward(self, embedding: Tensor) -> Tensor:
        """Return probabilities (n, L) of embeddings (n, h)."""
        queries = functional.normalize(embedding, dim=1) / self.temperature
        similarity = queries @ self.get_buffer("kept").T
        kernel = (similarity - similarity.amax(1, keepdim=True)).exp()
        total = kernel @ self.get_buffer("weights")
        known = (total > 0) & self.get_buffer("informed")
        shares = kernel @ self.get_buffer("votes") / torch.where(total > 0, total, 1.0)
        return torch.where(known, shares, self.get_buffer("prior"))


class BlendGraph(nn.Module):
    """Logits of the heads, blended with a vote, then with regressions on the features."""

    def __init__(
        self,
        encoder: nn.Module,
        head: nn.Module,
        vote: nn.Module | None,
        vote_share: float,
        linear: nn.Module | None,
        linear_share: float,
        rare: RareLabels,
    ) -> None:
        super().__init__()
        self.encoder, self.head = portable(encoder), head
        self.vote, self.vote_share = vote, vote_share
        self.linear = None if linear is None else portable(linear)
        self.linear_share = linear_share
        self.register_buffer("single", _constant(rare.single, torch.bool))
        self.register_buffer("shift", _constant(rare.shift))

    def forward(self, X: Tensor) -> Tensor:
        """Return logits (n, L) of rows (n, d)."""
        embedding = side_by_side(self.encoder(X))
        logits = self.head(embedding)
        if self.vote is not None:
            heads = probabilities(logits)
            logits = log_odds(heads + self.vote_share * (self.vote(embedding) - heads))
        if self.linear is not None:
            logits = self._blended(logits, self.linear(X))
        return logits + self.get_buffer("shift")

    def _blended(self, net: Tensor, linear: Tensor) -> Tensor:
        blend = net + self.linear_share * (linear - net)
        p, q = probabilities(net), probabilities(linear)
        return torch.where(self.get_buffer("single"), log_odds(p + q - p * q), blend)


class MeanGraph(nn.Module):
    """Logits of the mean probability of several graphs of logits."""

    def __init__(self, parts: Iterable[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, X: Tensor) -> Tensor:
        """Return logits (n, L) of rows (n, d)."""
        return log_odds(torch.stack([probabilities(part(X)) for part in self.parts]).mean(dim=0))


class ProbabilityGraph(nn.Module):
    """Probabilities in the form of the targets, from logits that may be calibrated first."""

    def __init__(self, logits: nn.Module, kind: str, calibration: Any = None) -> None:
        super().__init__()
        self.logits, self.kind = logits, kind
        self.calibrated = calibration is not None
        if calibration is not None:
            self.register_buffer("slope", _constant(calibration.slope))
            self.register_buffer("offset", _constant(calibration.offset))

    def forward(self, X: Tensor) -> Tensor:
        """Return what ``predict_proba`` returns for rows (n, d)."""
        logits = self.logits(X)
        if self.calibrated:
            logits = self.get_buffer("slope") * logits + self.get_buffer("offset")
        p = probabilities(logits)
        if self.kind == "binary":
            return torch.cat([1 - p, p], dim=1)
        return p / p.sum(dim=1, keepdim=True) if self.kind == "multiclass" else p


class PortableScaler(nn.Module):
    """An :class:`InputScaler` in operations that ONNX has: it lacks the hypotenuse."""

    def __init__(self, scaler: InputScaler) -> None:
        super().__init__()
        self.register_buffer("shift", scaler.shift)
        self.register_buffer("factor", scaler.factor)
        self.limit = scaler.limit

    def forward(self, X: Tensor) -> Tensor:
        """Return the scaled rows."""
        scaled = (X - self.get_buffer("shift")) * self.get_buffer("factor")
        if self.limit is None:
            return scaled
        size = scaled.abs() / self.limit
        larger, smaller = size.clamp(min=1.0), size.clamp(max=1.0)
        # The larger leg is taken out, so that no square overflows.
        return scaled / (larger * (1 + (smaller / larger).square()).sqrt())


def portable(module: nn.Module) -> nn.Module:
    """Return a copy of a module, in evaluation mode and float32, with portable scalers."""
    if isinstance(module, InputScaler):
        return PortableScaler(module)
    module = copy.deepcopy(module).cpu().float().eval()
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, InputScaler):
                setattr(parent, name, PortableScaler(child))
    return module
