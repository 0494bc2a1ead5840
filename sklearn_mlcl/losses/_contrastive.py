"""The contrastive losses on label sets: each class is the recipe of its pair weights."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import KW_ONLY, dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from sklearn_mlcl.losses._base import ContrastiveLoss
from sklearn_mlcl.losses._pairs import (
    FactorisedWeights,
    LabelPairs,
    OverlapWeights,
    PairWeights,
    PrototypeWeights,
    reciprocal,
)

# ---------------------------------------------------------------------- comparison of label sets


@dataclass(eq=False, repr=False)
class _OverlapLoss(ContrastiveLoss):
    """Base of the losses with one overlap of label sets for each pair.

    Parameters
    ----------
    <shared>
    """

    _divide_by_count: ClassVar[bool] = False

    @abstractmethod
    def _overlap(self, pairs: LabelPairs, rows: slice, columns: slice) -> Tensor:
        """Overlap of the label sets of each pair in a tile, before the division of rows."""

    def _weights(self, pairs: LabelPairs, n_prototypes: int, budget: int | None) -> PairWeights:
        return OverlapWeights(pairs, self._overlap, budget, divide_by_count=self._divide_by_count)


@dataclass(eq=False, repr=False)
class SupConLoss(_OverlapLoss):
    r"""Supervised contrastive loss; two label sets are positives of each other, or not.

    .. math:: -\frac{1}{|A|} \sum_{i \in A} \frac{1}{|P(i)|} \sum_{j \in P(i)}
       \log \frac{e^{s_{ij}}}{\sum_{k \ne i} e^{s_{ik}}}

    with :math:`s` the cosines over the temperature and A the anchors that have a positive.

    Parameters
    ----------
    positives : {"any", "all"}, default="any"
        P(i): samples that share any label with i, or samples with exactly its labels (at least
        one).
    <shared>

    Raises
    ------
    ValueError
        If a parameter is out of its range.

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

    positives: str = "any"

    def _overlap(self, pairs: LabelPairs, rows: slice, columns: slice) -> Tensor:
        intersection = pairs.intersection(rows, columns)
        positive = intersection > 0
        if self.positives == "all":
            positive &= intersection == pairs.union(intersection, rows, columns)
        return positive.to(intersection.dtype)


@dataclass(eq=False, repr=False)
class SupConAllLoss(SupConLoss):
    """``SupConLoss("all")`` under a name of its own, for the registry."""

    positives: str = field(default="all", init=False)


@dataclass(eq=False, repr=False)
class JaccardSupConLoss(_OverlapLoss):
    r"""SupCon with every pair weighted by the Jaccard similarity of its label sets.

    .. math:: W_{ij} = J_{ij} \big/ \sum_{k \ne i} J_{ik}, \qquad
       J_{ij} = |y_i \cap y_j| / |y_i \cup y_j|

    averaged over the anchors with a positive.  The denominator runs over all other samples.

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
        return pairs.jaccard(rows, columns)


@dataclass(eq=False, repr=False)
class MultiSupConLoss(_OverlapLoss):
    r"""SupCon over pairs whose Jaccard similarity reaches a threshold, weighted by it.

    .. math:: W_{ij} = J_{ij} [J_{ij} \ge c] / |N(i)|, \qquad N(i) = \{j \ne i : J_{ij} \ge c\}

    The rows of W sum to at most 1: an anchor with weak positives only also repels less.

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

    _divide_by_count: ClassVar[bool] = True
    overlap_threshold: float = 0.5

    def _overlap(self, pairs: LabelPairs, rows: slice, columns: slice) -> Tensor:
        similarity = pairs.jaccard(rows, columns)
        return similarity.mul_(similarity >= self.overlap_threshold)


@dataclass(eq=False, repr=False)
class SimilarityDissimilarityLoss(_OverlapLoss):
    r"""SupCon with positives discounted by the labels they lack and by those they add.

    .. math:: W_{ij} = \frac{1}{|P(i)|} \cdot \frac{|S \cap T|}{|S|} \cdot
       \frac{1}{1 + |T \setminus S|}

    for anchor labels S and candidate labels T that share a label.  The factor multiplies the log
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
    >>> round(
    ...     SimilarityDissimilarityLoss(temperature=0.5)(embeddings, labels).item(),
    ...     4,
    ... )
    1.0345
    """

    _divide_by_count: ClassVar[bool] = True

    def _overlap(self, pairs: LabelPairs, rows: slice, columns: slice) -> Tensor:
        intersection = pairs.intersection(rows, columns)
        added = pairs.candidate_size(rows, columns) - intersection
        size = pairs.anchor_size(rows, columns).clamp_min(1.0)
        return intersection.div_(added.add_(1.0).mul_(size))


