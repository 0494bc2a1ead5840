"""Losses that give each label of an anchor its own share: MulSupCon, Proto, MSC, REG."""

from __future__ import annotations

import torch
from torch import Tensor

from sklearn_mlcl.losses._arguments import check_number, check_option
from sklearn_mlcl.losses._base import MEMORY_BUDGET, ContrastiveLoss
from sklearn_mlcl.losses._factorised import (
    FactorisedWeights,
    PrototypeWeights,
    inverse_union,
    share_of_candidate,
)
from sklearn_mlcl.losses._labels import LabelPairs
from sklearn_mlcl.losses._weights import PairWeights, reciprocal


def _active(weights: PairWeights) -> Tensor:
    return (weights.row_sum > 0).to(weights.row_sum.dtype)


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
        size = pairs.anchors.size
        weights.factor_in_weights = False
        if self.anchor_weighting == "label":
            weights.factor, weights.mass = size.new_ones(len(size)), size
        else:
            weights.factor, weights.mass = reciprocal(size), _active(weights)
        return weights


class PrototypeLoss(ContrastiveLoss):
    r"""Softmax over the prototypes with a uniform target on the labels of the row.

    .. math:: -\frac{1}{B} \sum_i \frac{1}{|y_i|} \sum_{l \in y_i}
       \log \frac{e^{s_{il}}}{\sum_m e^{s_{im}}}, \qquad s_{il} = \cos(z_i, p_l) / \tau

    with B the number of rows that have a label.  The value of a row does not depend on the others.

    Parameters
    ----------
    <n_negatives>
    <shared>

    References
    ----------
    arXiv 2412.00101 (L_Proto).

    Examples
    --------
    >>> import torch
    >>> from sklearn_mlcl.losses import PrototypeLoss
    >>> labels = torch.tensor([[1, 1], [1, 0], [0, 1], [1, 1]])
    >>> embeddings = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [-0.6, 0.8]])
    >>> prototypes = torch.tensor([[0.6, 0.8], [-1.0, 0.0]])
    >>> round(PrototypeLoss(temperature=0.5)(embeddings, labels, prototypes).item(), 4)
    1.0491
    """

    options = ("n_negatives",)
    uses_prototypes = True
    requires_prototypes = True
    accepts_queue = False
    _instances_are_candidates = False

    def __init__(
        self,
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
        self._set_negatives(n_negatives)

    def _weights(self, pairs: LabelPairs, n_prototypes: int, edge: int | None) -> PairWeights:
        weights = PrototypeWeights(pairs, n_prototypes)
        weights.factor, weights.mass = reciprocal(pairs.anchors.size), _active(weights)
        return weights


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
        weights.factor, weights.mass = reciprocal(pairs.anchors.size), _active(weights)
        return weights


class RegularizedContrastiveLoss(ContrastiveLoss):
    r"""Instances and prototypes as anchors, repulsion between positives removed.

    With rows and columns the batch followed by the prototypes, :math:`A = [Y; I]`,
    :math:`r_{ij} = |y_i \cap y_j| / |y_j|` and :math:`f(r) = r^\alpha`,

    .. math:: W_{ij} = \frac{1}{|y_i|} \sum_{l \in y_i \cap y_j} \frac{f(r_{ij})}{N_{il}}, \qquad
       N_{il} = \sum_{k \ne i} A_{kl} f(r_{ik})

    The value is the cross-entropy :math:`-\sum_j W_{ij} \log \sigma_{ij}`, averaged over the anchors
    with a positive; at ``lambda_reg=1`` its gradient is that of the paper's loss, whose second
    term, :math:`-\sum_{j: W_{ij} > 0} \mathrm{sg}[\max(\sigma_{ij} - W_{ij}, 0)] s_{ij}`, makes a
    number that means nothing as a training curve and is left out.  The prototype of a label absent
    from the batch is no anchor.  Without prototypes only the batch remains.

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
        weights.factor, weights.mass = factor, _active(weights)
        return weights

    def _share_of_one(self, size: Tensor) -> Tensor:
        """f(1 / |y_j|): the share that one label has of a candidate's labels."""
        if self.alpha < 0:
            return (size == 1).to(size.dtype)
        return reciprocal(size).pow(self.alpha)
