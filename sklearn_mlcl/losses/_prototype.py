"""The prototype loss: a softmax over labels with several targets."""

from __future__ import annotations

from sklearn_mlcl.losses._base import MEMORY_BUDGET, ContrastiveLoss
from sklearn_mlcl.losses._factorised import (
    PrototypeWeights,
)
from sklearn_mlcl.losses._labels import LabelPairs
from sklearn_mlcl.losses._weights import PairWeights, active, reciprocal


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