# ------------------------------------------------------------- sums over the labels of an anchor


@dataclass(eq=False, repr=False)
class MulSupConLoss(ContrastiveLoss):
    r"""SupCon with one anchor for every label of every sample.

    .. math:: \sum_i \omega_i \sum_{l \in y_i} \frac{-1}{|P_{il}|} \sum_{j \in P_{il}}
       \log \frac{e^{s_{ij}}}{\sum_{k \ne i} e^{s_{ik}}}, \qquad P_{il} = \{j \ne i : l \in y_j\}

    No array of anchors times labels is built.  The samples of a queue join both the positives and
    the denominator.

    Parameters
    ----------
    anchor_weighting : {"label", "sample"}, default="label"
        "label": :math:`\omega_i = 1 / M`, with M the number of pairs (sample, label), those without
        a positive included.  "sample": :math:`\omega_i = 1 / (B |y_i|)`, with B the number of
        samples with a positive.
    <shared>

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    References
    ----------
    Zhang and Wu, "Multi-label supervised contrastive learning", AAAI 2024; one view, samples
    against the batch without themselves, as in arXiv 2412.00101.

    Examples
    --------
    >>> import torch
    >>> from sklearn_mlcl.losses import MulSupConLoss
    >>> labels = torch.tensor([[1, 1], [1, 0], [0, 1], [1, 1]])
    >>> embeddings = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [-0.6, 0.8]])
    >>> round(MulSupConLoss(temperature=0.5)(embeddings, labels).item(), 4)
    1.8312
    """

    _factor_in_weights: ClassVar[bool] = False
    anchor_weighting: str = "label"

    def _weights(self, pairs: LabelPairs, n_prototypes: int, budget: int | None) -> PairWeights:
        weights = FactorisedWeights(pairs, budget)
        if self.anchor_weighting == "label":
            weights.factor = torch.ones_like(weights.factor)
            weights.mass = pairs.anchors.weight_of_positives
        return weights


@dataclass(kw_only=True, eq=False, repr=False)
class _LossWithPrototypes(ContrastiveLoss):
    """Base of the losses with one trainable prototype per label.

    Parameters
    ----------
    n_negatives : int, optional
        Number of inactive prototypes to draw for a batch. The candidates are then the prototypes of
        the labels active in the batch, and the drawn ones. A fit of an estimator draws from its own
        generator, other code from torch's global one.  A drawn column weighs (number of others) /
        (number drawn), so that every denominator is an unbiased estimate.  Its logarithm, and so
        the loss, is low by about Var(D) / (2 D^2), which falls as 1 / n_negatives.  By default
        every prototype is a candidate.
    <shared>
    """

    uses_prototypes: ClassVar[bool] = True
    n_negatives: int | None = None


