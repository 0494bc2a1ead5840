"""What a net minimises: losses with the parameters that only training needs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from sklearn_mlcl.losses import (
    LOGIT_LOSSES,
    BinaryCrossEntropyLoss,
    ContrastiveLoss,
    MemoryQueue,
    PickAllLabelLoss,
)
from sklearn_mlcl.losses._inputs import SampledLabels, divisor, labels_complete, weight_per_sample
from sklearn_mlcl.modules._encoder import Head, logits_of
from sklearn_mlcl.training._parallel import alone, equal_share, own_rows, processes_of_fit


class LogitObjective(nn.Module):
    r"""A loss on the logits of a linear head, trained with the encoder.

    .. math:: \frac1n \sum_i \ell(W h_i + b, y_i) + \frac{\lambda_h}{n} \sum_i \|h_i\|^2

    Parameters
    ----------
    head : torch.nn.Linear, StackedLinear or ETFLinear
        Maps embeddings h to logits.
    loss : torch.nn.Module
        ``loss(logits, labels, sample_weight)``.
    feature_decay : float, default=0.0
        The weight :math:`\lambda_h` of the mean squared norm of the embeddings.

    Attributes
    ----------
    labels_known : bool
        Whether no label of the training samples is missing. The net sets it when training begins.
    """

    def __init__(self, head: Head, loss: nn.Module, feature_decay: float = 0.0) -> None:
        super().__init__()
        self.labels_known = False
        self.head = head
        self.loss = loss
        self.feature_decay = feature_decay

    @property
    def own_labels(self) -> bool:
        """Whether processes that share a batch need the labels of their own samples only."""
        return is_sum_over_rows(self.loss)

    def log_odds(self, embedding: Tensor) -> Tensor | None:
        """Return the logits of the head, of all members; None if they are those of a softmax."""
        return None if isinstance(self.loss, PickAllLabelLoss) else self.head(embedding)

    def forward(self, embedding: Tensor, labels: Tensor, sample_weight: Tensor | None) -> Tensor:
        """Return the scalar loss of a batch.

        Where processes share it, it is the share of this one. Embeddings are those of the own
        samples, and labels those of all unless ``own_labels``.
        """
        logits, known = self.head(embedding), self.training and self.labels_known
        value = loss_of_rows(self.loss, logits, labels, sample_weight, known)
        if self.feature_decay > 0:
            if not self.own_labels:
                labels, sample_weight = own_rows(labels, sample_weight)
            squares = _mean_over_samples(embedding.square().sum(-1), labels, sample_weight)
            value = value + self.feature_decay * squares
        return value


def _mean_over_samples(values: Tensor, labels: Tensor, sample_weight: Tensor | None) -> Tensor:
    """Return the weighted mean over samples, or the own share, on average over the members."""
    processes = processes_of_fit()
    weight = weight_per_sample(labels, sample_weight, values.dtype)
    if weight is None:
        return values.mean() * _share_of_samples(values.shape[-1])
    weight = weight.expand(values.shape)
    total, weight = (values * weight).sum(-1), weight.sum(-1)
    return (total / divisor(weight) if processes is None else processes.share(total, weight)).mean()


def _share_of_samples(n_own: int) -> float:
    """Return the share of the samples of a batch that this process has."""
    processes = processes_of_fit()
    return 1.0 if processes is None else n_own / processes.n_samples


def is_sum_over_rows(loss: nn.Module) -> bool:
    """Whether a loss is a sum over samples, over a weight that it says.

    Processes that share a batch then add what each makes of its own samples.
    """
    return hasattr(loss, "total_weight")


def loss_of_rows(
    loss: nn.Module,
    logits: Tensor,
    labels: Tensor,
    sample_weight: Tensor | None,
    labels_known: bool = False,
) -> Tensor:
    """Return a loss on logits, of one net or on average over the members.

    Labels that are mixed are rounded for a loss that does not say that it takes them mixed: they
    are those of the row with the larger share. A loss that does not say that it is a mean over
    rows sees one member at a time, as rows of others could change what it makes of a row. So does
    every loss where members have samples of their own that weigh more or less in sum, by their
    weights or because labels are missing: ``labels_known`` says that none is.

    Where processes share the batch, it is the share of this one. ``logits`` are those of the own
    samples. So is the rest for a loss that :func:`is_sum_over_rows`. Any other sees the logits of
    all samples, and needs the rest of all.
    """
    processes = processes_of_fit()
    if processes is not None and not is_sum_over_rows(loss):
        logits = processes.gathered(logits)
        with alone():
            value = loss_of_rows(loss, logits, labels, sample_weight, labels_known)
        return equal_share(value)
    all_weigh_the_same = sample_weight is None and (labels_known or not labels.is_floating_point())
    mean_over_rows = getattr(loss, "is_mean_over_rows", False)
    if labels.is_floating_point() and not getattr(loss, "takes_mixed_labels", False):
        labels = labels.round()

    # What a loss from elsewhere makes of labels, only it knows.
    complete = all_weigh_the_same and type(loss) in LOGIT_LOSSES.values()

    @labels_complete(complete)
    def mean(parts: list[tuple[Tensor, Tensor, Tensor | None]]) -> Tensor:
        if processes is None and len(parts) == 1:
            value: Tensor = loss(*parts[0])
            return value
        values = torch.stack([loss(*part) for part in parts])
        if processes is None:
            return values.mean()
        if mean_over_rows and all_weigh_the_same:
            return values.mean() * _share_of_samples(labels.shape[-2])
        of_loss: Any = loss
        weights = [of_loss.total_weight(*part[1:]) for part in parts]
        weight = torch.stack(weights).to(values.dtype)
        return processes.share(values * weight, weight).mean()

    if logits.ndim == 2:
        return mean([(logits, labels, sample_weight)])
    # Members that share the batch share its labels and weights.
    weight, own = sample_weight, labels.ndim == 3
    if not own:
        labels = labels.expand(len(logits), *labels.shape)
        weight = None if weight is None else weight.expand(len(logits), *weight.shape)
    if not (mean_over_rows and (not own or all_weigh_the_same)):
        parts = [None] * len(logits) if weight is None else weight
        return mean(list(zip(logits, labels, parts, strict=True)))
    flat = None if weight is None else weight.flatten(0, 1)
    return mean([(logits.flatten(0, 1), labels.flatten(0, 1), flat)])


class ContrastiveObjective(nn.Module):
    r"""A contrastive loss on projections, plus a loss on the logits of a linear head.

    .. math::
        \mathcal{L} = \lambda_{con} \, \mathcal{L}_{con}(g(h), Y, P)
        + \lambda_{joint} \, L \, \mathcal{L}_{joint}(Vh + b, Y)

    The joint loss is a mean over samples and labels; times their number L it is a sum over labels,
    as the contrastive term is one over the labels that an anchor shares: the balance of the two
    does not depend on how many labels there are.

    Parameters
    ----------
    loss : torch.nn.Module
        ``loss(projections, labels, **terms)`` with the terms that apply: ``prototypes``,
        ``queue`` and ``queue_labels``, ``sample_weight``.
    projection : torch.nn.Module
        The projection head g, maps embeddings h to projections.
    head : torch.nn.Linear or StackedLinear
        The head (V, b); trained only if it has a part in the objective.
    prototypes : Tensor of shape (L, p) or (M, L, p), default=None
        Start of the trainable prototypes P.
    queue : MemoryQueue, default=None
        Projections of past batches, further candidates of the loss.
    joint_loss : torch.nn.Module, default=None
        ``joint_loss(logits, labels, sample_weight)``; None is the binary cross-entropy.
    lambda_contrastive : float, default=1.0
        Weight of the contrastive loss.
    lambda_joint : float, default=0.0
        Weight of the joint loss, summed over the labels.

    Attributes
    ----------
    labels_known : bool
        Whether no label of the training samples is missing, which makes mixed ones cheaper. The
        net sets it when training begins.
    drawn_labels : int or None
        Labels that no sample of a batch has which are drawn for it, for both losses; None takes
        all.
    """

    #: Whether processes that share a batch need the labels of their own samples only: pairs do not.
    own_labels: ClassVar[bool] = False

    def __init__(
        self,
        loss: nn.Module,
        projection: nn.Module,
        head: Head,
        *,
        prototypes: Tensor | None = None,
        queue: MemoryQueue | None = None,
        joint_loss: nn.Module | None = None,
        lambda_contrastive: float = 1.0,
        lambda_joint: float = 0.0,
    ) -> None:
        super().__init__()
        self.labels_known = False
        self.loss = loss
        self.projection = projection
        self.head = head
        self.prototypes = None if prototypes is None else nn.Parameter(prototypes)
        self.queue = queue
        self.joint_loss = BinaryCrossEntropyLoss() if joint_loss is None else joint_loss
        self.lambda_contrastive = lambda_contrastive
        self.lambda_joint = lambda_joint

    def log_odds(self, embedding: Tensor) -> Tensor | None:
        """Return the logits of the head, of all members; None if it is not trained."""
        return self.head(embedding) if self.lambda_joint > 0 else None

    @property
    def drawn_labels(self) -> int | None:
        """Labels that are drawn for a batch; None takes all."""
        # A queue has labels of past batches.
        return None if self.queue is not None else getattr(self.loss, "n_negatives", None)

    def forward(
        self, embedding: Tensor, labels: Tensor | SampledLabels, sample_weight: Tensor | None
    ) -> Tensor:
        """Return the scalar loss of a batch.

        Where processes share it, it is the share of this one. Embeddings are those of the own
        samples, and labels those of all.
        """
        value = embedding.new_zeros(())
        if self.lambda_contrastive > 0:
            pairs = self._contrastive(self.projection(embedding), labels, sample_weight)
            value = self.lambda_contrastive * pairs
        if self.lambda_joint > 0:
            joint = self._joint(embedding, labels, sample_weight)
            value = value + self.lambda_joint * labels.shape[-1] * joint
        return value

    def pairs(self, embedding: Tensor, labels: Tensor) -> list[dict[str, Any]]:
        """Return the pairs of samples and prototypes that the contrastive loss compares.

        Parameters
        ----------
        embedding : Tensor of shape (n, h) or (M, n, h)
            Embeddings of samples.
        labels : Tensor of shape (n, L)
            Their labels.

        Returns
        -------
        pairs : list of dict
            Of each member the arguments of
            :func:`~sklearn_mlcl.representation.positive_regularization_ratio`. None for a loss
            from elsewhere.
        """
        if not isinstance(self.loss, ContrastiveLoss):
            return []
        projections: Tensor = self.projection(embedding)
        prototypes: Tensor | None = self.prototypes
        if embedding.ndim == 2:
            projections = projections[None]
            prototypes = None if prototypes is None else prototypes[None]
        weights = self.loss.pair_weights(labels, prototypes=prototypes is not None)
        repulsion = np.ones(weights.shape[1])
        repulsion[: len(labels)] = self.loss.beta
        shared = {"weights": weights, "temperature": self.loss.temperature, "repulsion": repulsion}
        if prototypes is None:
            return [{"points": own, **shared} for own in projections]
        of_members = zip(projections, prototypes, strict=True)
        if weights.shape[1] == len(prototypes[0]):  # instances are no candidates
            return [{"points": own, "candidates": other, **shared} for own, other in of_members]
        return [{"points": torch.cat(points), **shared} for points in of_members]

    def _joint(
        self, embedding: Tensor, labels: Tensor | SampledLabels, sample_weight: Tensor | None
    ) -> Tensor:
        if isinstance(labels, Tensor):
            logits, values, weight = self.head(embedding), labels, sample_weight
        else:
            logits = logits_of(self.head, embedding, labels.columns)
            values, weight = labels.values, labels.entry_weights(sample_weight, embedding.dtype)
        if is_sum_over_rows(self.joint_loss):
            values, weight = own_rows(values, weight)
        known = self.training and self.labels_known and isinstance(labels, Tensor)
        return loss_of_rows(self.joint_loss, logits, values, weight, known)

    def _unmixed(self, labels: Tensor) -> Tensor:
        """Pairs are of samples that have a label or not: a mixed one counts as its larger part."""
        if not labels.is_floating_point():
            return labels
        known = self.training and self.labels_known  # held-out samples are never mixed
        return labels > 0.5 if known else labels.round()

    def _contrastive(
        self, projection: Tensor, labels: Tensor | SampledLabels, sample_weight: Tensor | None
    ) -> Tensor:
        processes = processes_of_fit()
        if processes is not None:
            projection = processes.gathered(projection)
        terms: dict[str, Any] = {}
        if isinstance(labels, SampledLabels):
            labels = replace(labels, values=self._unmixed(labels.values))
            terms = {} if sample_weight is None else {"sample_weight": sample_weight}
            terms["prototypes"] = self.prototypes
            return self._loss_of_pairs(projection, labels, terms).mean()
        labels = self._unmixed(labels)
        if self.queue is not None and projection.ndim > labels.ndim:
            # The queue has the labels of each member.
            labels = labels.expand(len(projection), *labels.shape)
            if sample_weight is not None:
                sample_weight = sample_weight.expand(len(projection), *sample_weight.shape)
        if self.prototypes is not None:
            terms["prototypes"] = self.prototypes
        if self.queue is not None and len(self.queue):
            terms.update(queue=self.queue.embeddings, queue_labels=self.queue.labels)
        if sample_weight is not None:
            terms["sample_weight"] = sample_weight
        value = self._loss_of_pairs(projection, labels, terms)
        if self.queue is not None and self.training:
            self.queue.push(projection, labels)
        return value.mean()

    def _loss_of_pairs(
        self, projection: Tensor, labels: Tensor | SampledLabels, terms: dict[str, Any]
    ) -> Tensor:
        """Return the loss of each member, or the own share of it.

        A loss from elsewhere sees one member at a time.
        """
        processes = processes_of_fit()
        ours = isinstance(self.loss, ContrastiveLoss)
        if (
            processes is not None
            and isinstance(self.loss, ContrastiveLoss)
            and self.loss.reduction == "mean"
        ):
            part = (processes.number, processes.count)
            return processes.share(*self.loss.part_of_sum(projection, labels, part, **terms))
        if ours or projection.ndim == 2 or isinstance(labels, SampledLabels):
            return equal_share(self.loss(projection, labels, **terms))
        values = []
        shared = {} if labels.ndim == 3 else {n: terms[n] for n in ("sample_weight",) if n in terms}
        for m, own in enumerate(projection):
            of_member = {name: term[m] for name, term in terms.items() if name not in shared}
            own_labels = labels[m] if labels.ndim == 3 else labels
            values.append(self.loss(own, own_labels, **shared, **of_member))
        return equal_share(torch.stack(values))
