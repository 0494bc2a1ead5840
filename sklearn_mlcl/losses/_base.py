"""What all contrastive losses share: arguments, label columns, the call of the kernel."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from dataclasses import dataclass, field
from functools import partial
from math import log
from numbers import Real
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sklearn_mlcl.losses._inputs import (
    AT_LEAST_ONE,
    NON_NEGATIVE,
    POSITIVE,
    LabelIndices,
    Labels,
    SampledLabels,
    active_labels,
    check_labels,
    check_parameters,
    check_sample_weight,
    check_shape,
    check_tensor,
    indicator,
    sample_negatives,
    weight_per_sample,
)
from sklearn_mlcl.losses._pairs import (
    LabelPairs,
    PairKernel,
    PairWeights,
    full_precision,
    pair_loss,
    reciprocal,
)
from sklearn_mlcl.utils._sklearn_compat import StrOptions
from sklearn_mlcl.utils.parameters import COUNT, NUMBER, Interval, named_in_errors


@named_in_errors
@dataclass(kw_only=True, eq=False, repr=False)
class ContrastiveLoss(nn.Module):
    r"""Base of the contrastive losses: a subclass defines its pair weights.

    Parameters
    ----------
    temperature : float, default=0.1
        Divides the cosines.
    lambda_reg : float, default=0.0
        Clamp of the gradient. With :math:`x_{ij} = \bar W_i \pi_{ij} - W_{ij}` the gradient is
        :math:`a_i (x_{ij} - \lambda \max(x_{ij}, 0))` on positives. 0 is the plain cross-entropy, 1
        removes the repulsive part of positives, and above 1 it becomes attraction. The clamped
        gradient is not the gradient of a function. The value is the cross-entropy, and line
        searches and ``gradcheck`` do not apply.
    reduction : {"mean", "none"}, default="mean"
        The average over anchors, or one value per anchor (0 where it has no positive).
    memory_budget : int, default=2**28
        Bytes of pairwise arrays up to which the dense kernel runs.  Above, tiles that fit the
        budget (of at most 1024 x 1024 pairs) give the same numbers.

    Attributes
    ----------
    uses_prototypes : bool
        Whether trainable prototypes, one per label, are part of the published loss.
    requires_prototypes : bool
        Whether the loss is undefined without them.
    accepts_queue : bool
        Whether past embeddings may be further candidates.
    """

    uses_prototypes: ClassVar[bool] = False
    requires_prototypes: ClassVar[bool] = False
    accepts_queue: ClassVar[bool] = True
    #: Whether the factor of a row belongs to W of the unified form, and not to a.
    _factor_in_weights: ClassVar[bool] = True
    #: One table for the family: a parameter means the same in every loss that has it.
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "temperature": POSITIVE,
        "lambda_reg": NON_NEGATIVE,
        "reduction": [StrOptions({"mean", "none"})],
        "memory_budget": AT_LEAST_ONE,
        "n_negatives": [COUNT, None],
        "alpha": [NUMBER],
        "beta": POSITIVE,
        "overlap_threshold": [Interval(Real, 0, 1, closed="right")],
        "positives": [StrOptions({"any", "all"})],
        "anchor_weighting": [StrOptions({"label", "sample"})],
    }

    n_negatives: int | None = field(default=None, init=False)
    #: b of instances and queue; that of prototypes is 1.
    beta: float = field(default=1.0, init=False)
    temperature: float = 0.1
    lambda_reg: float = 0.0
    reduction: str = "mean"
    memory_budget: int = 2**28

    def __init_subclass__(cls) -> None:
        """Put the parameters of the base in place of the mark ``<shared>`` in the docstring."""
        super().__init_subclass__()
        base = inspect.getdoc(cls.__base__) or ""
        shared = base.partition("Parameters\n----------\n")[2].partition("\n\n")[0]
        default = "lambda_reg : float, default="
        shared = shared.replace(f"{default}0.0", f"{default}{cls.lambda_reg}")
        if cls.__doc__:
            cls.__doc__ = inspect.cleandoc(cls.__doc__).replace("<shared>", shared)

    def __post_init__(self) -> None:
        super().__init__()
        check_parameters(self, vars(self))

    def extra_repr(self) -> str:
        return f"temperature={self.temperature}, lambda_reg={self.lambda_reg}"

    @abstractmethod
    def _weights(self, pairs: LabelPairs, n_prototypes: int, budget: int | None) -> PairWeights:
        """The recipe of the loss: W, its row sums, the factor and the mass of each anchor."""

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
            Projected embeddings.  Their length does not matter; a zero row gets no gradient.
            float16 and bfloat16 are computed in float32, also under autocast.  A leading
            dimension is that of the M members of an ensemble.
        labels : Tensor of shape (B, L) or (M, B, L), or LabelIndices
            Indicator matrix, one for all members or one for each.  In a floating one NaN marks a
            missing label.  Boolean and integer ones have no missing label, which makes the losses
            cheaper.
        prototypes : Tensor of shape (L, d) or (M, L, d), optional
            One vector per label; gradients flow to it.
        queue : Tensor of shape (Q, d) or (M, Q, d), optional
            Past embeddings, candidates for every anchor, without gradient.
        queue_labels : Tensor of shape (Q, L) or (M, Q, L), or LabelIndices
            Labels of the queue; for each member if ``labels`` are.
        sample_weight : Tensor of shape (B,) or (B, L), optional
            Weight of each instance as an anchor in the average, with a leading M if the labels have
            it. Prototype anchors weigh 1. A label with a weight of 0 counts as missing. Weights per
            label have two meanings. In "reg", "mulsupcon", "msc" and "proto", which are sums over
            the labels of an anchor, they weigh the term of the label. An anchor then counts by the
            mean over its positive labels (in "mulsupcon" by labels: by their sum). In a loss that
            compares whole label sets, an anchor weighs the mean over its labels that are not
            missing.

        Returns
        -------
        Tensor
            A scalar for ``reduction="mean"``, else one value per anchor, instances first.  For an
            ensemble one of either per member, of shape (M,) or (M, n_anchors).  With
            ``lambda_reg > 0`` the gradient is not that of this value, nor of any function.

        Raises
        ------
        ValueError
            If shapes disagree, or prototypes or a queue are given to a loss that has none, or
            the prototypes a loss needs are missing.
        """
        args = (embeddings, labels, prototypes, queue, queue_labels, sample_weight)
        return self._value(*args, part=None)[0]

    def part_of_sum(
        self,
        embeddings: Tensor,
        labels: Labels,
        part: tuple[int, int],
        prototypes: Tensor | None = None,
        queue: Tensor | None = None,
        queue_labels: Labels | None = None,
        sample_weight: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Sum over a part of the anchors, for processes that share the work of a batch.

        The loss is the sum of the totals of all parts over the sum of their weights. ``reduction``
        changes nothing.

        Parameters
        ----------
        embeddings, labels
            As in ``forward``, of the whole batch.
        part : (int, int)
            The number k of the part, from 0 on, and the number of parts. Instances and prototypes
            are each cut into contiguous parts.
        prototypes, queue, queue_labels, sample_weight
            As in ``forward``.

        Returns
        -------
        total : Tensor
            The weighted sum over the anchors of the part; for an ensemble of shape (M,).
        weight : Tensor
            The sum of their weights in the mean; of shape (M,) if members have their own labels.

        Raises
        ------
        ValueError
            As ``forward``; or if there is no such part.
        """
        k, m = part
        if not 0 <= k < m:
            raise ValueError(f"part must be (k, m) with 0 <= k < m, got {part!r}.")
        args = (embeddings, labels, prototypes, queue, queue_labels, sample_weight)
        return self._value(*args, part=part)

    def _value(
        self,
        embeddings: Tensor,
        labels: Labels,
        prototypes: Tensor | None,
        queue: Tensor | None,
        queue_labels: Labels | None,
        sample_weight: Tensor | None,
        part: tuple[int, int] | None,
    ) -> tuple[Tensor, Tensor]:
        """The loss and what it is divided by; of a part of the anchors the sum, not divided."""
        self._check(embeddings, labels, prototypes, queue, queue_labels, sample_weight)
        columns, prototypes, log_weight = self._columns(labels, queue_labels, prototypes)
        n_prototypes = 0 if prototypes is None else prototypes.shape[-2]
        learns = embeddings.requires_grad or (prototypes is not None and prototypes.requires_grad)
        with full_precision(embeddings):
            pairs = LabelPairs.of(
                indicator(labels, columns),
                None if queue_labels is None else indicator(queue_labels, columns),
                torch.promote_types(embeddings.dtype, torch.float32),
                _entry_weight(labels, sample_weight, columns),
                part or (0, 1),
            )
            budget = self.memory_budget // embeddings.shape[:-2].numel()
            weights = self._weights(pairs, n_prototypes, budget)
            weights.log_b = self._log_repulsion(weights, n_prototypes, pairs, log_weight)
            scale, mass = _scale(weights, _anchor_weight(weights, labels, sample_weight))
            if part is None and self.reduction == "mean":
                scale = scale * reciprocal(mass)[..., None]
            value = pair_loss(
                embeddings,
                prototypes,
                queue,
                partial(PairKernel, weights, self.temperature, self.lambda_reg),
                scale,
                part is not None or self.reduction == "mean",
                learns and torch.is_grad_enabled(),
            )
            return value, mass

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
        dense = indicator(labels)
        check_labels(dense)
        pairs = LabelPairs.of(
            dense,
            None if queue_labels is None else indicator(queue_labels),
            torch.float64 if dense.dtype == torch.float64 else torch.float32,
        )
        weights = self._weights(pairs, labels.shape[1] if with_prototypes else 0, None)
        ((rows, columns),) = weights.tiles()
        W = weights.tile(rows, columns)
        return W * weights.factor[:, None] if self._factor_in_weights else W

    def _check(
        self,
        embeddings: Tensor,
        labels: Labels,
        prototypes: Tensor | None,
        queue: Tensor | None,
        queue_labels: Labels | None,
        sample_weight: Tensor | None,
    ) -> None:
        """Raise unless the arguments fit each other and the loss."""
        name = type(self).__name__
        check_tensor(embeddings, "embeddings")
        if not isinstance(labels, LabelIndices | SampledLabels):
            check_tensor(labels, "labels")
        optional = {"prototypes": prototypes, "queue": queue, "queue_labels": queue_labels}
        for argument, value in optional.items():
            if not (value is None or isinstance(value, LabelIndices)):
                check_tensor(value, argument)
        if embeddings.ndim not in (2, 3) or not embeddings.is_floating_point():
            raise ValueError(
                "embeddings must be a floating tensor of shape (n, d) or (M, n, d), got "
                f"{embeddings.dtype} of shape {tuple(embeddings.shape)}"
            )
        *members, n_samples, d = embeddings.shape
        *own, n_rows, n_labels = labels.shape if len(labels.shape) > 1 else (0, 0)
        if n_rows != n_samples or own not in ([], members):
            raise ValueError(
                f"labels must have shape ({n_samples}, L), a row for each of the embeddings, got "
                f"{tuple(labels.shape)}"
            )
        for argument, given in (("labels", labels), ("queue_labels", queue_labels)):
            if isinstance(given, Tensor):
                check_labels(given, argument)
        entries = labels.values if isinstance(labels, SampledLabels) else labels
        check_sample_weight(sample_weight, tuple(entries.shape))
        if prototypes is not None:
            if not self.uses_prototypes:
                raise ValueError(f"{name} has no prototypes; prototypes must be None")
            check_shape("prototypes", prototypes.shape, (*members, n_labels, d))
        elif self.requires_prototypes:
            raise ValueError(f"{name} needs prototypes of shape (L, d), got None")
        if queue is not None and queue_labels is not None:
            if not self.accepts_queue:
                raise ValueError(f"{name} takes no queue; queue must be None")
            size = queue_labels.shape[-2]
            check_shape("queue", queue.shape, (*members, size, d))
            check_shape("queue_labels", queue_labels.shape, (*own, size, n_labels))
        elif queue is not None or queue_labels is not None:
            raise ValueError("queue and queue_labels must be given together, one is None")

    def _columns(
        self, labels: Labels, queue_labels: Labels | None, prototypes: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None, float | None]:
        """Label columns to look at, prototypes of them and of drawn ones, log weight of the drawn.

        Columns None means all.  Labels without a positive can be left out: that changes no overlap
        of label sets.
        """
        if isinstance(labels, SampledLabels):
            if queue_labels is not None:
                raise ValueError("queue must be None where labels are sampled")
            chosen = None if prototypes is None else prototypes.index_select(-2, labels.columns)
            return None, chosen, log(labels.stands_for) if len(labels.drawn) else None
        batches: Any = [labels] if queue_labels is None else [labels, queue_labels]
        if prototypes is None:
            lists = any(isinstance(batch, LabelIndices) for batch in batches)
            return (active_labels(*batches) if lists else None), None, None
        if self.n_negatives is None:
            return None, prototypes, None
        active = active_labels(*batches)
        drawn, stands_for = sample_negatives(active, prototypes.shape[-2], self.n_negatives)
        chosen = prototypes.index_select(-2, torch.cat([active, drawn]))
        return active, chosen, log(stands_for) if len(drawn) else None

    def _log_repulsion(
        self, weights: PairWeights, n_prototypes: int, pairs: LabelPairs, log_weight: float | None
    ) -> Tensor | None:
        """log b of each candidate; None if all are 0."""
        if self.beta == 1.0 and log_weight is None:
            return None
        first_prototype = weights.n_columns - n_prototypes
        log_b = weights.row_sum.new_zeros(weights.n_columns)
        log_b[:first_prototype] = log(self.beta)
        log_b[first_prototype + pairs.anchors.positive.shape[-1] :] = log_weight or 0.0
        return log_b


def _scale(weights: PairWeights, anchor_weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """a_i, the factor times the weight of the anchor, and the weighted mass of all."""
    scale, mass = weights.factor, weights.own_mass
    if anchor_weight is not None:
        importance = torch.ones_like(scale)
        importance[..., : anchor_weight.shape[-1]] = anchor_weight
        scale, mass = scale * importance, mass * importance
    return scale, mass.sum(-1)


def _entry_weight(
    labels: Labels, sample_weight: Tensor | None, columns: Tensor | None
) -> Tensor | None:
    """Weights of entries on some columns; None if there is one weight per sample, or none."""
    if sample_weight is None or sample_weight.ndim < len(labels.shape):
        return None
    if isinstance(labels, SampledLabels):
        return sample_weight[..., : len(labels.active)]
    return sample_weight if columns is None else sample_weight[..., columns]


def _anchor_weight(
    weights: PairWeights, labels: Labels, sample_weight: Tensor | None
) -> Tensor | None:
    """Weight of each instance as an anchor, unless W and the mass already contain it."""
    if sample_weight is None or sample_weight.ndim < len(labels.shape):
        return sample_weight
    if weights.uses_entry_weights:
        return None
    return weight_per_sample(indicator(labels), sample_weight, weights.factor.dtype)
