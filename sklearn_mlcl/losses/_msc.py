"""MSC: labels of equal weight, instances and prototypes, damped repulsion."""

from __future__ import annotations

from sklearn_mlcl.losses._arguments import check_number
from sklearn_mlcl.losses._base import MEMORY_BUDGET, ContrastiveLoss
from sklearn_mlcl.losses._factorised import (
    FactorisedWeights,
    inverse_union,
)
from sklearn_mlcl.losses._labels import LabelPairs
from sklearn_mlcl.losses._weights import PairWeights, active, reciprocal


class MSCLoss(ContrastiveLoss):
    r"""Every label of a row attracts with weight one, from instances and from its prototype.

    .. math:: W_{ij} = \sum_{l \in y_i \cap y_j} \frac{1}{|y_i \cup y_j| N_{il}}, \quad
       W_{i, p_l} = \frac{Y_{il}}{N_{il}}, \quad
       N_{il} = 1 + \sum_{j \ne i} \frac{Y_{jl}}{|y_i \cup y_j|}

    averaged with :math:`a_i = 1 / (B |y_i|)`.  Instances and queue rows enter the denominator with
    weight ``beta``, prototypes with weight 1.  Without prototypes N has no 1 and B counts the rows
    with a positive.

    Parameters
    ----------
    beta : float, default=0.1
        Repulsion of instances against that of prototypes, above 0.
    <n_negatives>
    <shared>

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    References
    ----------
    Audibert, Gauffre and Amini, "Exploring contrastive learning for long-tailed multi-label text
    classification", arXiv 2404.08720 (L_MSC).

    Examples
    --------
    >>> import torch
    >>> from sklearn_mlcl.losses import MSCLoss
    >>> labels = torch.tensor([[1, 1], [1, 0], [0, 1], [1, 1]])
    >>> embeddings = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [-0.6, 0.8]])
    >>> prototypes = torch.tensor([[0.6, 0.8], [-1.0, 0.0]])
    >>> round(MSCLoss(temperature=0.5)(embeddings, labels, prototypes).item(), 4)
    1.337
    """

    options = ("beta", "n_negatives")
    uses_prototypes = True

    def __init__(
        self,
        beta: float = 0.1,
        *,
        n_negatives: int | None = None,
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
        check_number("beta", beta)
        self.beta = beta
        self._set_negatives(n_negatives)

    def _instance_repulsion(self) -> float:
        return self.beta

    def _weights(self, pairs: LabelPairs, n_prototypes: int, edge: int | None) -> PairWeights:
        weights = FactorisedWeights(
            pairs, similarity=inverse_union, n_prototypes=n_prototypes, edge=edge
        )
        weights.factor_in_weights = False
        weights.factor = reciprocal(pairs.anchors.size)
        weights.mass = active(weights.row_sum) * pairs.anchors.mean_weight_of_positives
        return weights
