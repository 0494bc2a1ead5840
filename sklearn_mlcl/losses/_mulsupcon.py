"""MulSupCon: every label of every row is an anchor."""

from __future__ import annotations

import torch

from sklearn_mlcl.losses._arguments import check_option
from sklearn_mlcl.losses._base import MEMORY_BUDGET, ContrastiveLoss
from sklearn_mlcl.losses._factorised import (
    FactorisedWeights,
)
from sklearn_mlcl.losses._labels import LabelPairs
from sklearn_mlcl.losses._weights import PairWeights, active, reciprocal


class MulSupConLoss(ContrastiveLoss):
    r"""One anchor for every label of every row.

    .. math:: \sum_i \omega_i \sum_{l \in y_i} \frac{-1}{|P_{il}|} \sum_{j \in P_{il}}
       \log \frac{e^{s_{ij}}}{\sum_{k \ne i} e^{s_{ik}}}, \qquad P_{il} = \{j \ne i : l \in y_j\}

    No array of anchors times labels is built.  Queue rows join both the positives and the
    denominator.

    Parameters
    ----------
    anchor_weighting : {"label", "sample"}, default="label"
        :math:`\omega_i = 1 / M`, M the number of (row, label) pairs, those without a positive
        included; or :math:`\omega_i = 1 / (B |y_i|)`, B the number of rows with a positive.
    <shared>

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    References
    ----------
    Zhang and Wu, "Multi-label supervised contrastive learning", AAAI 2024; one view, rows against
    the batch without themselves, as in arXiv 2412.00101.

    Examples
    --------
    >>> import torch
    >>> from sklearn_mlcl.losses import MulSupConLoss
    >>> labels = torch.tensor([[1, 1], [1, 0], [0, 1], [1, 1]])
    >>> embeddings = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [-0.6, 0.8]])
    >>> round(MulSupConLoss(temperature=0.5)(embeddings, labels).item(), 4)
    1.8312
    """

    options = ("anchor_weighting",)

    def __init__(
        self,
        anchor_weighting: str = "label",
        *,
        temperature: float = 0.1,
        lambda_reg: float = 0.0,
        reduction: str = "mean",
        memory_budget: int = MEMORY_BUDGET,
    ) -> None:
        super().__init__(
            temperature=temperature,
            lambda_reg=lambda_reg,
            reduction=reduction,
            memory_budget=memory_budget,
        )
        check_option("anchor_weighting", anchor_weighting, ("label", "sample"))
        self.anchor_weighting = anchor_weighting

    def _weights(self, pairs: LabelPairs, n_prototypes: int, edge: int | None) -> PairWeights:
        weights = FactorisedWeights(pairs, edge=edge)
        anchors = pairs.anchors
        weights.factor_in_weights = False
        if self.anchor_weighting == "label":
            weights.factor = torch.ones_like(anchors.size)
            weights.mass = anchors.weight_of_positives
        else:
            weights.factor = reciprocal(anchors.size)
            weights.mass = active(weights.row_sum) * anchors.mean_weight_of_positives
        return weights
