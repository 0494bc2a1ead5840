"""What all contrastive losses share: arguments, the choice of kernel, the average."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from math import log
from typing import ClassVar

import torch
from torch import Tensor, nn

from sklearn_mlcl.losses._arguments import (
    Labels,
    check_count,
    check_number,
    check_option,
    check_rows,
    check_vectors,
    check_width,
    dense_columns,
    to_dense,
    width,
)
from sklearn_mlcl.losses._kernel import full_precision, pair_loss, tile_edge
from sklearn_mlcl.losses._pair_weights import LabelPairs, LabelSets, PairWeights, reciprocal
from sklearn_mlcl.losses._targets import (
    check_weight,
    known_cells,
    mean_over_known,
    weighs_cells,
)

_SHARED = """\
temperature : float, default=0.1
    Cosines are divided by it.
lambda_reg : float, default={lambda_reg}
    Clamp of the gradient.  With :math:`x_{{ij}} = \\bar W_i \\pi_{{ij}} - W_{{ij}}` it is
    :math:`a_i (x_{{ij}} - \\lambda \\max(x_{{ij}}, 0))` on positives: 0 is the plain cross-entropy,
    1 takes the repulsive part of positives out, above 1 turns it into attraction.  It is a rule
    for the gradient and not the gradient of any function: the value stays the cross-entropy,
    line searches and ``gradcheck`` do not apply.
reduction : {{"mean", "none"}}, default="mean"
    The average over anchors, or one value per anchor (0 where it has no positive).
memory_budget : int, default=2**28
    Bytes of pairwise arrays up to which the dense kernel runs; above, tiles that fit it (of at
    most 1024 x 1024 pairs) give the same numbers.
