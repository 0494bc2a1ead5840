"""What a net minimises: losses with the parameters that only training needs."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from sklearn_mlcl.losses import BinaryCrossEntropyLoss, MemoryQueue
from sklearn_mlcl.modules import ETFLinear


class LinearHead(nn.Linear):
    """One logit per label, with biases that start at the log-odds of the labels.

    Parameters
    ----------
    n_embedding : int
        Width of the embedding.
    log_odds : ndarray of shape (L,)
        Log-odds of each label in the training rows.
    """

    def __init__(self, n_embedding: int, log_odds: np.ndarray) -> None:
        super().__init__(n_embedding, len(log_odds))
        with torch.no_grad():
            self.bias.copy_(torch.as_tensor(log_odds))


class FixedETFHead(ETFLinear):
    """One logit per label from a fixed simplex ETF, with biases that start at the log-odds.

    Parameters
    ----------
    n_embedding : int
        Width of the embedding, at least the number of logits less one.
    log_odds : ndarray of shape (L,)
        Log-odds of each label in the training rows.
    learn_scale : bool
        Learn the common norm of the rows.
    """

    def __init__(self, n_embedding: int, log_odds: np.ndarray, learn_scale: bool) -> None:
        super().__init__(
            n_embedding,
            len(log_odds),
            scale=10.0 if learn_scale else 1.0,
            learn_scale=learn_scale,
            random_state=int(torch.randint(2**31 - 1, (1,))),
        )
        self.bias = nn.Parameter(torch.as_tensor(log_odds, dtype=torch.float32))


def head_arrays(head: LinearHead | FixedETFHead) -> tuple[np.ndarray, np.ndarray]:
    """Return coefficients (L, h) and intercepts (L,) of a head in float64."""
    weight, bias = (tensor.detach().cpu() for tensor in (head.weight, head.get_parameter("bias")))
    return weight.double().numpy(), bias.double().numpy()


class LogitObjective(nn.Module):
    r"""A loss on the logits of a linear head, trained with the encoder.

    .. math:: \frac1n \sum_i \ell(W h_i + b, y_i) + \frac{\lambda_h}{n} \sum_i \|h_i\|^2

    Parameters
    ----------
    head : LinearHead or FixedETFHead
        Maps embeddings h to logits.
    loss : torch.nn.Module
        ``loss(logits, labels, sample_weight)``.
    feature_decay : float, default=0.0
        The weight :math:`\lambda_h` of the mean squared norm of the embeddings.
    """

    def __init__(
        self, head: LinearHead | FixedETFHead, loss: nn.Module, feature_decay: float = 0.0
    ) -> None:
        super().__init__()
        self.head = head
        self.loss = loss
        self.feature_decay = feature_decay

    def forward(self, embedding: Tensor, labels: Tensor, sample_weight: Tensor | None) -> Tensor:
        """Return the scalar loss of a batch."""
        value = self.loss(self.head(embedding), labels, sample_weight)
        if self.feature_decay > 0:
            squares = embedding.square().sum(1)
            mean = squares.mean() if sample_weight is None else _mean(squares, sample_weight)
            value = value + self.feature_decay * mean
        return value


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    return (values @ weight) / weight.sum()


class ContrastiveObjective(nn.Module):
    r"""A contrastive loss on projections, plus cross-entropy on a linear head.

    .. math::
        \mathcal{L} = \mathcal{L}_{con}(g(h), Y, P) + \lambda_{bce} \mathcal{L}_{bce}(Vh + b, Y)

    Parameters
    ----------
    loss : torch.nn.Module
        ``loss(projections, labels, **terms)`` with the terms that apply: ``prototypes``,
        ``queue`` and ``queue_labels``, ``sample_weight``.
    projection : torch.nn.Module
        The projection head g, maps embeddings h to projections.
    head : LinearHead
        The head (V, b); trained only if it has a part in the objective.
    prototypes : Tensor of shape (L, p), default=None
        Start of the trainable prototypes P.
    queue : MemoryQueue, default=None
        Projections of past batches, further candidates of the loss.
    lambda_bce : float, default=0.0
        Weight of the cross-entropy term.

    Attributes
    ----------
    finetuning : bool
        While True the objective is the cross-entropy alone.
    """

    def __init__(
        self,
        loss: nn.Module,
        projection: nn.Module,
        head: LinearHead,
        *,
        prototypes: Tensor | None = None,
        queue: MemoryQueue | None = None,
        lambda_bce: float = 0.0,
    ) -> None:
        super().__init__()
        self.loss = loss
        self.projection = projection
        self.head = head
        self.prototypes = None if prototypes is None else nn.Parameter(prototypes)
        self.queue = queue
        self.cross_entropy = BinaryCrossEntropyLoss()
        self.lambda_bce = lambda_bce
        self.finetuning = False

    def forward(self, embedding: Tensor, labels: Tensor, sample_weight: Tensor | None) -> Tensor:
        """Return the scalar loss of a batch."""
        if self.finetuning:
            return self.cross_entropy(self.head(embedding), labels, sample_weight)
        value = self._contrastive(self.projection(embedding), labels, sample_weight)
        if self.lambda_bce > 0:
            logits = self.head(embedding)
            value = value + self.lambda_bce * self.cross_entropy(logits, labels, sample_weight)
        return value

    def _contrastive(
        self, projection: Tensor, labels: Tensor, sample_weight: Tensor | None
    ) -> Tensor:
        terms: dict[str, Tensor] = {}
        if self.prototypes is not None:
            terms["prototypes"] = self.prototypes
        if self.queue is not None and len(self.queue):
            terms.update(queue=self.queue.embeddings, queue_labels=self.queue.labels)
        if sample_weight is not None:
            terms["sample_weight"] = sample_weight
        value = self.loss(projection, labels, **terms)
        if self.queue is not None and self.training:
            self.queue.push(projection, labels)
        return value
