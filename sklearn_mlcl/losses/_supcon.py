"""SupCon and its relatives that compare label sets as wholes."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from torch import Tensor

from sklearn_mlcl.losses._arguments import check_number, check_option
from sklearn_mlcl.losses._base import MEMORY_BUDGET, ContrastiveLoss
from sklearn_mlcl.losses._labels import LabelPairs
from sklearn_mlcl.losses._overlap import (
    OverlapWeights,
    all_equal,
    any_shared,
    jaccard,
    similarity_dissimilarity,
)
from sklearn_mlcl.losses._weights import PairWeights


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
