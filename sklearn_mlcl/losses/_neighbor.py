"""Cross-entropy of a head blended with a vote of the other rows of the batch."""

from __future__ import annotations

from math import inf

import torch
from torch import Tensor, nn
from torch.nn import functional

from sklearn_mlcl.losses._arguments import check_count, check_number
from sklearn_mlcl.losses._function import full_precision
from sklearn_mlcl.losses._targets import cell_weight, read_targets, weighted_mean

#: Floor of a probability before its logarithm.
SMALLEST = 1e-30


class NeighborCrossEntropyLoss(nn.Module):
    r"""Cross-entropy of the probability that head and neighbours give together.

    .. math::
        p_{il} = (1 - w)\, \sigma(z_{il}) + w\, v_{il}, \qquad
        v_{il} = \frac{\sum_{j \ne i} \kappa_{ij} s_{jl} y_{jl}}{\sum_{j \ne i} \kappa_{ij} s_{jl}},
        \qquad \kappa_{ij} = e^{\cos(h_i, h_j) / \tau}

    with logits z, embeddings h, labels y and weights s (0 where a label is unknown); the loss is
    the mean of :math:`-y_{il} \log p_{il} - (1 - y_{il}) \log(1 - p_{il})` over the observed cells.
    The vote v is the soft nearest neighbour of neighbourhood components analysis, one for each
    label: rows that share a label attract each other as far as the head has not settled it. Where
    no other row knows a label its probability is that of the head.

    Parameters
    ----------
    weight : float, default=0.5
        The share w of the vote, in [0, 1].
    temperature : float, default=0.06
        The :math:`\tau` that divides the cosines.
    n_candidates : int, default=1024
        Rows of a batch that vote at most, the first ones; at least 2.

    Raises
    ------
    ValueError
        If a parameter is outside its range.

    References
    ----------
    J. Goldberger, S. Roweis, G. Hinton, R. Salakhutdinov, "Neighbourhood components analysis",
    NIPS 2004, equations 1 and 2; N. Frosst, N. Papernot, G. Hinton, "Analyzing and improving
    representations with the soft nearest neighbor loss", ICML 2019.

    Examples
    --------
    >>> import torch
    >>> from sklearn_mlcl.losses import NeighborCrossEntropyLoss
    >>> embeddings = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])
    >>> labels = torch.tensor([[True], [True], [False]])
    >>> loss = NeighborCrossEntropyLoss(weight=0.5, temperature=0.1)
    >>> round(loss(torch.zeros(3, 1), embeddings, labels).item(), 3)
    0.654
    """

    def __init__(
        self, *, weight: float = 0.5, temperature: float = 0.06, n_candidates: int = 1024
    ) -> None:
        super().__init__()
        check_number("weight", weight, zero=True)
        if weight > 1:
            raise ValueError(f"weight must be in [0, 1], got {weight!r}")
        check_number("temperature", temperature)
        check_count("n_candidates", n_candidates)
        if n_candidates < 2:
            raise ValueError(f"n_candidates must be >= 2, got {n_candidates!r}")
        self.weight = weight
        self.temperature = temperature
        self.n_candidates = n_candidates

    def forward(
        self,
        logits: Tensor,
        embeddings: Tensor,
        labels: Tensor,
        sample_weight: Tensor | None = None,
    ) -> Tensor:
        """Mean loss of the observed cells, and of the members.

        Parameters
        ----------
        logits : Tensor of shape (B, L) or (M, B, L)
            Of one head, or of the members of an ensemble; float16 and bfloat16 are computed in
            float32.
        embeddings : Tensor of shape (B, h) or (M, B, h)
            What the head saw; their length does not matter.
        labels : Tensor of shape (B, L)
            Indicator matrix. In a floating one NaN marks an unknown cell, which neither counts
            nor votes, and what lies between 0 and 1 is a target and a vote as good as any.
        sample_weight : Tensor of shape (B,) or (B, L), optional
            Weights of the rows or of the cells, as rows that learn and as rows that vote.

        Returns
        -------
        Tensor
            A scalar; 0 when nothing is observed.

        Raises
        ------
        ValueError
            If shapes disagree.
        """
        if embeddings.shape[:-1] != logits.shape[:-1] or not embeddings.is_floating_point():
            raise ValueError(
                f"embeddings must be floating, one a row of the logits {tuple(logits.shape)}, got "
                f"{embeddings.dtype} of shape {tuple(embeddings.shape)}"
            )
        with full_precision(logits):
            one = logits[0] if logits.ndim == 3 else logits
            x, y, known = read_targets(one, labels, sample_weight)
            z, h = logits.to(x.dtype), embeddings.to(x.dtype)
            weight = cell_weight(known, sample_weight, y)
            cells = self._cells(z, h, y, weight)
            return weighted_mean(cells.mean(0) if cells.ndim == 3 else cells, weight)

    def _cells(self, z: Tensor, h: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
        if len(y) < 2:  # nobody to ask
            return functional.binary_cross_entropy_with_logits(z, y.expand_as(z), reduction="none")
        share, heard = self._shares(h, y, weight)
        vote = self.weight if heard is None else self.weight * heard
        yes = torch.lerp(z.sigmoid(), share, vote).clamp_min(SMALLEST)
        no = torch.lerp((-z).sigmoid(), 1 - share, vote).clamp_min(SMALLEST)
        return -torch.lerp(no.log(), yes.log(), y)

    def _shares(
        self, embeddings: Tensor, y: Tensor, weight: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Return the votes, and which cells any row votes on (None: all)."""
        unit = functional.normalize(embeddings, dim=-1)
        candidates = unit[..., : self.n_candidates, :]
        similarity = (unit / self.temperature) @ candidates.mT
        similarity.diagonal(dim1=-2, dim2=-1).fill_(-inf)  # nobody is a neighbour of himself
        kernel = similarity.softmax(-1)
        n_votes = similarity.shape[-1]
        y = y[:n_votes]
        if weight is None:
            return (kernel @ y).clamp_max(1.0), None
        s = weight[:n_votes].expand_as(y)
        total = kernel @ s
        share = (kernel @ (s * y)) / total.clamp_min(SMALLEST)
        return share.clamp_max(1.0), (total > 0).to(share.dtype)
