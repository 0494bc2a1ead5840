"""SupCon and its relatives that compare label sets as wholes."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor

from sklearn_mlcl.losses._arguments import check_number, check_option
from sklearn_mlcl.losses._base import MEMORY_BUDGET, ContrastiveLoss
from sklearn_mlcl.losses._pair_weights import (
    FactorisedWeights,
    LabelPairs,
    OverlapWeights,
    PairWeights,
    PrototypeWeights,
    active,
    all_equal,
    any_shared,
    inverse_union,
    jaccard,
    reciprocal,
    share_of_candidate,
    similarity_dissimilarity,
)


class _OverlapLoss(ContrastiveLoss):
    """Every row of overlaps divided by its sum, or by its number of positives."""

    _divide_by_count = False

    @abstractmethod
    def _overlap(self, pairs: LabelPairs, rows: slice, columns: slice) -> Tensor:
        """Unnormalised weight of the pairs of a tile."""

    def _weights(self, pairs: LabelPairs, n_prototypes: int, edge: int | None) -> PairWeights:
        return OverlapWeights(
            pairs, self._overlap, divide_by_count=self._divide_by_count, edge=edge
        )


class SupConLoss(_OverlapLoss):
    r"""Supervised contrastive loss with whole-set positives.

    .. math:: -\frac{1}{|A|} \sum_{i \in A} \frac{1}{|P(i)|} \sum_{j \in P(i)}
       \log \frac{e^{s_{ij}}}{\sum_{k \ne i} e^{s_{ik}}}

    with :math:`s` the cosines over the temperature and A the anchors that have a positive.

    Parameters
    ----------
    positives : {"any", "all"}, default="any"
        P(i): rows that share any label with i, or rows with exactly its labels (and at least one).
    <shared>

    Raises
    ------
    ValueError
        If a parameter is out of its range.
    TypeError
        If a number is not a number.

    References
    ----------
    Khosla et al., "Supervised contrastive learning", NeurIPS 2020, equation 2.

    Examples
    --------
    >>> import torch
    >>> from sklearn_mlcl.losses import SupConLoss
    >>> labels = torch.tensor([[1, 1], [1, 0], [0, 1], [1, 1]])
    >>> embeddings = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [-0.6, 0.8]])
    >>> round(SupConLoss(temperature=0.5)(embeddings, labels).item(), 4)
    1.5635
    """

    options: ClassVar[tuple[str, ...]] = ("positives",)

    def __init__(
        self,
        positives: str = "any",
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
        check_option("positives", positives, ("any", "all"))
        self.positives = positives

    def _overlap(self, pairs: LabelPairs, rows: slice, columns: slice) -> Tensor:
        share = any_shared if self.positives == "any" else all_equal
        return share(pairs, rows, columns)


class SupConAllLoss(SupConLoss):
    """``SupConLoss("all")`` under a name of its own, for the registry."""

    options = ()

    def __init__(self, **options: Any) -> None:
        super().__init__("all", **options)


class JaccardSupConLoss(_OverlapLoss):
    r"""SupCon with every pair weighted by the Jaccard similarity of its label sets.

    .. math:: W_{ij} = J_{ij} \big/ \sum_{k \ne i} J_{ik}, \qquad
       J_{ij} = |y_i \cap y_j| / |y_i \cup y_j|

    averaged over the anchors with a positive; the denominator runs over all other rows.

    Parameters
    ----------
    <shared>

    References
    ----------
    Audibert, Gauffre and Amini, "Multi-label contrastive learning: a comprehensive study",
    arXiv 2412.00101 (L_Base).

    Examples
    --------
    >>> import torch
    >>> from sklearn_mlcl.losses import JaccardSupConLoss
    >>> labels = torch.tensor([[1, 1], [1, 0], [0, 1], [1, 1]])
    >>> embeddings = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [-0.6, 0.8]])
    >>> round(JaccardSupConLoss(temperature=0.5)(embeddings, labels).item(), 4)
    1.7302
    """

    def _overlap(self, pairs: LabelPairs, rows: slice, columns: slice) -> Tensor:
        return jaccard(pairs, rows, columns)


class MultiSupConLoss(_OverlapLoss):
    r"""SupCon over pairs whose Jaccard similarity reaches a threshold, weighted by it.

    .. math:: W_{ij} = J_{ij} [J_{ij} \ge c] / |N(i)|, \qquad N(i) = \{j \ne i : J_{ij} \ge c\}

    The rows sum to at most 1: an anchor with weak positives only also repels less.

    Parameters
    ----------
    overlap_threshold : float, default=0.5
        c, in (0, 1]; inclusive.
    <shared>

    Raises
    ------
    ValueError
        If ``overlap_threshold`` is not in (0, 1].

    References
    ----------
    Zaigrajew and Zieba, "Contrastive learning for multi-label classification", NeurIPS 2022
    workshop on self-supervised learning.

    Examples
    --------
    >>> import torch
    >>> from sklearn_mlcl.losses import MultiSupConLoss
    >>> labels = torch.tensor([[1, 1], [1, 0], [0, 1], [1, 1]])
    >>> embeddings = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [-0.6, 0.8]])
    >>> round(MultiSupConLoss(temperature=0.5)(embeddings, labels).item(), 4)
    1.0345
    """

    options = ("overlap_threshold",)
    _divide_by_count = True

    def __init__(
        self,
        overlap_threshold: float = 0.5,
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
        check_number("overlap_threshold", overlap_threshold)
        if overlap_threshold > 1:
            raise ValueError(f"overlap_threshold must be at most 1, got {overlap_threshold!r}")
        self.overlap_threshold = overlap_threshold

    def _overlap(self, pairs: LabelPairs, rows: slice, columns: slice) -> Tensor:
        similarity = jaccard(pairs, rows, columns)
        return similarity.mul_(similarity >= self.overlap_threshold)


class SimilarityDissimilarityLoss(_OverlapLoss):
    r"""SupCon with positives discounted by what they lack and by what they add.

    .. math:: W_{ij} = \frac{1}{|P(i)|} \cdot \frac{|S \cap T|}{|S|} \cdot
       \frac{1}{1 + |T \setminus S|}

    for anchor labels S and candidate labels T sharing a label.  The factor multiplies the log
    term; inside the logarithm it would have no gradient.

    Parameters
    ----------
    <shared>

    References
    ----------
    Huang, Long and Luo, "Similarity-dissimilarity loss for multi-label supervised contrastive
    learning", arXiv 2410.13439.

    Examples
    --------
    >>> import torch
    >>> from sklearn_mlcl.losses import SimilarityDissimilarityLoss
    >>> labels = torch.tensor([[1, 1], [1, 0], [0, 1], [1, 1]])
    >>> embeddings = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [-0.6, 0.8]])
    >>> round(SimilarityDissimilarityLoss(temperature=0.5)(embeddings, labels).item(), 4)
    1.0345
    """

    _divide_by_count = True

    def _overlap(self, pairs: LabelPairs, rows: slice, columns: slice) -> Tensor:
        return similarity_dissimilarity(pairs, rows, columns)


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
        weights.factor = reciprocal(pairs.anchors.size)
        weights.mass = active(weights.row_sum) * pairs.anchors.mean_weight_of_positives
        return weights