"""

_NEGATIVES = """\
n_negatives : int, optional
    Take only the prototypes of labels active in the batch, plus so many drawn from the others
    (from torch's global generator).  A drawn column weighs (number of others) / (number drawn), so
    that every denominator is estimated without bias; its logarithm, and with it the loss, is low
    by about Var(D) / (2 D^2), which falls as 1 / n_negatives.  By default every prototype is
    a candidate.
"""


def fill(cls: type, lambda_reg: float) -> None:
    """Put the shared parameters in place of their marks in the docstring."""
    if not cls.__doc__:
        return
    doc = inspect.cleandoc(cls.__doc__)
    doc = doc.replace("<n_negatives>\n", _NEGATIVES)
    cls.__doc__ = doc.replace("<shared>\n", _SHARED.format(lambda_reg=lambda_reg))


# Bytes of pairwise arrays up to which the dense kernel runs.
MEMORY_BUDGET = 2**28


class ContrastiveLoss(nn.Module):
    """Base of the family: a subclass states its pair weights and nothing more.

    Attributes
    ----------
    options : tuple of str
        Names of the constructor arguments that only this loss has.
    uses_prototypes : bool
        Whether trainable prototypes, one per label, are part of the published loss.
    requires_prototypes : bool
        Whether the loss is undefined without them.
    accepts_queue : bool
        Whether past embeddings may be further candidates.
    """

    options: ClassVar[tuple[str, ...]] = ()
    uses_prototypes: ClassVar[bool] = False
    requires_prototypes: ClassVar[bool] = False
    accepts_queue: ClassVar[bool] = True
    _instances_are_candidates: ClassVar[bool] = True
    _prototypes_are_anchors: ClassVar[bool] = False
    n_negatives: int | None = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        own = inspect.signature(cls).parameters.get("lambda_reg")
        fill(cls, 0.0 if own is None else own.default)

    def __init__(
        self,
        *,
        temperature: float = 0.1,
        lambda_reg: float = 0.0,
        reduction: str = "mean",
        memory_budget: int = MEMORY_BUDGET,
    ) -> None:
        super().__init__()
        check_number("temperature", temperature)
        check_number("lambda_reg", lambda_reg, zero=True)
        check_count("memory_budget", memory_budget)
        check_option("reduction", reduction, ("mean", "none"))
        self.temperature = temperature
        self.lambda_reg = lambda_reg
        self.reduction = reduction
        self.memory_budget = memory_budget

    @abstractmethod
    def _weights(self, pairs: LabelPairs, n_prototypes: int, edge: int | None) -> PairWeights:
        """The recipe: W, its row sums, the factor and the mass of each row."""

    def _instance_repulsion(self) -> float:
        """b of the instance and queue columns; that of prototypes is 1."""
        return 1.0

    def forward(
        self,
        embeddings: Tensor,
        labels: Labels,
        prototypes: Tensor | None = None,
        queue: Tensor | None = None,
        queue_labels: Labels | None = None,
        sample_weight: Tensor | None = None,
    ) -> Tensor:
        """Cross-entropy part of the loss, with the clamped gradient behind it.

        Parameters
        ----------
        embeddings : Tensor of shape (B, d) or (M, B, d)
            Projected embeddings; their length does not matter, a zero row gets no gradient.
            float16 and bfloat16 are computed in float32, also under autocast. With a leading
            dimension, of the M members of an ensemble, that share the labels of the batch.
        labels : Tensor of shape (B, L), or LabelIndices
            Indicator matrix.  In a floating one NaN marks an unknown label; boolean and integer
            ones have none, and the losses are cheaper for knowing it.
        prototypes : Tensor of shape (L, d) or (M, L, d), optional
            One vector per label; gradients flow to it.
        queue : Tensor of shape (Q, d) or (M, Q, d), optional
            Past embeddings, candidates for every anchor, without gradient.
        queue_labels : Tensor of shape (Q, L), or LabelIndices
            Labels of the queue.
        sample_weight : Tensor of shape (B,) or (B, L), optional
            Weight of each instance as an anchor in the average (prototype anchors weigh 1). With
            one for each label: in a loss that is a sum over the labels of an anchor ("reg",
            "mulsupcon", "msc", "proto") the weight of that label's term, an anchor counting in
            the average by the mean over its positive labels (their sum in "mulsupcon" by
            labels); in one that compares whole label sets an anchor weighs the mean over its
            known labels. A label of weight 0 counts as unknown.

        Returns
        -------
        Tensor
            A scalar for ``reduction="mean"``; else one value per anchor, instances first; for
            members one of either for each, of shape (M,) or (M, n_anchors).  With
            ``lambda_reg > 0`` the gradient is not that of this value, nor of any function.

        Raises
        ------
        ValueError
            If shapes disagree, or prototypes or a queue are given to a loss that has none, or
            the prototypes a loss needs are missing.
        """
        self._check(embeddings, labels, prototypes, queue, queue_labels, sample_weight)
        by_label = sample_weight if weighs_cells(sample_weight) else None
        labels = labels if by_label is None else to_dense(labels)
        columns = dense_columns(labels, queue_labels, prototypes, self.n_negatives, by_label)
        prototypes = columns.prototypes
        learns = embeddings.requires_grad or (prototypes is not None and prototypes.requires_grad)
        n_prototypes = 0 if prototypes is None else prototypes.shape[-2]
        with full_precision(embeddings):
            dtype = torch.promote_types(embeddings.dtype, torch.float32)
            pairs = _pairs(columns.labels, columns.queue, dtype, columns.weight)
            edge = self._edge(pairs, n_prototypes, embeddings.shape[:-2].numel())
            weights = self._weights(pairs, n_prototypes, edge)
            weights.log_b = self._log_repulsion(pairs, n_prototypes, columns.log_weight)
            return pair_loss(
                embeddings,
                prototypes,
                queue,
                weights,
                (self.temperature, self.lambda_reg, edge),
                self._scale(weights, _anchor_weight(weights, labels, sample_weight)),
                self.reduction == "mean",
                learns and torch.is_grad_enabled(),
            )

    @torch.no_grad()
    def pair_weights(
        self, labels: Labels, queue_labels: Labels | None = None, prototypes: bool | None = None
    ) -> Tensor:
        """Attraction weights W of the unified form.

        Parameters
        ----------
        labels : Tensor of shape (B, L), or LabelIndices
            As in ``forward``.
        queue_labels : Tensor of shape (Q, L), or LabelIndices, optional
            As in ``forward``.
        prototypes : bool, optional
            Whether prototypes are candidates; by default where the published loss has them.

        Returns
        -------
        Tensor of shape (n_anchors, n_candidates)
            Candidates in the order instances, queue, prototypes; float64 for float64 labels,
            float32 for others.

        Raises
        ------
        ValueError
            If prototypes are asked of a loss that has none.
        """
        with_prototypes = self.uses_prototypes if prototypes is None else prototypes
        if with_prototypes and not self.uses_prototypes:
            raise ValueError(f"{type(self).__name__} has no prototypes; prototypes must be False")
        n_prototypes = width(labels) if with_prototypes else 0
        dense, queue = to_dense(labels), None if queue_labels is None else to_dense(queue_labels)
        dtype = torch.float64 if dense.dtype == torch.float64 else torch.float32
        return self._weights(_pairs(dense, queue, dtype), n_prototypes, None).full()

    def extra_repr(self) -> str:
        return f"temperature={self.temperature}, lambda_reg={self.lambda_reg}"

    def _set_negatives(self, n_negatives: int | None) -> None:
        if n_negatives is not None:
            check_count("n_negatives", n_negatives, zero=True)
        self.n_negatives = n_negatives

    def _check(
        self,
        embeddings: Tensor,
        labels: Labels,
        prototypes: Tensor | None,
        queue: Tensor | None,
        queue_labels: Labels | None,
        sample_weight: Tensor | None,
    ) -> None:
        check_rows("embeddings", embeddings, "labels", labels)
        self._check_prototypes(prototypes, embeddings, labels)
        self._check_queue(queue, queue_labels, embeddings, labels)
        check_weight(sample_weight, embeddings.shape[-2], width(labels))

    def _check_prototypes(
        self, prototypes: Tensor | None, embeddings: Tensor, labels: Labels
    ) -> None:
        name = type(self).__name__
        if prototypes is None:
            if self.requires_prototypes:
                raise ValueError(f"{name} needs prototypes of shape (L, d), got None")
            return
        if not self.uses_prototypes:
            raise ValueError(f"{name} has no prototypes; prototypes must be None")
        check_vectors("prototypes", prototypes, embeddings)
        check_width("prototypes", prototypes.shape[-2], labels)

    def _check_queue(
        self,
        queue: Tensor | None,
        queue_labels: Labels | None,
        embeddings: Tensor,
        labels: Labels,
    ) -> None:
        if queue is None and queue_labels is None:
            return
        if not self.accepts_queue:
            raise ValueError(f"{type(self).__name__} takes no queue; queue must be None")
        if queue is None or queue_labels is None:
            raise ValueError("queue and queue_labels must be given together, one is None")
        check_rows("queue", queue, "queue_labels", queue_labels)
        check_vectors("queue", queue, embeddings)
        check_width("queue_labels", width(queue_labels), labels)

    def _edge(self, pairs: LabelPairs, n_prototypes: int, n_members: int) -> int | None:
        n_rows = len(pairs.anchors.size)
        n_columns = n_prototypes
        if self._instances_are_candidates:
            n_columns += len(pairs.candidates.size)
        if self._prototypes_are_anchors:
            n_rows += n_prototypes
        itemsize = pairs.anchors.size.element_size()
        return tile_edge(n_rows, n_columns, itemsize, self.memory_budget // n_members)

    def _log_repulsion(
        self, pairs: LabelPairs, n_prototypes: int, log_weight: float | None
    ) -> Tensor | None:
        """log b of each column; None when all are 0."""
        beta = self._instance_repulsion()
        if beta == 1.0 and log_weight is None:
            return None
        n_keys = len(pairs.candidates.size) if self._instances_are_candidates else 0
        log_b = pairs.anchors.size.new_zeros(n_keys + n_prototypes)
        log_b[:n_keys] = log(beta)
        if log_weight is not None:
            log_b[n_keys + pairs.anchors.positive.shape[1] :] = log_weight
        return log_b

    def _scale(self, weights: PairWeights, sample_weight: Tensor | None) -> Tensor:
        """a_i: the factor, the sample weight, and for the mean one over the weighted mass."""
        scale, mass = weights.factor, weights.mass
        if sample_weight is not None:
            ones = scale.new_ones(len(scale) - len(sample_weight))
            importance = torch.cat([sample_weight.to(scale), ones])
            scale, mass = scale * importance, mass * importance
        if self.reduction == "none":
            return scale
        return scale * reciprocal(mass.sum())


def _anchor_weight(
    weights: PairWeights, labels: Labels, sample_weight: Tensor | None
) -> Tensor | None:
    """Weight of each instance as an anchor, beside what its labels' weights have done by now."""
    if sample_weight is None or sample_weight.ndim == 1:
        return sample_weight
    if weights.weighs_labels:
        return None
    return mean_over_known(sample_weight, known_cells(to_dense(labels), sample_weight))


def _pairs(
    labels: Tensor, queue_labels: Tensor | None, dtype: torch.dtype, weight: Tensor | None = None
) -> LabelPairs:
    anchors = LabelSets.of(labels, dtype, None if weight is None else weight.to(dtype))
    if queue_labels is None:
        return LabelPairs(anchors, anchors)
    return LabelPairs(anchors, anchors.append(LabelSets.of(queue_labels, dtype)))
