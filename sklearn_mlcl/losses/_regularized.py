"""The regularised loss: prototypes as anchors, clamped gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from sklearn_mlcl.losses._arguments import check_number
from sklearn_mlcl.losses._base import MEMORY_BUDGET, ContrastiveLoss
from sklearn_mlcl.losses._factorised import (
    FactorisedWeights,
    share_of_candidate,
)
from sklearn_mlcl.losses._labels import LabelPairs
from sklearn_mlcl.losses._weights import PairWeights, active, reciprocal


class RegularizedContrastiveLoss(ContrastiveLoss):
    r"""Instances and prototypes as anchors, repulsion between positives removed.

    With rows and columns the batch followed by the prototypes, :math:`A = [Y; I]`,
    :math:`r_{ij} = |y_i \cap y_j| / |y_j|` and :math:`f(r) = r^\alpha`,

    .. math:: W_{ij} = \frac{1}{|y_i|} \sum_{l \in y_i \cap y_j} \frac{f(r_{ij})}{N_{il}}, \qquad
       N_{il} = \sum_{k \ne i} A_{kl} f(r_{ik})

    The value is the cross-entropy :math:`-\sum_j W_{ij} \log \sigma_{ij}`, averaged over the
    anchors with a positive; at ``lambda_reg=1`` its gradient is that of the paper's loss.  The
    paper's second term, :math:`-\mathrm{sg}[\max(\sigma_{ij} - W_{ij}, 0)] s_{ij}` over positives,
    makes a number that means nothing as a training curve, and is in the gradient only.  The
    prototype of a label absent from the batch is no anchor.  Without prototypes only the batch
    remains.

    Parameters
    ----------
    alpha : float, default=0.0
        0 counts all candidates that share a label alike, above 0 discounts those with foreign
        labels; any negative value keeps only those whose labels are all the anchor's,
        :math:`f(r) = [r = 1]`.
    <n_negatives>
    <shared>

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    References
    ----------
    Audibert, Gauffre and Amini, "Multi-label contrastive learning: a comprehensive study",
    arXiv 2412.00101 (L_REG).

    Examples
    --------
    >>> import torch
    >>> from sklearn_mlcl.losses import RegularizedContrastiveLoss
    >>> labels = torch.tensor([[1, 1], [1, 0], [0, 1], [1, 1]])
    >>> embeddings = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [-0.6, 0.8]])
    >>> prototypes = torch.tensor([[0.6, 0.8], [-1.0, 0.0]])
    >>> round(RegularizedContrastiveLoss(temperature=0.5)(embeddings, labels, prototypes).item(), 4)
    2.0162
    """

    options = ("alpha", "n_negatives")
    uses_prototypes = True
    accepts_queue = False
    _prototypes_are_anchors = True

    def __init__(
        self,
        alpha: float = 0.0,
        *,
        n_negatives: int | None = None,
        temperature: float = 0.1,
        lambda_reg: float = 1.0,
        reduction: str = "mean",
        memory_budget: int = MEMORY_BUDGET,
    ) -> None:
        super().__init__(
            temperature=temperature,
            lambda_reg=lambda_reg,
            reduction=reduction,
            memory_budget=memory_budget,
        )
        check_number("alpha", abs(alpha), zero=True)
        self.alpha = alpha
        self._set_negatives(n_negatives)

    def _weights(self, pairs: LabelPairs, n_prototypes: int, edge: int | None) -> PairWeights:
        size = pairs.anchors.size
        weights = FactorisedWeights(
            pairs,
            similarity=share_of_candidate(self.alpha) if self.alpha else None,
            n_prototypes=n_prototypes,
            prototype_anchors=n_prototypes > 0,
            instance_weight=self._share_of_one(size) if self.alpha else None,
            edge=edge,
        )
        factor = torch.ones_like(weights.row_sum)
        factor[: len(size)] = reciprocal(size)
        weights.factor, weights.mass = factor, active(weights.row_sum)
        weights.mass[: len(size)] *= pairs.anchors.mean_weight_of_positives
        return weights

    def _share_of_one(self, size: Tensor) -> Tensor:
        """f(1 / |y_j|): the share that one label has of a candidate's labels."""
        if self.alpha < 0:
            return (size == 1).to(size.dtype)
        return reciprocal(size).pow(self.alpha)