@dataclass(eq=False, repr=False)
class RegularizedContrastiveLoss(_LossWithPrototypes):
    r"""Instances and prototypes as anchors, repulsion between positives removed.

    With rows and columns the batch followed by the prototypes, :math:`A = [Y; I]`,
    :math:`r_{ij} = |y_i \cap y_j| / |y_j|` and :math:`f(r) = r^\alpha`,

    .. math:: W_{ij} = \frac{1}{|y_i|} \sum_{l \in y_i \cap y_j} \frac{f(r_{ij})}{N_{il}}, \qquad
       N_{il} = \sum_{k \ne i} A_{kl} f(r_{ik})

    The value is the cross-entropy :math:`-\sum_j W_{ij} \log \sigma_{ij}`, averaged over the
    anchors with a positive.  At ``lambda_reg=1`` its gradient is that of the paper's loss.  The
    paper's second term, :math:`-\mathrm{sg}[\max(\sigma_{ij} - W_{ij}, 0)] s_{ij}` over positives,
    is in the gradient only: its value says nothing about progress.  The prototype of a label
    without a positive in the batch is no anchor.  Without prototypes only the batch remains.

    Parameters
    ----------
    alpha : float, default=0.0
        0 counts all candidates that share a label alike.  Above 0 discounts those with labels that
        the anchor lacks. Any negative value keeps only candidates that have no other labels than
        the anchor, :math:`f(r) = [r = 1]`.
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
    >>> round(
    ...     RegularizedContrastiveLoss(temperature=0.5)(
    ...         embeddings, labels, prototypes
    ...     ).item(),
    ...     4,
    ... )
    2.0162
    """

    accepts_queue: ClassVar[bool] = False
    alpha: float = 0.0
    _: KW_ONLY
    lambda_reg: float = 1.0

    def _weights(self, pairs: LabelPairs, n_prototypes: int, budget: int | None) -> PairWeights:
        return FactorisedWeights(
            pairs,
            budget,
            similarity=self._share if self.alpha else None,
            n_prototypes=n_prototypes,
            prototype_anchors=n_prototypes > 0,
            instance_weight=self._share_of_one(pairs.anchors.size) if self.alpha else None,
        )

    def _share(self, pairs: LabelPairs, rows: slice, columns: slice) -> Tensor:
        """f(r), r = |y_i n y_j| / |y_j|: r^alpha, or [r = 1] when alpha < 0."""
        intersection = pairs.intersection(rows, columns)
        size = pairs.candidate_size(rows, columns)
        if self.alpha < 0:
            return ((intersection == size) & (intersection > 0)).to(intersection.dtype)
        return intersection.div_(size.clamp_min(1.0)).pow_(self.alpha)

    def _share_of_one(self, size: Tensor) -> Tensor:
        """f(1 / |y_j|): the share that one label has of a candidate's labels."""
        if self.alpha < 0:
            return (size == 1).to(size.dtype)
        return reciprocal(size).pow(self.alpha)


@dataclass(eq=False, repr=False)
class MSCLoss(_LossWithPrototypes):
    r"""Every label of a sample attracts with weight one, from instances and from its prototype.

    .. math:: W_{ij} = \sum_{l \in y_i \cap y_j} \frac{1}{|y_i \cup y_j| N_{il}}, \quad
       W_{i, p_l} = \frac{Y_{il}}{N_{il}}, \quad
       N_{il} = 1 + \sum_{j \ne i} \frac{Y_{jl}}{|y_i \cup y_j|}

    averaged with :math:`a_i = 1 / (B |y_i|)`.  Instances and queue enter the denominator with
    weight ``beta``, prototypes with weight 1.  Without prototypes N has no 1 and B counts the
    samples with a positive.

    Parameters
    ----------
    beta : float, default=0.1
        Repulsion of instances relative to prototypes, above 0.
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

    _factor_in_weights: ClassVar[bool] = False
    beta: float = 0.1

    def _weights(self, pairs: LabelPairs, n_prototypes: int, budget: int | None) -> PairWeights:
        return FactorisedWeights(
            pairs, budget, similarity=_inverse_union, n_prototypes=n_prototypes
        )


def _inverse_union(pairs: LabelPairs, rows: slice, columns: slice) -> Tensor:
    """1 / |y_i u y_j|, 0 when both are empty."""
    return reciprocal(pairs.union(pairs.intersection(rows, columns), rows, columns))


@dataclass(eq=False, repr=False)
class PrototypeLoss(_LossWithPrototypes):
    r"""Softmax over the prototypes with a uniform target on the labels of the sample.

    .. math:: -\frac{1}{B} \sum_i \frac{1}{|y_i|} \sum_{l \in y_i}
       \log \frac{e^{s_{il}}}{\sum_m e^{s_{im}}}, \qquad s_{il} = \cos(z_i, p_l) / \tau

    with B the number of samples with a label.  The loss of a sample does not depend on the others.

    Parameters
    ----------
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
    >>> round(
    ...     PrototypeLoss(temperature=0.5)(embeddings, labels, prototypes).item(), 4
    ... )
    1.0491
    """

    requires_prototypes: ClassVar[bool] = True
    accepts_queue: ClassVar[bool] = False

    def _weights(self, pairs: LabelPairs, n_prototypes: int, budget: int | None) -> PairWeights:
        return PrototypeWeights(pairs, n_prototypes, budget)
